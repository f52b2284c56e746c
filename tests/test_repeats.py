"""repeats.py against brute force: every n-gram of every document, counted in dictionaries."""

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsl_probe.mine import suffixes
from dsl_probe.mine.repeats import find_repeats, ngram_table, occurrences
from dsl_probe.mine.suffixes import build_index

units = st.integers(0, 2)
periodic = st.builds(
    lambda piece, k, rest: piece * k + rest, st.lists(units, max_size=3), st.integers(0, 5), st.lists(units, max_size=2)
)
documents = st.lists(st.one_of(st.lists(units, max_size=12), periodic), max_size=6)
# Ids that make the byte code use one, two and more bytes.
spread = st.sampled_from([1, 40, 70_000])


@st.composite
def corpora(draw):
    docs = draw(documents)
    docs = docs + draw(st.lists(st.sampled_from(docs), max_size=2)) if docs else docs
    factor = draw(spread)
    n_labels = draw(st.integers(1, 3))
    labels = [draw(st.integers(0, n_labels - 1)) for _ in docs]
    problems = [draw(st.integers(0, 2)) * 10 for _ in docs]
    return [[u * factor for u in doc] for doc in docs], n_labels, labels, problems


def index_of(docs):
    return build_index(np.array([u for doc in docs for u in doc], dtype=np.int64), np.cumsum([0, *map(len, docs)]))


def brute(docs, cap=None):
    """n-gram -> [(doc, start)] with overlapping occurrences."""
    table = defaultdict(list)
    for d, doc in enumerate(docs):
        for i in range(len(doc)):
            for k in range(1, min(len(doc) - i, cap or len(doc)) + 1):
                table[tuple(doc[i : i + k])].append((d, i))
    return table


def grams(index, found):
    """n-gram -> row, from the intervals."""
    table = {}
    row, length = ngram_table(found, 1, 10**6)
    for r, k in zip(row.tolist(), length.tolist(), strict=True):
        p = index.sa[found.first[r]]
        gram = tuple(index.symbols[p : p + k].tolist())
        assert gram not in table
        table[gram] = r
    return table


def leftmost(places, length):
    kept = []
    for d, i in sorted(places):
        if not kept or kept[-1][0] != d or i >= kept[-1][1] + length:
            kept.append((d, i))
    return kept


@settings(max_examples=250, deadline=None)
@given(corpora(), st.sampled_from([None, 1, 2, 3, 5, 100]), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_brute_force(corpus, cap, min_count, min_support, min_problems):
    docs, n_labels, labels, problems = corpus
    index = index_of(docs)
    found = find_repeats(index, labels, n_labels, problems, min_count, min_support, min_problems, cap)
    truth = brute(docs)
    kept = {
        gram: places
        for gram, places in truth.items()
        if len(places) >= max(2, min_count)
        and len({d for d, _ in places}) >= min_support
        and len({problems[d] for d, _ in places}) >= min_problems
        and (cap is None or len(gram) <= cap)
    }
    table = grams(index, found)
    assert table.keys() == kept.keys()
    listed = defaultdict(list)
    row, doc, start = occurrences(index, found)
    assert (np.diff(row) >= 0).all() and row.dtype == doc.dtype == start.dtype == np.int32
    for r, d, i in zip(row.tolist(), doc.tolist(), start.tolist(), strict=True):
        listed[r].append((d, i))
    for gram, places in kept.items():
        r = table[gram]
        assert found.count[r] == len(places) == found.counts[r].sum()
        assert found.counts[r].tolist() == [sum(labels[d] == c for d, _ in places) for c in range(n_labels)]
        held = {d for d, _ in places}
        assert found.support[r].tolist() == [sum(labels[d] == c for d in held) for c in range(n_labels)]
        assert found.problems[r] == len({problems[d] for d in held})
        if len(gram) == found.length[r]:
            before = {docs[d][i - 1] if i else ("start", d) for d, i in places}
            longer = [g for g in truth if len(g) == len(gram) + 1 and len(truth[g]) == len(places)]
            assert found.left_maximal[r] == (len(before) > 1)
            assert found.right_maximal[r] == (not any(g[:-1] == gram for g in longer))
            assert found.closed[r] == (not any(gram in (g[1:], g[:-1]) for g in longer))
            assert listed[r] == leftmost(places, len(gram))


@settings(max_examples=100, deadline=None)
@given(corpora())
def test_index_sorts_suffixes(corpus):
    docs = corpus[0]
    index = index_of(docs)
    n = len(index.symbols)
    assert sorted(index.sa.tolist()) == list(range(n))
    suffix = [tuple(index.symbols[p : index.doc_starts[index.doc_of[p] + 1]].tolist()) for p in index.sa]
    for k in range(1, n):
        a, b = suffix[k - 1], suffix[k]
        common = next((i for i in range(min(len(a), len(b))) if a[i] != b[i]), min(len(a), len(b)))
        assert index.lcp[k] == common
    # Equal prefixes stand together: once a prefix has ended it never comes back.
    for k in range(1, 4):
        prefixes = [s[:k] for s in suffix if len(s) >= k]
        changes = sum(a != b for a, b in itertools.pairwise(prefixes))
        assert changes == max(len(set(prefixes)) - 1, 0)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**31 - 1), max_size=30), st.integers(0, 30))
