"""The command: ``python -m tools.pretrain STUDY.yaml [--out DIR]``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from isogloss.errors import IsoglossError, UsageError
from isogloss.plots import write_chart
from tools.pretrain.charts import loss_curve, retrieval_curves
from tools.pretrain.run import pretrain


def main(words: Sequence[str] | None = None) -> int:
    """Pre-train, draw what came out, and return the exit status: 0 done, 1 failed, 2 wrong use, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.pretrain",
        description="Pre-train a small multilingual BERT, or go on with an interrupted run.",
    )
    parser.add_argument("study", metavar="STUDY.yaml", type=Path)
    parser.add_argument("--out", type=Path, help="the folder to make; default: one named after the study")
    given = parser.parse_args(words)
    logging.basicConfig(format="%(levelname).1s %(message)s")
    logging.getLogger("isogloss").setLevel(logging.INFO)
    logging.getLogger("tools").setLevel(logging.INFO)
    try:
        done = pretrain(given.study, out=given.out)
    except KeyboardInterrupt:
        return _fail("Interrupted. The same command goes on from the last checkpoint.", 130)
    except IsoglossError as error:
        return _fail(str(error), 2 if isinstance(error, UsageError) else 1)
    if done.curve.height:
        write_chart(loss_curve(done.curve), done.folder / "curve")
    if done.retrieval is not None:
        write_chart(retrieval_curves(done.retrieval), done.folder / "retrieval")
    for name, path in done.models.items():
        print(f"{name}: {path}")
    print(f"Loss, judgement and figures: {done.folder}")
    return 0


def _fail(message: str, code: int) -> int:
    print(f"pretrain: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
