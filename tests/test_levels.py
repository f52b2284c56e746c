"""levels.py and shards.py against brute force, against the suffix array of repeats.py, and against each other."""

import itertools
import resource
import shutil
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl_probe.engine import local_executor
from dsl_probe.mine import levels, shards
from dsl_probe.mine.levels import count_given, count_ngrams, each_length, markov_expected
from dsl_probe.mine.repeats import find_repeats, ngram_table
from dsl_probe.mine.shards import Documents, NpyShard, count_shards
from dsl_probe.mine.suffixes import build_index
from dsl_probe.types import UserError

units = st.integers(0, 2)
periodic = st.builds(
    lambda piece, k, rest: piece * k + rest, st.lists(units, max_size=3), st.integers(0, 5), st.lists(units, max_size=2)
)
documents = st.lists(st.one_of(st.lists(units, max_size=12), periodic), max_size=7)


@st.composite
def corpora(draw):
    """Documents (empty, of one unit, periodic, repeated), number of labels, labels, problems that are not adjacent."""
    docs = draw(documents)
    docs = docs + draw(st.lists(st.sampled_from(docs), max_size=3)) if docs else docs
    factor = draw(st.sampled_from([1, 40, 2**30 - 1]))
    n_labels = draw(st.integers(1, 3))
    labels = [draw(st.integers(0, n_labels - 1)) for _ in docs]
    problems = [draw(st.integers(0, 2)) * 10 for _ in docs]
    return [[u * factor for u in doc] for doc in docs], n_labels, labels, problems


def joined(docs):
    return np.array([u for doc in docs for u in doc], np.int64), np.cumsum([0, *map(len, docs)])


def table(found):
    """n-gram -> its row; the rows are in order and no n-gram comes twice."""
    grams = []
    for k in range(1, len(found.bounds)):
        here = [tuple(gram) for gram in found.grams(k).tolist()]
        assert here == sorted(set(here))
        grams += here
    assert len(grams) == len(found)
    return {gram: r for r, gram in enumerate(grams)}


def same(a, b, but=()):
    for name in vars(a):
        if name not in but:
            assert np.array_equal(getattr(a, name), getattr(b, name)), name


@settings(max_examples=150, deadline=None)
@given(corpora(), st.integers(1, 7), st.sampled_from([1, 1, 2, 2, 3, 20]))
def test_brute_force(corpus, hi, min_count):
    docs, n_labels, labels, problems = corpus
    symbols, doc_starts = joined(docs)
    found = count_ngrams(symbols, doc_starts, hi, labels, n_labels, problems, min_count)
    truth = defaultdict(list)
    for d, doc in enumerate(docs):
        for k in range(1, hi + 1):
            for i in range(len(doc) - k + 1):
                truth[tuple(doc[i : i + k])].append(d)
    truth = {gram: held for gram, held in truth.items() if len(held) >= min_count}
    rows = table(found)
    assert rows.keys() == truth.keys()
    for gram, r in rows.items():
        held, k = truth[gram], len(gram)
        assert found.length[r] == k and found.last[r] == gram[-1] and found.count[r] == len(held)
        assert found.counts[r].tolist() == [sum(labels[d] == c for d in held) for c in range(n_labels)]
        assert found.support[r].tolist() == [sum(labels[d] == c for d in set(held)) for c in range(n_labels)]
        assert found.problems[r] == len({problems[d] for d in held})
        assert tuple(symbols[found.position[r] : found.position[r] + k]) == gram
        assert found.prefix[r] == rows.get(gram[:-1], -1) and found.suffix[r] == rows.get(gram[1:], -1)
    without = count_ngrams(symbols, doc_starts, hi, labels, n_labels, min_count=min_count)
    assert np.array_equal(without.problems, without.support.sum(1))
    same(without, found, ("problems", "position"))


def from_suffixes(symbols, doc_starts, hi, labels, n_labels, problems, min_count):
    """The same rows and numbers by the other engine, as one matrix for each length."""
    index = build_index(symbols, doc_starts)
    found = find_repeats(index, labels, n_labels, problems, min_count, max_length=hi)
    row, length = ngram_table(found, 1, hi)
    out = []
    for k in range(1, hi + 1):
        of = row[length == k]
        grams = index.symbols[index.sa[found.first[of]][:, None] + np.arange(k)]
        numbers = [found.count[of, None], found.counts[of], found.support[of], found.problems[of, None]]
        out.append(np.hstack([grams, *numbers])[np.lexsort(grams.T[::-1])])
    return out


