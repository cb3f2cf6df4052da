"""The explorer: a local page over a whole study, from a curve to a concept, its words and their sentences."""

from isogloss.explore.server import Explorer, explore_study, open_explorer
from isogloss.explore.views import Views

__all__ = ["Explorer", "Views", "explore_study", "open_explorer"]
