"""What is compared on the planted benchmark: this miner, the same without variants, and what others would do.

Each takes a Case and returns the motifs that it claims, of two units or more, with their uses in own documents.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from benchmark import PROBLEMS, SUPPORT, Case, Found

from dsl_probe.mine import lexicon, repeats
from dsl_probe.mine.align import WILD
from dsl_probe.mine.select import SURE, in_excess
from dsl_probe.mine.suffixes import build_index
from dsl_probe.plant import SLOT

MOST = 5_000  # motifs that a ranking claims
MIN_SEED = 6


def ours(case: Case) -> list[Found]:
    """Excess over the reference, grown to variants, parsed."""
    index = build_index(case.symbols, case.bounds)
    found = repeats.find_repeats(index, doc_label=case.label, n_labels=2, min_count=MIN_SEED, max_length=48)
    own = case.label == 0
    text, entries = lexicon.against_reference(index, found, own, case.problem, SUPPORT, PROBLEMS, MIN_SEED)
    result = []
    for entry in entries:
        mine = text.own_uses(entry.uses)
        start, stop = entry.uses.start[mine], entry.uses.stop[mine]
        doc = index.doc_of[start]
        pattern = tuple(SLOT if s == WILD else int(s) for s in entry.pattern)
        result.append(Found(pattern, np.stack([doc, *(p - index.doc_starts[doc] for p in (start, stop))], 1)))
    return result


def exact(case: Case) -> list[Found]:
    """Closed sequences in excess of the reference, then a greedy cover: no variants, no slots."""
    index = build_index(case.symbols, case.bounds)
    found = repeats.find_repeats(index, doc_label=case.label, n_labels=2, min_count=SUPPORT, max_length=48)
    sizes = [int(np.diff(case.bounds)[case.label == side].sum()) for side in (0, 1)]
    here, there = found.counts.T
    good = found.closed & (found.length >= 2) & (found.support[:, 0] >= SUPPORT)
    rows = np.flatnonzero(good & in_excess(here, there, *sizes, least=SURE))
    bits = np.log2(len(index.symbols) / np.maximum(np.bincount(index.symbols), 1))
    row, doc, start = repeats.occurrences(index, found, rows)
    own = case.label[doc] == 0
    row, doc, start = np.searchsorted(rows, row[own]), doc[own], start[own]
    bounds = np.searchsorted(row, np.arange(len(rows) + 1))
    patterns = [index.symbols[p : p + n] for p, n in zip(index.sa[found.first[rows]], found.length[rows], strict=True)]
    worth = [(bits[p].sum() - 12) * (b - a) for p, a, b in zip(patterns, bounds, bounds[1:], strict=False)]
    taken, result = np.zeros(len(index.symbols), bool), []
    for i in np.argsort(worth)[::-1]:
        part = slice(bounds[i], bounds[i + 1])
        at, width = index.doc_starts[doc[part]] + start[part], len(patterns[i])
        free = np.array([not taken[p : p + width].any() for p in at], bool)
        if free.sum() < SUPPORT or (bits[patterns[i]].sum() - np.log2(len(taken) / free.sum())) * free.sum() < 0:
            continue
        for p in at[free]:
            taken[p : p + width] = True
        spans = np.stack([doc[part][free], start[part][free], start[part][free] + width], 1)
        result.append(Found(tuple(patterns[i].tolist()), spans))
    return result


def _own(case: Case) -> list[list[int]]:
    planted = case.planted
    return [planted.symbols[a:b].tolist() for a, b in pairwise(planted.bounds.tolist())]


def _located(case: Case, patterns: list[tuple[int, ...]]) -> list[Found]:
    """Motifs with their occurrences."""
    by_first: dict[int, list[int]] = defaultdict(list)
    for i, pattern in enumerate(patterns):
        by_first[pattern[0]].append(i)
    spans: list[list[tuple[int, int, int]]] = [[] for _ in patterns]
    for d, doc in enumerate(_own(case)):
        for at, unit in enumerate(doc):
            for i in by_first.get(unit, ()):
                if tuple(doc[at : at + len(patterns[i])]) == patterns[i]:
                    spans[i].append((d, at, at + len(patterns[i])))
    return [Found(p, np.array(s, np.int64).reshape(-1, 3)) for p, s in zip(patterns, spans, strict=True)]


def pmi(case: Case) -> list[Found]:
    """The 5,000 sequences of 2 to 8 units, 20 times or more, of the highest pointwise mutual information a unit."""
    index = build_index(case.planted.symbols, case.planted.bounds)
    found = repeats.find_repeats(index, min_count=SUPPORT, max_length=8)
    row, length = repeats.ngram_table(found, 2, 8)
    log = np.log(np.maximum(np.bincount(index.symbols), 1) / len(index.symbols))
    ahead = np.concatenate([[0], np.cumsum(log[index.symbols])])
    at = index.sa[found.first[row]]
    value = (np.log(found.count[row] / len(index.symbols)) - (ahead[at + length] - ahead[at])) / length
    best = np.argsort(-value, kind="stable")[:MOST]
    return _located(case, [tuple(index.symbols[at[i] : at[i] + length[i]].tolist()) for i in best])


def bpe(case: Case, merges: int = 10_000) -> list[Found]:
    """Byte-pair encoding over units (Gage 1994): the merges that the text is then written with, 20 times or more."""
    from tokenizers import Tokenizer, models, trainers

    texts = _as_characters(case)
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=merges + len(case.forms), min_frequency=SUPPORT, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return _written_with(case, (tokenizer.encode(text).tokens for text in texts))


def phrases(case: Case, passes: int = 3, threshold: float = 10.0) -> list[Found]:
    """Phrases of up to eight units: the score of Mikolov et al. (2013), as gensim's Phrases has it.

    In each pass neighbours a b are joined from the left where (count of a b - 20) * V / (count of a * count of b) is
    above the threshold; V: different units and pairs, as in gensim, whose default the threshold is.
    """
    texts = [list(text) for text in _as_characters(case)]
    for _ in range(passes):
        one = Counter(unit for text in texts for unit in text)
        two = Counter(pair for text in texts for pair in pairwise(text))
        least = threshold / (len(one) + len(two))
        joined = {(a, b) for (a, b), many in two.items() if many - SUPPORT > least * one[a] * one[b]}
        texts = [_joined(text, joined) for text in texts]
    return _written_with(case, texts)


def _joined(text: list[str], pairs: set[tuple[str, str]]) -> list[str]:
    """The text with its neighbours joined that are among the pairs, from the left; none joined twice.

    >>> _joined(list("abcd"), {("a", "b"), ("b", "c"), ("c", "d")})
    ['ab', 'cd']
    """
    result, at = [], 0
    while at < len(text):
        width = 2 if tuple(text[at : at + 2]) in pairs else 1
        result.append("".join(text[at : at + width]))
        at += width
    return result


def _as_characters(case: Case) -> list[str]:
    """Every unit a character of a private plane, every own document a string."""
    return ["".join(chr(0x10000 + s) for s in doc) for doc in _own(case)]


def _written_with(case: Case, texts: Iterable[list[str]]) -> list[Found]:
    """What texts in characters are written with: two units or more, 20 times or more."""
    counts = Counter(token for text in texts for token in text)
    claimed = [token for token, many in counts.items() if len(token) >= 2 and many >= SUPPORT]
    return _located(case, [tuple(ord(c) - 0x10000 for c in token) for token in claimed])


def pivots(case: Case, data_sets: int = 3) -> list[Found]:
    """Sentence openers: the first three words of a sentence, in small letters, frequent, in three domains or more."""
    word = np.array([form.isalpha() and form == form.lower() and form.isascii() for form in case.forms])
    ends = {i for i, form in enumerate(case.forms) if form in (".", "!", "?", "。")}
    counts: Counter[tuple[int, ...]] = Counter()
    where: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for d, doc in enumerate(_own(case)):
        for at in range(len(doc) - 2):
            if (at == 0 or doc[at - 1] in ends) and word[doc[at : at + 3]].all():
                opener = tuple(doc[at : at + 3])
                counts[opener] += 1
                where[opener].add(int(case.domain[d]))
    return _located(case, [o for o, n in counts.items() if n >= SUPPORT and len(where[o]) >= data_sets])


MINERS = {
    "dsl-probe": ours,
    "without variants": exact,
    "PMI, top 5,000": pmi,
    "BPE, 10,000 merges": bpe,
    "Phrases, 3 passes": phrases,
    "openers": pivots,
}
