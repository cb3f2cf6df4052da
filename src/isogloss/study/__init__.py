"""A study: from a study file to a folder with results, through steps that are skipped when done."""

from isogloss.study.beside import rank_correlations
from isogloss.study.compare import compare
from isogloss.study.labels import label_study
from isogloss.study.opened import FinishedStudy, Run, open_study
from isogloss.study.plan import Plan, make_plan
from isogloss.study.robustness import robustness
from isogloss.study.run import job_script, planned_graph, preview, run_study, study_status
from isogloss.study.tuning import finetune_study

__all__ = [
    "FinishedStudy",
    "Plan",
    "Run",
    "compare",
    "finetune_study",
    "job_script",
    "label_study",
    "make_plan",
    "open_study",
    "planned_graph",
    "preview",
    "rank_correlations",
    "robustness",
    "run_study",
    "study_status",
]
