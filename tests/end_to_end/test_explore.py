"""The explorer: its answers are the study's own, nobody else gets any, and a reader can click through."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import numpy as np
import polars as pl
import pytest
import yaml

import isogloss as ig
from browser import overflow, serious_findings
from isogloss.coordinates import Pair, Space
from isogloss.errors import InputError, UsageError
from isogloss.explore import Explorer, Views, open_explorer
from isogloss.starter import load_corpus, model_folder
from isogloss.study import FinishedStudy, open_study

NASTY = (
    "<script>document.title='owned'</script>",
    '<img src=x onerror="document.title=1">',
    "{{title}} &amp; \u202eabc",
)
LANGUAGES = ("en", "de", "ar")
AT: dict[str, Any] = {"place": 0, "layer": 4, "k": 30}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of two models, with lines that try to be markup."""
    root = tmp_path_factory.mktemp("explored")
    corpus = load_corpus(LANGUAGES)
    files = {}
    for language in LANGUAGES:
        rows = [{"text": text} for text in (*corpus.texts(language)[:60], *NASTY)]
        files[language] = str(root / f"{language}.jsonl")
        Path(files[language]).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    model = {"path": str(model_folder()), "layers": [0, 4]}
    study = {
        "name": "explored <b>study</b>",
        "corpus": {"files": files},
        "models": [{"name": "starter", **model}, {"name": "again", "base": "starter", "weights": "random", **model}],
        "discovery": {"method": "ward", "n_concepts": [30, 50]},
        "metrics": {"min_types": 2, "n_permutations": 20, "theta_align": [0.5], "n_bootstrap": 0},
        "companions": {"measures": []},
    }
    (root / "study.yaml").write_text(yaml.safe_dump(study, sort_keys=False), encoding="utf-8")
    ig.run_study(root / "study.yaml", out=root / "out", workers=1)
    return root / "out"


@pytest.fixture(scope="module")
def study(folder: Path) -> FinishedStudy:
    return open_study(folder)


@pytest.fixture(scope="module")
def views(study: FinishedStudy) -> Views:
    return Views(study)


@pytest.fixture(scope="module")
def explorer(folder: Path) -> Iterator[Explorer]:
    found = open_explorer(folder)
    thread = threading.Thread(target=found.serve)
    thread.start()
    yield found
    found.stop()
    thread.join()


# -- answers ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("source", "target"), [("en", "de"), ("ar", "en")])
def test_aligned_concepts_are_those_of_calign(study: FinishedStudy, views: Views, source: str, target: str) -> None:
    run = next(r for r in study.runs if r[0].model == "starter" and r[0].n_concepts == 30)
    expected = study.alignment(run[0].at(4), Pair(source, target))
    best = dict(expected.pairs.select("source_concept", "match").rows()[::-1])
    found, entries = views.aligned(**AT, source=source, target=target), []
    while len(entries) < found["total"]:
        entries += views.aligned(**AT, source=source, target=target, offset=len(entries))["entries"]
    assert {e["source"]: e["n_matched"] / e["n_source"] for e in entries} == pytest.approx(best)
    shares = [e["n_matched"] / e["n_source"] for e in entries]
    assert shares == sorted(shares, reverse=True)
    assert found["n_eligible"] == expected.estimates[0].n
    words = expected.words.filter(
        (pl.col("source_concept") == entries[0]["source"]) & (pl.col("target_concept") == entries[0]["target"])
    )
    for first, *others in entries[0]["ties"]:
        assert set(others) <= set(words.filter(pl.col("source") == first)["target"])


def test_shared_concepts_are_those_of_colap(study: FinishedStudy, views: Views) -> None:
    run = next(r for r in study.runs if r[0].model == "starter" and r[0].n_concepts == 30)
    overlap = study.overlap(run[0].at(4), Space.of("en", "ar"))
    found = views.shared(**AT, space="en+ar")
    assert found["n_overlapping"] / found["total"] == pytest.approx(overlap.estimates[0].score)
    for entry in found["entries"]:
        assert entry["counts"] == overlap.counts[entry["concept"]].tolist()


