"""The names of files in a study folder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from isogloss.coordinates import Clustering, Pair, Space
from isogloss.store.files import digest, folder_name, sweep
from isogloss.store.markers import Markers
from isogloss.store.names import inside

LABEL_TABLES = ("labels", "scores", "splits")
MOVEMENT_TABLES = ("flows", "fates", "shared", "concerns")
# In which files are written.
_FOLDERS = (
    *(".steps", "states", "links", "dictionary", "trees", "concepts", "metrics", "companions", "labels"),
    *("movement", "robustness", "tasks", "figures"),
)
_LONGEST_NAME = 160  # bytes; file names end at 255, and temporary ones are longer


@dataclass(frozen=True)
class StudyLayout(Markers):
    """The names inside a study folder; beside them only the markers of steps are read and written here."""

    @property
    def manifest(self) -> Path:
        return self.root / "manifest.json"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    @property
    def claims(self) -> Path:
        """The file with the storages that are this study's."""
        return self.root / ".steps" / "storages"

    @property
    def sentences(self) -> Path:
        return self.root / "sentences.parquet"

    # -- what concepts are made from --------------------------------------------------------------

    def states(self, model: str, stack: str) -> Path:
        return self._at("states", folder_name(model), stack)

    def states_step(self, model: str, stack: str) -> str:
        return f"states/{folder_name(model)}/{stack}"

    def shards(self, model: str, stack: str) -> Path:
        return self._at("states", folder_name(model), f"{stack}.shards")

    def shard(self, model: str, stack: str, name: str) -> Path:
        """Return the folder of one shard of states, while they are extracted by several workers."""
        return inside(self.shards(model, stack), name)

    def links(self, aligner: str, pair: Pair) -> Path:
        return self._at("links", folder_name(aligner), _file_of(pair))

    def dictionary(self, direction: Pair) -> Path:
        return self._at("dictionary", _file_of(direction))

    # -- of one clustering ------------------------------------------------------------------------

    def tree(self, clustering: Clustering, space: Space) -> Path:
        """Return the file of the tree that a clustering is cut from, whatever its number of concepts."""
        method = f"{clustering.method}-s{clustering.seed}"
        return self._of_layer("trees", clustering, method, _file_of(space))

    def concepts(self, clustering: Clustering, space: Space) -> Path:
        return self._of_layer("concepts", clustering, _run_name(clustering), _file_of(space))

    def metrics(self, clustering: Clustering, pair: Pair | None) -> Path:
        """Return the file with the estimates of a pair, or (None) of spaces."""
        name = "spaces.parquet" if pair is None else _file_of(pair)
        return self._of_layer("metrics", clustering, _run_name(clustering), name)

    def labels_at(self, clustering: Clustering, table: str) -> Path:
        return self._of_layer("labels", clustering, _run_name(clustering), f"{table}.parquet")

    def movement_at(self, clustering: Clustering, table: str) -> Path:
        return self._of_layer("movement", clustering, _run_name(clustering), f"{table}.parquet")

    def robustness_at(self, clustering: Clustering, pair: Pair) -> Path:
        return self._of_layer("robustness", clustering, _run_name(clustering), _file_of(pair))

    def _of_layer(self, kind: str, clustering: Clustering, run: str, name: str) -> Path:
        model, layer = folder_name(clustering.model), f"layer_{clustering.layer:02d}"
        return self._at(kind, model, clustering.stack, run, layer, name)

    def companions_at(self, model: str, stack: str, layer: int, pair: Pair) -> Path:
        """Return the file with the companion measures of a pair at one layer."""
        return self._at("companions", folder_name(model), stack, f"layer_{layer:02d}", _file_of(pair))

    def find_estimates(self) -> list[Path]:
        """Return all files of estimates with their draws, of this text: of concepts, then of companion measures."""
        paths: list[Path] = []
        for kind in ("metrics", "companions"):
            there = set((self.root / kind).rglob("layer_*/*.parquet"))
            paths += sorted(there | {self.root / f"{step}.parquet" for step in self.find_steps(kind)})
        return [self.checked(path) for path in paths if not self.is_outdated(path)]

    # -- of the whole study -----------------------------------------------------------------------

    @property
    def results(self) -> Path:
        return self.root / "results.parquet"

    @property
    def results_csv(self) -> Path:
        return self.root / "results.csv"

    @property
    def results_by_layer(self) -> Path:
        return self.root / "results_by_layer.parquet"

    @property
    def results_over_seeds(self) -> Path:
        return self.root / "results_seeds.csv"

    @property
    def correlations(self) -> Path:
        return self.root / "correlations.csv"

    def labels(self, table: str) -> Path:
        return self._at("labels", f"{table}.parquet")

    def movement(self, table: str) -> Path:
        return self._at("movement", f"{table}.parquet")

    @property
    def robustness(self) -> Path:
        return self.root / "robustness.parquet"

    @property
    def robustness_csv(self) -> Path:
        return self.root / "robustness.csv"

    def tuned(self, name: str) -> Path:
        """Return the folder of a fine-tuned model, its curve and its scores."""
        return self._at("tasks", folder_name(name))

    @property
    def task_scores(self) -> Path:
        return self.root / "tasks.parquet"

    @property
    def task_scores_csv(self) -> Path:
        return self.root / "tasks.csv"

    @property
    def differences(self) -> Path:
        return self.root / "differences.parquet"

    @property
    def transfer(self) -> Path:
        return self.root / "transfer.parquet"

    @property
    def transfer_points(self) -> Path:
        return self.root / "transfer_points.parquet"

    @property
    def figures(self) -> Path:
        return self.root / "figures"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    def sweep(self) -> None:
        """Remove what a killed process left behind; call it with the folder's lock held."""
        sweep(self.root, _FOLDERS)
        for path in (self.root / "states").glob("*/*/progress.json"):
            folder = path.parent
            if not folder.suffix and self.record(f"states/{folder.parent.name}/{folder.name}"):
                path.unlink()  # the marker says it all


