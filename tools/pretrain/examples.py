"""From lines to batches: the tokenizer, examples of one or two lines, whole-word masking, first embeddings."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from isogloss import store
from isogloss.errors import InputError

log = logging.getLogger(__name__)

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, UNK, CLS, SEP, MASK = range(5)
IGNORED = -100
_POOL = 1024  # examples drawn together, sorted by length and cut into batches

Texts = Mapping[str, Sequence[str]]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Floats64 = npt.NDArray[np.float64]


# -- the tokenizer ----------------------------------------------------------------------------------


def train_tokenizer(sets: Sequence[Texts], repeats: Sequence[int], *, n_pieces: int, n_characters: int) -> Any:
    """Return a cased WordPiece tokenizer (NFC, BERT's pre-tokeniser) of about `n_pieces` pieces.

    Chinese characters are words of their own, as in BERT; characters rarer than the `n_characters` most
    frequent ones are unknown.  There are more pieces if the characters alone, at the start of a word and inside one,
    are more.  Every set has the same lines in every language, so every language has its share of the pieces.
    """
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.WordPiece(unk_token=SPECIAL[UNK]))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.BertNormalizer(strip_accents=False, lowercase=False)]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=n_pieces, limit_alphabet=n_characters, special_tokens=list(SPECIAL), show_progress=False
    )
    lines = (
        line
        for texts, n in zip(sets, repeats, strict=True)
        for sentences in texts.values()
        for line in itertools.chain.from_iterable(itertools.repeat(sentences, n))
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.BertProcessing((SPECIAL[SEP], SEP), (SPECIAL[CLS], CLS))
    return tokenizer


def read_tokenizer(path: str | Path) -> Any:
    """Return a tokenizer made by `train_tokenizer`.

    Raises
    ------
    InputError
        If the file is none: missing, damaged, or with other special pieces.
    """
    from tokenizers import Tokenizer

    text = store.read_text(path)
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:  # the library raises bare exceptions
        raise InputError(f"{path} is not a tokenizer file: {error}.") from None
    if [tokenizer.token_to_id(piece) for piece in SPECIAL] != list(range(len(SPECIAL))):
        raise InputError(
            f"The special pieces of {path} are not {', '.join(SPECIAL)} with the numbers 0 to {len(SPECIAL) - 1}. "
            "Give the tokenizer.json of another pre-training run of isogloss, or none."
        )
    return tokenizer


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
            (np.bincount(np.concatenate(lines), minlength=vocab) for texts in self.lines for lines in texts.values()),
            start=np.zeros(vocab, dtype=np.int64),
        )


def encode(tokenizer: Any, sets: Sequence[Texts], repeats: Sequence[int], *, positions: int) -> Data:
    """Encode the lines of all sets; what is longer than `positions` pieces is cropped."""
    lines: list[dict[str, list[Ints]]] = []
    drawn, n_cropped = [], 0
    for s, (texts, repeat) in enumerate(zip(sets, repeats, strict=True)):
        coded = {}
        for language, sentences in texts.items():
            whole = [np.array(e.ids, dtype=np.int64) for e in tokenizer.encode_batch(list(sentences))]
            n_cropped += sum(len(ids) > positions for ids in whole)
            # keep the closing [SEP] of a cropped line
            coded[language] = [ids if len(ids) <= positions else np.append(ids[: positions - 1], SEP) for ids in whole]
        lines.append(coded)
        numbers = np.arange(len(next(iter(texts.values()))))
        drawn.append(np.tile(np.stack([np.full_like(numbers, s), numbers], axis=1), (repeat, 1)))
    log.info("%d lines a language, repeats included; %d cropped", sum(map(len, drawn)), n_cropped)
    return Data(lines, np.concatenate(drawn))


def distributional_vectors(data: Data, *, vocab: int, width: int, seed: int, window: int = 4) -> Floats:
    """Return a unit vector per piece, (vocab, width): pieces that occur in like contexts are near.

    The `width` leading left singular vectors of the matrix of positive pointwise mutual information between
    pieces and the pieces within `window` of them, weighted by the root of their singular values (Levy and
    Goldberg, NeurIPS 2014; Levy, Goldberg and Dagan, TACL 2015: neighbours count 1 / distance, context
    frequencies are raised to 0.75).  All lines of all languages count, each on its own: that two lines are
    translations is not used.  A piece without neighbours gets zeros.
    """
    from scipy.sparse import coo_array
    from sklearn.utils.extmath import randomized_svd

    lines = [ids for texts in data.lines for group in texts.values() for ids in group]
    pieces, line = np.concatenate(lines), np.repeat(np.arange(len(lines)), [len(ids) for ids in lines])
    counts: Any = coo_array((vocab, vocab), dtype=np.float64).tocsr()
    for distance in range(1, window + 1):
        left, right = pieces[:-distance], pieces[distance:]
        kept = (line[:-distance] == line[distance:]) & (left >= len(SPECIAL)) & (right >= len(SPECIAL))
        weights = np.full(int(kept.sum()), 1 / distance)
        counts = counts + coo_array((weights, (left[kept], right[kept])), shape=(vocab, vocab)).tocsr()
    both = (counts + counts.T).tocoo()
    if both.nnz == 0:
        return np.zeros((vocab, width), dtype=np.float32)
    total: Floats64 = np.asarray(both.sum(axis=1)).ravel()
    context = total**0.75 / (total**0.75).sum()
    row, column = both.coords
    information = np.log(both.data / (total[row] * context[column]))
    kept = information > 0
    matrix = coo_array((information[kept], (row[kept], column[kept])), shape=(vocab, vocab)).tocsr()
    n = min(width, vocab - 1)
    left_vectors, values, _ = randomized_svd(matrix, n, n_iter=4, random_state=seed)
    vectors = np.zeros((vocab, width), dtype=np.float32)
    vectors[:, :n] = left_vectors * np.sqrt(values)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.where(total[:, None] > 0, vectors / np.maximum(lengths, 1e-12), 0).astype(np.float32)


@dataclass(frozen=True)
class Batch:
    """Examples as padded matrices: (examples, pieces)."""

    ids: Ints  # PAD behind
    positions: Ints  # restart at 0 with the second line of a pair
    segments: Ints  # 0, and 1 in the second line of a pair
    is_pair: Bools  # (examples,)


def pad(examples: Sequence[Sequence[Ints]]) -> Batch:
    """Put examples of one or two lines into matrices."""
    width = max(sum(map(len, example)) for example in examples)
    ids = np.full((len(examples), width), PAD, dtype=np.int64)
    positions, segments = np.zeros_like(ids), np.zeros_like(ids)
    for row, example in enumerate(examples):
        joined = np.concatenate(example)
        ids[row, : len(joined)] = joined
        positions[row, : len(joined)] = np.concatenate([np.arange(len(line)) for line in example])
        segments[row, len(example[0]) : len(joined)] = 1
    return Batch(ids, positions, segments, np.array([len(example) == 2 for example in examples]))


def batches(
    data: Data, pool: int, index: int, *, size: int, pairs: float, seed: Sequence[int]
) -> Iterator[tuple[int, int, list[list[Ints]]]]:
    """Yield (pool, index, examples) for ever, from a given place: pools are seeded by their number.

    A batch has examples of like length and at most `size` pieces, padding included.
    """
    while True:
        rng = np.random.default_rng([*seed, pool])
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


def words_hidden(ids: Ints, continues: Bools, rng: np.random.Generator, share: float | Floats64) -> Bools:
    """Draw whole words, each with its share; special pieces never."""
    word = np.cumsum(~continues[ids]).reshape(ids.shape)  # pieces of one word carry one number
    hidden: Bools = (rng.random(word.max(initial=0) + 1)[word] < share) & (ids >= len(SPECIAL))
    return hidden


def mask(
    batch: Batch, rng: np.random.Generator, continues: Bools, *, masked: float, masked_pair: tuple[float, float]
) -> tuple[Batch, Ints]:
    """Mask whole words: 80 % [MASK], 10 % another piece, 10 % left as they are.

    `masked` is the share of words of a single line; `masked_pair` the shares of one line of a pair, drawn
    at random, and of the other.

    Returns
    -------
    Batch
        With other ids.
    labels : array (examples, pieces) of int64
        The true piece where a word is masked, `IGNORED` elsewhere.
    """
    ids = batch.ids
    heavy = rng.integers(2, size=(len(ids), 1))
    in_pair = np.where(batch.segments == heavy, *masked_pair)
    hidden = words_hidden(ids, continues, rng, np.where(batch.is_pair[:, None], in_pair, masked))
    if not hidden.any():  # a batch must have something to guess
        hidden.flat[np.argmax(ids >= len(SPECIAL))] = True
    labels = np.where(hidden, ids, IGNORED)
    dice = rng.random(ids.shape)
    others = rng.integers(len(SPECIAL), len(continues), size=ids.shape)
    changed = np.where(hidden & (dice < 0.8), MASK, np.where(hidden & (dice >= 0.9), others, ids))
    return replace(batch, ids=changed), labels
