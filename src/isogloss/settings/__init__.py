"""Settings, each once: the study file, the Python functions and the command line read them from these classes.

A class is a group of settings that go together.  Every field has its default, its range (`isogloss.arguments`) and a
description; a function takes a group by `takes`, and a section of the study file is made of groups.
"""

from isogloss.settings.concepts import DiscoverySettings, Drop, Selection, SelectionRule
from isogloss.settings.extraction import Compute, ExtractionSettings, LastLayer, Pooling, Sentences, Storage, Weights
from isogloss.settings.keywords import takes
from isogloss.settings.measures import AlignmentSettings, Interval, LabelSettings, OverlapSettings
from isogloss.settings.running import RunSection, SlurmSection
from isogloss.settings.training import LoraSettings, TrainingSettings

__all__ = ["AlignmentSettings", "Compute", "DiscoverySettings", "Drop", "ExtractionSettings", "Interval"]
__all__ += ["LabelSettings", "LastLayer", "LoraSettings", "OverlapSettings", "Pooling", "RunSection", "Selection"]
__all__ += ["SelectionRule", "Sentences", "SlurmSection", "Storage", "TrainingSettings", "Weights", "takes"]
