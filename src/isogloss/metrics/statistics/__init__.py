"""How sure a number is: resamples of sentences, intervals, rank correlation, many tests at once."""
