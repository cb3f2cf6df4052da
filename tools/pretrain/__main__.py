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
    options = parser.parse_args(words)
    logging.basicConfig(format="%(levelname).1s %(message)s")
    for name in ("isogloss", "tools"):
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        run = pretrain(options.study, out=options.out)
    except KeyboardInterrupt:
        return _fail("Interrupted. The same command goes on from the last checkpoint.", 130)
    except IsoglossError as error:
        return _fail(str(error), 2 if isinstance(error, UsageError) else 1)
    if run.curve.height:
        write_chart(loss_curve(run.curve), run.folder / "curve")
    if run.retrieval is not None:
        write_chart(retrieval_curves(run.retrieval), run.folder / "retrieval")
    for name, path in run.models.items():
        print(f"{name}: {path}")
    print(f"Loss, judgement and figures: {run.folder}")
    return 0


def _fail(message: str, code: int) -> int:
    print(f"pretrain: {message}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
