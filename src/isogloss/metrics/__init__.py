"""Pure formulas: arrays, labels and tables in, figures out.  Nothing here reads or writes a file."""

from isogloss.metrics.calign import calign, mean_alignment
from isogloss.metrics.colap import colap

__all__ = ["calign", "colap", "mean_alignment"]