def text(n, n_docs, seed):
    """Units by Zipf's law with copied pieces, a period and a run; labels; problems with documents far apart."""
    rng = np.random.default_rng(seed)
    symbols = np.minimum(rng.zipf(1.3, n), 500)
    for _ in range(n // 200):
        size, a, b = rng.integers(3, 30), *rng.integers(0, n - 30, 2)
        symbols[b : b + size] = symbols[a : a + size]
    symbols[n // 4 : n // 4 + 300] = np.tile([1, 2, 3], 100)
    symbols[n // 2 : n // 2 + 200] = 7
    doc_starts = np.sort(np.concatenate([[0, n], rng.integers(0, n, n_docs - 1)]))
    return symbols, doc_starts, rng.integers(0, 3, n_docs), rng.integers(0, n_docs // 3, n_docs)


@pytest.mark.parametrize(("min_count", "spread"), [(2, 1), (3, 1), (20, 1), (20, 4_000_000), (300, 1)])
def test_agrees_with_the_suffix_array(min_count, spread):
    symbols, doc_starts, labels, problems = text(60_000, 400, min_count)
    symbols = symbols * spread
    args = (symbols, doc_starts, 12, labels, 3, problems, min_count)
    found = count_ngrams(*args)
    for k, other in enumerate(from_suffixes(*args), start=1):
        here = found.rows(k, k)
        numbers = [found.count[here, None], found.counts[here], found.support[here], found.problems[here, None]]
        assert np.array_equal(np.hstack([found.grams(k), *numbers]), other)
    assert found.bounds[12] > found.bounds[11] or min_count == 300


def test_many_distinct_pairs_make_the_table_grow():
    rng = np.random.default_rng(1)
    symbols = rng.integers(0, 2**31, 30_000)
    found = count_ngrams(np.concatenate([symbols, symbols]), [0, 30_000, 60_000], 3, min_count=2)
    assert found.bounds.tolist() == [0, 30_000, 59_999, 89_997]
    assert (found.count == 2).all() and (found.support == 2).all()


@settings(max_examples=100, deadline=None)
@given(corpora(), corpora(), st.integers(1, 5))
def test_given_ngrams_are_counted_without_a_threshold(dictionary, corpus, hi):
    """What one corpus holds, counted in another."""
    asked = list(each_length(*joined(dictionary[0]), hi, min_count=1))
    docs, n_labels, labels, problems = corpus
    truth = count_ngrams(*joined(docs), hi, labels, n_labels, problems, min_count=1)
    counted = count_given(*joined(docs), [(a.prefix, a.suffix) for a in asked], labels, n_labels, problems)
    names, rows = table(levels.flat(asked)), table(truth)
    found = levels.flat(list(counted))
    assert table(found) == names
    for gram, r in names.items():
        for name in ("count", "counts", "support", "problems"):
            number = getattr(found, name)[r]
            assert np.array_equal(number, getattr(truth, name)[rows[gram]] if gram in rows else 0 * number)
        assert found.position[r] == (truth.position[rows[gram]] if gram in rows else -1)


def test_markov_expectation():
    symbols, doc_starts, *_ = text(5_000, 20, 0)
    found = count_ngrams(symbols, doc_starts, 4, min_count=1)
    expected, count = markov_expected(found), {gram: found.count[r] for gram, r in table(found).items()}
    assert np.isnan(expected[found.rows(1, 1)]).all()
    for gram, r in table(found).items():
        if len(gram) > 1:
            middle = count[gram[1:-1]] if len(gram) > 2 else 5_000
            assert expected[r] == pytest.approx(count[gram[:-1]] * count[gram[1:]] / middle)


def test_rows_by_length():
    found = count_ngrams([1, 2, 1, 2], [0, 4], 3, min_count=1)
    assert [found.rows(*ends) for ends in ((1, 3), (2, 2), (2, 99), (5, 9), (3, 2))] == [
        slice(0, 6), slice(2, 4), slice(2, 6), slice(6, 6), slice(4, 4),
    ]  # fmt: skip


def test_a_million_equal_units():
    n = 1_000_000
    found = count_ngrams(np.full(n, 3), [0, n // 2, n // 2, n], 12)
    assert found.count.tolist() == [2 * (n // 2 - k + 1) for k in range(1, 13)]
    assert (found.support == 2).all()


def test_memory_a_unit():
    """The largest arrays at once, by numpy's own count: well under 30 bytes a unit."""
    import tracemalloc

    symbols, doc_starts, labels, problems = text(500_000, 3_000, 5)
    symbols = symbols.astype(np.int32)
    tracemalloc.start()
    count_ngrams(symbols, doc_starts, 12, labels, 3, problems, 20)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 22 * len(symbols)  # and 4 for the symbols; numba's own arrays (the dictionary) are not in it


def test_empty_corpora_and_read_only_input():
    for doc_starts in ([0], [0, 0], [0, 0, 0]):
        found = count_ngrams(np.empty(0, np.int32), doc_starts, 4, np.zeros(len(doc_starts) - 1, int), 2)
        assert len(found) == 0 and found.support.shape == (0, 2) and found.bounds.tolist() == [0] * 5
    symbols = np.array([1, 1, 2], np.int32)
    symbols.flags.writeable = False
    assert len(count_ngrams(symbols, [0, 1, 3], 2, min_count=2)) == 1


def test_errors_name_the_value():
    for symbols, doc_starts, message in (
        ([1, 2], [0, 1], "doc_starts must rise"),
        ([-1, 2], [0, 2], r"got -1\.\.2"),
        ([1, 2**32], [0, 2], "4294967296"),
        ([0.5, 2], [0, 2], "one row of integers"),
    ):
        with pytest.raises(ValueError, match=message):
            count_ngrams(symbols, doc_starts, 2)
    with pytest.raises(ValueError, match="hi, the longest length, must be at least 1; got 0"):
        count_ngrams([1], [0, 1], 0)
    with pytest.raises(ValueError, match="min_count must be at least 1; got 0"):
        count_ngrams([1], [0, 1], 1, min_count=0)
    with pytest.raises(ValueError, match="n_labels = 1"):
        count_ngrams([1, 1], [0, 1, 2], 1, [0, 1])
    with pytest.raises(ValueError, match="doc_problem must have one entry for each of 2"):
        count_ngrams([1, 1], [0, 1, 2], 1, doc_problem=[0])


def test_refuses_more_than_int32(monkeypatch):
    monkeypatch.setattr(levels, "_LIMIT", 1000)
    with pytest.raises(ValueError, match="count shards of whole documents"):
        count_ngrams(np.ones(1001, int), [0, 1001], 2)


# ---- shards


@pytest.fixture(autouse=True)
def _no_flush(monkeypatch):
    """Files of a test need not outlive a power cut."""
    monkeypatch.setattr("os.fsync", lambda descriptor: None)


class Given:
    """A shard in memory."""

    def __init__(self, *parts):
        self.parts = parts

    def __call__(self):
        return Documents(*self.parts)


def cut(docs, labels, problems, ends):
    """Documents -> shards; `ends`: after which documents to cut."""
    out = []
    for low, high in zip([0, *ends], [*ends, len(docs)], strict=True):
        out.append(Given(*joined(docs[low:high]), np.array(labels[low:high], int), np.array(problems[low:high], int)))
    return out


@settings(max_examples=30, deadline=None)
@given(corpora(), st.data(), st.integers(1, 6), st.sampled_from([1, 2, 3, 4, 6]), st.sampled_from([1, 3, 2_000_000]))
def test_shards_equal_one_process(tmp_path_factory, corpus, data, hi, min_count, block):
    docs, n_labels, labels, _ = corpus
    ends = sorted(data.draw(st.lists(st.integers(0, len(docs)), max_size=4)))
    # Problems stay within a shard: two a shard, in turn.
    problems = [2 * sum(d >= end for end in ends) + d % 2 for d in range(len(docs))]
    single = count_ngrams(*joined(docs), hi, labels, n_labels, problems, min_count)
    folder = tmp_path_factory.mktemp("shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_BLOCK", block)
        found = count_shards(cut(docs, labels, problems, ends), folder, hi, n_labels, min_count)
    same(single, found, ("position",))
    assert found.count.dtype == np.int32
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def corpus_on_disk(tmp_path_factory):
    """Five shards of unequal size in .npy files, one empty, and the parts of the whole."""
    symbols, doc_starts, labels, _ = text(40_000, 300, 9)
    ends = [0, 40, 40, 160, 170, 300]
    problems = np.concatenate([s * 1000 + np.arange(b - a) % 17 for s, (a, b) in enumerate(itertools.pairwise(ends))])
    folder, paths = tmp_path_factory.mktemp("corpus"), []
    for s, (a, b) in enumerate(itertools.pairwise(ends)):
        here = slice(doc_starts[a], doc_starts[b])
        parts = (symbols[here], doc_starts[a : b + 1] - doc_starts[a], labels[a:b], problems[a:b])
        names = [str(folder / f"{s}.{name}.npy") for name in ("symbols", "starts", "label", "problem")]
        for name, values in zip(names, parts, strict=True):
            np.save(name, values)
        paths.append(NpyShard(*names))
    return paths, (symbols, doc_starts, 12, labels, 3, problems)


def test_shards_on_disk_with_and_without_processes(corpus_on_disk, tmp_path, monkeypatch):
    """The same files, byte by byte; with a threshold of 4 the lists are cut into several blocks."""
    paths, whole = corpus_on_disk
    monkeypatch.setattr(shards, "_BLOCK", 5_000)
    for min_count in (4, 20):
        one, two = tmp_path / f"one-{min_count}", tmp_path / f"two-{min_count}"
        single = count_ngrams(*whole, min_count)
        same(single, count_shards(paths, one, 12, 3, min_count), ("position",))
    with local_executor(2) as pool:
        same(single, count_shards(paths, two, 12, 3, min_count, pool), ("position",))
    names = sorted(path.relative_to(one) for path in one.rglob("*.*"))
    assert names == sorted(path.relative_to(two) for path in two.rglob("*.*"))
    for name in names:
        if (one / name).is_file():
            assert (one / name).read_bytes() == (two / name).read_bytes()


def test_more_shards_than_files_may_be_open_are_merged_or_refused_before_the_work(tmp_path, monkeypatch):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    docs = [[k % 5, 7] for k in range(90)]
    pieces = cut(docs, [0] * 90, list(range(90)), list(range(1, 90)))
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
        found = count_shards(pieces, tmp_path / "one", 2, min_count=90)
        assert (found.grams(1).tolist(), found.count.tolist()) == ([[7]], [90])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    monkeypatch.setattr(resource, "getrlimit", lambda _: (200, 200))
    with pytest.raises(UserError, match="550 files must be open at a time, and the system allows 200"):
        count_shards(pieces, tmp_path / "two", 2, min_count=90)
    assert not (tmp_path / "two").exists()


def test_resumes_and_does_no_shard_twice(corpus_on_disk, tmp_path, monkeypatch):
    paths, whole = corpus_on_disk
    single, calls = count_ngrams(*whole, 20), Counter()

    def watched(name):
        inner = getattr(shards, name)
        monkeypatch.setattr(shards, name, lambda *args: calls.update([name]) or inner(*args))

    watched("each_length")
    watched("count_given")

    def cut_off(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(shards, "_check_problems", cut_off)
        count_shards(paths, tmp_path, 12, 3, 20)
    assert calls == {"each_length": 5}
    shutil.rmtree(tmp_path / "found-00003")
    (tmp_path / "found-00003.part").mkdir()  # as a killed process leaves it
    (tmp_path / "found-00003.part" / "01.npy").write_bytes(b"cut off")
    same(single, count_shards(paths, tmp_path, 12, 3, 20), ("position",))
    assert calls["each_length"] == 6
    before = calls.copy()
    same(single, count_shards(paths, tmp_path, 12, 3, 20), ("position",))
    assert calls == before
    shutil.rmtree(tmp_path / "found-00001")
    shutil.rmtree(tmp_path / "merged-07")
    shutil.rmtree(tmp_path / "recounted-00000")
    same(single, count_shards(paths, tmp_path, 12, 3, 20), ("position",))
    assert calls["each_length"] == 7 and calls["count_given"] == before["count_given"] + 1
    with pytest.raises(ValueError, match="holds the work of another call"):
        count_shards(paths, tmp_path, 12, 3, 19)


def test_a_problem_in_two_shards_is_refused(tmp_path):
    docs = [[1, 2], [1, 2], [1, 2]]
    with pytest.raises(ValueError, match="problem 7 has documents in shards 0 and 1"):
        count_shards(cut(docs, [0] * 3, [5, 7, 7], [2]), tmp_path / "a", 2)
    some = [Given(*joined(docs[:1])), *cut(docs[1:], [0] * 2, [1, 2], [])]
    with pytest.raises(ValueError, match="given in 1 of 2"):
        count_shards(some, tmp_path / "b", 2)
    with pytest.raises(ValueError, match="at least one shard"):
        count_shards([], tmp_path / "c", 2)
    assert count_shards(cut(docs, [0] * 3, [5, 5, 7], [2]), tmp_path / "d", 2, min_count=3).problems.tolist() == [2] * 3


def test_sums_may_pass_int32(tmp_path, monkeypatch):
    """Three shards that each claim 2**30 occurrences."""
    inner = shards.each_length

    def many(*args):
        for part in inner(*args):
            part.counts[:] = 2**30
            yield part

    monkeypatch.setattr(shards, "each_length", many)
    found = count_shards(cut([[5, 5]] * 3, [0] * 3, [0, 1, 2], [1, 2]), tmp_path, 1, min_count=3)
    assert found.count.tolist() == [3 * 2**30] and found.support.tolist() == [[3]]
    assert found.count.dtype == np.int64
