"""What concepts are made of: labels of words, which concepts take one, and which of these are shared."""