def test_any_ids(symbols, cut):
    docs = [symbols[:cut], symbols[cut:], symbols]
    found = find_repeats(index := index_of(docs))
    assert {g: len(p) for g, p in brute(docs).items() if len(p) > 1} == {
        g: found.count[r] for g, r in grams(index, found).items()
    }


def test_problems_default_to_documents():
    found = find_repeats(index_of([[1, 2], [1, 2], [3, 1]]), [0, 1, 1], 2)
    assert (found.problems == found.support.sum(1)).all()


def test_occurrences_of_runs_and_choice_of_rows():
    index = index_of([[5] * 5, [], [5] * 4 + [6] + [5] * 2])
    found = find_repeats(index)
    (two,) = np.flatnonzero(found.length == 2)
    (one,) = np.flatnonzero(found.length == 1)
    assert found.count[two] == 4 + 3 + 1
    row, doc, start = occurrences(index, found, [two])
    assert list(zip(row, doc, start, strict=True)) == [(two, 0, 0), (two, 0, 2), (two, 2, 0), (two, 2, 2), (two, 2, 5)]
    rows = occurrences(index, found, [one, two, one])[0]
    assert rows.tolist() == sorted([one] * 11 + [two] * 5)
    assert [len(part) for part in occurrences(index, found, [])] == [0, 0, 0]
    with pytest.raises(IndexError, match="rows must lie in"):
        occurrences(index, found, [len(found)])


def test_large_rows_take_the_bit_sort():
    rng = np.random.default_rng(0)
    symbols = rng.integers(0, 3, 100_000)
    doc_starts = np.unique(np.concatenate([[0, 100_000], rng.integers(0, 100_000, 300)]))
    index = build_index(symbols, doc_starts)
    found = find_repeats(index, max_length=4)
    row, doc, start = occurrences(index, found)
    at = doc_starts[doc] + start
    for r in range(len(found)):
        positions = np.sort(index.sa[found.first[r] : found.first[r] + found.count[r]])
        kept, free = [], 0
        for p in positions.tolist():
            if p >= free:
                kept.append(p)
                free = p + found.length[r]
        assert at[row == r].tolist() == kept


def test_small_intervals_dropped_early_change_nothing_else():
    """Many chunks of rows, min_count on both sides of the width of the filter: the same rows as without it."""
    rng = np.random.default_rng(2)
    symbols = rng.geometric(0.3, 20_000)
    symbols[5_000:9_000] = np.tile([1, 2, 3, 4], 1_000)
    symbols[12_000:12_500] = 7
    doc_starts = np.unique(np.concatenate([[0, 20_000], rng.integers(0, 20_000, 150)]))
    labels, problems = rng.integers(0, 2, len(doc_starts) - 1), rng.integers(0, 40, len(doc_starts) - 1)
    index = build_index(symbols, doc_starts)
    for cap in (None, 5):
        every = find_repeats(index, labels, 2, problems, max_length=cap)
        for least in (3, 20, 64, 65, 66, 67, 300):
            some = find_repeats(index, labels, 2, problems, min_count=least, max_length=cap)
            keep = every.count >= least
            for name in vars(every):
                assert np.array_equal(getattr(some, name), getattr(every, name)[keep]), (cap, least, name)
    truth = Counter(
        tuple(doc[i : i + k])
        for doc in np.split(symbols.tolist(), doc_starts[1:-1])
        for k in (1, 2, 5)
        for i in range(len(doc) - k + 1)
    )
    found = {gram: every.count[r] for gram, r in grams(index, every).items() if len(gram) in (1, 2, 5)}
    assert found == {gram: count for gram, count in truth.items() if count > 1}