def _run_name(clustering: Clustering) -> str:
    """Return the folder name of a clustering, e.g. ``ward-k600-s0``."""
    return f"{clustering.method}-k{clustering.n_concepts}-s{clustering.seed}"


def _file_of(part: Space | Pair) -> str:
    """Return the file name of a space or pair; one of very many languages, or long labels, is shortened."""
    name = part.name
    if len(name.encode()) > _LONGEST_NAME:
        name = f"{len(part.languages)}-languages-{digest(name)}"
    return f"{name}.parquet"


def state_files(folder: Path, layers: Iterable[int], sentences: Iterable[str]) -> list[Path]:
    """Return the files of a states folder: of words at some layers, of sentences by kinds of pooling, facts of both."""
    layers = list(layers)
    whole = sentence_folder(folder)
    files = [n_subwords_file(folder), shared_file(folder), n_subwords_file(whole)]
    files += [layer_file(folder, x) for x in layers]
    return files + [layer_file(sentence_folder(folder, kind), x) for kind in sentences for x in layers]


def layer_file(folder: Path, layer: int) -> Path:
    """Return the file of one layer in a states folder."""
    return folder / f"layer_{layer:02d}.npy"


def sentence_folder(folder: Path, kind: str = "") -> Path:
    """Return the folder of sentence states in a states folder, or that of one kind of pooling in it."""
    return folder / "sentences" / kind if kind else folder / "sentences"


def n_subwords_file(folder: Path) -> Path:
    """Return the file with every token's (in the folder of sentences: every sentence's) number of subwords."""
    return folder / "n_subwords.npy"


def shared_file(folder: Path) -> Path:
    """Return the file that says of every token whether it shares a subword with another."""
    return folder / "shared.npy"


def row_numbers_file(folder: Path) -> Path:
    """Return the file that says which rows of the whole array a shard's files hold."""
    return folder / "rows.npy"


def partial_folder(folder: Path) -> Path:
    """Return the name a folder has while it is being filled."""
    return folder.with_name(f"{folder.name}.partial")


def progress_file(folder: Path) -> Path:
    """Return the file that says how far the filling of a folder has come."""
    return folder / "progress.json"
