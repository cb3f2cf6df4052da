"""The states of a model as steps for several workers: shards of the lines, their joining layer by layer, the marker."""

from __future__ import annotations

from isogloss.corpus import Corpus
from isogloss.extraction import shard_files, shards_of
from isogloss.store import StudyLayout, digest, state_files
from isogloss.study import steps as work
from isogloss.study.graph import Step
from isogloss.study.plan import Plan


def sharded(plan: Plan, study: StudyLayout) -> list[Step]:
    """Return the steps of a plan, those of states in shards."""
    layers: dict[tuple[str, str], set[int]] = {}
    for step in plan.steps:
        if "layer" in step.arguments and "stack" in step.arguments:
            place = step.arguments["model"], step.arguments["stack"]
            layers.setdefault(place, set()).add(step.arguments["layer"])
    found: list[Step] = []
    for step in plan.steps:
        if step.alone:
            place = step.arguments["model"]["name"], step.arguments["stack"]
            found += in_shards(step, plan.corpus, study, tuple(sorted(layers[place])))
        else:
            found.append(step)
    return found


def in_shards(step: Step, corpus: Corpus, study: StudyLayout, layers: tuple[int, ...]) -> list[Step]:
    """Return the steps that do what a step of states does, the last one under its name and key."""
    model, stack = step.arguments["model"], step.arguments["stack"]
    name, kinds = model["name"], model["sentences"]
    shards = shards_of(corpus.sentences.height)
    key = digest(["shards", step.key, step.arguments["batch_tokens"], len(shards)])
    made = [
        Step(
            name=f"{step.name}/shard-{shard.name}",
            key=digest([key, shard.name]),
            call=work.extract_shard_of_states,
            arguments={**step.arguments, "shard": [shard.window, shard.part, shard.n_parts]},
            outputs=tuple(shard_files(study.shard(name, stack, shard.name), layers, kinds)),
            stage="shards of states",
            size=step.size // len(shards),
            seconds=step.seconds / len(shards),
            cost=step.cost / len(shards),
            memory=step.memory,
        )
        for shard in shards
    ]
    common = {
        "model": name,
        "stack": stack,
        "shards": [shard.name for shard in shards],
        "kinds": kinds,
        "n_rows": corpus.words.height,
        "n_lines": corpus.sentences.height,
    }
    joined = []
    for layer in (None, *layers):
        one = [] if layer is None else [layer]
        counts = set(state_files(study.states(name, stack), [], []))
        own = [
            p for p in state_files(study.states(name, stack), one, kinds) if layer is None or p not in counts
        ]
        reads = [
            path
            for shard in shards
            for path in shard_files(study.shard(name, stack, shard.name), one, kinds if one else [])
        ]
        joined.append(
            Step(
                name=f"{step.name}/" + ("counts" if layer is None else f"layer_{layer:02d}"),
                key=digest([key, "joined", layer]),
                call=work.join_states,
                arguments={**common, "layer": layer},
                outputs=tuple(own),
                stage="joined states",
                reads=tuple(reads),
            )
        )
    last = Step(
        name=step.name,
        key=step.key,
        call=work.finish_states_of,
        arguments={
            "model": model,
            "stack": stack,
            "shards": [one.name for one in made],
            "joined": [one.name for one in joined],
        },
        outputs=step.outputs,
        stage="states",
        alone=True,
        reads=joined[0].outputs,
        needs=tuple(one.name for one in (*made, *joined)),
    )
    return [*made, *joined, last]
