"""Pre-training of a small multilingual BERT on parallel text: how the built-in model was made.

From the root of a clone: ``python -m tools.pretrain STUDY.yaml --out DIR``; ``docs/pretraining.md`` has the rest.
"""
