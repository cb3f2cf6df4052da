"""Exports: what other programs read is what the study has, whatever its words are."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import yaml

from isogloss import cli
from isogloss.coordinates import Pair, Space
from isogloss.errors import InputError, UsageError
from isogloss.export import Choice, dataset, export_study, latex
from isogloss.export.atlas import neighbours, plane, points_table
from isogloss.export.choice import one_place
from isogloss.export.concepts import write_concepts
from isogloss.export.files import check_readme, write_parts
from isogloss.export.latex import TexTable, common_signature, escape, number
from isogloss.store import StudyLayout
from isogloss.study import open_study, run_study
from synthetic import NASTY, SyntheticStudy


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> SyntheticStudy:
    return SyntheticStudy(tmp_path_factory.mktemp("study"), languages=("en", "de", "ar"), n_layers=3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study, run once."""
    from isogloss.starter import load_corpus, model_folder

    folder = tmp_path_factory.mktemp("finished")
    corpus = load_corpus(["en", "de", "ar"])
    texts = [corpus.texts(language)[:40] for language in corpus.languages]
    rows = ["\t".join(corpus.languages), *("\t".join(row) for row in zip(*texts, strict=True))]
    (folder / "text.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    settings = {
        "name": "small",
        "corpus": {"files": "text.tsv"},
        "models": [{"name": "starter", "path": str(model_folder()), "layers": [0, 4]}],
        "discovery": {"method": "ward", "n_concepts": 30},
        "metrics": {"min_types": 2, "n_permutations": 20, "theta_align": [0.5, 0.8]},
    }
    (folder / "study.yaml").write_text(yaml.safe_dump(settings, allow_unicode=True), encoding="utf-8")
    run_study(folder / "study.yaml", out=folder / "out", workers=1)
    return folder / "out"


# -- what is chosen ---------------------------------------------------------------------------------


def test_spaces_are_languages_pairs_and_the_group(study: SyntheticStudy) -> None:
    assert [space.name for space in Choice().spaces_of(study)] == [
        "en",
        "de",
        "ar",
        "en+de",
        "en+ar",
        "de+ar",
        "en+de+ar",
    ]  # type: ignore[arg-type]


def test_what_is_not_there_cannot_be_chosen(study: SyntheticStudy, tmp_path: Path) -> None:
    for choice, said in (
        (Choice(model="tinny"), "unknown model 'tinny'. Did you mean 'tiny'"),
        (Choice(stack="decoder"), "unknown stack 'decoder'"),
        (Choice(layers=(7,)), "unknown layer '7'"),
        (Choice(spaces=("de+en",)), "unknown space 'de+en'"),
        (Choice(n_concepts=3), "unknown n concepts '3'"),
    ):
        with pytest.raises(UsageError, match=re.escape(said)):
            write_concepts(study, tmp_path / "c.json", choice)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"unknown ending for concepts '\.jsn'.*\.json"):
        write_concepts(study, tmp_path / "c.jsn", Choice())  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=r"unknown kind of export 'latec'.*latex"):
        export_study(tmp_path, "latec", out=tmp_path / "x")
    assert not list(tmp_path.iterdir())


# -- concepts ---------------------------------------------------------------------------------------


def test_json_has_every_concept_with_its_words_and_counterparts(study: SyntheticStudy, tmp_path: Path) -> None:
    path = tmp_path / "concepts.json"
    choice = Choice(model="tiny", layers=(2,), spaces=("en", "en+de"))
    assert write_concepts(study, path, choice) == [path]  # type: ignore[arg-type]
    whole = json.loads(path.read_text(encoding="utf-8"))
    assert whole["schema"] == 1
    assert [(s["model"], s["layer"], s["space"]) for s in whole["spaces"]] == [("tiny", 2, "en"), ("tiny", 2, "en+de")]
    alone, joint = whole["spaces"]
    concepts = study.concepts(study.runs[0][0].at(2), Space.named("en"))
    assert [c["size"] for c in alone["concepts"]] == np.bincount(
        concepts.labels, minlength=concepts.n_concepts
    ).tolist()
    counted = [(c["concept"], x, *pair) for c in alone["concepts"] for x in c["words"] for pair in c["words"][x]]
    assert counted == concepts.types().rows()
    assert NASTY[0] in {row[2] for row in counted}
    aligned = study.alignment(study.runs[0][0].at(2), Pair("en", "de")).aligned()
    there = {(c["concept"], a["concept"]) for c in alone["concepts"] for a in c["aligned"] if a["language"] == "de"}
    assert there == set(aligned.select("source_concept", "target_concept").iter_rows())
    assert there
    assert {f["metric"] for f in alone["estimates"]} == {"calign", "calign_soft"}
    assert all(f["chance"] is not None for f in alone["estimates"] + joint["estimates"])
    overlap = study.overlap(study.runs[0][0].at(2), Space.of("en", "de"))
    assert sum(c["overlaps"] for c in joint["concepts"]) == round(overlap.score * overlap.estimates[0].n)
    assert joint["concepts"][0]["shares"].keys() == {"en", "de"}


