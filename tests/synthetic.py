"""A small study made up in memory: five languages, seven layers, two models, known words."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from isogloss.concepts import Concepts
from isogloss.config import StudyConfig
from isogloss.coordinates import Clustering, Pair, Space
from isogloss.dictionary import TranslationDictionary
from isogloss.metrics import calign, colap, mean_alignment
from isogloss.metrics.concepts.sentences import colap_other_sentences, sentence_ami
from isogloss.results import RESULT_COLUMNS, Alignment, Estimate, Overlap, Results
from isogloss.study.analyses.search import by_layer, with_search
from isogloss.study.sheet import DRAWS

LANGUAGES = ("en", "de", "es", "ar", "zh")
# Eight fields of meaning of six words; column i of every language is the same word.
FIELDS = {
    "en": (
        "house door roof wall room garden|river sea lake rain snow ice|bread milk salt rice fish egg|"
        "mother father son daughter brother sister|red green blue white black yellow|"
        "Monday Tuesday Friday spring winter summer|says asks tells calls writes reads|"
        "two three four five six seven"
    ),
    "de": (
        "Haus Tür Dach Wand Zimmer Garten|Fluss Meer See Regen Schnee Eis|Brot Milch Salz Reis Fisch Ei|"
        "Mutter Vater Sohn Tochter Bruder Schwester|rot grün blau weiß schwarz gelb|"
        "Montag Dienstag Freitag Frühling Winter Sommer|sagt fragt erzählt ruft schreibt liest|"
        "zwei drei vier fünf sechs sieben"
    ),
    "es": (
        "casa puerta techo pared cuarto jardín|río mar lago lluvia nieve hielo|"
        "pan leche sal arroz pescado huevo|madre padre hijo hija hermano hermana|"
        "rojo verde azul blanco negro amarillo|lunes martes viernes primavera invierno verano|"
        "dice pregunta cuenta llama escribe lee|dos tres cuatro cinco seis siete"
    ),
    "ar": (
        "بيت باب سقف جدار غرفة حديقة|نهر بحر بحيرة مطر ثلج جليد|خبز حليب ملح أرز سمك بيضة|"
        "أم أب ابن ابنة أخ أخت|أحمر أخضر أزرق أبيض أسود أصفر|الاثنين الثلاثاء الجمعة ربيع شتاء صيف|"
        "يقول يسأل يحكي ينادي يكتب يقرأ|اثنان ثلاثة أربعة خمسة ستة سبعة"
    ),
    "zh": (
        "房子 门 屋顶 墙 房间 花园|河 海 湖 雨 雪 冰|面包 牛奶 盐 米饭 鱼 鸡蛋|"
        "母亲 父亲 儿子 女儿 兄弟 姐妹|红 绿 蓝 白 黑 黄|"
        "星期一 星期二 星期五 春天 冬天 夏天|说 问 告诉 叫 写 读|二 三 四 五 六 七"
    ),
}
NASTY = ("<script>alert(1)</script>", "</script><b>", '"&amp;', "{{title}}")


class SyntheticStudy:
    """What `isogloss.study.open_study` returns, made up: deeper layers gather words of one meaning in one concept."""

    def __init__(
        self,
        root: Path,
        *,
        languages: tuple[str, ...] = LANGUAGES,
        n_layers: int = 7,
        models: tuple[str, ...] = ("tiny", "tiny-tuned"),
    ) -> None:
        self.root = root
        self.languages = languages
        self.config = StudyConfig(
            name="Five tongues",
            corpus={"files": {x: f"{x}.txt" for x in languages}},
            models=[{"path": name} for name in models],
        )
        self.labels: dict[str, pl.DataFrame] | None = None
        self.robustness: pl.DataFrame | None = None
        layers = tuple(range(n_layers))
        self.runs = [tuple(Clustering(m, "encoder", x, "kmeans", 10, 0) for x in layers) for m in models]
        self.clusterings = [clustering for run in self.runs for clustering in run]
        self.bases = dict.fromkeys(models, "tiny")
        self.pairs = [Pair(*both) for both in itertools.combinations(languages, 2)]
        joint = [pair.space for pair in self.pairs]
        whole = [Space(languages)] if len(languages) > 2 else []
        self.spaces = [*map(Space.of, languages), *joint, *whole]
        self.manifest: dict[str, Any] = {"versions": {"isogloss": "0.1.0", "torch": "2.13.0"}}
        self.warnings = [
            "3 sentences were cut at the model's limit of 128 subwords.",
            "The dictionary uses <b>the model</b>.",
        ]
        self.words = {x: [w.split() for w in FIELDS[x].split("|")] for x in languages}
        self.words["en"][0][-1] = NASTY[0]
        self.words["en"][1][-1] = NASTY[1]
        self.words["de"][0][-1] = NASTY[2]
        self.words["de"][1][-1] = NASTY[3]

    @cached_property
    def tokens(self) -> pl.DataFrame:
        rows = []
        for language in self.languages:
            for field, words in enumerate(self.words[language]):
                for rank, word in enumerate(words):
                    rows += [(language, field * 6 + rank, i, word) for i in range(7 - rank)]
        names = ["language", "sentence", "position", "word"]
        return (
            pl.DataFrame(rows, schema=names, orient="row")
            .with_row_index("row")
            .with_columns(pl.col("row").cast(pl.Int64))
        )

    @cached_property
    def sentences(self) -> pl.DataFrame:
        return pl.DataFrame({"language": list(self.languages), "sentence": 0, "text": "…"})

    def concepts(self, clustering: Clustering, space: Space) -> Concepts:
        group, layer, model = list(space.languages), clustering.layer, clustering.model
        tokens = self.tokens.filter(pl.col("language").is_in(group))
        deepest = max(each.layer for each in self.clusterings)
        depth = 0.55 + 0.4 * layer / deepest + 0.04 * (model != "tiny")
        generator = np.random.default_rng([layer, len(space.name), *map(ord, space.name)])
        own = np.array([group.index(x) for x in tokens["language"]])
        field = (tokens["sentence"] // 6).to_numpy()
        strange = np.array([x in ("ar", "zh") for x in tokens["language"]])
        # A language keeps a meaning to itself in shallow layers; meanings with low numbers are shared first.
        alone = field / 8 > depth**3 - 0.2 * strange
        labels = np.where(alone, 8 + own * 8 + field, field).astype(np.int32)
        stray = generator.random(len(labels)) > depth - 0.1 * strange
        labels[stray] = generator.integers(0, 8 + 8 * len(group), int(stray.sum()))
        facts = {"model": model, "stack": clustering.stack, "layer": layer, "method": "kmeans"}
        return Concepts(tokens, labels, 8 + 8 * len(group), **facts)

    def dictionary(self, direction: Pair) -> TranslationDictionary:
        source, target = direction.languages
        pairs = [
            (s, t, 4, 0.8)
            for a, b in zip(self.words[source], self.words[target], strict=True)
            for s, t in zip(a, b, strict=True)
        ]
        table = pl.DataFrame(pairs, schema=["source", "target", "count", "probability"], orient="row")
        return TranslationDictionary(source, target, table, induced_by="diagonal")

    def alignment(self, clustering: Clustering, direction: Pair) -> Alignment:
        s, t = (self.concepts(clustering, side) for side in direction.sides)
        options = {"theta_align": (0.5, 0.4), "min_types": 2, "n_permutations": 0}
        return calign(s, t, self.dictionary(direction), **options)

    def overlap(self, clustering: Clustering, space: Space) -> Overlap:
        thetas = (0.3,) if len(space.languages) < 4 else (0.1,)
        return colap(self.concepts(clustering, space), theta_overlap=thetas)

    @cached_property
    def drawn(self) -> pl.DataFrame:
        """The estimates with made-up draws: resamples about the score, both nulls about a made-up chance level.

        The null of calign is compiled at first use, which takes long.
        """
        rng, rows = np.random.default_rng(0), []

        def made_up(f: Estimate, chance: float | None = None) -> Estimate:
            draws = (f.score + rng.normal(0, 0.02, 220)).astype(np.float32)
            if chance is None:
                return replace(f, draws=draws)
            nulls = [(chance + rng.normal(0, 0.01, 50)).astype(np.float32) for _ in range(2)]
            return Estimate(f.theta, f.score, chance, 0.01, 0.01, *_tail(f), "none", draws, chance, chance, *nulls)

        for clustering in self.clusterings:
            for pair in self.pairs:
                (a, b), space = pair.languages, pair.space
                both = [self.alignment(clustering, direction) for direction in pair.directions]
                figures = [[made_up(f, 0.1 * f.score + 0.02) for f in x.estimates] for x in both]
                soft = [made_up(x.soft, 0.1 * x.soft.score + 0.02) for x in both]
                rows.append(self._row(clustering, "calign_soft", a, b, of=soft[0]))
                rows.append(self._row(clustering, "calign_soft", b, a, of=soft[1]))
                rows.append(self._row(clustering, "calign_soft_mean", a, b, of=mean_alignment(*soft)))
                rows += [self._row(clustering, "calign", a, b, of=f) for f in figures[0]]
                rows += [self._row(clustering, "calign", b, a, of=f) for f in figures[1]]
                rows += [
                    self._row(clustering, "calign_mean", a, b, of=mean_alignment(*f))
                    for f in zip(*figures, strict=True)
                ]
                overlap = self.overlap(clustering, space).estimates
                rows += [self._row(clustering, "colap", a, b, of=made_up(f)) for f in overlap]
                across = colap_other_sentences(self.concepts(clustering, space), n_splits=2)
                rows += [self._row(clustering, "colap_other_sentences", a, b, of=f) for f in across]
            group = self.overlap(clustering, Space(self.languages)).estimates
            rows += [self._row(clustering, "colap_group", Space(self.languages).name, "", of=f) for f in group]
            for space in self.spaces:
                told = sentence_ami(self.concepts(clustering, space))
                rows.append(self._row(clustering, "sentence_ami", space.name, "", of=told))
        draws = dict.fromkeys(DRAWS, pl.List(pl.Float32))
        return pl.DataFrame(rows, schema=RESULT_COLUMNS | draws, orient="row")

    @cached_property
    def results(self) -> Results:
        return Results(with_search(self.drawn).select(*RESULT_COLUMNS))

    @cached_property
    def by_layer(self) -> pl.DataFrame:
        return by_layer(self.drawn)

    def _row(self, clustering: Clustering, metric: str, source: str, target: str, *, of: Estimate) -> dict[str, object]:
        values = {name: getattr(of, name) for name in RESULT_COLUMNS if hasattr(of, name)}
        values |= {name: None if (drawn := getattr(of, name)) is None else drawn.tolist() for name in DRAWS}
        values |= clustering.facts() | {"base_model": self.bases[clustering.model]}
        sign = f"isogloss:0.1.0|metric:{metric}|theta:{of.theta:g}|n:10"
        return values | {"metric": metric, "source": source, "target": target, "signature": sign}


def with_draws(table: pl.DataFrame, *, spread: float = 0.02) -> pl.DataFrame:
    """Return estimates with made-up draws beside them: resamples about the score, both nulls about chance."""
    rng = np.random.default_rng(0)

    def around(name: str, n: int) -> pl.Series:
        middle = table[name].fill_null(float("nan")).to_numpy()[:, None]
        return pl.Series((middle + rng.normal(0, spread, (table.height, n))).tolist(), dtype=pl.List(pl.Float32))

    nulls = {f"null_{name}": around("chance", 100) for name in ("words", "sentence")}
    chances = {f"chance_{name}": pl.col("chance") for name in ("words", "sentence")}
    return table.with_columns(draws=around("score", 220), **nulls, **chances)


def label_tables(study: SyntheticStudy) -> dict[str, pl.DataFrame]:
    """Return made-up tables of labels: nouns are common and shared more with depth, verbs are only two."""
    scores, splits = [], []
    for clustering in study.clusterings:
        place, layer = clustering.facts(), clustering.layer
        numbers = {"chance": 0.01, "ci_low": 0.0, "ci_high": 0.9}
        for kind, score in (("all", 0.5), ("upos", 0.4), ("suffix", 0.1), ("suffix:2", 0.1), ("language", 0.9)):
            for space, more in (("en", 0.0), ("de", 0.2), ("en+de", 0.4)):
                row = {"space": space, "kind": kind, "measure": "alignment", "score": score + more - 0.3 * (more > 0.3)}
                scores += [place | row | numbers | {"n": 40}, place | row | numbers | {"measure": "coverage", "n": 5}]
        for metric, source, target in (("calign", "en", "de"), ("calign", "de", "en"), ("colap", "en", "de")):
            for kind, value, n in (
                *(("upos", "NOUN", 10 if source == "en" else 30), ("upos", "VERB", 2), ("upos", None, 20)),
                *(("suffix", "-en", 9), ("suffix", None, 20), ("suffix:2", "-en", 9), ("suffix:2", None, 20)),
                *(("language", "de", 50), ("language", None, 1)),
            ):
                score = 0.1 + 0.1 * layer if value == "NOUN" and source == "en" else 0.1
                row = {"metric": metric, "source": source, "target": target, "kind": kind, "value": value, "n": n}
                splits.append(place | row | numbers | {"score": score})
    return {"labels": pl.DataFrame(), "scores": pl.DataFrame(scores), "splits": pl.DataFrame(splits)}


def robustness_table() -> pl.DataFrame:
    """Return what `isogloss.study.robustness` does: layers keep their order below 0.7, pairs always."""
    rows = [
        {"n_concepts": k, "top": top, "min_types": 3.0, "theta": theta, "adjusted": 0.1}
        | {"rho_layers": 1.0 if theta < 0.7 else -0.5, "rho_pairs": 0.9, "rho_models": None}
        for k, top, theta in itertools.product((20, 40), (1, 10), (0.5, 0.8))
    ]
    return pl.DataFrame(rows, schema_overrides={"rho_models": pl.Float64})


def _tail(f: Estimate) -> tuple[float, float, int, float]:
    return f.ci_low, f.ci_high, f.n, f.coverage
