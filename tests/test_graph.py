"""The graph of moves: figures by brute force on five nodes, nulls that keep what they say they keep."""

from collections import Counter
from itertools import combinations, pairwise

import networkx as nx
import numpy as np
import pytest

from dsl_probe.mine.graph import (
    OTHER,
    Moves,
    against_nulls,
    automaton_graph,
    communities,
    moves,
    topology,
    transition_graph,
)
from dsl_probe.store import Run

LABELS = list("abcde")
# a -> b -> c -> a is a cycle; d and e hang on it; d repeats itself.
FIVE = [np.array([0, 1, 2, 0, 1, 3, 3]), np.array([1, 2, 0, 4]), np.array([3])]


def test_figures_of_five_nodes_are_those_of_brute_force():
    graph = transition_graph(FIVE, LABELS)
    pairs = Counter(pair for s in FIVE for pair in pairwise(s.tolist()))
    assert {(a, b): k for a, b, k in graph.edges(data="count")} == pairs
    assert dict(graph.nodes(data="count")) == Counter(np.concatenate(FIVE).tolist())
    near = {n: {b for a, b in pairs if a == n} | {a for a, b in pairs if b == n} for n in range(5)}
    near = {n: others - {n} for n, others in near.items()}
    distance = {}
    for source in range(5):  # breadth first
        seen, edge = {source: 0}, [source]
        while edge:
            edge = [b for a in edge for b in near[a] if b not in seen and not seen.update({b: seen[a] + 1})]
        distance |= {(source, n): d for n, d in seen.items() if n != source}
    triangles = {n: [b in near[a] for a, b in combinations(near[n], 2)] for n in range(5)}
    got = topology(graph)
    assert (got["nodes"], got["edges"]) == (5, len(pairs))
    assert got["cycles"] == 2 and got["cycle_share"] == pytest.approx(11 / 12)  # abc, and d with itself; e once
    assert got["diameter"] == max(distance.values()) and got["mean_path"] == pytest.approx(
        np.mean(list(distance.values()))
    )
    assert got["clustering"] == pytest.approx(np.mean([np.mean(t) if t else 0 for t in triangles.values()]))
    groups = communities(graph)
    total = sum(pairs.values())
    inside = sum(k for (a, b), k in pairs.items() for g in groups if a in g and b in g) / total
    out, into = (Counter() for _ in range(2))
    for (a, b), k in pairs.items():
        out[a] += k
        into[b] += k
    chance = sum(sum(out[n] for n in g) * sum(into[n] for n in g) for g in groups) / total**2
    assert got["modularity"] == pytest.approx(inside - chance) and got["communities"] == len(groups)
    assert sorted(n for g in groups for n in g) == list(range(5))


def test_two_cliques_are_two_communities():
    rng = np.random.default_rng(0)
    sequences = [rng.integers(0, 4, 30) + 4 * (i % 2) for i in range(20)]
    assert communities(transition_graph(sequences, list("abcdefgh"))) == [[0, 1, 2, 3], [4, 5, 6, 7]]


def test_order_is_told_from_none_and_the_same_seed_gives_the_same():
    ordered = Moves(LABELS, [np.arange(20) % 5 for _ in range(30)])
    figures = {(f.name, f.null): f for f in against_nulls(ordered)}
    edges = figures["edges", "shuffled"]
    assert edges.value == 5 and edges.low > 15 and figures["nodes", "shuffled"].mean == 5
    assert figures["clustering", "unigram"].value == 0 and figures["small_world", "unigram"].value == 0
    rng = np.random.default_rng(3)
    mixed = Moves(LABELS, [rng.permutation(s) for s in ordered.sequences])
    assert against_nulls(mixed) == against_nulls(mixed) != against_nulls(mixed, seed=1)
    for figure in against_nulls(mixed):
        assert figure.low <= figure.mean <= figure.high
        if figure.name == "edges":
            assert figure.low <= figure.value <= figure.high


def test_nothing_has_figures_too():
    for sequences in ([], [np.zeros(0, np.int64)], [np.array([2])]):
        got = topology(transition_graph(sequences, LABELS))
        assert got["edges"] == 0 and got["mean_path"] == 0


def test_moves_are_uses_in_order_with_gaps(tiny_run):
    run = Run(tiny_run)
    parse, units = run.frame("parse"), run.all_shards("units", ["flags"])["flags"].to_pylist()
    found = moves(run)
    texts = dict(zip(run.frame("lexicon").motif_id, run.frame("lexicon").text, strict=True))
    assert found.labels[-1] == OTHER and len(found.sequences) == len(units)
    for row, flags in enumerate(units):
        at = [OTHER if f == 0 else None for f in flags]
        for use in parse[parse.trace_row == row].itertuples():
            at[use.start : use.stop] = [(use.start, texts[use.motif_id])] * (use.stop - use.start)
        expected = [b for a, b in pairwise([None, *at]) if b is not None and a != b]
        said = [found.labels[c] for c in found.sequences[row].tolist()]
        assert said == [m if isinstance(m, str) else m[1] for m in expected]
    inner = moves(run, "model=model-b", gaps=False)
    assert len(inner.sequences) == 120 and OTHER not in {inner.labels[c] for s in inner.sequences for c in s.tolist()}


def test_an_automaton_keeps_its_counts():
    grammar = {"states": 3, "names": ["", "rare", "a\x00", "b"], "ends": [[2, 7]]}
    grammar["edges"] = [[0, 2, 1, 4], [0, 3, 1, 3], [1, 2, 2, 7]]
    graph = automaton_graph(grammar)
    assert graph.edges[0, 1] == {"label": "a\ufffd | b", "count": 7} and graph.nodes[2]["ends"] == 7
    assert [graph.nodes[n]["count"] for n in range(3)] == [7, 7, 7]
    assert nx.parse_graphml("\n".join(nx.generate_graphml(graph))).number_of_edges() == 2
