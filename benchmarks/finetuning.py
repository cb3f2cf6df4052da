# ruff: noqa: E501  rows of tables are long
"""Print what fine-tuning did in finished studies, as the tables of docs/fine-tuning.md.

isogloss run examples/finetune-ner.yaml --out ner
python benchmarks/finetuning.py ner
"""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl

from isogloss.results import Results
from isogloss.store import StudyLayout

METRICS = (("calign_soft_mean", "adjusted"), ("calign_mean", "adjusted"), ("colap", "score"), ("mexa", "score"))
MAIN = {"ner": "f1", "sentiment": "macro_f1", "translation": "bleu"}


def main(root: Path) -> None:
    study = StudyLayout(root)
    print(f"\n## {root.name}\n")
    scores(pl.read_parquet(study.task_scores))
    depth(study)
    differences(pl.read_parquet(study.differences))
    fates(pl.read_parquet(study.movement("fates")))
    concerns(pl.read_parquet(study.movement("concerns")))
    transfer(pl.read_parquet(study.transfer))


def scores(table: pl.DataFrame) -> None:
    for kind, metric in MAIN.items():
        own = table.filter((pl.col("kind") == kind) & (pl.col("metric") == metric))
        if own.height:
            languages = own["language"].unique(maintain_order=True).to_list()
            print(f"{metric}, 95 % interval\n\n| model | {' | '.join(languages)} |\n|{'---|' * (len(languages) + 1)}")
            for (model,), rows in own.group_by("model", maintain_order=True):
                cells = {
                    r["language"]: f"{r['score']:.3f} ({r['ci_low']:.3f} to {r['ci_high']:.3f})"
                    for r in rows.iter_rows(named=True)
                }
                print(f"| {model} | {' | '.join(cells[x] for x in languages)} |")
            base = dict(own.select("language", "baseline").unique().iter_rows())
            print(f"| without a model | {' | '.join(f'{base[x]:.3f}' for x in languages)} |\n")


def depth(study: StudyLayout) -> None:
    """Mean over pairs by layer, of every model; the first finding of the paper."""
    table = Results.read(study.results).table
    first = table.filter(pl.col("metric") == "calign_mean")["theta"][0]
    parts = [
        table.filter(pl.col("metric") == "calign_soft_mean").select(
            "model", "stack", "layer", what=pl.lit("soft CALIGN"), value="adjusted"
        ),
        table.filter((pl.col("metric") == "calign_mean") & (pl.col("theta") == first)).select(
            "model", "stack", "layer", what=pl.lit(f"CALIGN {first:g}"), value="adjusted"
        ),
        table.filter(pl.col("metric") == "colap").select(
            "model", "stack", "layer", what=pl.lit("COLAP"), value="score"
        ),
    ]
    parts.append(
        table.filter(pl.col("metric") == "mexa").select("model", "stack", "layer", what=pl.lit("MEXA"), value="score")
    )
    above = pl.read_parquet(study.results_by_layer).filter(pl.col("metric") == "calign_soft_mean")
    parts.append(above.select("model", "stack", "layer", what=pl.lit("above both nulls"), value=pl.col("above") * 1.0))
    whole = pl.concat(parts, how="vertical_relaxed").with_columns(pl.col("value").fill_nan(None))
    means = whole.group_by("stack", "what", "model", "layer", maintain_order=True).agg(pl.col("value").mean())
    layers = means["layer"].unique().sort().to_list()
    print(
        f"means over pairs\n\n| stack | measure | model | {' | '.join(f'layer {x}' for x in layers)} |\n|{'---|' * (len(layers) + 3)}"
    )
    for key, rows in means.group_by("stack", "what", "model", maintain_order=True):
        cells = dict(rows.select("layer", "value").iter_rows())
        print(
            f"| {' | '.join(key)} | {' | '.join('' if cells.get(x) is None else f'{cells[x]:.3f}' for x in layers)} |"
        )
    print()


def differences(table: pl.DataFrame) -> None:
    table = table.with_columns(pl.col("theta").fill_nan(None))
    print("after minus before: mean over pairs (pairs that rose, fell for sure: q < 0.05)\n")
    for metric, of in METRICS:
        own = table.filter((pl.col("metric") == metric) & (pl.col("of") == of))
        if own.is_empty():
            continue
        own = own.filter(pl.col("theta").eq_missing(pl.lit(own["theta"][0])))
        layers = own["layer"].unique().sort().to_list()
        print(
            f"{metric} ({of})\n\n| model | stack | {' | '.join(f'layer {x}' for x in layers)} |\n|{'---|' * (len(layers) + 2)}"
        )
        for (model, stack), rows in own.group_by("model", "stack", maintain_order=True):
            cells = []
            for layer in layers:
                here = rows.filter(pl.col("layer") == layer)
                sure = here.filter(pl.col("q_value") < 0.05)
                rose = sure.filter(pl.col("difference") > 0).height
                mean = here["difference"].fill_nan(None).mean()
                cells.append("" if mean is None else f"{mean:+.3f} ({rose}, {sure.height - rose} of {here.height})")
            print(f"| {model} | {stack} | {' | '.join(cells)} |")
        print()


def fates(table: pl.DataFrame) -> None:
    own = table.filter((pl.col("compared") == "base") & pl.col("space").str.contains("+", literal=True))
    means = own.group_by("model", "stack", "layer", "fate", maintain_order=True).agg(pl.col("share").mean())
    wide = means.pivot(on="fate", index=["model", "stack", "layer"], values="share", maintain_order=True)
    names = ["kept", "split", "merged", "gone"]
    print(f"what became of concepts, joint spaces\n\n| model | stack | layer | {' | '.join(names)} |\n|{'---|' * 7}")
    for row in wide.iter_rows(named=True):
        print(f"| {row['model']} | {row['stack']} | {row['layer']} | {' | '.join(f'{row[x]:.2f}' for x in names)} |")
    print()


def concerns(table: pl.DataFrame) -> None:
    own = table.filter(pl.col("compared") == "base").fill_nan(None).drop_nulls("newly_shared")
    print(
        "concepts that became shared by a pair, all pairs\n\n| model | stack | layer | what | n | newly shared | others | pairs with p < 0.05 |\n|---|---|---|---|---|---|---|---|"
    )
    keys = ["model", "stack", "what", "layer"]
    for (model, stack, what, layer), rows in own.group_by(keys, maintain_order=True):
        sure = (rows["p_value"].fill_null(1) < 0.05).sum()
        print(
            f"| {model} | {stack} | {layer} | {what} | {rows['n_shared'].sum()} | {rows['newly_shared'].mean():.3f} | "
            f"{rows['others'].mean():.3f} | {sure} of {rows.height} |"
        )
    print()


def transfer(table: pl.DataFrame) -> None:
    own = table.filter(pl.col("measure").is_in(["calign_soft_mean", "colap", "mexa"]) & (pl.col("control") == ""))
    print(
        "transfer\n\n| task | stack | measure | when | layer | n | rho | p | error | error of the mean |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for r in own.sort("task", "stack", "measure", "when", "layer").iter_rows(named=True):
        numbers = " | ".join(f"{r[x]:.2f}" for x in ("rho", "p_value", "error", "error_of_mean"))
        print(f"| {r['task']} | {r['stack']} | {r['measure']} | {r['when']} | {r['layer']} | {r['n']} | {numbers} |")
    print()


if __name__ == "__main__":
    for name in sys.argv[1:]:
        main(Path(name))
