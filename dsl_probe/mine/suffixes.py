"""Suffix array of documents of units, with the common prefixes of its neighbours clipped at documents.

Sources: the suffix array is libdivsufsort's (pydivsufsort), over a byte code of the units; LCP after Kärkkäinen,
Manzini and Puglisi, Permuted longest-common-prefix array (2009).
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from pydivsufsort import divsufsort

_LIMIT = 2**31 - 1
_NEAR = 512  # far reads at once: their cache lines fit the first-level cache
U1, _U2, _U4, _U56 = (np.uint64(k) for k in (1, 2, 4, 56))  # numba turns uint64 op int64 into float64
_M1, _M2, _M4, _M8 = (np.uint64((2**64 - 1) // k) for k in (3, 5, 17, 255))  # 0x55.., 0x33.., 0x0f.., 0x01..


@dataclass(frozen=True)
class Index:
    """The suffixes of all documents in sorted order. Positions are offsets into `symbols`.

    symbols int32[n]; doc_starts int64[n_docs + 1]; doc_of int32[n]: the document of a position; sa int32[n]: row ->
    position; lcp int32[n]: units that rows k - 1 and k have in common before either document ends (lcp[0] = 0);
    turn bool[n]: the units before rows k - 1 and k differ (a document's start differs from all).
    The order is that of a code chosen for speed, not of the ids; equal prefixes stand together all the same.
    """

    symbols: np.ndarray
    doc_starts: np.ndarray
    doc_of: np.ndarray
    sa: np.ndarray
    lcp: np.ndarray
    turn: np.ndarray

    @property
    def n_docs(self) -> int:
        return len(self.doc_starts) - 1


def build_index(symbols, doc_starts) -> Index:
    """Sort all suffixes of the documents symbols[doc_starts[d] : doc_starts[d + 1]].

    symbols: ids >= 0, all documents concatenated without separators; doc_starts: n_docs + 1 offsets. Empty documents
    and an empty corpus are allowed. At most 2**31 - 1 bytes after coding (1 to 2 bytes a unit, one a document).

    >>> index = build_index([7, 8, 7, 8, 9], [0, 2, 5])
    >>> [index.symbols[p : index.doc_starts[index.doc_of[p] + 1]].tolist() for p in index.sa]
    [[9], [8], [8, 9], [7, 8], [7, 8, 9]]
    """
    symbols, doc_starts = np.asarray(symbols), np.require(doc_starts, np.int64, ["C", "W"])
    n = len(symbols)
    if len(doc_starts) == 0 or doc_starts[0] != 0 or doc_starts[-1] != n or (np.diff(doc_starts) < 0).any():
        raise ValueError(f"doc_starts must rise from 0 to len(symbols) = {n}; got {doc_starts[:3]}...{doc_starts[-3:]}")
    if n + len(doc_starts) > _LIMIT:
        raise ValueError(f"{n} units in one index; at most {_LIMIT} with the documents: mine shards of whole documents")
    if n == 0:
        none = np.empty(0, np.int32)
        return Index(none, doc_starts, none, none, none, np.empty(0, np.bool_))
    if symbols.ndim != 1 or symbols.dtype.kind not in "iu":
        raise ValueError(f"symbols must be one row of integers; got shape {symbols.shape} of {symbols.dtype}")
    low, high = int(symbols.min()), int(symbols.max())
    if low < 0 or high > _LIMIT:
        raise ValueError(f"symbols must be ids in 0..{_LIMIT}; got {low}..{high}")
    symbols = np.require(symbols, np.int32, ["C", "W"])  # read-only arrays would be compiled for once more
    dense = symbols if high < 4 * n + 2**20 else np.unique(symbols, return_inverse=True)[1].astype(np.int32)
    counts = _frequencies(dense, dense.max())
    code = _byte_codes(counts)
    size = int(((code >> 32) * counts).sum()) + len(doc_starts) - 1
    if size > _LIMIT:
        raise ValueError(f"{n} units take {size} bytes when coded; at most {_LIMIT}: mine shards of whole documents")
    text, starts_here = _encode(dense, doc_starts, code, size)
    sa, phi = _pick(divsufsort(text[:size]), starts_here, n)
    del text, starts_here, dense
    _permuted_lcp(symbols, doc_starts, phi)
    lcp, turn = _by_row(sa, phi)
    del phi
    doc_of = np.repeat(np.arange(len(doc_starts) - 1, dtype=np.int32), np.diff(doc_starts))
    return Index(symbols, doc_starts, doc_of, sa, lcp, turn)


def _byte_codes(counts):
    """A prefix-free byte code, int64[n_symbols]: (number of bytes << 32) | the bytes, from the highest of 32 bits down.

    Frequent symbols take one byte, rare ones two to four. Any prefix-free code keeps equal sequences together, which
    is all that repeats need of a suffix array, and the sorter's time goes with the number of bytes. First bytes:
    0 separates documents, then `one` codes of one byte, `two` first bytes of two-byte codes, and so on.
    """
    order = np.argsort(-counts, kind="stable")
    used = int((counts > 0).sum())
    tail = counts.sum() - np.concatenate([[0], np.cumsum(counts[order[:used]])])  # of all but the k most frequent
    four = -(-used // 2**24) if used > 200 * 2**16 else 0
    two, three = np.meshgrid(np.arange(256 - four), np.arange(256 - four), indexing="ij")
    one = 255 - four - two - three
    last1 = np.clip(one, 0, used)
    last2 = np.minimum(last1 + 256 * two, used)
    last3 = np.minimum(last2 + 65536 * three, used)
    bad = (one < 0) | (last3 + four * 2**24 < used)
    cost = np.where(bad, np.inf, tail[last1] + tail[last2].astype(float) + tail[last3])
    at = np.unravel_index(np.argmin(cost), cost.shape)
    code = np.zeros(len(counts), np.int64)
    first, begin = 256, 0  # the frequent get the high bytes: libdivsufsort is then some 7 % faster on text
    for size, leads in enumerate((int(one[at]), int(two[at]), int(three[at]), four), start=1):
        shift = 8 * (size - 1)
        end = min(begin + (leads << shift), used)
        part = np.arange(end - begin)
        bits = ((first - 1 - (part >> shift)) << shift) | (part & ((1 << shift) - 1))
        code[order[begin:end]] = (size << 32) | (bits << (24 - shift))
        begin, first = end, first - leads
    return code


@njit(cache=True, nogil=True)
def _frequencies(symbols, top):
    counts = np.zeros(top + 1, np.int64)
    for s in symbols:
        counts[s] += 1
    return counts


@njit(cache=True, nogil=True)
def _encode(symbols, doc_starts, code, size):
    """The bytes, three too many; for each 64 of them two words: a bit where a unit starts, how many started before."""
    text = np.empty(size + 3, np.uint8)
    starts = np.zeros((size // 64 + 1, 2), np.uint64)
    b = 0
    for d in range(len(doc_starts) - 1):
        for i in range(doc_starts[d], doc_starts[d + 1]):
            starts[b >> 6, 0] |= U1 << np.uint64(b & 63)
            c = code[symbols[i]]
            for j in range(4):  # no branch: what is written too much is overwritten
                text[b + j] = (c >> (24 - 8 * j)) & 255
            b += c >> 32
        text[b] = 0
        b += 1
    total = np.uint64(0)
    for w in range(len(starts)):
        starts[w, 1] = total
        total += ones(starts[w, 0])
    return text, starts


@njit(inline="always")
def ones(x):
    x -= (x >> U1) & _M1
    x = (x & _M2) + ((x >> _U2) & _M2)
    x = (x + (x >> _U4)) & _M4
    return (x * _M8) >> _U56


@njit(cache=True, nogil=True)
def _pick(byte_sa, starts, n):
    """Rows that start a unit, as positions of units; and for each position the one a row before (or -1)."""
    sa, phi = np.empty(n + 1, np.int32), np.empty(n + 1, np.int32)  # one place more for what is not wanted
    k, before = 0, np.int32(-1)
    for b in byte_sa:
        w, bit = b >> 6, np.uint64(b & 63)
        here = starts[w, 0]
        wanted = (here >> bit) & U1 != 0
        p = np.int32(starts[w, 1] + ones(here & ((U1 << bit) - U1)))
        sa[k] = p
        phi[p if wanted else n] = before
        before = p if wanted else before
        k += wanted
    return sa[:n], phi[:n]


@njit(cache=True, nogil=True)
def _permuted_lcp(symbols, doc_starts, phi):
    """Overwrite phi[i] = j by m = the common prefix of i and j, in units within documents; -1 - m if a turn."""
    n = len(symbols)
    first, last = np.zeros(n // 64 + 1, np.uint64), np.zeros(n // 64 + 1, np.uint64)  # bits at ends of documents
    for d in range(len(doc_starts) - 1):
        if doc_starts[d + 1] > doc_starts[d]:
            set_bit(first, doc_starts[d])
            set_bit(last, doc_starts[d + 1] - 1)
    preceding = np.empty(_NEAR, np.int32)
    begin = end = d = m = 0
    for low in range(0, n, _NEAR):
        # The far reads go first, in a loop without branches, where the processor can overlap them; the comparisons
        # then find their operands near.
        size = min(_NEAR, n - low)
        for k in range(size):
            preceding[k] = symbols[max(phi[low + k] - 1, 0)]
        for i in range(low, low + size):
            while i == end:
                begin, end, m = end, doc_starts[d + 1], 0
                d += 1
            j = phi[i]
            m = max(m - 1, 0)
            if j < 0:
                m, phi[i] = 0, -1
            elif i > begin and symbols[i - 1] == preceding[i - low] and not get_bit(first, j):
                phi[i] = m  # no turn: one less than at i - 1, nothing to compare
            else:
                # m carried over from i - 1 may already reach the end of j's document.
                while i + m < end and not (m > 0 and get_bit(last, j + m - 1)) and symbols[i + m] == symbols[j + m]:
                    m += 1
                phi[i] = -1 - m


@njit(inline="always")
def set_bit(bits, i):
    bits[i >> 6] |= U1 << np.uint64(i & 63)


@njit(inline="always")
def get_bit(bits, i):
    return (bits[i >> 6] >> np.uint64(i & 63)) & U1 != 0


@njit(cache=True, nogil=True)
def _by_row(sa, permuted):
    lcp, turn = np.empty(len(sa), np.int32), np.empty(len(sa), np.bool_)
    for k in range(len(sa)):
        m = permuted[sa[k]]
        turn[k] = m < 0
        lcp[k] = m if m >= 0 else -1 - m
    return lcp, turn
