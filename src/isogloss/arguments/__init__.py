"""Arguments, checked at the door: a function's own annotations say what it takes.

Bounds are part of the annotation (`Count`, `Seed`, `Share`), and the study file and the command line use the same ones:
a number has one range and one reason wherever it is given.
"""

from isogloss.arguments.door import check_given, checked
from isogloss.arguments.ranges import (
    BatchSize,
    BatchTokens,
    Count,
    Decay,
    Draws,
    Entries,
    Epochs,
    Evaluations,
    Folds,
    Half,
    Index,
    Inside,
    Layer,
    Length,
    Name,
    NConcepts,
    NTypes,
    Numbers,
    PartShare,
    Port,
    PositiveShare,
    Rank,
    Rate,
    Rounds,
    Scale,
    Seed,
    Several,
    Share,
    SomeDraws,
    Text,
    Translations,
    WholeNumbers,
    Words,
    Workers,
)
from isogloss.arguments.rules import Columns, Dimensions, Distinct, Like, OneOf, OrOne, Rule, Want, Within
from isogloss.arguments.wants import INSIDE, refusal, want_of

__all__ = ["BatchSize", "BatchTokens", "Columns", "Count", "Decay", "Dimensions", "Distinct", "Draws", "Entries"]
__all__ += ["Epochs", "Evaluations", "Folds", "Half", "INSIDE", "Index", "Inside", "Layer", "Length", "Like"]
__all__ += ["NConcepts", "NTypes", "Name", "Numbers", "OneOf", "OrOne", "PartShare", "Port", "PositiveShare", "Rank"]
__all__ += ["Rate", "Rounds", "Rule", "Scale", "Seed", "Several", "Share", "SomeDraws", "Text", "Translations", "Want"]
__all__ += ["WholeNumbers", "Within", "Words", "Workers", "check_given", "checked", "refusal", "want_of"]
