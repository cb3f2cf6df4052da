"""Pure formulas: arrays, labels and tables in, estimates out.  Nothing here reads or writes a file."""

from isogloss.metrics.concepts.alignment import calign, mean_alignment
from isogloss.metrics.concepts.exclusive import one_to_one
from isogloss.metrics.concepts.overlap import colap

__all__ = ["calign", "colap", "mean_alignment", "one_to_one"]
