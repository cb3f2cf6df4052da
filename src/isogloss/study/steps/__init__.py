"""The kinds of steps of a study, a frozen data class each."""

from isogloss.study.steps.companions import MeasureCompanions
from isogloss.study.steps.concepts import Cluster, CutTree, FindConcepts, GrowTree
from isogloss.study.steps.labels import JoinLabels, LabelConcepts
from isogloss.study.steps.metrics import MeasureGroup, MeasurePair
from isogloss.study.steps.movement import FollowConcepts, JoinMovement
from isogloss.study.steps.results import CompareWithBases, CorrelateMeasures, ExplainTransfer, JoinResults
from isogloss.study.steps.robustness import JoinRobustness, SweepSettings
from isogloss.study.steps.states import ExtractStates
from isogloss.study.steps.words import CountDictionary, Dictionary, LinkWords, ReadDictionary, UserFile

__all__ = [
    "Cluster",
    "CompareWithBases",
    "CorrelateMeasures",
    "CountDictionary",
    "CutTree",
    "Dictionary",
    "ExplainTransfer",
    "ExtractStates",
    "FindConcepts",
    "FollowConcepts",
    "GrowTree",
    "JoinLabels",
    "JoinMovement",
    "JoinResults",
    "JoinRobustness",
    "LabelConcepts",
    "LinkWords",
    "MeasureCompanions",
    "MeasureGroup",
    "MeasurePair",
    "ReadDictionary",
    "SweepSettings",
    "UserFile",
]