def test_labels_are_in_the_json_where_the_study_has_them(finished: Path, tmp_path: Path) -> None:
    export_study(finished, "concepts", out=tmp_path / "c.json", layers=[4], spaces=["en"])
    concepts = json.loads((tmp_path / "c.json").read_text(encoding="utf-8"))["spaces"][0]["concepts"]
    labels = open_study(finished).labels
    assert labels is not None
    own = labels["labels"].filter((pl.col("layer") == 4) & (pl.col("space") == "en"))
    found = [(c["concept"], x["kind"], x["value"]) for c in concepts for x in c.get("labels", ())]
    assert sorted(found) == sorted(own.select("concept", "kind", "value").rows())
    assert found


def test_parquet_is_one_long_table(study: SyntheticStudy, tmp_path: Path) -> None:
    path = tmp_path / "concepts.parquet"
    write_concepts(study, path, Choice(spaces=("de", "de+ar")))  # type: ignore[arg-type]
    table = pl.read_parquet(path)
    assert table.columns[-6:] == ["layer", "space", "concept", "language", "word", "count"]
    one = table.filter((pl.col("model") == "tiny-tuned") & (pl.col("layer") == 1) & (pl.col("space") == "de+ar"))
    expected = study.concepts(study.runs[1][0].at(1), Space.named("de+ar")).types()
    assert one.select(expected.columns).equals(expected)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["concepts.parquet"]


def test_parts_become_one_file_or_none(tmp_path: Path) -> None:
    def tables():
        yield pl.DataFrame({"a": [1, 2]})
        raise InputError("broken")

    with pytest.raises(InputError, match="broken"):
        write_parts(tmp_path / "t.parquet", tables(), advance=lambda _: None)
    assert not list(tmp_path.iterdir())


# -- embedding-atlas --------------------------------------------------------------------------------


def test_the_plane_is_that_of_principal_components() -> None:
    from sklearn.decomposition import PCA

    generator = np.random.default_rng(0)
    array = (generator.normal(size=(1500, 6)) * [5, 1, 3, 1, 1, 1] + 7).astype(np.float16)
    rows = np.arange(0, 1500, 2)
    points, shares = plane(array, rows)
    peer = PCA(2).fit(array[rows].astype(np.float64))
    there = peer.transform(array[rows].astype(np.float64))
    assert np.allclose(np.abs(points), np.abs(there), atol=1e-3)
    assert np.allclose(shares, peer.explained_variance_ratio_)
    assert plane(np.ones((4, 1)), np.arange(4))[1] == (0.0, 0.0)


def test_neighbours_are_the_nearest_and_ties_keep_their_order() -> None:
    array = np.array([[9.0], [0], [0], [1], [3], [0]], np.float32)
    found = neighbours(array, np.arange(1, 6), n=2)
    assert found.struct.field("ids").to_list() == [[1, 4], [0, 4], [0, 1], [2, 0], [0, 1]]
    assert found.struct.field("distances").to_list()[3] == [2.0, 3.0]
    generator = np.random.default_rng(1)
    many = generator.normal(size=(1200, 5)).astype(np.float32)
    exact = ((many[:, None] - many) ** 2).sum(axis=2)
    np.fill_diagonal(exact, np.inf)
    ids = np.array(neighbours(many, np.arange(1200)).struct.field("ids").to_list())
    assert (ids == np.argsort(exact, axis=1, kind="stable")[:, :10]).mean() > 0.999
    assert neighbours(many, np.arange(1)).struct.field("ids").to_list() == [[]]


