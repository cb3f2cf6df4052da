"""From files to batches: line-parallel sets, the tokenizer, examples of one or two lines, whole-word masking."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isogloss import store
from isogloss.errors import InputError, UsageError

log = logging.getLogger(__name__)

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(5)
IGNORED = -100
_POOL = 1024  # examples drawn together, sorted by length and cut into batches

Texts = Mapping[str, Sequence[str]]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


# -- parallel sets --------------------------------------------------------------------------------------


def read_sets(files: Sequence[str]) -> list[dict[str, list[str]]]:
    """Read ``LANGUAGE=FILE`` arguments: the n-th file of every language belongs to set n."""
    found: dict[str, list[list[str]]] = {}
    for item in files:
        language, equals, path = item.partition("=")
        if not (language and equals and path):
            raise UsageError(f"--parallel takes LANGUAGE=FILE, e.g. en=bible.en.txt; got '{item}'.")
        found.setdefault(language, []).append(store.read_lines(path))
    n_sets = max(map(len, found.values()), default=0)
    return [
        {language: sets[number] for language, sets in found.items() if number < len(sets)}
        for number in range(n_sets)
    ]


def check_sets(sets: Sequence[Texts], repeats: Sequence[int]) -> None:
    """Refuse sets whose languages differ in their number of lines, and repeats that do not fit them."""
    if len(repeats) != len(sets) or any(n < 1 for n in repeats):
        raise UsageError(
            f"repeats needs one positive number for each of the {len(sets)} set(s); got {repeats}."
        )
    if not sets:
        raise UsageError("There is no text to train on. Give at least one --parallel LANGUAGE=FILE.")
    for number, texts in enumerate(sets, start=1):
        counts = {language: len(lines) for language, lines in texts.items()}
        if not counts or len(set(counts.values())) > 1 or 0 in counts.values():
            raise InputError(
                f"Set {number} must have the same number of lines, at least one, in every language; "
                f"got {counts}."
            )


# -- the tokenizer ----------------------------------------------------------------------------------


def train_tokenizer(lines: Iterator[str], *, vocab: int) -> Any:
    """Return a cased WordPiece tokenizer (NFC, BERT's pre-tokeniser) of at most `vocab` pieces."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL[UNK]))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=vocab, special_tokens=list(SPECIAL), show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.BertProcessing((SPECIAL[SEP], SEP), (SPECIAL[CLS], CLS))
    return tokenizer


def tokenizer_of(sets: Sequence[Texts], repeats: Sequence[int], path: Path, *, vocab: int) -> Any:
    """Return the tokenizer of the run: the one already in its folder, or a new one.

    Every set has the same lines in every language, so every language has its share of the pieces.
    """
    from tokenizers import Tokenizer

    if not path.exists():
        lines = (
            line
            for texts, n in zip(sets, repeats, strict=True)
            for language in texts
            for line in itertools.chain.from_iterable(itertools.repeat(texts[language], n))
        )
        store.write_text(path, train_tokenizer(lines, vocab=vocab).to_str())
    return Tokenizer.from_file(str(path))


# -- examples and batches ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """Encoded lines: ``lines[s][language][i]`` are the pieces of line i of set s; `drawn` repeats (s, i)."""

    lines: list[dict[str, list[Ints]]]
    drawn: Ints  # (n, 2)

    def example(self, rng: np.random.Generator, pairs: float) -> list[Ints]:
        """Draw a line, and one language or two different ones of it."""
        s, i = self.drawn[rng.integers(len(self.drawn))]
        languages = list(self.lines[s])
        n = 2 if len(languages) > 1 and rng.random() < pairs else 1
        chosen = rng.choice(len(languages), size=n, replace=False)
        return [self.lines[s][languages[c]][i] for c in chosen]

    def counts(self, vocab: int) -> Ints:
        """Return how often each piece occurs, every line taken once."""
        return sum(
            (
                np.bincount(np.concatenate(lines), minlength=vocab)
                for texts in self.lines
                for lines in texts.values()
            ),
            start=np.zeros(vocab, dtype=np.int64),
        )


def encode(tokenizer: Any, sets: Sequence[Texts], repeats: Sequence[int], *, positions: int) -> Data:
    """Encode the lines of all sets; what is longer than `positions` pieces is cropped."""
    lines: list[dict[str, list[Ints]]] = []
    drawn, n_cropped = [], 0
    for s, (texts, repeat) in enumerate(zip(sets, repeats, strict=True)):
        coded = {}
        for language, sentences in texts.items():
            found = [np.array(e.ids, dtype=np.int64) for e in tokenizer.encode_batch(list(sentences))]
            n_cropped += sum(len(ids) > positions for ids in found)
            # keep the closing [SEP] of a cropped line
            coded[language] = [
                ids if len(ids) <= positions else np.append(ids[: positions - 1], SEP) for ids in found
            ]
        lines.append(coded)
        numbers = np.arange(len(next(iter(texts.values()))))
        drawn.append(np.tile(np.stack([np.full_like(numbers, s), numbers], axis=1), (repeat, 1)))
    log.info("%d lines a language, repeats included; %d cropped", sum(map(len, drawn)), n_cropped)
    return Data(lines, np.concatenate(drawn))


def shared_vectors(data: Data, *, vocab: int, width: int, seed: int) -> npt.NDArray[np.float32]:
    """Return a unit vector per piece, (vocab, width): pieces of the same lines are near, in any language.

    Inverted indexing (Søgaard et al., ACL 2015): the leading left singular vectors of the pieces-by-lines
    matrix with rows of length 1, without the first, which only says how frequent a piece is.  A piece
    that occurs nowhere gets zeros.
    """
    from scipy.sparse import csr_array, diags_array
    from sklearn.utils.extmath import randomized_svd

    rows, columns, n_lines = [], [], 0
    for texts in data.lines:
        for lines in texts.values():
            for number, ids in enumerate(lines, start=n_lines):
                pieces = np.unique(ids[ids >= len(SPECIAL)])
                rows.append(pieces)
                columns.append(np.full_like(pieces, number))
        n_lines += len(next(iter(texts.values())))
    row, column = np.concatenate(rows), np.concatenate(columns)
    counts = csr_array((np.ones(len(row), dtype=np.float32), (row, column)), shape=(vocab, n_lines))
    counts.sum_duplicates()  # the same piece in several languages of a line
    norms = np.sqrt(np.bincount(np.repeat(np.arange(vocab), np.diff(counts.indptr)), counts.data**2, vocab))
    weighted = diags_array(1 / np.maximum(norms, 1)) @ counts
    n = min(width + 1, min(weighted.shape) - 1)
    left, _, _ = randomized_svd(weighted, n, n_iter=4, random_state=seed)
    vectors = np.zeros((vocab, width), dtype=np.float32)
    vectors[:, : n - 1] = left[:, 1:]
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    seen = norms[:, None] > 0
    return np.where(seen, vectors / np.maximum(lengths, 1e-12), 0).astype(np.float32)


@dataclass(frozen=True)
class Batch:
    """Examples of like length as padded matrices, some words masked."""

    ids: Ints  # (lines, pieces), PAD behind
    positions: Ints  # restart at 0 with the second line of a pair
    segments: Ints  # 0, and 1 in the second line of a pair
    labels: Ints  # the true piece where masked, IGNORED elsewhere
    is_pair: Bools  # (lines,)


def batches(
    data: Data, pool: int, index: int, *, size: int, pairs: float, seed: int
) -> Iterator[tuple[int, int, list[list[Ints]]]]:
    """Yield (pool, index, examples) for ever, from a given place: pools are seeded by their number.

    A batch has examples of like length and at most `size` pieces, padding included.
    """
    while True:
        rng = np.random.default_rng([seed, pool])
        examples = [data.example(rng, pairs) for _ in range(_POOL)]
        lengths = np.array([sum(map(len, example)) for example in examples])
        order = np.argsort(lengths, kind="stable")
        cuts, begin = [], 0
        for end in range(1, _POOL + 1):
            if end == _POOL or (end + 1 - begin) * lengths[order[end]] > size:
                cuts.append((begin, end))
                begin = end
        rng.shuffle(cuts)
        for place in range(index, len(cuts)):
            begin, end = cuts[place]
            yield pool, place, [examples[k] for k in order[begin:end]]
        pool, index = pool + 1, 0


def mask(examples: list[list[Ints]], rng: np.random.Generator, continues: Bools, masked: float) -> Batch:
    """Pad a batch and mask whole words: 80 % [MASK], 10 % another piece, 10 % left as they are."""
    width = max(sum(map(len, example)) for example in examples)
    ids = np.full((len(examples), width), PAD, dtype=np.int64)
    positions, segments = np.zeros_like(ids), np.zeros_like(ids)
    for row, example in enumerate(examples):
        joined = np.concatenate(example)
        ids[row, : len(joined)] = joined
        positions[row, : len(joined)] = np.concatenate([np.arange(len(line)) for line in example])
        segments[row, len(example[0]) : len(joined)] = 1
    word = np.cumsum(~continues[ids]).reshape(ids.shape)  # pieces of one word carry one number
    hidden = (rng.random(word.max() + 1) < masked)[word] & (ids >= len(SPECIAL))
    if not hidden.any():  # a batch must have something to guess
        hidden = (word == word[0, 1]) & (ids >= len(SPECIAL))
    labels = np.where(hidden, ids, IGNORED)
    dice = rng.random(ids.shape)
    others = rng.integers(len(SPECIAL), len(continues), size=ids.shape)
    ids = np.where(hidden & (dice < 0.8), MASK, np.where(hidden & (dice >= 0.9), others, ids))
    return Batch(ids, positions, segments, labels, np.array([len(example) == 2 for example in examples]))
