"""Scores of tasks: entities, classes, translations; each with an interval over sentences."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from isogloss.arguments import Draws, Seed, checked
from isogloss.corpus.tags import is_iob2, spans
from isogloss.errors import InputError, MissingExtraError
from isogloss.languages import mainly_unspaced, read_language
from isogloss.metrics.statistics.bootstrap import GROUPS, Resamples, interval

Floats = npt.NDArray[np.float64]
Span = tuple[str, int, int]


@dataclass(frozen=True)
class TaskScore:
    """One score of a task.

    Attributes
    ----------
    metric : str
        ``"f1"``, ``"accuracy"``, ``"macro_f1"``, ``"bleu"`` or ``"chrf"``.
    score : float
        In [0, 1]; NaN where it is not defined.  BLEU and chrF too are in shares, not in percent.
    ci_low, ci_high : float
        95 % interval of a bootstrap over sentences.
    baseline : float
        What needs no model: the most frequent class for everything, or the source line as its own translation; 0 for
        entities, where nothing found scores 0.
    n : int
        Sentences.
    """

    metric: str
    score: float
    ci_low: float
    ci_high: float
    baseline: float
    n: int


@checked
def entities(tags: Sequence[str]) -> list[Span]:
    """Return the (type, first word, word after the last) of every entity in IOB2 tags.

    As conlleval (Tjong Kim Sang and De Meulder, *Introduction to the CoNLL-2003 Shared Task*, 2003): an entity begins
    at B-, or at an I- that continues no entity of its type.

    Raises
    ------
    InputError
        If a tag is not IOB2: its entity would be lost without a word.

    Examples
    --------
    >>> entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [('PER', 0, 2), ('LOC', 3, 4), ('LOC', 4, 5)]
    """
    for tag in tags:
        if not is_iob2(tag):
            raise InputError(
                f"The entity tag '{tag}' is not IOB2: O, B-PER and I-PER. Other schemes become IOB2 when they are read "
                "by Corpus.read, or by isogloss.corpus.tags.to_iob2."
            )
    return spans((tag[0], tag[2:]) for tag in tags)


@checked
def score_entities(
    gold: Sequence[Sequence[str]], predicted: Sequence[Sequence[str]], *, n_bootstrap: Draws = 1000, draw_seed: Seed = 0
) -> list[TaskScore]:
    """Return micro-averaged F1 of entities, ``2 tp / (predicted + gold)``: type and both ends must be right.

    Parameters
    ----------
    gold, predicted : sequences of IOB2 tag sequences
        One a sentence, one tag a word.
    n_bootstrap : int
        0: no interval.
    draw_seed : int

    Raises
    ------
    InputError
        If the two differ in length, or a tag is not IOB2.
    """
    _check(len(gold), len(predicted))
    counts = np.zeros((len(gold), 3))
    for i, (right, guess) in enumerate(zip(gold, predicted, strict=True)):
        if len(right) != len(guess):
            raise InputError(f"Sentence {i} has {len(right)} gold and {len(guess)} predicted tags.")
        a, b = set(entities(right)), set(entities(guess))
        counts[i] = len(a & b), len(b), len(a)

    def f1(weights: Floats) -> Floats:
        true, n_predicted, n_gold = (weights @ counts).T
        return _quotient(2 * true, n_predicted + n_gold)

    draws = {"n_bootstrap": n_bootstrap, "draw_seed": draw_seed}
    return [_scored("f1", f1, len(gold), baseline=0.0, **draws)]


@checked
def score_classes(
    gold: Sequence[str], predicted: Sequence[str], *, n_bootstrap: Draws = 1000, draw_seed: Seed = 0
) -> list[TaskScore]:
    """Return accuracy, and the mean F1 over the classes that the gold labels or the predictions have.

    Raises
    ------
    InputError
        If the two differ in length.
    """
    _check(len(gold), len(predicted))
    right, guesses = np.asarray(list(gold)), np.asarray(list(predicted))
    names, sizes = np.unique(right, return_counts=True)
    draws, scores = {"n_bootstrap": n_bootstrap, "draw_seed": draw_seed}, []
    for metric, function in (("accuracy", _accuracy), ("macro_f1", _macro_f1)):
        always = np.full(len(right), names[sizes.argmax()])
        baseline = float(function(right, always)(np.ones((1, len(right))))[0])
        scores.append(_scored(metric, function(right, guesses), len(right), baseline=baseline, **draws))
    return scores


@checked
def score_translations(
    references: Sequence[str],
    translations: Sequence[str],
    sources: Sequence[str],
    *,
    language: str = "",
    n_bootstrap: Draws = 1000,
) -> list[TaskScore]:
    """Return BLEU (Papineni et al. 2002) and chrF (Popović 2015) by sacreBLEU (Post 2018), in shares.

    Parameters
    ----------
    references, translations, sources : sequences of str
        One a sentence; the sources are scored as translations for the baseline.
    language : str
        Label of the references; it chooses the words of BLEU, see `bleu_tokenizer`.
    n_bootstrap : int
        0: no interval.

    Raises
    ------
    MissingExtraError
        If sacrebleu is not installed.
    InputError
        If the three differ in length.
    """
    try:
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF
    except ImportError:
        raise MissingExtraError("sacrebleu", "finetune", "BLEU and chrF") from None
    _check(len(references), len(translations))
    _check(len(references), len(sources))
    scores, refs = [], [list(references)]
    tokenizer = bleu_tokenizer(language, references)
    for metric, judge in (("bleu", BLEU(tokenize=tokenizer)), ("chrf", CHRF())):
        score = judge.corpus_score(list(translations), refs).score / 100
        baseline = judge.corpus_score(list(sources), refs).score / 100
        low = high = math.nan
        if n_bootstrap and len(references) > 1:
            # sacreBLEU keeps what its own bootstrap sums: n-gram counts of every sentence
            stats = np.array(judge._extract_corpus_statistics(list(translations), refs), dtype=np.float64)
            weights = Resamples.draw(np.arange(len(stats)), n_bootstrap).weights
            sums = weights.astype(np.float64) @ stats
            draws = [judge._compute_score_from_stats([int(x) for x in row]).score / 100 for row in sums]
            low, high = interval(score, draws)
        scores.append(TaskScore(metric, score, max(low, 0.0), min(high, 1.0), baseline, len(references)))
    return scores


def bleu_tokenizer(language: str, references: Sequence[str]) -> str:
    """Return the name of sacreBLEU's tokeniser for references under a label.

    ``zh`` for Han characters, ``char`` for Korean and every other script without spaces, else ``13a``.  The script
    is the label's; where it has spaces or the label is no language, that of most letters of the references.

    Examples
    --------
    >>> [bleu_tokenizer(x, []) for x in ("zho_Hans", "ja_XX", "kor", "th", "pt-BR")]
    ['zh', 'char', 'char', 'char', '13a']
    >>> bleu_tokenizer("subtitles", ["我们在北京"])
    'zh'
    """
    natural = read_language(language)
    if natural and natural.script == "Kore":
        return "char"
    script = (natural.unspaced if natural else "") or mainly_unspaced("".join(references))
    return {"": "13a", "Hani": "zh"}.get(script, "char")


def _accuracy(gold: npt.NDArray[np.str_], predicted: npt.NDArray[np.str_]) -> Callable[[Floats], Floats]:
    hits = (gold == predicted).astype(np.float64)
    return lambda weights: _quotient(weights @ hits, weights.sum(axis=1))


def _macro_f1(gold: npt.NDArray[np.str_], predicted: npt.NDArray[np.str_]) -> Callable[[Floats], Floats]:
    a, b = ((labels[:, None] == np.union1d(gold, predicted)).astype(np.float64) for labels in (gold, predicted))

    def mean(weights: Floats) -> Floats:
        f1 = _quotient(2 * (weights @ (a * b)), weights @ a + weights @ b)
        return np.asarray(np.nanmean(f1, axis=1))  # a resample may lack a class

    return mean


def _scored(
    metric: str, function: Callable[[Floats], Floats], n: int, *, baseline: float, n_bootstrap: int, draw_seed: int
) -> TaskScore:
    score = float(function(np.ones((1, n)))[0])
    low = high = math.nan
    if n_bootstrap and n > GROUPS:
        weights = Resamples.draw(np.arange(n), n_bootstrap, draw_seed=draw_seed).weights.astype(np.float64)
        low, high = interval(score, function(weights))
    return TaskScore(metric, score, max(low, 0.0), min(high, 1.0), baseline, n)


def _quotient(above: Floats, below: Floats) -> Floats:
    return np.asarray(np.divide(above, below, out=np.full(np.shape(above), np.nan), where=below > 0))


def _check(n: int, m: int) -> None:
    if n != m:
        raise InputError(f"Predictions must match the sentences: {n} and {m}.")
    if not n:
        raise InputError("There is no sentence to score.")
