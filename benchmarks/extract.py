"""How near extraction comes to a bare forward pass, and how far it leaves the peers' extractor behind.

    pip install --no-deps neurox h5py        # for --peer
    python benchmarks/extract.py --model FOLDER --text en=pud.en.txt --text de=pud.de.txt --layers 12 --peer

Bare: the batches that `extract` makes, through the model, no hook, nothing kept.  `extract`: tokenising, forward pass,
pooling of words and sentences, writing, digests; loading is left out of both.  Each is a process of its own, and bare
comes before and after every other one, as machines drift.  Subwords a second are real ones, without padding.  The
peer (NeuroX) goes sentence by sentence and writes JSON; it always runs the whole model.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import isogloss as ig


def measure_bare(given: argparse.Namespace) -> dict[str, float]:
    """Run the model's own forward pass over the batches that `extract` makes."""
    import torch

    from isogloss import models
    from isogloss.extraction.passes import WINDOW
    from isogloss.extraction.pooling import pad
    from isogloss.extraction.subwords import batches, lines_of, tokenise

    model = models.load(given.model, device=given.device, compute=given.compute)
    lines = lines_of(corpus_of(given), {})
    windows = [range(i, min(i + WINDOW, len(lines))) for i in range(0, len(lines), WINDOW)]
    read = [tokenise(lines, window, model) for window in windows]
    with torch.inference_mode():
        warm = torch.ones((8, 32), dtype=torch.int64, device=given.device)
        model.module(input_ids=warm, attention_mask=warm)
        _wait(given.device)
        wall, cpu = time.perf_counter(), time.process_time()
        for window in read:
            for batch in batches(window.order(), window.costs, given.batch_tokens):
                ids, mask = pad([window.line(int(i)).ids for i in batch], model)
                model.module(input_ids=ids, attention_mask=mask)
        _wait(given.device)
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "subwords": sum(len(window.ids) for window in read),
    }


def measure_extract(given: argparse.Namespace, layers: str) -> dict[str, float]:
    from isogloss import models

    spent = watch(models, "load")
    models.load(given.model, device=given.device)  # imports
    spent[:] = [0.0, 0.0]
    chosen = "all" if layers == "all" else [int(layers)]
    corpus = corpus_of(given)
    with tempfile.TemporaryDirectory() as out:
        wall, cpu = time.perf_counter(), time.process_time()
        ig.extract(
            corpus,
            given.model,
            layers=chosen,
            out=out,
            device=given.device,
            compute=given.compute,
            batch_tokens=given.batch_tokens,
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        states = sum(path.stat().st_size for path in Path(out).rglob("*.npy"))
    return {"wall": wall - spent[0], "cpu": cpu - spent[1], "bytes": states}


def measure_peer(given: argparse.Namespace, layers: str) -> dict[str, float]:
    """Run NeuroX as the paper's scripts do, one language after the other."""
    from neurox.data.extraction import transformers_extractor as peer

    spent = watch(peer, "get_model_and_tokenizer")
    corpus = corpus_of(given)
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        for language in corpus.languages:
            text = Path(folder) / f"{language}.txt"
            text.write_text("\n".join(corpus.texts(language)) + "\n", encoding="utf-8")
            peer.extract_representations(
                given.model,
                str(text),
                str(Path(folder) / f"{language}.json"),
                aggregation="last",
                output_type="json",
                filter_layers=None if layers == "all" else layers,
            )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        states = sum(path.stat().st_size for path in Path(folder).glob("*.json"))
    return {"wall": wall - spent[0], "cpu": cpu - spent[1], "bytes": states}


def watch(room, name: str) -> list[float]:
    """Let a function of a module add what it takes to the list that is returned: wall and CPU seconds."""
    plain, spent = getattr(room, name), [0.0, 0.0]

    def timed(*arguments, **options):
        wall, cpu = time.perf_counter(), time.process_time()
        found = plain(*arguments, **options)
        spent[0] += time.perf_counter() - wall
        spent[1] += time.process_time() - cpu
        return found

    setattr(room, name, timed)
    return spent


def _wait(device: str) -> None:
    if device != "cpu":
        import torch

        torch.cuda.synchronize()


def corpus_of(given: argparse.Namespace) -> ig.Corpus:
    return ig.Corpus.read(dict(item.split("=", 1) for item in given.text)).restrict(n_sentences=given.sentences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", action="append", required=True, metavar="LANG=FILE")
    parser.add_argument("--layers", action="append", help="a number, or all; repeat")
    parser.add_argument("--sentences", type=int, default=500)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compute", default="auto")
    parser.add_argument("--peer", action="store_true", help="measure NeuroX too")
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        what, layers = given.only
        measure = {"extract": measure_extract, "peer": measure_peer}
        print(json.dumps(measure_bare(given) if what == "bare" else measure[what](given, layers)))
        return

    def run(what: str, layers: str = "all") -> dict[str, float]:
        command = [sys.executable, __file__, *sys.argv[1:], "--only", what, layers]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        return json.loads(done.stdout.splitlines()[-1])

    bare = run("bare")
    for layers in given.layers or ["all"]:
        ours, before, bare = run("extract", layers), bare, run("bare")
        wall, cpu = (before["wall"] + bare["wall"]) / 2, (before["cpu"] + bare["cpu"]) / 2
        print(f"layers {layers}")
        print(f"  bare     {bare['subwords'] / wall:7.0f} subwords/s, {cpu:6.1f} CPU s")
        speed = bare["subwords"] / ours["wall"]
        print(f"  extract  {speed:7.0f} subwords/s, {ours['cpu']:6.1f} CPU s, {ours['bytes'] / 1e6:7.1f} MB: ", end="")
        print(f"{wall / ours['wall']:.0%} of bare by wall time, {cpu / ours['cpu']:.0%} by CPU", flush=True)
        if given.peer:
            peer = run("peer", layers)
            speed = bare["subwords"] / peer["wall"]
            print(
                f"  peer     {speed:7.0f} subwords/s, {peer['cpu']:6.1f} CPU s, {peer['bytes'] / 1e6:7.1f} MB: ", end=""
            )
            print(
                f"{peer['cpu'] / ours['cpu']:.1f} times our CPU, {peer['wall'] / ours['wall']:.1f} times our time, "
                f"{peer['bytes'] / ours['bytes']:.1f} times our bytes",
                flush=True,
            )


if __name__ == "__main__":
    main()
