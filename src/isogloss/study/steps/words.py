"""Steps from text to dictionaries: word links, and what they or a file say translates what."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from isogloss import aligners
from isogloss.coordinates import Pair
from isogloss.corpus import Corpus
from isogloss.dictionary import Case, TranslationDictionary, WordLinks
from isogloss.extraction import open_states
from isogloss.runner import Facts, Step
from isogloss.store import StudyLayout, file_digest
from isogloss.study.steps.states import ExtractStates


@dataclass(frozen=True)
class UserFile:
    """A file that the study file names; its content counts, not its place.

    Attributes
    ----------
    path : str
    content : str
        Digest.
    """

    path: str = field(compare=False)
    content: str

    @classmethod
    def at(cls, path: str) -> UserFile:
        return cls(path, file_digest(Path(path)))


@dataclass(frozen=True)
class LinkWords(Step):
    """The word links of one pair, from the user's Pharaoh file or by an aligner.

    Attributes
    ----------
    pair : Pair
        In the order of the corpus.
    aligner, symmetrise : str
    options : dict
        Of the aligner; of the aligner ``model`` without what names the model.
    text : str
        Digest of the corpus.
    file : UserFile or None
    states : ExtractStates or None
        Of the model that aligns, where one does.
    """

    pair: Pair
    aligner: str
    symmetrise: str
    options: dict[str, Any]
    text: str
    file: UserFile | None = None
    states: ExtractStates | None = None
    stage: ClassVar[str] = "links"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return (layout.links(self.aligner, self.pair),)

    def reads(self, layout: StudyLayout) -> tuple[Path, ...]:
        return self.states.layer_files(layout, self.options["layer"]) if self.states else ()

    def run(self, layout: StudyLayout) -> Facts:
        corpus, (source, target) = Corpus.open(layout), self.pair.languages
        if self.file:
            links = WordLinks.read_pharaoh(self.file.path, corpus, source=source, target=target)
        else:
            options = self.options
            if self.states:
                model, stack = self.states.model.name, self.states.stack
                states = open_states(layout, name=model, stack=stack, layer=options["layer"], sentences=False)
                options = {**options, "states": states}
            links = aligners.align_words(
                corpus, source=source, target=target, aligner=self.aligner, symmetrise=self.symmetrise, **options
            )
        links.write(layout.links(self.aligner, self.pair))
        return {"n_links": links.table.height}

    def load(self, layout: StudyLayout) -> WordLinks:
        """Read what it wrote."""
        path, (source, target) = layout.checked(layout.links(self.aligner, self.pair)), self.pair.languages
        return WordLinks.read(path, source=source, target=target, aligner=self.aligner)


@dataclass(frozen=True)
class CountDictionary(Step):
    """The dictionary of one direction, counted from the links of its pair."""

    direction: Pair
    links: LinkWords
    top: int
    min_count: int
    stage: ClassVar[str] = "dictionaries"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return (layout.dictionary(self.direction),)

    def run(self, layout: StudyLayout) -> Facts:
        links = self.links.load(layout)
        if self.direction != self.links.pair:
            links = links.reversed()
        return _written(links.dictionary(top=self.top, min_count=self.min_count), self.direction, layout)


@dataclass(frozen=True)
class ReadDictionary(Step):
    """The dictionary of one direction, from the user's file, in the forms that the corpus (`text`: its digest) has."""

    direction: Pair
    file: UserFile
    case: Case
    top: int
    text: str
    stage: ClassVar[str] = "dictionaries"

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        return (layout.dictionary(self.direction),)

    def run(self, layout: StudyLayout) -> Facts:
        source, target = self.direction.languages
        whole = TranslationDictionary.read_muse(self.file.path, source=source, target=target)
        words = whole.top(self.top).for_corpus(Corpus.open(layout), case=self.case)
        return _written(words, self.direction, layout)


Dictionary = CountDictionary | ReadDictionary


def _written(dictionary: TranslationDictionary, direction: Pair, layout: StudyLayout) -> Facts:
    dictionary.write(layout.dictionary(direction))
    return {"n_words": len(dictionary), "n_translations": dictionary.table.height}


def read_dictionary(layout: StudyLayout, direction: Pair, *, induced_by: str = "") -> TranslationDictionary:
    """Read the dictionary of one direction in a study folder."""
    path = layout.checked(layout.dictionary(direction))
    return TranslationDictionary.read(path, source=direction.source, target=direction.target, induced_by=induced_by)
