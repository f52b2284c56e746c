"""The n-grams of a corpus too large for one process: counted in shards of whole documents, merged, exact.

    shards = [NpyShard("a.symbols.npy", "a.starts.npy"), NpyShard("b.symbols.npy", "b.starts.npy")]
    found = count_shards(shards, "work", 12, min_count=20, executor=pool)        the same as count_ngrams over all

1. Each shard counts by itself, with the local threshold ceil(min_count / shards): what no shard lists is rare.
2. The shards' sorted lists are merged, length by length. A shard that does not list an n-gram can hold it at most
   threshold - 1 times; what cannot reach `min_count` even so is dropped, and every longer n-gram around it.
3. Each shard counts those that are left and that it did not list. Now every sum is exact.

After Savasere, Omiecinski and Navathe, An efficient algorithm for mining association rules in large databases (1995);
the bounds are what keeps step 3 short.
Every step writes into the work folder, under the final name only when complete; what is there is not done again.
"""

import json
import os
import shutil
from bisect import bisect_left
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dsl_probe.engine import Executor, map_shards
from dsl_probe.files import allow_open_files
from dsl_probe.mine.levels import Length, NGrams, count_given, each_length, flat

_BLOCK = 2_000_000  # rows of all shards merged at once
_LIMIT = 2**31 - 1
_U1, _U32 = np.uint64(1), np.uint64(32)


class Documents(NamedTuple):
    """What a shard holds; see count_ngrams."""

    symbols: np.ndarray
    doc_starts: np.ndarray
    doc_label: np.ndarray | None = None
    doc_problem: np.ndarray | None = None


@dataclass(frozen=True)
class NpyShard:
    """A shard in .npy files. Any other picklable callable that returns Documents is a shard as well."""

    symbols: str
    doc_starts: str
    doc_label: str | None = None
    doc_problem: str | None = None

    def __call__(self) -> Documents:
        label, problem = (None if path is None else np.load(path) for path in (self.doc_label, self.doc_problem))
        return Documents(np.load(self.symbols, mmap_mode="r"), np.load(self.doc_starts), label, problem)


