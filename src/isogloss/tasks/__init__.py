"""Fine-tuning on translation, named entities and sentiment, and zero-shot scores on other languages."""

from isogloss.tasks.finetuned import FineTuned
from isogloss.tasks.finetuning import SCORES, TASKS, evaluate, finetune

__all__ = ["SCORES", "TASKS", "FineTuned", "evaluate", "finetune"]
