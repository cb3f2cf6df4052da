"""The kinds of steps of a study, a frozen data class each."""