@pytest.mark.parametrize("k", [30, 50, 37])
def test_any_number_of_concepts_is_the_cut_of_the_tree(study: FinishedStudy, views: Views, k: int) -> None:
    space = views.space(0, 4, "en+de")
    cut = space.cut(k)
    if k != 37:
        run = next(r for r in study.runs if r[0].model == "starter" and r[0].n_concepts == k)
        stored = study.concepts(run[0].at(4), Space.named("en+de"))
        assert np.array_equal(stored.labels, cut.labels)
        assert np.array_equal(stored.tokens["row"].to_numpy(), space.rows)
    means = np.array(
        [np.asarray(space._states()[space.rows[cut.members(c)]], np.float64).mean(axis=0) for c in range(k)]
    )
    assert space.centroids(k) == pytest.approx(means, abs=1e-4)


def test_a_concept_stays_in_its_place_when_others_are_divided(views: Views) -> None:
    coarse, fine = (views.map(**{**AT, "k": k}, space="en+de") for k in (30, 31))
    same = set(zip(coarse["x"], coarse["y"], coarse["size"], strict=True)) & set(
        zip(fine["x"], fine["y"], fine["size"], strict=True)
    )
    assert len(same) == 29


def test_a_number_the_study_did_not_measure_gets_its_chance_level_too(views: Views) -> None:
    known = views.score(**AT, source="en", target="de")
    new = views.score(**{**AT, "k": 37}, source="en", target="de")
    assert (known["measured"], new["measured"]) == ("study", "now")
    for found in (known, new):
        assert [f["metric"] for f in found["estimates"]] == ["calign", "calign", "colap"]
        assert all(0 <= f["chance"] <= 1 and f["ci_low"] <= f["score"] <= f["ci_high"] for f in found["estimates"])


def test_words_are_found_in_any_case_and_script(views: Views) -> None:
    entries = views.search(q=" BREAD")["entries"]
    assert ["bread", "en"] in [entry[:2] for entry in entries]
    arabic = views.lexicon.words[int(np.flatnonzero(views.lexicon.language == 2)[0])]
    assert [arabic, "ar"] in [entry[:2] for entry in views.search(q=arabic, language="ar")["entries"]]
    assert views.search(q="")["total"] == 0
    assert views.search(q="no such word at all")["entries"] == []


def test_a_word_has_concepts_sentences_and_translations(study: FinishedStudy, views: Views) -> None:
    found = views.word(**AT, language="en", word="bread")
    assert found["count"] == study.tokens.filter((pl.col("language") == "en") & (pl.col("word") == "bread")).height
    assert found["translations"]["de"][0] == "Brot"
    place = next(c for c in found["concepts"] if c["space"] == "en")
    read = views.occurrences(**AT, space="en", concept=place["concept"], language="en", word="bread")
    assert read["total"] == place["n"]
    for entry in read["entries"]:
        assert entry["text"][entry["start"] : entry["end"]] == "bread"
        assert set(entry["beside"]) == {"de", "ar"}


def test_a_concept_is_followed_through_layers_and_models(views: Views) -> None:
    found = views.follow(**AT, space="en+de", concept=3)
    here = next(c for c in found["layers"] if c["layer"] == 4)["flows"]
    assert here == [{"concept": 3, "n": found["size"], "of_mine": 1, "of_theirs": 1, "words": here[0]["words"]}]
    assert [c["layer"] for c in found["layers"]] == [0, 4]
    assert [views.places[c["place"]].first.model for c in found["models"]] == ["again"]
    for column in (*found["layers"], *found["models"]):
        assert 0 < sum(flow["of_mine"] for flow in column["flows"]) <= 1.0001
    moved = views.trace(**AT, space="en+de", concept=3, to_place=0, to_layer=0, to_k=30)
    assert moved["concept"] == found["layers"][0]["flows"][0]["concept"]