def test_points_have_words_concepts_and_corpus_columns(study: SyntheticStudy) -> None:
    concepts = study.concepts(study.runs[0][0].at(2), Space.named("en+ar"))
    tokens = concepts.tokens.with_columns(upos=pl.lit("NOUN"))
    points = np.arange(2 * tokens.height, dtype=np.float32).reshape(-1, 2)
    table, names = points_table(study, study.runs[0][2], replace(concepts, tokens=tokens), points)  # type: ignore[arg-type]
    assert table["word"].to_list() == tokens["word"].to_list()
    assert table["concept"].to_list() == concepts.labels.tolist()
    assert table["upos"].unique().to_list() == ["NOUN"]
    shared = table.filter("overlaps")["concept"].n_unique()
    overlap = study.overlap(study.runs[0][0].at(2), Space.of("en", "ar"))
    assert shared == round(overlap.score * overlap.estimates[0].n)
    biggest = names.sort("priority").row(-1, named=True)
    own = table.filter(pl.col("concept_words") == biggest["text"])
    assert own.height == biggest["priority"] == own["concept_size"][0]
    assert biggest["x"] == pytest.approx(own["x"].mean())


def test_an_atlas_shows_the_layer_highest_above_chance(finished: Path, tmp_path: Path) -> None:
    data, labels, readme = export_study(finished, "atlas", out=tmp_path / "atlas")
    table = pl.read_parquet(data)
    study = open_study(finished)
    layer = one_place(study, Choice())[0].layer
    concepts = study.concepts(study.runs[0][0].at(layer), Space.named("en+de+ar"))
    assert table["token"].to_list() == concepts.tokens["row"].to_list()
    texts = dict(study.sentences.filter(pl.col("language") == "en").select("sentence", "text").iter_rows())
    first = table.row(0, named=True)
    assert first["sentence"] == texts[first["sentence_number"]]
    assert all(len(ids) == 10 for ids in table["neighbors"].struct.field("ids").to_list())
    assert pl.read_parquet(labels).columns == ["x", "y", "text", "priority"]
    said = readme.read_text(encoding="utf-8")
    assert "--x x --y y --neighbors neighbors" in said
    assert f"layer {layer} of starter" in said
    again = {path: path.read_bytes() for path in (data, labels, readme)}
    export_study(finished, "atlas", out=tmp_path / "atlas")
    assert again == {path: path.read_bytes() for path in again}
    export_study(finished, "atlas", out=tmp_path / "de", layers=[0], spaces=["de"])
    assert set(pl.read_parquet(tmp_path / "de" / "data.parquet")["language"]) == {"de"}
    with pytest.raises(UsageError, match="one of the layers"):
        export_study(finished, "atlas", out=tmp_path / "no", layers=[0, 4])


