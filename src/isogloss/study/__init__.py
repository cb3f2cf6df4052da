"""A study: from a study file to a folder with results, through steps that are skipped when done."""

from isogloss.study.analyses.comparison import compare
from isogloss.study.analyses.correlations import rank_correlations
from isogloss.study.finished import FinishedStudy, open_study
from isogloss.study.plan import Plan, make_plan
from isogloss.study.run import job_script, planned_graph, preview, robustness, run_study, study_status
from isogloss.study.task_models import finetune_study

__all__ = [
    "FinishedStudy",
    "Plan",
    "compare",
    "finetune_study",
    "job_script",
    "make_plan",
    "open_study",
    "planned_graph",
    "preview",
    "rank_correlations",
    "robustness",
    "run_study",
    "study_status",
]