def test_read_only_input_is_left_alone():
    symbols, doc_starts = np.array([1, 1, 2], np.int32), np.array([0, 1, 3])
    symbols.flags.writeable = doc_starts.flags.writeable = False
    assert len(find_repeats(build_index(symbols, doc_starts))) == 1


@pytest.mark.parametrize("n_docs", [1, 1000])
def test_a_million_equal_units(n_docs):
    n = 1_000_000
    index = build_index(np.full(n, 3), np.linspace(0, n, n_docs + 1).astype(int))
    found = find_repeats(index)
    size = n // n_docs
    assert len(found) == (size - 1 if n_docs == 1 else size)
    order = np.argsort(found.length)
    assert (found.count[order] == n_docs * (size - found.length[order] + 1)).all()
    assert (found.support[:, 0] == n_docs).all()
    assert found.right_maximal.all()
    (ten,) = np.flatnonzero(found.length == 10)
    assert len(occurrences(index, found, [ten])[0]) == n_docs * (size // 10)


def test_empty_corpora():
    for doc_starts in ([0], [0, 0], [0, 0, 0]):
        index = build_index(np.empty(0, np.int32), doc_starts)
        found = find_repeats(index, np.zeros(index.n_docs, int), 2)
        assert len(found) == 0 and found.support.shape == (0, 2)
        assert len(occurrences(index, found)[0]) == len(ngram_table(found, 1, 5)[0]) == 0


def test_byte_codes_are_prefix_free():
    rng = np.random.default_rng(1)
    for used in (1, 200, 255, 256, 300, 60_000, 70_000, 300_000):
        counts = rng.geometric(0.01, used)
        counts[rng.integers(0, used)] += 10_000
        code = suffixes._byte_codes(counts)
        size = code >> 32
        by = np.argsort(code & (2**32 - 1))
        left_aligned = (code & (2**32 - 1))[by]
        end = left_aligned + (1 << (8 * (4 - size[by])))
        assert (end[:-1] <= left_aligned[1:]).all()  # the intervals of the codes do not meet
        assert left_aligned[0] >= 1 << 24 and end[-1] <= 1 << 32  # first byte 0 is the separator's
        assert (np.diff(size[np.argsort(-counts, kind="stable")]) >= 0).all()


def test_errors_name_the_value():
    with pytest.raises(ValueError, match="doc_starts must rise"):
        build_index([1, 2], [0, 1])
    with pytest.raises(ValueError, match=r"got -1\.\.2"):
        build_index([-1, 2], [0, 2])
    with pytest.raises(ValueError, match="one row of integers"):
        build_index([0.5, 2], [0, 2])
    with pytest.raises(ValueError, match=r"4294967296"):
        build_index([1, 2**32], [0, 2])
    index = index_of([[1, 1], [1]])
    with pytest.raises(ValueError, match="n_labels = 1"):
        find_repeats(index, [0, 1])
    with pytest.raises(ValueError, match="each of 2 documents"):
        find_repeats(index, [0], 1)
    with pytest.raises(ValueError, match="max_length must be at least 1; got 0"):
        find_repeats(index, max_length=0)


def test_refuses_more_than_int32(monkeypatch):
    monkeypatch.setattr(suffixes, "_LIMIT", 1000)
    build_index(np.ones(900, int), [0, 900])
    with pytest.raises(ValueError, match="mine shards of whole documents"):
        build_index(np.ones(999, int), [0, 500, 999])
    with pytest.raises(ValueError, match=r"take \d+ bytes when coded"):
        build_index(np.arange(900), [0, 900])