def count_shards(
    shards: Sequence[Callable[[], Documents]],
    folder: str | os.PathLike[str],
    hi: int,
    n_labels: int = 1,
    min_count: int = 20,
    executor: Executor | None = None,
) -> NGrams:
    """count_ngrams over all documents of all shards: the same rows and numbers, without positions.

    Symbols, labels and problem ids mean the same in every shard. All documents of a problem must be in one shard, or
    ValueError: then problems add up. folder: new, or of the same call, which then goes on where it was cut off; whether
    a shard's data changed since is not looked at. Memory: in a worker that of each_length, with a threshold of about
    min_count / len(shards); here the longest list of n-grams of one length that may be frequent, with len(shards) / 8
    bytes each, and the result. Merging opens five files a shard: UserError where the system does not let it.

    >>> import tempfile
    >>> corpus = Documents(np.array([7, 8, 9, 7, 8]), np.array([0, 3, 5])), Documents(np.array([7]), np.array([0, 1]))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     found = count_shards([lambda: corpus[0], lambda: corpus[1]], folder, 3, min_count=2)
    >>> found.grams(1).tolist(), found.grams(2).tolist(), found.count.tolist()
    ([[7], [8]], [[7, 8]], [3, 2, 2])
    """
    if not shards or min_count < 1 or hi < 1:
        raise ValueError(f"at least one shard, min_count >= 1, hi >= 1; got {len(shards)}, {min_count}, {hi}")
    folder = Path(folder)
    allow_open_files(5 * len(shards) + 100)  # a mapped file counts as open; to find out after hours would be late
    _claim(folder, {"n_shards": len(shards), "hi": hi, "n_labels": n_labels, "min_count": min_count})
    # An n-gram that no shard lists occurs fewer than min_count times. Higher thresholds for some of the shards would
    # give shorter lists and still miss nothing, but then no bound would fall below min_count: far more to recount.
    threshold = -(-min_count // len(shards))
    jobs = [_Job(folder, s, load, hi, n_labels, threshold) for s, load in enumerate(shards)]
    for _ in map_shards(_count_shard, jobs, executor):
        pass
    _check_problems(folder, len(shards))
    for k in range(1, hi + 1):
        _merge(folder, k, len(shards), n_labels, threshold, min_count)
    for _ in map_shards(_recount_shard, jobs, executor):
        pass
    return flat(list(_totals(folder, len(shards), hi, n_labels, min_count)), position=False)


@dataclass(frozen=True)
class _Job:
    folder: Path
    shard: int
    load: Callable[[], Documents]
    hi: int
    n_labels: int
    threshold: int

    def documents(self) -> tuple:
        """Arguments of each_length and count_given."""
        symbols, doc_starts, doc_label, doc_problem = self.load()
        return symbols, doc_starts, doc_label, self.n_labels, doc_problem


def _found(folder: Path, s: int) -> Path:
    return folder / f"found-{s:05d}"


def _merged(folder: Path, k: int) -> Path:
    return folder / f"merged-{k:02d}"


def _recounted(folder: Path, s: int) -> Path:
    return folder / f"recounted-{s:05d}"


@contextmanager
def _complete(path: Path) -> Generator[Path]:
    """A folder to write into, which gets its name when everything is in it and on the disk."""
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    yield part
    for file in part.iterdir():
        with open(file, "rb+") as stream:
            os.fsync(stream.fileno())
    part.rename(path)


def _claim(folder: Path, job: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "job.json"
    if path.exists():
        before = json.loads(path.read_text())
        if before != job:
            raise ValueError(f"{folder} holds the work of another call, {before}; this one is {job}: give a new folder")
        return
    part = path.with_suffix(".part")
    part.write_text(json.dumps(job))
    part.replace(path)


def _count_shard(job: _Job) -> None:
    """found-<shard>/: the shard's list of each length, in lexicographic order, as few bytes as go without effort.

    <k>.pairs.npy int32[m, 2]: prefix, suffix; <k>.small.npy uint8[m, 2 * n_labels + 1]: counts, support, problems;
    <k>.large.npy int32[x, 2 * n_labels + 2]: row and numbers where one of them passes 255.
    """
    path = _found(job.folder, job.shard)
    if path.exists():
        return
    with _complete(path) as part:
        symbols, doc_starts, doc_label, n_labels, doc_problem = job.documents()
        if doc_problem is not None:
            np.save(part / "problems.npy", np.unique(doc_problem))
        lengths = each_length(symbols, doc_starts, job.hi, doc_label, n_labels, doc_problem, job.threshold)
        for k, found in enumerate(lengths, start=1):
            numbers = np.hstack([found.counts, found.support, found.problems[:, None]])
            large = np.flatnonzero((numbers > 255).any(1)).astype(np.int32)
            np.save(part / f"{k:02d}.pairs.npy", np.column_stack([found.prefix, found.suffix]))
            np.save(part / f"{k:02d}.small.npy", numbers.astype(np.uint8))
            np.save(part / f"{k:02d}.large.npy", np.hstack([large[:, None], numbers[large]]))


def _check_problems(folder: Path, n_shards: int) -> None:
    paths = [_found(folder, s) / "problems.npy" for s in range(n_shards)]
    given = [s for s in range(n_shards) if paths[s].exists()]
    if given and len(given) < n_shards:
        raise ValueError(f"doc_problem must be given in all shards or in none; given in {len(given)} of {n_shards}")
    if not given:
        return
    ids = np.concatenate([np.load(path) for path in paths])
    shard = np.repeat(np.arange(n_shards), [len(np.load(path, mmap_mode="r")) for path in paths])
    order = np.argsort(ids, kind="stable")
    twice = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    if len(twice):
        one, other = shard[order[twice[0]]], shard[order[twice[0] + 1]]
        raise ValueError(
            f"problem {ids[order[twice[0]]]} has documents in shards {one} and {other} ({len(twice)} such): "
            "put all documents of a problem into one shard"
        )


def _merge(folder: Path, k: int, n_shards: int, n_labels: int, threshold: int, min_count: int) -> None:
    """merged-<k>/: the n-grams of length k that may be frequent, from the lists of all shards.

    pairs.npy int32[r, 2]: rows of merged-<k - 1>; totals.npy int64[r, 2 * n_labels + 1]: of the shards that list it;
    absent.npy uint8[r, ceil(n_shards / 8)]: a bit for each shard that does not.
    place-<shard>.npy uint32: for each row of the shard's list 2 * row + 1, or, if it was dropped, an even number not
    below those before it and not above those after: rising, so that a list stays a sorted run when it is renamed.
    """
    path = _merged(folder, k)
    if path.exists():
        return
    lists = [_Listed.open(_found(folder, s), k) for s in range(n_shards)]
    before, last = [None] * n_shards, _LIMIT + 1
    if k > 1:
        before = [np.load(_merged(folder, k - 1) / f"place-{s:05d}.npy", mmap_mode="r") for s in range(n_shards)]
        last = len(np.load(_merged(folder, k - 1) / "pairs.npy", mmap_mode="r"))
    pairs, totals, absent, r = [], [], [], 0
    with _complete(path) as part:
        places = [_new(part / f"place-{s:05d}.npy", (len(found.pairs),)) for s, found in enumerate(lists)]
        for cuts in _blocks([found.pairs for found in lists], before, last):
            renamed = [_renamed(lists[s].pairs[slice(*cuts[s])], before[s]) for s in range(n_shards)]
            union = np.unique(np.concatenate([keys for keys, _ in renamed]))
            total = np.zeros((len(union), 2 * n_labels + 1), np.int64)
            unlisted = np.full(len(union), n_shards)
            bits = np.full((len(union), -(-n_shards // 8)), 255, np.uint8)
            bits[:, -1] &= 256 - (1 << (-n_shards % 8))
            at = []
            for s, (keys, kept) in enumerate(renamed):
                at.append(np.searchsorted(union, keys))
                total[at[s]] += lists[s].numbers(*cuts[s])[kept]
                unlisted[at[s]] -= 1
                bits[at[s], s // 8] ^= 128 >> s % 8
            hidden = (threshold - 1) * unlisted  # at most, in the shards that do not list it
            able = total[:, :n_labels].sum(1) + hidden >= min_count
            place = np.where(able, 2 * (r + np.cumsum(able)) - 1, 2 * r)
            for s, (low, high) in enumerate(cuts):
                if high > low:
                    here = np.full(high - low, 2 * r)
                    here[renamed[s][1]] = place[at[s]]
                    # After a row that is kept comes an even number one greater, until the next.
                    top = np.maximum.accumulate(here)
                    places[s][low:high] = np.where(here & 1, here, top + (top & 1))
            pairs.append(np.column_stack([union[able] >> _U32, union[able] & np.uint64(_LIMIT)]).astype(np.int32))
            totals.append(total[able])
            absent.append(bits[able])
            r += len(pairs[-1])
            if r > _LIMIT:
                raise ValueError(f"more than {_LIMIT} n-grams of length {k} may be frequent: raise min_count")
        del places
        for name, blocks, width, kind in (
            ("pairs", pairs, 2, np.int32),
            ("totals", totals, 2 * n_labels + 1, np.int64),
            ("absent", absent, -(-n_shards // 8), np.uint8),
        ):
            np.save(part / f"{name}.npy", np.concatenate([np.empty((0, width), kind), *blocks]))
            blocks.clear()


class _Listed(NamedTuple):
    """A shard's list of one length; see _count_shard."""

    pairs: np.ndarray
    small: np.ndarray
    large: np.ndarray

    @classmethod
    def open(cls, folder: Path, k: int) -> "_Listed":
        return cls(*(np.load(folder / f"{k:02d}.{name}.npy", mmap_mode="r") for name in cls._fields))

    def numbers(self, low: int, high: int) -> np.ndarray:
        """int64[high - low, 2 * n_labels + 1] of rows low..high - 1."""
        out = self.small[low:high].astype(np.int64)
        large = self.large[bisect_left(self.large[:, 0], low) : bisect_left(self.large[:, 0], high)]
        out[large[:, 0] - low] = large[:, 1:]
        return out


def _new(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    return np.lib.format.open_memmap(path, "w+", np.uint32, shape)


def _blocks(lists: list, before: list, last: int) -> Iterator[list[tuple[int, int]]]:
    """Cut all lists at the same prefixes, so that each block has at most _BLOCK rows, or those of one prefix."""

    def cut(prefix):
        # `before` rises, and so do the prefixes of a list.
        local = [prefix if place is None else bisect_left(place, 2 * prefix) for place in before]
        return [bisect_left(rows[:, 0], p) for rows, p in zip(lists, local, strict=True)]

    prefix, low, end = 0, [0] * len(lists), [len(rows) for rows in lists]
    while sum(end) > sum(low):
        good, bad = prefix + 1, last + 1
        while bad - good > 1:
            middle = (good + bad) // 2
            if sum(cut(middle)) - sum(low) <= _BLOCK:
                good = middle
            else:
                bad = middle
        prefix = good
        high = cut(prefix) if prefix < last else end
        yield list(zip(low, high, strict=True))
        low = high


def _renamed(rows: np.ndarray, place: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Rising keys, by merged rows, of the pairs of which both halves were kept; and which pairs these are."""
    if place is None:
        prefix = suffix = rows[:, 0].astype(np.uint64)
        return (prefix << _U32) | suffix, np.arange(len(rows))
    prefix, suffix = place[rows[:, 0]], place[rows[:, 1]]
    kept = np.flatnonzero(prefix & suffix & 1)
    prefix, suffix = prefix[kept].astype(np.uint64) >> _U1, suffix[kept].astype(np.uint64) >> _U1
    return (prefix << _U32) | suffix, kept


def _recount_shard(job: _Job) -> None:
    """recounted-<shard>/<k>.npy int32[m, 1 + 2 * n_labels + 1]: row of merged-<k>, counts, support, problems.

    The rows that the shard did not list and that occur in it after all. Counted with what leads to them: their halves,
    the halves of these, and so on.
    """
    path = _recounted(job.folder, job.shard)
    if path.exists():
        return
    pairs = [np.load(_merged(job.folder, k) / "pairs.npy", mmap_mode="r") for k in range(1, job.hi + 1)]
    wanted = [_absent(_merged(job.folder, k), job.shard) for k in range(1, job.hi + 1)]
    with _complete(path) as part:
        for k in range(job.hi):
            np.save(part / f"{k + 1:02d}.npy", np.empty((0, 2 + 2 * job.n_labels), np.int32))
        top = max((k + 1 for k in range(job.hi) if wanted[k].any()), default=0)
        if top:
            walked = [wanted[k].copy() for k in range(top)]
            for k in range(top - 1, 0, -1):
                walked[k - 1][pairs[k][walked[k]].ravel()] = True
            symbols, doc_starts, *of_documents = job.documents()
            lengths = count_given(symbols, doc_starts, _dictionary(pairs, walked), *of_documents)
            for k, found in enumerate(lengths):
                rows = np.flatnonzero(walked[k])
                kept = np.flatnonzero((found.position >= 0) & wanted[k][rows])
                columns = [rows[kept, None], found.counts[kept], found.support[kept], found.problems[kept, None]]
                np.save(part / f"{k + 1:02d}.npy", np.hstack(columns).astype(np.int32))


def _absent(folder: Path, s: int) -> np.ndarray:
    bits = np.load(folder / "absent.npy", mmap_mode="r")
    return (bits[:, s // 8] >> (7 - s % 8)) & 1 != 0


def _dictionary(pairs: list[np.ndarray], walked: list[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(prefix, suffix) of the walked rows, numbered among themselves."""
    for k in range(len(walked)):
        here = pairs[k][walked[k]]
        if k > 0:
            here = (np.cumsum(walked[k - 1], dtype=np.int32) - 1)[here]
        yield here[:, 0], here[:, 1]


def _totals(folder: Path, n_shards: int, hi: int, n_labels: int, min_count: int) -> Iterator[Length]:
    """What is frequent, with the counts of all shards."""
    rank, kind = None, np.int64
    for k in range(1, hi + 1):
        pairs, total = np.load(_merged(folder, k) / "pairs.npy"), np.load(_merged(folder, k) / "totals.npy")
        for s in range(n_shards):
            more = np.load(_recounted(folder, s) / f"{k:02d}.npy")
            total[more[:, 0]] += more[:, 1:]
        frequent = total[:, :n_labels].sum(1) >= min_count
        pairs, total = pairs[frequent], total[frequent]
        if rank is not None:
            pairs = rank[pairs]
        rank = np.cumsum(frequent, dtype=np.int32) - 1
        if k == 1:  # no longer n-gram has a greater number than its units
            kind = np.int32 if total.max(initial=0) <= _LIMIT else np.int64
        total = total.astype(kind)
        counts, support, problems = total[:, :n_labels], total[:, n_labels:-1], total[:, -1]
        yield Length(pairs[:, 0], pairs[:, 1], np.empty(0, np.int32), counts, support, problems)
