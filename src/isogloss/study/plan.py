"""From a study file to its steps: loops over models, layers, clusterings and pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, product

import isogloss
from isogloss.config import ModelSection, RobustnessSection, StudyConfig
from isogloss.coordinates import Clustering, Pair, Space, alone
from isogloss.corpus import Corpus
from isogloss.discovery import METHODS
from isogloss.runner import Step
from isogloss.settings import AlignmentSettings, OverlapSettings, SelectionRule
from isogloss.study.analyses.orderings import Grid
from isogloss.study.inputs import Inputs
from isogloss.study.measures import MATCHED, Origin
from isogloss.study.steps.companions import MeasureCompanions
from isogloss.study.steps.concepts import Cluster, CutTree, FindConcepts, GrowTree
from isogloss.study.steps.labels import JoinLabels, LabelConcepts
from isogloss.study.steps.metrics import MeasurePair, MeasureSpaces
from isogloss.study.steps.movement import FollowConcepts, JoinMovement
from isogloss.study.steps.results import CompareWithBases, CorrelateMeasures, ExplainTransfer, JoinResults
from isogloss.study.steps.robustness import JoinRobustness, SweepSettings
from isogloss.study.steps.states import ExtractStates
from isogloss.study.steps.words import CountDictionary, Dictionary, LinkWords, ReadDictionary, UserFile


@dataclass(frozen=True)
class Plan:
    """The steps of a study, in an order in which they can run.

    Attributes
    ----------
    config : StudyConfig
    corpus : Corpus
    steps : tuple of Step
    warnings : tuple of str
        What a reader of the results must know, e.g. a circular dictionary.
    """

    config: StudyConfig
    corpus: Corpus
    steps: tuple[Step, ...]
    warnings: tuple[str, ...]

    @property
    def stages(self) -> list[str]:
        """Names of the stages, in order."""
        return list(dict.fromkeys(step.stage for step in self.steps))


def make_plan(config: StudyConfig, corpus: Corpus, *, scores: str = "") -> Plan:
    """List the steps of a study on a corpus; `scores` is the digest of its tasks' scores.

    Raises
    ------
    UsageError
        If pairs, link files or dictionaries name a language that the corpus lacks, or a model lacks a stack or layer.
    """
    inputs = Inputs(config, corpus)
    return Plan(config, corpus, tuple(_Maker(inputs, scores).steps()), tuple(inputs.warnings))


class _Maker:
    """Makes the steps, kind by kind."""

    def __init__(self, given: Inputs, scores: str) -> None:
        self.given, self.scores = given, scores
        self.config, self.corpus, self.pairs = given.config, given.corpus, given.pairs
        self.bases = {model.name: model.base or "" for model in self.config.models}
        # the groups of settings that a step needs, so that others do not run it again
        metrics = self.config.metrics
        self.alignment = AlignmentSettings(**metrics.values_of(AlignmentSettings))
        self.overlap = OverlapSettings(**metrics.values_of(OverlapSettings))
        self.group = Space(tuple(given.languages))

    def steps(self) -> Iterator[Step]:
        """Yield all steps, stage by stage."""
        by_model = self.config.alignment.aligner == "model"
        links, states = self.links.values(), self.states.values()
        yield from chain(states, links) if by_model else chain(links, states)
        yield from self.dictionaries.values()
        by_space = [step for concepts in self.concepts.values() for step in concepts.values()]
        trees = {step.tree.name: step.tree for step in by_space if isinstance(step, CutTree)}
        yield from trees.values()
        yield from by_space
        measured = list(self.measured())
        yield from measured
        yield from self.labels()
        yield from self.movement()
        companions = list(self.companions())
        yield from companions
        results = JoinResults((*measured, *companions))
        yield results
        bases = {model: base for model, base in self.bases.items() if base}
        if bases and self.config.metrics.n_bootstrap:
            yield CompareWithBases(bases, (*measured, *companions))
        if self.scores:
            yield ExplainTransfer(results, self.scores)
        if companions:
            yield CorrelateMeasures(results)
        if self.config.robustness is not None:
            yield from self.robustness(self.config.robustness)

    # -- what concepts are made from --------------------------------------------------------------

    @cached_property
    def states(self) -> dict[tuple[str, str], ExtractStates]:
        run, corpus = self.config.run, self.corpus
        return {
            (model.name, stack): ExtractStates(
                model=model,
                stack=stack,
                layers=layers,
                extracted=self.given.states_keys[model.name, stack],
                width=width,
                n_words=corpus.words.height,
                n_lines=corpus.sentences.height,
                batch_tokens=run.batch_tokens,
                computes_on=run.device,
            )
            for model in self.config.models
            for stack, layers, width in self.given.stacks[model.name]
        }

    @cached_property
    def links(self) -> dict[Pair, LinkWords]:
        """Of every pair; of one whose dictionaries are both given only if selection counts pairs."""
        section, rules = self.config.alignment, self.config.selection
        counted = "pairs" in (rules.calign.by, rules.colap.by)
        links = {}
        for pair in self.pairs:
            has_both = all(self.given.dictionary_files.get(x) for x in pair.directions)
            if has_both and not counted:
                continue
            file = self.given.link_files.get(pair)
            options = {} if file else dict(self.given.aligner_options)
            states = None
            if section.aligner == "model" and not file:
                states = self.states[options.pop("model"), options.pop("stack")]
            text = self.corpus.digest
            user_file = UserFile.at(file) if file else None
            links[pair] = LinkWords(pair, section.aligner, section.symmetrise, options, text, user_file, states)
        return links

    @cached_property
    def dictionaries(self) -> dict[Pair, Dictionary]:
        """Of every direction."""
        section, case = self.config.dictionary, self.config.alignment.case
        dictionaries: dict[Pair, Dictionary] = {}
        for pair in self.pairs:
            for direction in pair.directions:
                file = self.given.dictionary_files.get(direction)
                dictionaries[direction] = (
                    ReadDictionary(direction, UserFile.at(file), case, section.top, self.corpus.digest)
                    if file
                    else CountDictionary(direction, self.links[pair], section.top, section.min_count)
                )
        return dictionaries

    # -- concepts ---------------------------------------------------------------------------------

    @cached_property
    def spaces(self) -> list[tuple[Space, SelectionRule]]:
        """Every language of a pair alone, every pair, and all languages together."""
        rules = self.config.selection
        paired = {space.languages[0] for space in alone(self.pairs)}
        single = [(Space.of(x), rules.calign) for x in self.given.languages if x in paired]
        joint = [(pair.space, rules.colap) for pair in self.pairs]
        group = [(self.group, rules.colap)]
        return single + joint + (group if group[0] not in joint else [])

    @cached_property
    def concepts(self) -> dict[Clustering, dict[Space, FindConcepts]]:
        """Of every clustering the concepts of all spaces."""
        by_clustering: dict[Clustering, dict[Space, FindConcepts]] = {}
        for states, seed in product(self.states.values(), self.config.discovery.seeds):
            for layer in states.layers:
                for space, rule in self.spaces:
                    for step in self._concepts(states, layer, space, rule, seed):
                        by_clustering.setdefault(step.clustering, {})[space] = step
        return by_clustering

    def _concepts(
        self, states: ExtractStates, layer: int, space: Space, rule: SelectionRule, seed: int
    ) -> list[FindConcepts]:
        """Return the concepts of one space: cuts of one tree, or a clustering for every number of concepts."""
        section, numbers = self.config.discovery, self.given.n_concepts
        links: tuple[LinkWords, ...] = ()
        if rule.by == "pairs":
            inside = [pair for pair in self.pairs if set(pair.languages) <= set(space.languages)]
            # of one language: its pairs
            counted = inside or [x for x in self.pairs if set(space.languages) <= set(x.languages)]
            links = tuple(self.links[pair] for pair in counted)
        common = (states, layer, space, rule, links, section.method, section.options, seed)
        if not METHODS[section.method].has_tree:
            return [Cluster(*common, k) for k in numbers]
        tree = GrowTree(*common, numbers[-1])
        return [CutTree(tree, k) for k in numbers]

    # -- measures ---------------------------------------------------------------------------------

    def _origin(self, model: ModelSection) -> Origin:
        return Origin(
            version=isogloss.__version__,
            corpus=self.corpus.digest,
            base=model.base or "",
            pooling=model.pooling,
            dictionary=self.given.dictionary_name(),
            top=self.config.dictionary.top,
            select_calign=_short(self.config.selection.calign),
            select_colap=_short(self.config.selection.colap),
        )

    def measured(self) -> Iterator[MeasurePair | MeasureSpaces]:
        """A step a pair, and one for all spaces, of every clustering."""
        metrics = self.config.metrics
        for clustering, concepts in self.concepts.items():
            states = self.states[clustering.model, clustering.stack]
            origin = self._origin(states.model)
            matched: tuple[FindConcepts, ...] = ()
            if MATCHED in metrics.variants:
                matched = tuple(concepts[space] for space in alone(self.pairs))
            for pair in self.pairs:
                source, target = pair.sides
                yield MeasurePair(
                    clustering=clustering,
                    pair=pair,
                    alone=(concepts[source], concepts[target]),
                    joint=concepts[pair.space],
                    matched=matched,
                    dictionaries=(self.dictionaries[pair], self.dictionaries[pair.reverse]),
                    states=states,
                    metrics=metrics,
                    origin=origin,
                )
            yield MeasureSpaces(clustering, tuple(concepts.values()), self.group, metrics, origin)

    def companions(self) -> Iterator[MeasureCompanions]:
        """A step a layer and pair."""
        metrics, section = self.config.metrics, self.config.companions
        if not section.measures:
            return
        for states in self.states.values():
            for layer, pair in product(states.layers, self.pairs):
                yield MeasureCompanions(
                    pair=pair,
                    layer=layer,
                    states=states,
                    links=self.links.get(pair),
                    settings=section,
                    n_bootstrap=metrics.n_bootstrap,
                    draw_seed=metrics.draw_seed,
                    made_by=isogloss.__version__,
                    corpus=self.corpus.digest,
                    base=states.model.base or "",
                )

    def labels(self) -> Iterator[LabelConcepts | JoinLabels]:
        """A step a layer of every clustering, and the table of all."""
        section = self.config.labels
        if section is None:
            return
        spaces = [*alone(self.pairs), *(pair.space for pair in self.pairs)]
        layers = [
            LabelConcepts(
                clustering=clustering,
                pairs=tuple(self.pairs),
                concepts=tuple(concepts[space] for space in spaces),
                dictionaries=tuple(self.dictionaries.values()),
                settings=section,
                alignment=self.alignment,
                overlap=self.overlap,
                text=self.corpus.file_digest,
            )
            for clustering, concepts in self.concepts.items()
        ]
        yield from layers
        yield JoinLabels(tuple(layers))

    def movement(self) -> Iterator[FollowConcepts | JoinMovement]:
        """From the base model's concepts and from those of the layer before, for every clustering that has such."""
        layers = []
        for clustering, concepts in self.concepts.items():
            base = replace(clustering, model=self.bases[clustering.model])
            before = [x for x in self.concepts if x == clustering.at(x.layer) and x.layer < clustering.layer]
            sides = [
                tuple(self.concepts[side].values()) if side in self.concepts else ()
                for side in (base, max(before, key=lambda x: x.layer, default=None))
            ]
            if not any(sides):
                continue
            layers.append(
                FollowConcepts(
                    clustering=clustering,
                    base=base.model if sides[0] else "",
                    after=tuple(concepts.values()),
                    from_base=sides[0],
                    from_layer=sides[1],
                    overlap=self.overlap,
                    draw_seed=self.config.metrics.draw_seed,
                    text=self.corpus.file_digest,
                )
            )
        yield from layers
        if layers:
            yield JoinMovement(tuple(layers))

    def robustness(self, section: RobustnessSection) -> Iterator[SweepSettings | JoinRobustness]:
        """A step a layer and pair, of the first seed, and the table of all."""
        grid = _grid(section, self.config, self.given.n_concepts[0])
        swept = []
        for clustering, concepts in self.concepts.items():
            first = (self.given.n_concepts[0], self.config.discovery.seeds[0])
            if (clustering.n_concepts, clustering.seed) != first:
                continue
            for pair in self.pairs:
                source, target = (concepts[side] for side in pair.sides)
                # Inputs has seen to it that the method grows trees
                assert isinstance(source, CutTree) and isinstance(target, CutTree)
                both = (self.dictionaries[pair], self.dictionaries[pair.reverse])
                trees = source.tree, target.tree
                swept.append(SweepSettings(pair, trees, both, grid, self.alignment))
        yield from swept
        yield JoinRobustness(tuple(swept), grid)


def _grid(section: RobustnessSection, config: StudyConfig, n_concepts: int) -> Grid:
    """Return the settings to measure under, the study's own among them."""
    top, metrics = config.dictionary.top, config.metrics
    of_study = (n_concepts, top, float(metrics.min_types), float(metrics.theta_align[0]))
    numbers: Sequence[int] = section.n_concepts or (n_concepts // 2, n_concepts * 2)
    return Grid(
        n_concepts=tuple(k for k in sorted({*numbers, n_concepts}) if k >= 2),
        top=tuple(sorted({*(min(n, top) for n in section.top), top})),
        min_types=tuple(sorted({*map(float, section.min_types), of_study[2]})),
        theta=tuple(sorted({*map(float, section.theta_align), of_study[3]})),
        of_study=of_study,
    )


def _short(rule: SelectionRule) -> str:
    dropped = "".join(f"-{name}" for name in rule.drop)
    return f"{rule.by}{rule.min_count}..{rule.max_count or ''}{dropped}"