def test_a_readme_of_someone_else_is_not_replaced(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("mine", encoding="utf-8")
    for kind in ("atlas", "dataset"):
        with pytest.raises(InputError, match="was not written by isogloss"):
            export_study(finished, kind, out=tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]
    assert check_readme(tmp_path / "new").name == "README.md"


# -- Hugging Face datasets --------------------------------------------------------------------------


def test_every_configuration_opens_with_datasets(
    finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    datasets = pytest.importorskip("datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    out = tmp_path / "dataset"
    files = export_study(finished, "dataset", out=out)
    names = [path.stem for path in files if path.suffix == ".parquet"]
    assert set(names) == set(dataset.ABOUT)
    for name in names:
        found = datasets.load_dataset(str(out), name, cache_dir=str(tmp_path / "cache"))["train"]
        table = pl.read_parquet(out / "data" / f"{name}.parquet")
        assert found.num_rows == table.height > 0
        assert found.column_names == table.columns
    default = datasets.load_dataset(str(out), cache_dir=str(tmp_path / "cache"))["train"]
    study = open_study(finished)
    run = study.runs[0]
    own = default.to_polars().filter((pl.col("layer") == 4) & (pl.col("space") == "en+ar"))
    assert own["concept"].to_list() == study.concepts(run[0].at(4), Space.named("en+ar")).labels.tolist()


def test_the_card_names_languages_and_leaves_the_licence(
    study: SyntheticStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "labels", None)
    dataset.write_dataset(study, tmp_path, Choice(spaces=("en",)))  # type: ignore[arg-type]
    text = (tmp_path / "README.md").read_text(encoding="utf-8")
    front = yaml.safe_load(text.split("---\n")[1])
    assert front["language"] == ["en", "de", "ar"]
    assert "license" not in front
    assert "No licence is given" in text
    assert [c["config_name"] for c in front["configs"]] == ["tokens", "concepts", "sentences", "results"]
    for config in front["configs"]:
        assert (tmp_path / config["data_files"]).is_file()
    assert set(pl.read_parquet(tmp_path / "data" / "tokens.parquet")["space"]) == {"en"}


# -- LaTeX ------------------------------------------------------------------------------------------


def check_tex(source: str) -> int:
    """Check a table as LaTeX would: braces and environments balance, every row has as many cells; return its rows."""
    lines = [line for line in source.splitlines() if not line.startswith("%")]
    text = "\n".join(lines)
    bare = re.sub(r"\\[&%$#_{}\\]", "", text)
    assert bare.count("{") == bare.count("}")
    assert bare.count("$") % 2 == 0
    assert not set(re.sub(r"\$[^$]*\$", "", bare)) & set('_^~#<>|"')
    assert re.findall(r"\\begin\{(\w+)\}", text) == re.findall(r"\\end\{(\w+)\}", text)[::-1]
    (kinds,) = re.findall(r"\\begin\{(?:tabular|longtable)\}\{([lr]+)\}", text)
    rows = [line for line in lines if line.endswith(r"\\") and not line.startswith(r"\caption")]
    for row in rows:
        assert len(re.findall(r"(?<!\\)&", row)) == len(kinds) - 1, row
    for needed in (r"\toprule", r"\midrule", r"\bottomrule", r"\caption{", r"\label{tab:"):
        assert needed in text
    return len(rows)


def test_tables_are_whole_and_have_chance_levels(study: SyntheticStudy, tmp_path: Path) -> None:
    files = latex.write_latex(study, tmp_path, Choice())  # type: ignore[arg-type]
    names = {path.stem for path in files}
    assert {"calign_tiny-encoder", "colap_tiny-encoder", "calign_layers_tiny-tuned-encoder"} <= names
    for path in files:
        source = path.read_text(encoding="utf-8")
        check_tex(source)
        assert source.startswith("% isogloss:0.1.0|")
        assert "Chance &" in source
    one = (tmp_path / "calign_layers_tiny-encoder.tex").read_text(encoding="utf-8")
    figures = study.results.only(model="tiny", layer=2, metric="calign_mean", theta=0.5)
    row = next(line for line in one.splitlines() if line.startswith("2 & ")).split(" & ")
    assert float(row[1]) == pytest.approx(figures["score"].mean(), abs=6e-4)
    assert float(row[2]) == pytest.approx(figures["chance"].mean(), abs=6e-4)


def test_tables_can_be_narrowed(study: SyntheticStudy) -> None:
    choice = Choice(model="tiny", layers=(0, 1), spaces=("en+de",))
    found = {t.name: t for t in latex.tables(study, choice)}  # type: ignore[arg-type]
    assert set(found) == {f"{m}{x}_tiny-encoder" for m in ("calign_soft", "calign", "colap") for x in ("", "_layers")}
    assert [row[:2] for row in found["calign_tiny-encoder"].rows] == [("0", "en -- de"), ("1", "en -- de")]


def test_a_finished_study_has_tables_of_companions(finished: Path, tmp_path: Path) -> None:
    files = {path.stem: path for path in export_study(finished, "latex", out=tmp_path)}
    for path in files.values():
        check_tex(path.read_text(encoding="utf-8"))
    assert "companions_starter-encoder" in files


def test_fine_tuning_has_tables_of_scores_and_differences(study: SyntheticStudy, tmp_path: Path) -> None:
    own = SyntheticStudy(tmp_path, languages=("en", "de", "ar"), n_layers=3)
    task = {"model": "tiny-tuned", "metric": "macro_f1", "score": 0.5, "ci_low": 0.4, "ci_high": 0.6}
    task |= {"baseline": 0.25, "n": 140}
    pl.DataFrame([task | {"language": x, "zero_shot": x != "en"} for x in ("en", "de")]).write_parquet(
        tmp_path / "tasks.parquet"
    )
    base = own.results.only(model="tiny", metric="calign_mean", theta=0.5)
    rows = base.select(
        "stack", "layer", "metric", "source", "target", "method", "n_concepts", "seed", "theta",
        model=pl.lit("tiny-tuned"), base_model=pl.lit("tiny"), of=pl.lit("adjusted"),
        first=pl.lit(0.1), second=pl.lit(0.3), difference=pl.lit(0.2), ci_low=pl.lit(-0.1),
        ci_high=pl.lit(0.4), q_value=pl.lit(0.04),
    )  # fmt: skip
    rows.write_parquet(tmp_path / "differences.parquet")
    for name in ("tasks", "differences"):
        StudyLayout(tmp_path).mark_done(name, "key", [tmp_path / f"{name}.parquet"])
    found = {t.name: t.source() for t in latex.tables(own, Choice())}  # type: ignore[arg-type]
    check_tex(found["tasks"])
    assert "tiny-tuned & en & no & macro\\_f1 & 0.500 & 0.250 & 0.400 to 0.600 & 140" in found["tasks"]
    changed = found["differences_tiny-tuned"]
    check_tex(changed)
    chance = own.results.only(model="tiny", metric="calign_mean", theta=0.5)["chance"][0]
    assert f"0.100 & {number(chance)} & 0.300" in changed
    assert "$+0.200$ & $-0.100$ to $+0.400$ & 0.040" in changed


def test_text_is_escaped() -> None:
    nasty = 'a_b & 50% $x$ #1 {c} ~ ^ \\ <b> | "q"\nnew'
    table = TexTable("n_x", escape(nasty), ("A", "B"), ((escape(nasty), number(-0.5)),) * 2, 1, "sig", 1)
    source = table.source()
    assert check_tex(source) == 3
    assert r"50\% \$x\$ \#1 \{c\} \textasciitilde{} \textasciicircum{} \textbackslash{}" in source
    assert "$-0.500$" in source
    assert r"\label{tab:n-x}" in source


def test_long_tables_break_over_pages() -> None:
    rows = tuple((str(i // 3), "x", "0.1") for i in range(41))
    source = TexTable("t", "c", ("A", "B", "C"), rows, 2, "s", 1).source()
    assert r"\begin{longtable}{llr}" in source
    assert check_tex(source) == 43  # the head stands twice
    assert source.count(r"\addlinespace") == 13


def test_numbers_and_signatures() -> None:
    assert number(None) == number(float("nan")) == "--"
    assert common_signature(["a:1|b:2", "a:1|b:3|c:4"]) == "a:1|b:*|c:4"


def test_a_study_without_figures_is_a_clear_error(tmp_path: Path) -> None:
    empty = SimpleNamespace(root=tmp_path, runs=[])
    with pytest.raises(UsageError, match="no results to export"):
        Choice().runs(empty)  # type: ignore[arg-type]


# -- the command ------------------------------------------------------------------------------------


def test_the_command_tells_its_files_and_refuses_what_it_does_not_know(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def call(*words: object) -> int:
        monkeypatch.setattr("sys.argv", ["isogloss", "export", *map(str, words)])
        try:
            cli.main()
        except SystemExit as end:
            return int(end.code or 0)
        return 0

    out = tmp_path / "concepts.json"
    chosen = ("--layer", 0, "--layer", 4, "--space", "en", "--model", "starter")
    assert call(finished, "concepts", "--out", out, *chosen, "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"files": [str(out)]}
    entries = json.loads(out.read_text(encoding="utf-8"))["spaces"]
    assert [(entry["layer"], entry["space"]) for entry in entries] == [(0, "en"), (4, "en")]
    assert call(finished, "latx", "--out", out) == 2
    assert "Did you mean 'latex'?" in capsys.readouterr().err
    assert call(tmp_path, "latex", "--out", tmp_path) == 1
    assert "is not a study folder" in capsys.readouterr().err
