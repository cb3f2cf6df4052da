"""A step: one unit of work that knows its name, its key, what it reads and what it writes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from isogloss.store import StudyLayout, digest

Facts = dict[str, Any]
_NOWHERE = StudyLayout(Path())


@dataclass(frozen=True)
class Step:
    """One unit of work of a study.  A kind of step is a frozen data class below this one.

    Its fields are its settings and the steps that it builds on.  All else follows from them: the name (of its first
    output), the key, what must run before, what it reads.  A field that changes no output is declared with
    ``field(compare=False)``.

    Attributes
    ----------
    version : int
        Of the kind; raise it when the same settings and inputs give other files.  It runs that kind again, and what
        hangs on it.
    stage : str
        Steps of one stage do not depend on each other.
    marks_itself : bool
        It uses the whole machine (a forward pass), shows its own progress and writes its own marker.
    is_forward_pass : bool
        Of a model: where workers share the cores of a machine, one of them has all for such steps.
    """

    version: ClassVar[int] = 1
    stage: ClassVar[str] = ""
    marks_itself: ClassVar[bool] = False
    is_forward_pass: ClassVar[bool] = False

    def outputs(self, layout: StudyLayout) -> tuple[Path, ...]:
        """Return the files that it writes, all of them."""
        raise NotImplementedError

    def run(self, layout: StudyLayout) -> Facts:
        """Write the outputs, from files of the folder alone; return facts about the run."""
        raise NotImplementedError

    def reads(self, layout: StudyLayout) -> tuple[Path, ...]:
        """Return the files of its inputs that it opens, beside the tables of the corpus: all, if it says no other."""
        return tuple(path for step in self.inputs for path in step.outputs(layout))

    @cached_property
    def name(self) -> str:
        """Its name in every study folder, e.g. ``"concepts/mbert/encoder/ward-k600-s0/layer_06/en"``."""
        return _NOWHERE.step_of(self.outputs(_NOWHERE)[0])

    @cached_property
    def key(self) -> str:
        """Digest of its kind, version, settings and the keys of its inputs: with the same key it is not run again."""
        return digest([type(self).__name__, self.version, _fields_of(self)])

    @cached_property
    def inputs(self) -> tuple[Step, ...]:
        """The steps that must be done before."""
        held = (getattr(self, f.name) for f in fields(self) if f.metadata.get("is_input", True))
        return tuple(step for value in held for step in _steps_in(value))

    # -- what it takes ----------------------------------------------------------------------------

    @property
    def cost(self) -> float:
        """Relative cost within its stage: for progress, and to start the dearest first."""
        return 1.0

    @property
    def size(self) -> int:
        """Expected bytes of its outputs; 0 where small."""
        return 0

    def size_left(self, layout: StudyLayout) -> int:  # noqa: ARG002
        """Return `size` without what an unfinished run has written."""
        return self.size

    @property
    def device(self) -> str:
        """Where it computes: ``"cpu"``, or what may be a GPU."""
        return "cpu"

    def seconds(self, about: Any) -> float:  # noqa: ARG002
        """Return about how long it takes; 0 where short or unknown.  `about`: see `isogloss.study.estimate`."""
        return 0.0

    def memory(self, about: Any) -> int:  # noqa: ARG002
        """Return about how many bytes it holds at once, where that is much; 0 where little or unknown."""
        return 0

    # -- in parts ---------------------------------------------------------------------------------

    def parts(self) -> tuple[Step, ...]:
        """Return steps for several workers that do its work, the last under its name and key; or none."""
        return ()

    def forget_parts(self, layout: StudyLayout) -> tuple[Path, ...]:  # noqa: ARG002
        """Remove what the parts of a step that is done have left; return the paths, which a storage may have too."""
        return ()


def _fields_of(value: Any) -> dict[str, Any]:
    return {f.name: _content(getattr(value, f.name)) for f in fields(value) if f.compare}


def _content(value: Any) -> Any:
    """Return a field as what `digest` takes."""
    if isinstance(value, Step):
        return value.key
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, list | tuple):
        return [_content(part) for part in value]
    if isinstance(value, dict):
        return {str(name): _content(part) for name, part in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return _fields_of(value)
    return value


def _steps_in(value: Any) -> Iterator[Step]:
    if isinstance(value, Step):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _steps_in(part)
    elif isinstance(value, dict):
        yield from _steps_in(list(value.values()))


def upstream(steps: Iterable[Step], stage: str, *, is_done: Callable[[Step], bool] = lambda _: False) -> list[Step]:
    """Return the steps of a stage and what they wait for, in the order given; of a step that is done nothing more."""
    steps = list(steps)
    wanted: set[str] = set()
    for step in reversed(steps):
        if step.stage == stage or step.name in wanted:
            wanted |= {step.name, *(() if is_done(step) else (before.name for before in step.inputs))}
    return [step for step in steps if step.name in wanted]


def stage_graph(steps: Sequence[Step]) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Return the stages of some steps (``stage, steps, depth``; depth 0 waits for nothing) and which wait for which.

    Of two ways from one stage to another only the longer is among the links.
    """
    stage_of = {step.name: step.stage for step in steps}
    waits: dict[str, set[str]] = {step.stage: set() for step in steps}
    for step in steps:
        before = {stage_of[other.name] for other in step.inputs if other.name in stage_of}
        waits[step.stage] |= before - {step.stage}
    depth: dict[str, int] = {}
    reach: dict[str, set[str]] = {}
    # steps stand in an order in which they can run
    for stage, earlier in waits.items():
        depth[stage] = 1 + max((depth[x] for x in earlier), default=-1)
        reach[stage] = set().union(*(reach[x] | {x} for x in earlier))
    sizes = {stage: sum(step.stage == stage for step in steps) for stage in waits}
    links = [
        (x, stage)
        for stage in waits
        for x in sorted(waits[stage])
        if not any(x in reach[y] for y in waits[stage] if y != x)
    ]
    return [{"stage": x, "steps": sizes[x], "depth": depth[x]} for x in waits], links
