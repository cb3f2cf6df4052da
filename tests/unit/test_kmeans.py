"""k-means on shards: the same bits however the rows are parted, as good as scikit-learn's, and read in blocks."""

from __future__ import annotations

import math
import pickle
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from functools import partial
from multiprocessing import get_context

import numpy as np
import polars as pl
import pytest
from sklearn.cluster import KMeans

from isogloss.discovery import centroids, discover, exact, kmeans, lloyd
from isogloss.discovery.rows import Scale
from isogloss.errors import InputError, UsageError
from isogloss.parallel import spreading
from isogloss.states import LayerStates, States
from isogloss.store import Rows, arrays, open_array

N, D, K = 2500, 20, 25


def groups(n: int, d: int, k: int, *, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    centres = generator.normal(size=(k, d)) * 2
    return (centres[generator.integers(k, size=n)] + generator.normal(size=(n, d))).astype(np.float32)


def inertia(X: np.ndarray, labels: np.ndarray) -> float:
    X = X.astype(np.float64)
    return sum(float(((X[labels == c] - X[labels == c].mean(axis=0)) ** 2).sum()) for c in range(labels.max() + 1))


def backwards(function, items):
    """Work on copies that travelled, the last first."""
    packed = [pickle.dumps((function, item)) for item in items]
    done = []
    for one in reversed(packed):
        work, item = pickle.loads(one)
        done.append(pickle.loads(pickle.dumps(work(item))))
    return done[::-1]


@pytest.fixture(scope="module")
def data() -> np.ndarray:
    return groups(N, D, 40)


@pytest.fixture(scope="module")
def whole(data) -> np.ndarray:
    return kmeans.fit(data, K, seed=3, shard_rows=N, threads=1)


@pytest.fixture
def file(tmp_path, data):
    np.save(tmp_path / "layer_06.npy", data)
    return tmp_path / "layer_06.npy"


# -- the same bits ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("shard_rows", "threads"), [(211, 1), (613, 3), (1000, 1), (2048, 2), (2499, 1)])
def test_no_sharding_and_no_number_of_threads_changes_a_label(data, whole, shard_rows, threads):
    found = kmeans.fit(data, K, seed=3, shard_rows=shard_rows, threads=threads)
    assert (found == whole).all()
    assert found.dtype == np.int32


def test_shards_of_one_row(data):
    few = data[:25]
    alone = kmeans.fit(few, 6, seed=1, shard_rows=1, threads=1)
    assert (alone == kmeans.fit(few, 6, seed=1)).all()


def test_shards_may_travel_and_be_worked_on_backwards(data, whole, file):
    with spreading(backwards):
        assert (kmeans.fit(data, K, seed=3, shard_rows=300, threads=1) == whole).all()
        assert (kmeans.fit(Rows(file), K, seed=3, shard_rows=300, threads=1) == whole).all()


def test_shards_may_be_worked_on_by_other_processes(whole, file):
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool, spreading(pool.map):
        assert (kmeans.fit(Rows(file), K, seed=3, shard_rows=700, threads=1) == whole).all()


def test_a_mapped_file_travels_as_its_name(data, whole, file):
    sizes = []

    def weighed(function, items):
        items = list(items)
        sizes.extend(len(pickle.dumps(item)) for item in items)
        return map(function, items)

    with spreading(weighed):
        found = kmeans.fit(np.load(file, mmap_mode="r"), K, seed=3, shard_rows=N // 2)
    assert (found == whole).all()
    assert max(sizes) < 20 * N + 1000 < data.nbytes  # number, distance and nearest candidate of a row


def test_centres_are_the_same_bits_too(data):
    generator = np.random.default_rng(0)
    X = (generator.normal(size=(3000, 7)) * np.logspace(0, -9, 7)).astype(np.float32)
    found = []
    for shard_rows in (101, 640, 3000):
        table = kmeans._surveyed(X, shard_rows, 1)
        centres = kmeans._start(table, 12, 0, 3, 1.0)
        found.append((table.scale, centres, kmeans._moved(table, centres)))
    for known, centres, (moved, apart) in found[1:]:
        assert (known.centre == found[0][0].centre).all()
        assert known.exponent == found[0][0].exponent
        assert (centres == found[0][1]).all()
        assert (moved == found[0][2][0]).all()
        assert apart == found[0][2][1]


def test_the_seed_matters(data, whole):
    assert (kmeans.fit(data, K, seed=3) == whole).all()
    assert (kmeans.fit(data, K, seed=4) != whole).any()


# -- the arithmetic ---------------------------------------------------------------------------------


def test_the_number_of_a_row_depends_on_seed_stream_and_row_alone():
    whole = exact.uniform(5, 2, 0, 1000)
    assert whole.shape == (1000,)
    assert 0 <= whole.min() < 0.01
    assert 0.99 < whole.max() < 1
    assert abs(whole.mean() - 0.5) < 0.03
    for begin, end in ((0, 1), (3, 4), (4, 9), (5, 5), (7, 1000), (998, 1000)):
        assert exact.uniform(5, 2, begin, end).tolist() == whole[begin:end].tolist()
    assert (exact.uniform(5, 3, 0, 1000) != whole).all()
    assert (exact.uniform(6, 2, 0, 1000) != whole).all()


def test_sums_of_floats_are_exact_in_any_order():
    generator = np.random.default_rng(0)
    values = generator.random(5000) * 2.0 ** generator.integers(-300, 300, 5000)
    values[:4] = 0.0, 5e-324, 1e-310, 2.0
    expected = sum(map(Fraction, values.tolist()))
    assert Fraction(exact.exact_sum(values), 1 << exact._UNIT) == expected
    assert sum(exact.exact_sum(part) for part in np.array_split(values[::-1], 7)) == exact.exact_sum(values)
    assert exact.rounded(exact.exact_sum(values)) == float(expected) == math.fsum(values)
    assert exact.exact_sum(np.zeros(0)) == 0


@pytest.mark.parametrize("n", [1, 2, 1000, 2**30, 2**40 - 1])
def test_sums_of_rows_do_not_overflow(n):
    bits = exact.bits_for(n)
    assert n * int(exact.fixed(np.ones((1, 1), np.float32), bits)[0, 0]) < 2**63
    if n <= 2**30:
        assert bits >= 31


def test_fixed_sums_are_sums_of_fixed_numbers():
    rows = np.random.default_rng(0).uniform(-1, 1, size=(500, 3)).astype(np.float32)
    labels = (np.arange(500) % 3).astype(np.int32)
    weights = np.arange(500) % 5
    bits = exact.bits_for(int(weights.sum()))
    sums, counts = np.zeros((4, 3), np.int64), np.zeros(4, np.int64)
    exact.add_fixed(sums, counts, rows, labels, weights, 2.0**bits)
    for c in range(3):
        own = labels == c
        assert (sums[c] == (exact.fixed(rows[own], bits) * weights[own, None]).sum(axis=0)).all()
        assert counts[c] == weights[own].sum()
    found = exact.means(sums, counts, bits, np.full((4, 3), 7.0))
    np.testing.assert_allclose(found[1], np.average(rows[1::3], axis=0, weights=weights[1::3]), rtol=1e-12)
    assert (found[3] == 7).all()


def test_weights_are_copies():
    rows = np.random.default_rng(1).normal(size=(60, 4)).astype(np.float32) / 8
    weights = np.arange(60) % 4 + 1
    copies = np.repeat(rows, weights, axis=0)
    centres, same = rows[:5].astype(np.float64), Scale(np.zeros(4), 0)
    one = kmeans._statistics(centres, 40, same, 1, kmeans._Shard(0, rows), weights)
    other = kmeans._statistics(centres, 40, same, 1, kmeans._Shard(0, copies))
    assert (one.sums == other.sums).all()
    assert (one.counts == other.counts).all()


# -- as good as elsewhere ---------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "k"), [(3000, 30), (6000, 60)])
def test_inertia_is_not_worse_than_scikit_learns(n, k):
    X = groups(n, 16, 2 * k)
    ours = np.mean([inertia(X, kmeans.fit(X, k, seed=seed)) for seed in range(6)])
    theirs = np.mean([KMeans(k, n_init=1, random_state=seed).fit(X).inertia_ for seed in range(6)])
    assert ours < theirs * 1.005


def test_lloyd_from_given_centres_is_scikit_learns(monkeypatch):
    X = groups(800, 12, 9)
    centres = X[:9].astype(np.float64)
    theirs = KMeans(9, init=centres, n_init=1, max_iter=300, tol=0).fit(X.astype(np.float64))
    monkeypatch.setattr(kmeans, "TOLERANCE", 0.0)
    table = kmeans._surveyed(X, 300, 1)
    moved = kmeans._lloyd(table, np.ldexp(centres - table.scale.centre, table.scale.exponent), 300)
    assert (kmeans._labels(table, moved) == theirs.labels_).all()
    there = np.ldexp(moved, -table.scale.exponent) + table.scale.centre
    np.testing.assert_allclose(there, theirs.cluster_centers_, rtol=1e-6)


def test_the_start_is_nearly_a_clustering():
    """k-means|| with its candidates clustered: before any iteration already close to what iterations reach."""
    X = groups(4000, 8, 20)
    table = kmeans._surveyed(X, 1000, 1)
    start = kmeans._start(table, 20, 0, 5, 2.0)
    assert inertia(X, kmeans._labels(table, start)) < 1.1 * inertia(X, kmeans.fit(X, 20, seed=0))


def test_rounds_draw_as_many_as_they_should(data):
    table = kmeans._surveyed(data, 1000, 1)
    apart, nearest = np.full(N, np.inf), np.zeros(N, np.int32)
    mass = kmeans._approach(table, table.read(np.array([7])).astype(float), 0, apart, nearest)
    points = table.read(np.arange(N)).astype(np.float64)
    np.testing.assert_allclose(apart, ((points - points[7]) ** 2).sum(axis=1), atol=1e-12)
    assert mass == math.fsum(apart)
    drawn = [kmeans._drawn(apart, 50.0, mass, 0, draw, 999) for draw in range(200)]
    assert abs(np.mean([len(one) for one in drawn]) - 50) < 2
    often = np.bincount(np.concatenate(drawn), minlength=N)
    near = apart < np.median(apart)
    np.testing.assert_allclose(often[near].sum() / often.sum(), apart[near].sum() / apart.sum(), rtol=0.1)


def test_labels_are_the_nearest_centres_where_float32_cannot_tell():
    generator = np.random.default_rng(1)
    X = generator.normal(size=(400, 6)) * 1e-5 + np.repeat([[1000.0] * 6, [-1000.0] * 6], 200, axis=0)
    labels = kmeans.fit(X, 40, seed=0, max_iterations=300)
    centres = np.stack([X[labels == c].mean(axis=0) for c in range(40)])
    nearest = ((X[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == labels).mean() > 0.98  # the last move of the centres may leave a few


def test_a_memory_mapped_half_precision_file_gives_the_same(tmp_path):
    X = groups(5000, 24, 30).astype(np.float16)
    np.save(tmp_path / "states.npy", X)
    mapped = np.load(tmp_path / "states.npy", mmap_mode="r")
    assert (kmeans.fit(mapped, 20, seed=1) == kmeans.fit(X.astype(np.float64), 20, seed=1)).all()


# -- what is odd ------------------------------------------------------------------------------------


def test_an_empty_cluster_takes_the_farthest_row_and_the_first_of_equals():
    X = np.concatenate([np.zeros((20, 2)), [[100.0, 0.0], [100.0, 0.0]], np.ones((20, 2))])
    for shard_rows in (1, 5, 21, 42):
        table = kmeans._surveyed(X, shard_rows, 1)
        far = np.array([[0.0, 0.0], [1.0, 1.0], [1e9, 1e9]])
        far = np.ldexp(far - table.scale.centre, table.scale.exponent)
        labels = kmeans._labels(table, far)
        assert np.bincount(labels).tolist() == [20, 21, 1]
        assert labels[20] == 2
        moved, _ = kmeans._moved(table, far)
        assert (moved[2] == table.read(np.array([20]))[0]).all()


def test_taking_over_never_runs_out_of_rows():
    """All rows far from the centre are alone in their clusters, so that the near ones have to be taken."""
    X = np.concatenate([np.arange(6)[:, None] * 10.0 + 100, np.linspace(0, 1, 6)[:, None]])
    away = np.full((5, 1), 1e6)
    start = np.concatenate([X[:6] + 5, X[6:7], away])
    for shard_rows in (1, 4, 12):
        table = kmeans._surveyed(X, shard_rows, 1)
        labels = kmeans._labels(table, np.ldexp(start - table.scale.centre, table.scale.exponent))
        assert np.bincount(labels, minlength=12).tolist() == [1] * 12


def test_copies_and_as_many_concepts_as_rows():
    X = groups(60, 5, 8)
    assert np.bincount(kmeans.fit(X, 60, seed=0, shard_rows=7)).tolist() == [1] * 60
    twice = np.concatenate([X, X])
    labels = kmeans.fit(twice, 60, seed=0, shard_rows=50)
    assert (labels[:60] == labels[60:]).all()
    assert len(np.unique(labels)) == 60
    alike = kmeans.fit(np.ones((9, 2)), 4, seed=0)  # discover() refuses it; alone it gives what is asked for
    assert np.unique(alike).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("row", [0, 17, 49])
def test_a_value_that_is_not_finite_is_refused_with_its_row(row):
    X = groups(50, 3, 4)
    X[row, 2] = np.nan
    X[row + 1 :, 1] = np.inf
    for shard_rows in (10, 50):
        with pytest.raises(InputError, match=rf"Row {row} .* holds nan"):
            kmeans.fit(X, 4, seed=0, shard_rows=shard_rows)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_concepts": 0}, "n_concepts must be a whole number from 1 .* got 0"),
        ({"n_concepts": 31}, "31 concepts cannot be made of 30 rows"),
        ({"shard_rows": 0}, "shard_rows must be a whole number from 1"),
        ({"n_rounds": -1}, "n_rounds must be a whole number from 0"),
        ({"max_iterations": 0}, "max_iterations must be a whole number from 1"),
        ({"oversampling": 0.0}, "oversampling must be a number from 0.1 to 100"),
    ],
)
def test_numbers_that_cannot_be_are_refused(given, message):
    with pytest.raises(UsageError, match=message):
        kmeans.fit(groups(30, 2, 3), **{"n_concepts": 3, "seed": 0} | given)


def test_without_rounds_candidates_are_drawn_until_there_are_enough(data):
    labels = kmeans.fit(data, K, seed=0, n_rounds=0, oversampling=0.3)
    assert len(np.unique(labels)) == K


# -- states that stay in their file -----------------------------------------------------------------


@pytest.fixture
def pieces(tmp_path, data):
    """The same rows in three files."""
    path = tmp_path / "pieces" / "layer_06.npy"
    path.parent.mkdir()
    for number, part in enumerate(np.array_split(data, 3)):
        np.save(arrays._piece(path, number), part)
    return path


def test_rows_are_those_of_the_file(file, pieces, data):
    numbers = np.random.default_rng(0).permutation(N)[:300]
    for path in (file, pieces):
        for rows, expected in ((Rows(path), data), (Rows(path, numbers), data[numbers])):
            assert (rows.shape, rows.ndim, rows.dtype) == (expected.shape, 2, data.dtype)
            assert len(rows) == len(expected)
            mask = np.arange(len(expected)) % 7 == 3
            for index in (
                slice(None),
                slice(5, 250),
                slice(290, 10**6),
                slice(None, None, -3),
                [4, -1, 4],
                mask,
                11,
                np.array([], dtype=np.int64),
            ):
                found = rows[index]
                assert type(found) is np.ndarray
                assert found.base is None
                assert found.shape == expected[index].shape
                assert (found == expected[index]).all()
            assert (np.asarray(rows) == expected).all()
            with pytest.raises(IndexError):
                rows[[len(rows)]]


def test_a_part_of_rows_has_its_own_numbers(file, pieces, data):
    for path in (file, pieces):
        part = Rows(path).part(100, 160)
        assert (part[:] == data[100:160]).all()
        assert part.numbers.tolist() == list(range(100, 160))
        assert (part.part(10, 99)[[0, -1]] == data[[110, 159]]).all()
        assert len(Rows(path).part(N - 5, N + 5)) == 5


def test_pickled_rows_do_not_carry_the_data(file, pieces, data):
    for path in (file, pieces):
        rows = Rows(path).part(0, 500)
        assert (rows[:3] == data[:3]).all()  # the map is open
        packed = pickle.dumps(rows)
        assert len(packed) < 500 * 8 + 500
        there = pickle.loads(packed)
        assert set(vars(there)) == {"path", "numbers"}
        assert (there[:] == data[:500]).all()
        assert len(pickle.dumps(Rows(path))) < 500


def test_only_whole_files_are_referred_to(file, pieces, data):
    mapped = open_array(file)
    assert Rows.of(mapped).path == file
    assert (Rows.of(open_array(pieces), np.array([1, 2]))[:] == data[1:3]).all()
    for array in (data, mapped[1:], mapped[::-1], mapped.T, np.load(file, mmap_mode="c"), Rows(file)):
        assert Rows.of(array) is None


def test_selected_states_can_stay_in_their_file(file, data):
    tokens = pl.DataFrame(
        {
            "row": np.arange(N),
            "language": ["en", "de"] * (N // 2),
            "sentence": np.arange(N, dtype=np.int32),
            "position": np.zeros(N, np.int16),
            "word": [f"w{i % 60}" for i in range(N)],
        }
    )
    rows = np.arange(0, N, 3)
    states = States(tokens, {6: open_array(file), 7: data}, rows, "model", "encoder")
    assert type(states.at(6).X) is np.ndarray
    assert type(states.at(7, mapped=True).X) is np.ndarray  # it lies in no file
    there = states.at(6, language="de", mapped=True)
    assert isinstance(there.X, Rows)
    assert (there.X[:] == states.at(6, language="de").X).all()
    assert there.tokens["language"].unique().to_list() == ["de"]


def layer(X) -> LayerStates:
    n = len(X)
    columns = {"row": np.arange(n), "language": ["en"] * n, "sentence": np.arange(n)}
    table = pl.DataFrame(columns | {"position": np.arange(n), "word": [f"w{i % 60}" for i in range(n)]})
    return LayerStates(X, table, "model", "encoder", 6)


@pytest.mark.parametrize("method", ["ward", "kmeans"])
def test_concepts_of_rows_are_those_of_an_array(method, file, pieces, data):
    numbers = np.arange(5, 905)
    expected = discover(layer(data[numbers]), n_concepts=30, method=method)
    for path in (file, pieces):
        found = discover(layer(Rows(path, numbers)), n_concepts=30, method=method)
        assert (found.labels == expected.labels).all()
        assert found.centroids.tobytes() == expected.centroids.tobytes()


def test_no_more_than_a_block_is_read_at_once(file, data, monkeypatch):
    read = []
    fetch = Rows.__getitem__

    def watched(self, rows):
        found = fetch(self, rows)
        read.append(len(np.atleast_2d(found)))
        return found

    monkeypatch.setattr(Rows, "__getitem__", watched)
    monkeypatch.setattr("isogloss.discovery.rows._ROWS", 100)
    monkeypatch.setattr("isogloss.states._BLOCK", 100)
    monkeypatch.setattr("isogloss.discovery.rows._SAMPLE", 99)
    monkeypatch.setattr(Rows, "__array__", None)
    discover(layer(Rows(file)), n_concepts=12, method="kmeans")
    assert sum(read) > 3 * N
    assert max(read) <= 120  # a round of 24 candidates, drawn at random


def test_too_few_distinct_rows_are_counted_in_blocks(tmp_path):
    X = (np.arange(5000) % 40)[:, None].astype(np.float16) * np.ones(3, np.float16)
    np.save(tmp_path / "x.npy", X)
    for given in (X, Rows(tmp_path / "x.npy")):
        with pytest.raises(UsageError, match=r"5000 states \(40 distinct\)"):
            discover(layer(given), n_concepts=41, method="kmeans")


def test_centroids_do_not_depend_on_blocks(data, monkeypatch):
    labels = (np.arange(N) % 7).astype(np.int32)
    expected = centroids(data, labels)
    monkeypatch.setattr("isogloss.discovery.rows._ROWS", 13)
    assert centroids(data, labels).tobytes() == expected.tobytes()
    np.testing.assert_allclose(expected[3], data[3::7].mean(axis=0, dtype=np.float64), rtol=1e-6)


def test_a_weighted_start_is_a_start_of_copies():
    """Weights change the chances of greedy k-means++ as copies do: heavy rows are chosen first."""
    rows = np.array([[0.0], [0.5], [1.0]], np.float32)
    with lloyd.Reader(rows, Scale(np.zeros(1), 0), 1) as some:
        choose = partial(lloyd.plus_plus, [rows], 1, pool=some.pool)
        chosen = [
            float(choose(generator=np.random.default_rng(seed), weights=np.array([1, 0, 99]))[0, 0])
            for seed in range(200)
        ]
    assert set(chosen) <= {0.0, 1.0}
    assert 190 <= chosen.count(1.0) <= 200
