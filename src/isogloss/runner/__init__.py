"""What a step is, and how steps run: in this process, in processes of this machine, on workers of Dask."""

from isogloss.runner.local import execute, run_step
from isogloss.runner.step import Facts, Step, stage_graph, upstream

__all__ = ["Facts", "Step", "execute", "run_step", "stage_graph", "upstream"]
