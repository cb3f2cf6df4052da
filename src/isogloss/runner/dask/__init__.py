"""Steps on workers of Dask: on this machine, at an address, on SLURM."""

from isogloss.runner.dask.cluster import need_dask, slurm_script
from isogloss.runner.dask.execution import Job, execute_on_workers

__all__ = ["Job", "execute_on_workers", "need_dask", "slurm_script"]
