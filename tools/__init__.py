"""Programs for those who work on isogloss; not installed with it."""