def test_concepts_have_neighbours_counterparts_and_labels(views: Views) -> None:
    found = views.concept(**AT, space="en", concept=0)
    assert found["concept"] not in [c["concept"] for c in found["neighbours"]]
    cosines = [c["cosine"] for c in found["neighbours"]]
    assert cosines == sorted(cosines, reverse=True)
    assert sum(n for _, n in found["words"]["en"]) <= found["size"]
    labelled = [c for c in range(30) if views.concept(**AT, space="en", concept=c)["labels"]]
    assert labelled


# -- who may ask, and what --------------------------------------------------------------------------


def get(explorer: Explorer, path: str, *, method: str = "GET", headers: dict[str, str] | None = None) -> Any:
    connection = http.client.HTTPConnection("127.0.0.1", explorer.port, timeout=20)
    connection.request(method, path, headers=headers or {})
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def test_without_the_token_there_is_nothing(explorer: Explorer) -> None:
    for path in (
        "/",
        "/api/overview",
        "/explore.js",
        f"/{explorer.token[:-1]}/",
        f"/{explorer.token}x/api/overview",
        "//",
        "/é/",
    ):
        response, body = get(explorer, quote(path))
        assert response.status == 404
        assert explorer.token.encode() not in body
    assert len(explorer.token) >= 32
    assert get(explorer, f"/{explorer.token}/")[0].status == 200


def test_only_this_machine_under_its_own_name_may_ask(explorer: Explorer) -> None:
    path = f"/{explorer.token}/api/overview"
    for host in ("evil.example", f"evil.example:{explorer.port}", "127.0.0.1", ""):
        assert get(explorer, path, headers={"Host": host})[0].status == 403
    assert get(explorer, path, headers={"Host": f"localhost:{explorer.port}"})[0].status == 200
    outside = socket.socket()
    outside.settimeout(2)
    own = next(
        (
            a[4][0]
            for a in socket.getaddrinfo(socket.gethostname(), None, socket.AF_INET)
            if not a[4][0].startswith("127.")
        ),
        None,
    )
    if own is not None:
        with pytest.raises(OSError):
            outside.connect((own, explorer.port))
    outside.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
def test_it_can_only_be_read(explorer: Explorer, method: str) -> None:
    assert get(explorer, f"/{explorer.token}/api/overview", method=method)[0].status == 501


@pytest.mark.parametrize(
    "path",
    [
        "../study.yaml",
        "../../study.yaml",
        "..%2f..%2fstudy.yaml",
        "%2e%2e/%2e%2e/etc/passwd",
        "/etc/passwd",
        "....//study.yaml",
        "server.py",
        "page.html",
        "explore.js%00.css",
        "api/../../study.yaml",
        "api/__init__",
        "api/_open",
        "api/space?place=0&layer=4&name=en",
    ],
)
def test_no_path_leads_out(explorer: Explorer, path: str) -> None:
    response, body = get(explorer, f"/{explorer.token}/{path}")
    assert response.status in (400, 404)
    assert b"root:" not in body
    assert b"corpus:" not in body
    assert b"Traceback" not in body


@pytest.mark.parametrize(
    ("question", "given", "said"),
    [
        ("shared", {"space": "../../../etc"}, "unknown space"),
        ("shared", {"space": "en+de", "layer": 99}, "unknown layer"),
        ("shared", {"space": "en+de", "layer": "x"}, "whole number"),
        ("shared", {"space": "en+de", "k": 0}, "at least 1"),
        ("shared", {"space": "en+de", "offset": -1}, "offset"),
        ("shared", {"space": "en+de", "place": -1}, "unknown model"),
        ("shared", {"space": "en+de", "self": 1}, "unknown parameter"),
        ("shared", {}, "lacks space"),
        ("concept", {"space": "en", "concept": 30}, "unknown concept"),
        ("aligned", {"source": "en", "target": "en"}, "unknown pair"),
        ("word", {"language": "en", "word": "<script>"}, "no word"),
        ("word", {"language": "xx", "word": "a"}, "unknown language"),
        ("nothing", {}, "unknown question"),
    ],
)
def test_wrong_questions_get_one_clear_line(
    explorer: Explorer, question: str, given: dict[str, Any], said: str
) -> None:
    response, body = get(explorer, f"/{explorer.token}/api/{question}?{urlencode({**AT, **given})}")
    assert response.status == 400
    assert said in json.loads(body)["error"]


