"""Scores of tasks against the programs that define them, and their intervals."""

from __future__ import annotations

import numpy as np
import pytest

from isogloss.corpus import Corpus
from isogloss.errors import InputError
from isogloss.metrics.task_scores import bleu_tokenizer, entities, score_classes, score_entities, score_translations
from isogloss.tasks.ner import Ner


def random_tags(generator: np.random.Generator, n: int) -> list[str]:
    return generator.choice(["O", "O", "B-PER", "I-PER", "B-LOC", "I-LOC"], n).tolist()


def test_entity_f1_is_that_of_seqeval() -> None:
    seqeval = pytest.importorskip("seqeval.metrics")
    generator = np.random.default_rng(0)
    gold = [random_tags(generator, n) for n in generator.integers(1, 12, 200)]
    found = [
        [
            tag if generator.random() < 0.7 else other
            for tag, other in zip(a, random_tags(generator, len(a)), strict=True)
        ]
        for a in gold
    ]
    ours = score_entities(gold, found, n_bootstrap=0)[0]
    assert ours.score == pytest.approx(seqeval.f1_score(gold, found), abs=1e-12)
    assert ours.n == 200


@pytest.mark.parametrize(
    ("tags", "spans"),
    [
        (["O", "O"], []),
        (["B-PER", "I-PER", "I-LOC"], [("PER", 0, 2), ("LOC", 2, 3)]),  # another type ends an entity
        (["B-PER", "B-PER"], [("PER", 0, 1), ("PER", 1, 2)]),
        (["I-ORG", "I-ORG", "O", "B-LOC"], [("ORG", 0, 2), ("LOC", 3, 4)]),
    ],
)
def test_entities(tags: list[str], spans: list[tuple[str, int, int]]) -> None:
    assert entities(tags) == spans


def test_a_right_type_with_a_wrong_end_is_wrong() -> None:
    score = score_entities([["B-PER", "I-PER", "O"]], [["B-PER", "O", "O"]], n_bootstrap=0)[0]
    assert score.score == 0


def test_no_entity_anywhere_has_no_score() -> None:
    assert np.isnan(score_entities([["O"]] * 30, [["O"]] * 30)[0].score)


def test_classes_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, f1_score

    generator = np.random.default_rng(1)
    gold = generator.choice(["a", "b", "c"], 300, p=[0.6, 0.3, 0.1])
    found = np.where(generator.random(300) < 0.6, gold, generator.choice(["a", "b", "c"], 300))
    accuracy, macro = score_classes(gold.tolist(), found.tolist())
    assert accuracy.score == pytest.approx(accuracy_score(gold, found))
    assert macro.score == pytest.approx(f1_score(gold, found, average="macro"))
    assert accuracy.baseline == pytest.approx(np.mean(gold == "a"))
    assert accuracy.ci_low < accuracy.score < accuracy.ci_high


def test_the_interval_of_an_accuracy_covers_it() -> None:
    generator = np.random.default_rng(2)
    inside = 0
    for _ in range(200):
        right = generator.random(150) < 0.7
        score = score_classes(["x"] * 150, np.where(right, "x", "y").tolist(), n_bootstrap=300)[0]
        inside += score.ci_low <= 0.7 <= score.ci_high
    assert 0.9 <= inside / 200 <= 0.99


def test_translations_are_scored_as_sacrebleu_does() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    references = [f"Ein Hund läuft durch das Gras Nummer {i} ." for i in range(40)]
    found = [text.replace("läuft", "rennt") if i % 2 else text for i, text in enumerate(references)]
    sources = [f"A dog runs through the grass number {i} ." for i in range(40)]
    bleu, chrf = score_translations(references, found, sources, n_bootstrap=200)
    assert bleu.score == pytest.approx(sacrebleu.corpus_bleu(found, [references]).score / 100)
    assert chrf.score == pytest.approx(sacrebleu.corpus_chrf(found, [references]).score / 100)
    assert bleu.ci_low < bleu.score < bleu.ci_high
    assert bleu.baseline < 0.2 < bleu.score  # a copy of the source is no translation


@pytest.mark.parametrize(
    ("labels", "text", "tokenizer"),
    [
        ("zh zho cmn zh_CN zh-Hant zho_Hans chi yue yue_Hant ZH", "我们昨天在北京买了书", "zh"),
        ("ja jpn ja_XX jpn_Jpan ja-JP", "昨日、東京で本を買った", "char"),
        ("ko kor ko_KR kor_Hang", "어제 서울에서 책을 샀다", "char"),
        ("th tha tha_Thai th_TH lo km khm_Khmr my_MM bod_Tibt dz", "ฉันซื้อหนังสือเมื่อวาน", "char"),
        ("pt-BR pt_XX eng_Latn c++ ja-Latn", "I bought a book in 北京 yesterday", "13a"),
        ("mainland c++", "我们昨天在北京买了书", "zh"),
        ("subtitles", "昨日、東京で本を買った", "char"),
    ],
)
def test_bleu_counts_words_that_the_script_has_whatever_form_the_label_has(labels, text, tokenizer) -> None:
    pytest.importorskip("sacrebleu")
    for label in labels.split():
        assert bleu_tokenizer(label, [text]) == tokenizer, label
        bleu, _ = score_translations([text + "x"], [text + "y"], [text], language=label, n_bootstrap=0)
        assert bleu.score > 0.5, label


def test_predictions_must_match() -> None:
    with pytest.raises(InputError, match="2 and 1"):
        score_classes(["a", "b"], ["a"])
    with pytest.raises(InputError, match="Sentence 0 has 2 gold and 1"):
        score_entities([["O", "O"]], [["O"]])
    with pytest.raises(InputError, match="no sentence"):
        score_entities([], [])


def test_shuffled_tags_stay_in_the_sentences_that_are_annotated(tmp_path) -> None:
    rows = ['{"tokens": ["a", "b"]}', *['{"tokens": ["c", "d", "e"], "ner_tags": ["B-X", "I-X", "O"]}'] * 9]
    (tmp_path / "a.jsonl").write_text("\n".join(rows))
    corpus = Corpus.read({"en": tmp_path / "a.jsonl"})
    dealt = Ner.of(corpus).shuffled(corpus, np.random.default_rng(0)).words["ner"].to_list()
    given = corpus.words["ner"].to_list()
    assert dealt[:2] == [None, None] and sorted(dealt[2:]) == sorted(given[2:]) and dealt != given
