"""Figures: `Results`, or a finished study, in; Altair charts and files out.

Of results: `layer_curves` (score over depth, chance dashed), `language_curves` (a panel a language), `pair_heatmap`
(pairs by layers), `language_map` (language by language at one layer), `overlap_curves` and `sentence_curves` (what is
owed to the sentence).  Of a finished study: `study_charts`, every
figure by name, and `chosen_charts`, some.  `write_chart` and `save_charts` write them, as wide as a paper wants.

    plots.layer_curves(results, metric="colap")
    plots.study_charts(isogloss.open_study("my-study"))["calign_xlm-r_encoder"]
"""

from isogloss.plots.charts import language_curves, layer_curves, overlap_curves, sentence_curves
from isogloss.plots.companions import companion_panels
from isogloss.plots.concepts import concept_map, depth_curves
from isogloss.plots.files import FORMATS, VEGA_LITE, WIDTHS, check_room, save_charts, width_of, write_chart
from isogloss.plots.graph import graph_chart
from isogloss.plots.labels import label_panels, shared_panels
from isogloss.plots.maps import language_map, language_map_words, language_order, pair_heatmap
from isogloss.plots.robustness import robustness_map
from isogloss.plots.studies import (
    beside_charts,
    chosen_charts,
    main_thetas,
    results_charts,
    run_charts,
    save_study_figures,
    save_task_figures,
    side_by_side,
    start_layer,
    study_charts,
    tuning_charts,
    whole_charts,
)
from isogloss.plots.task_charts import (
    MAIN_SCORES,
    curve_chart,
    difference_chart,
    fate_chart,
    score_chart,
    transfer_chart,
)
from isogloss.plots.theme import chart_config

__all__ = [
    "FORMATS",
    "MAIN_SCORES",
    "VEGA_LITE",
    "WIDTHS",
    "beside_charts",
    "check_room",
    "chosen_charts",
    "companion_panels",
    "concept_map",
    "curve_chart",
    "depth_curves",
    "difference_chart",
    "fate_chart",
    "graph_chart",
    "label_panels",
    "language_curves",
    "language_map",
    "language_map_words",
    "language_order",
    "layer_curves",
    "main_thetas",
    "overlap_curves",
    "pair_heatmap",
    "results_charts",
    "robustness_map",
    "run_charts",
    "save_charts",
    "save_study_figures",
    "save_task_figures",
    "score_chart",
    "sentence_curves",
    "shared_panels",
    "side_by_side",
    "start_layer",
    "study_charts",
    "chart_config",
    "transfer_chart",
    "tuning_charts",
    "whole_charts",
    "width_of",
    "write_chart",
]