def test_answers_cannot_become_pages_or_scripts(explorer: Explorer) -> None:
    for path in ("", "api/overview", "explore.js", "nothing"):
        response, _ = get(explorer, f"/{explorer.token}/{path}")
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self';" in policy
        assert "frame-ancestors 'none'" in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Referrer-Policy"] == "no-referrer"
        assert "Access-Control-Allow-Origin" not in response.headers
    response, body = get(explorer, f"/{explorer.token}/api/search?q=" + quote("<"))
    assert response.headers["Content-Type"].startswith("application/json")
    assert json.loads(body)["total"] > 0
    assert get(explorer, f"/{explorer.token}/api/search?q=" + "a" * 5000)[0].status == 414


def test_exploring_writes_nothing(folder: Path, explorer: Explorer, views: Views) -> None:
    def stamps() -> dict[Path, int]:
        return {p: p.stat().st_mtime_ns for p in folder.rglob("*")}

    before = stamps()
    for question in ("aligned?source=en&target=de&", "shared?space=en%2Bde&", "map?space=en%2Bde&"):
        assert get(explorer, f"/{explorer.token}/api/{question}{urlencode(AT)}")[0].status == 200
    assert stamps() == before


def test_no_study_and_no_port_are_told(tmp_path: Path, folder: Path, explorer: Explorer) -> None:
    with pytest.raises(InputError, match="not a study folder"):
        open_explorer(tmp_path)
    with pytest.raises(UsageError, match=str(explorer.port)):
        open_explorer(folder, port=explorer.port)


