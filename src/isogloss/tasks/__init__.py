"""Fine-tuning on translation, named entities and sentiment, and zero-shot scores on other languages."""

from isogloss.tasks.tuning import SCORES, TASKS, FineTuned, evaluate, finetune

__all__ = ["SCORES", "TASKS", "FineTuned", "evaluate", "finetune"]
