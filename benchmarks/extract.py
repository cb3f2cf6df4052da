"""Extraction beside a bare forward pass over the same batches: what pooling, bookkeeping and writing cost.

    python benchmarks/extract.py --model FOLDER --text en=pud.en.txt --text de=pud.de.txt --layers 12 --layers all

Every measurement has a process of its own; loading the model and tokenising are timed apart (tokenising is inside
``extract`` and outside the bare pass).  Subwords a second are real ones, without padding.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time

import isogloss as ig


def measure_bare(given: argparse.Namespace) -> dict[str, float]:
    """Run the model's own forward pass over the batches that `extract` makes."""
    import torch

    from isogloss import models
    from isogloss.extraction.pooling import pad
    from isogloss.extraction.subwords import batches, tokenise

    model = models.load(given.model, device=given.device)
    subwords = tokenise(corpus_of(given), model, {})
    wall, cpu = time.perf_counter(), time.process_time()
    with torch.inference_mode():
        for batch in batches(subwords.order(), subwords.costs, given.batch_tokens):
            ids, mask = pad([subwords.line(int(i))[0] for i in batch], model)
            model.module(input_ids=ids, attention_mask=mask)
    return {
        "wall": time.perf_counter() - wall,
        "cpu": time.process_time() - cpu,
        "subwords": len(subwords.ids),
    }


def measure_extract(given: argparse.Namespace, layers: str) -> dict[str, float]:
    from isogloss import models
    from isogloss.extraction import engine

    spent = {}
    for room, name in ((models, "load"), (engine, "tokenise")):
        spent |= {name: [0.0, 0.0]}
        _watch(room, name, spent[name])
    models.load(given.model, device=given.device)  # imports
    spent["load"][:] = [0.0, 0.0]
    chosen = "all" if layers == "all" else [int(layers)]
    corpus = corpus_of(given)
    with tempfile.TemporaryDirectory() as out:
        wall, cpu = time.perf_counter(), time.process_time()
        ig.extract(
            corpus, given.model, layers=chosen, out=out, device=given.device, batch_tokens=given.batch_tokens
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    apart = spent["load"]
    return {"wall": wall - apart[0], "cpu": cpu - apart[1], "tokenise": spent["tokenise"][0]}


def _watch(room, name: str, spent: list[float]) -> None:
    function = getattr(room, name)

    def timed(*arguments, **options):
        wall, cpu = time.perf_counter(), time.process_time()
        try:
            return function(*arguments, **options)
        finally:
            spent[0] += time.perf_counter() - wall
            spent[1] += time.process_time() - cpu

    setattr(room, name, timed)


def corpus_of(given: argparse.Namespace) -> ig.Corpus:
    return ig.Corpus.read(dict(item.split("=", 1) for item in given.text)).restrict(
        n_sentences=given.sentences
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", required=True)
    parser.add_argument("--text", action="append", required=True, metavar="LANG=FILE")
    parser.add_argument("--layers", action="append", help="a number, or all; repeat")
    parser.add_argument("--sentences", type=int, default=500)
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.only:
        found = measure_bare(given) if given.only == "bare" else measure_extract(given, given.only)
        print(json.dumps(found))
        return

    def run(what: str) -> dict[str, float]:
        command = [sys.executable, __file__, *sys.argv[1:], "--only", what]
        return json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1]
        )

    bare = run("bare")
    speed = bare["subwords"] / bare["wall"]
    print(f"bare forward pass: {speed:.0f} subwords/s, {bare['cpu']:.1f} CPU s, {bare['wall']:.1f} s")
    for layers in given.layers or ["all"]:
        found = run(layers)
        speed = (
            f"{bare['subwords'] / found['wall']:.0f} subwords/s, {bare['wall'] / found['wall']:.0%} of bare"
        )
        costs = f"{found['cpu']:.1f} CPU s, {found['tokenise']:.1f} s of it tokenising"
        print(f"layers {layers}: {speed} ({costs})", flush=True)


if __name__ == "__main__":
    main()
