"""The robustness map: where the ordering of layers, pairs or models is another than the study's."""

from __future__ import annotations

import altair as alt
import polars as pl

from isogloss.plots.theme import GAPS, count, facet

_KINDS = {"rho_layers": "layers", "rho_pairs": "pairs", "rho_models": "models"}


def robustness_map(table: pl.DataFrame) -> alt.FacetChart | None:
    """Draw Spearman's correlation with the study's own setting: theta across, K down, a panel a kind of ordering.

    None where nothing was ordered: fewer than three layers, pairs and models.

    Parameters
    ----------
    table : polars.DataFrame
        From `isogloss.study.robustness`; `top` and `min_types` are averaged over.
    """
    kinds = [name for name in _KINDS if table[name].null_count() < table.height]
    if not kinds:
        return None
    long = table.unpivot(kinds, index=["theta", "n_concepts"], variable_name="kind", value_name="rho")
    settings = long.group_by("kind", "theta", "n_concepts", maintain_order=True)
    long = settings.agg(pl.col("rho").mean(), pl.col("rho").min().alias("least"))
    long = long.with_columns(pl.col("kind").replace(_KINDS))
    base = alt.Chart().encode(
        alt.X("theta:O", title="theta", axis=alt.Axis(labelAngle=0), scale=GAPS),
        alt.Y("n_concepts:O", title="K", sort="descending", scale=GAPS),
        tooltip=["theta:O", "n_concepts:O", alt.Tooltip("rho:Q", format=".2f"), alt.Tooltip("least:Q", format=".2f")],
    )
    # Towards both ends from nearly transparent: the middle is the paper's own, and ink can be read on all of it.
    shades = ["rgba(207, 106, 43, 0.72)", "rgba(128, 134, 140, 0.06)", "rgba(59, 125, 196, 0.72)"]
    scale = alt.Scale(domain=[-1, 0, 1], range=shades, interpolate="rgb")
    layers = [
        base.mark_rect(cornerRadius=2).encode(alt.Color("rho:Q", scale=scale, legend=None)),
        base.mark_text(style="cell").encode(alt.Text("rho:Q", format=".2f")),
    ]
    width, height = 44 * long["theta"].n_unique(), 30 * long["n_concepts"].n_unique()
    sentences = []
    for (kind,), rows in long.drop_nulls("rho").group_by("kind", maintain_order=True):
        low = rows.sort("rho").row(0, named=True)
        above = rows.filter(pl.col("rho") > 0.8).height
        sentences.append(
            f"of {kind} above 0.8 in {above} of {count(rows.height, 'setting')}, least {low['rho']:.2f} at theta "
            f"{low['theta']:g} and K {low['n_concepts']}"
        )
    return facet(
        alt.LayerChart(layer=layers).properties(width=width, height=height),
        long.with_columns(pl.col("rho", "least").round(4)).to_dicts(),
        "kind",
        list(_KINDS.values()),
        across=3,
        title="Does the ordering survive other settings?",
        note="rank correlation of CALIGN above chance with the study's own; mean over top and min_types",
        description=f"Rank correlation of orderings by CALIGN with the study's own setting: {'; '.join(sentences)}.",
        columns=("kind", "theta", "n_concepts", "rho", "least"),
    )
