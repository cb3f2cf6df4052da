"""How and where the work of a study is done."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_serializer, field_validator, model_validator

from isogloss.arguments import BatchTokens, Like, Within, Workers
from isogloss.errors import unknown
from isogloss.sections import Section
from isogloss.urls import is_loopback, without_secrets

SCHEDULERS = ("local", "processes", "slurm")
ENCRYPTED = ("tls://", "wss://")


class SlurmSection(Section):
    """A job of a SLURM cluster: one worker of a study."""

    cpus: Workers = Field(default=4, description="cores of a job")
    memory: Annotated[str, Like(r"\d+(\.\d+)? ?[kKMGT]?i?B?", "16 GB")] = Field(
        default="16 GB", description="memory of a job"
    )
    gpus: Annotated[int, Within(0, 1, why="a worker uses one")] = Field(
        default=0, description="graphics cards of a job"
    )
    walltime: Annotated[str, Like(r"(\d+-)?\d+:\d\d(:\d\d)?", "04:00:00")] = Field(
        default="04:00:00", description="longest time of a job, HH:MM:SS"
    )
    partition: str | None = Field(default=None, description="partition of the cluster")
    account: str | None = Field(default=None, description="account that is charged")
    interface: str | None = Field(default=None, description="network interface of the nodes, e.g. ib0")
    scratch: str | None = Field(default=None, description="folder on a node's own disk")
    logs: str | None = Field(default=None, description="folder for the output of jobs")
    certificates: str = Field(
        default="~", description="folder that login and compute nodes share, for the keys of a running study"
    )
    prologue: list[str] = Field(
        default_factory=list, description="lines of shell before the worker starts, e.g. module load"
    )
    directives: list[str] = Field(default_factory=list, description="further #SBATCH options")


class RunSection(Section):
    """How the work is done; nothing here changes a result beyond float rounding."""

    scheduler: str = Field(
        default="local",
        description="local; or on Dask: `processes` of this machine, `slurm`, or the address of a scheduler, "
        "`tls://host:8786`",
    )
    workers: Workers | None = Field(
        default=None, description="processes; default: the number of cores. On slurm: jobs, default 1"
    )
    storage: str | None = Field(
        default=None,
        repr=False,  # it may hold a password, which stays in memory
        description="URL through which workers exchange files where they share no file system, e.g. "
        "`s3://bucket/study`. Passwords in it are used and not written down",
    )
    unencrypted: bool = Field(
        default=False,
        description="true: also a scheduler at tcp:// of another machine, which runs whatever it is sent; "
        "see [clusters](cluster.md#who-may-speak-to-whom)",
    )
    slurm: SlurmSection = Field(default=SlurmSection(), description="a job of `scheduler: slurm`")
    batch_tokens: BatchTokens | None = Field(
        default=None, description="padded subwords in a batch; default: 2048 on a CPU, 16384 on a GPU"
    )
    device: Annotated[str, Like(r"auto|cpu|(cuda|mps|xpu)(:\d+)?", "cuda")] = Field(
        default="auto", description="auto: a GPU where there is one, else the CPU"
    )

    @field_serializer("storage")
    def _shown(self, url: str | None) -> str | None:
        return url and without_secrets(url)

    @field_validator("scheduler")
    @classmethod
    def _named(cls, name: str) -> str:
        if "://" not in name and name not in SCHEDULERS:
            raise ValueError(f"{unknown('scheduler', name, SCHEDULERS)} An address reads tls://host:8786.")
        return name

    @model_validator(mode="after")
    def _apart(self) -> RunSection:
        if self.storage and self.scheduler == "local":
            raise ValueError("storage is for workers of Dask: name a scheduler, e.g. processes, or leave it out")
        address = self.scheduler
        if "://" in address and not (self.unencrypted or address.startswith(ENCRYPTED) or is_loopback(address)):
            raise ValueError(
                f"the scheduler at {address} would be reached without encryption, and whoever reaches it can run code "
                "as you. Give it certificates and write tls://host:8786 (docs/cluster.md), or, in a network that you "
                "trust, say run: {unencrypted: true}"
            )
        return self
