"""Pure formulas: arrays, labels and tables in, estimates out.  Nothing here reads or writes a file."""

from isogloss.metrics.calign import calign, mean_alignment
from isogloss.metrics.colap import colap
from isogloss.metrics.one_to_one import one_to_one

__all__ = ["calign", "colap", "mean_alignment", "one_to_one"]