def test_the_command_prints_the_address_and_ends_on_ctrl_c(folder: Path) -> None:
    code = "import sys; from isogloss import cli; sys.argv = ['isogloss', *sys.argv[1:]]; cli.main()"
    command = [sys.executable, "-c", code, "explore", str(folder), "--no-browser"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    address = next(part for part in line.split() if part.startswith("http://127.0.0.1:"))
    host, token = address.removeprefix("http://").split("/")[:2]
    connection = http.client.HTTPConnection(host, timeout=20)
    connection.request("GET", f"/{token}/")
    assert connection.getresponse().status == 200
    connection.close()
    process.send_signal(2)
    assert process.wait(timeout=20) == 130
    process.stderr.close()


# -- in a browser -----------------------------------------------------------------------------------


def settled(page: Any) -> None:
    page.wait_for_selector('html[data-ready="yes"][data-waiting="0"]')  # the page's policy forbids to evaluate text


@pytest.fixture
def page(browser_page: Any, explorer: Explorer) -> Any:
    browser_page.goto(explorer.address)
    settled(browser_page)
    return browser_page


def test_a_reader_clicks_from_model_to_sentence(page: Any) -> None:
    assert page.title() == "explored <b>study</b>: isogloss explore"
    page.select_option("#place", label="again · encoder")
    settled(page)
    page.select_option("#place", label="starter · encoder")
    page.locator("#layer").focus()
    page.keyboard.press("Home")
    settled(page)
    assert page.text_content("#layer-now") == "0"
    page.keyboard.press("End")
    page.select_option("#pair", "en+ar")
    settled(page)
    assert page.locator("#list .entry").count() > 3
    page.locator("#list .entry button").first.click()
    settled(page)
    assert page.locator("#concept bdi").count() > 1
    assert page.locator("#follow .track").count() == 2 + 1  # both layers, and the other model
    assert page.locator("#sentences mark").count() > 0
    page.locator("#follow .track button").first.click()
    settled(page)
    assert page.text_content("#layer-now") == "0"
    page.click("#tab-shared")
    settled(page)
    page.locator("#list .entry button").first.click()
    settled(page)
    assert page.locator("#concept .tag").count() >= 2


def test_the_number_of_concepts_slides_and_the_chosen_one_is_followed(page: Any) -> None:
    page.click("#tab-shared")
    settled(page)
    page.locator("#list .entry button").first.click()
    settled(page)
    before = page.text_content("#k-now")
    page.locator("#k").focus()
    page.keyboard.press("ArrowRight")
    settled(page)
    assert int(page.text_content("#k-now")) == int(before) + 1
    assert page.locator("#fig-map .chart svg").count() == 1
    assert "Measured now" in page.text_content("#score")
    assert page.locator("#concept bdi").count() > 1


def test_a_word_is_searched_looked_up_and_opened(page: Any) -> None:
    page.fill("#q", "Brot")
    page.wait_for_selector("#list .rows button")
    settled(page)
    page.locator("#list .rows button", has_text="Brot").first.click()
    settled(page)
    page.wait_for_selector("text=Translations in use")
    assert "bread" in page.text_content("#list")
    page.locator("#list ul.rows button").first.click()
    settled(page)
    assert "concept" in page.text_content("#concept")


def test_every_script_has_its_language_and_direction(page: Any) -> None:
    page.select_option("#pair", "en+ar")
    settled(page)
    page.click("#tab-shared")
    settled(page)
    page.locator("#list .entry button").first.click()
    settled(page)
    arabic = page.locator('#sentences .line[lang="ar"]').first
    assert arabic.get_attribute("dir") == "rtl"
    assert arabic.evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert page.locator('#sentences .line[lang="en"]').first.get_attribute("dir") == "ltr"
    assert page.locator('bdi[lang="ar"]').count() > 0


def test_words_stay_words(page: Any) -> None:
    page.fill("#q", "script")
    page.wait_for_selector("#list .rows button")
    settled(page)
    page.locator("#list .rows button").first.click()
    settled(page)
    page.locator("#list ul.rows button").first.click()
    settled(page)
    assert "owned" not in page.title()
    assert page.locator("#concept script, #list script, #concept img, #list img").count() == 0


def test_the_keyboard_is_enough(page: Any) -> None:
    def press_until(key: str, selector: str) -> None:
        for _ in range(80):
            page.keyboard.press(key)
            if page.locator(f"{selector}:focus").count():
                return
        pytest.fail(f"{selector} is never focused")

    press_until("Tab", "#q")
    page.keyboard.type("Brot")
    page.wait_for_selector("#list .rows button")
    settled(page)
    press_until("Tab", "#list .rows button")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Concepts it is in")
    settled(page)
    press_until("Tab", "#list [data-concept]")
    page.keyboard.press("Enter")
    settled(page)
    assert page.locator("#sentences mark").count() > 0
    press_until("Tab", "#follow .track button")
    page.keyboard.press("Enter")
    settled(page)
    assert "concept" in page.text_content("#concept")


def test_the_map_is_coloured_as_asked_and_its_discs_can_be_chosen(page: Any) -> None:
    page.select_option("#space", "en")
    settled(page)
    page.select_option("#colour", "alignment")
    settled(page)
    assert "no match in de" in page.text_content("#legend")
    with page.expect_download() as saved:
        page.locator("#fig-map button", has_text="CSV").click()
    rows = pl.read_csv(Path(saved.value.path()), schema_overrides={"words": pl.String})
    assert rows.height == 30
    assert {"x", "y", "size", "words"} <= set(rows.columns)
    page.locator("#fig-map .chart path[aria-roledescription='circle']").first.click(force=True)
    settled(page)
    assert "concept" in page.text_content("#concept")


def test_the_address_brings_back_what_was_chosen(page: Any, explorer: Explorer) -> None:
    page.goto(explorer.address + "#place=0&layer=0&k=33&pair=de+ar".replace("+", "%2B") + "&space=de&concept=2")
    page.reload()
    settled(page)
    assert page.text_content("#layer-now") == "0"
    assert page.text_content("#k-now") == "33"
    assert page.input_value("#pair") == "de+ar"
    assert "concept 2" in page.text_content("#concept")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everyone_can_use_it(page: Any, theme: str) -> None:
    page.select_option("#theme", theme)
    page.locator("#list .entry button").first.click()
    settled(page)
    assert serious_findings(page) == []
    page.set_viewport_size({"width": 390, "height": 800})
    settled(page)
    assert overflow(page) <= 0
    assert serious_findings(page) == []
