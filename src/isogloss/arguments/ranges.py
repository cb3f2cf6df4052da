"""The ranges of numbers, and the forms of text, each once: functions, study file and command line use the same."""

from __future__ import annotations

from typing import Annotated

import numpy.typing as npt

from isogloss.arguments.rules import Dimensions, Like, Within

_DRAWS = "each costs a whole count and is held in memory; what more than 10,000 add is below a hundredth of the spread"

Seed = Annotated[int, Within(0, 2**32 - 1, why="what every generator of random numbers takes")]
Count = Annotated[int, Within(1, 2**31 - 1)]
Several = Annotated[int, Within(2, 2**31 - 1)]
Index = Annotated[int, Within(0, 2**31 - 1)]
NConcepts = Annotated[int, Within(1, 2**31 - 1)]
Layer = Annotated[int, Within(0, 10_000, why="0 is the embedding output")]
Share = Annotated[float, Within(0, 1)]
Half = Annotated[float, Within(0, 0.5, why="beyond a half no two languages can both own so much of a concept")]
PositiveShare = Annotated[float, Within(0, 1, above=True)]
PartShare = Annotated[float, Within(0, 1, below=True)]
Inside = Annotated[float, Within(0, 1, above=True, below=True)]
Draws = Annotated[int, Within(0, 10_000, why=_DRAWS)]
SomeDraws = Annotated[int, Within(1, 10_000, why=_DRAWS)]
NTypes = Annotated[float, Within(0, 1_000_000, why="no concept has more types")]
Translations = Annotated[int, Within(1, 10_000, why="no word has more translations")]
Words = Annotated[int, Within(1, 32_767, why="positions in a sentence are numbers of 16 bits")]
Rounds = Annotated[int, Within(1, 100_000, why="what has not settled by then never does")]
Folds = Annotated[int, Within(2, 1_000, why="every fold is a fit of its own")]
Workers = Annotated[int, Within(1, 1_000, why="processes or threads; more than the cores gain nothing")]
BatchTokens = Annotated[int, Within(1, 1_000_000, why="subwords of one pass, whose memory grows with them")]
Port = Annotated[int, Within(0, 65_535, why="0 is any free one")]

Text = Annotated[str, Like(r".*\S.*", "news")]
# Of a folder that is made here.
Name = Annotated[str, Like(r"(?!.*(?:^|/)\.\.(?:/|$))[^\\]*[^./\\][^\\]*", "news")]

Numbers = Annotated[npt.ArrayLike, Dimensions(1)]
WholeNumbers = Annotated[npt.ArrayLike, Dimensions(1, "whole numbers")]
Entries = Annotated[npt.ArrayLike, Dimensions(1, "entries")]

# Of training.
Epochs = Annotated[float, Within(0, 1_000, above=True, why="how often the text is read")]
Rate = Annotated[float, Within(0, 1, above=True, why="a step as long as that leads nowhere")]
BatchSize = Annotated[int, Within(1, 10_000, why="sentences in one step, whose memory grows with them")]
Decay = Annotated[float, Within(0, 10)]
Evaluations = Annotated[int, Within(1, 1_000, why="each goes over the development data")]
Length = Annotated[int, Within(8, 100_000, why="subwords; memory grows with their square")]
Rank = Annotated[int, Within(1, 10_000, why="an adapter is smaller than the layer it stands beside")]
Scale = Annotated[float, Within(0, 1_000_000, above=True)]
