"""The graph of moves: which lexicon entry follows which in the traces of a group, and its shape beside two nulls.

A move is a use of an entry, or OTHER for counted units between uses. Figures of a graph alone say little, since size
and frequencies fix much of them: each stands beside the same figure of sequences without order. OTHER is a hub, through
which nearly all is two steps away, and it never follows itself but in the nulls; leave it out (gaps=False) to read
diameter, path and small world.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from dsl_probe.groups import group_columns, select_rows
from dsl_probe.mine.uses import cover, find_uses, read_lexicon, read_rows
from dsl_probe.store import Run
from dsl_probe.types import UserError

if TYPE_CHECKING:
    import networkx as nx

OTHER = "other"
NULLS = ("shuffled", "unigram")
# Characters that XML cannot hold.
_NO_XML = {c: "\ufffd" for c in (*range(9), 11, 12, *range(14, 32), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF)}


@dataclass(frozen=True)
class Moves:
    """labels: texts of entries, the last OTHER. sequences: int64 codes into labels, one array a trace."""

    labels: list[str]
    sequences: list[np.ndarray]


@dataclass(frozen=True)
class Figure:
    """A figure of a graph and of sequences of a null: mean and 95 % range over draws; null: shuffled | unigram."""

    name: str
    value: float
    null: str
    mean: float
    low: float
    high: float


def moves(run: Run, group: str | None = None, language: str | None = None, gaps: bool = True) -> Moves:
    """The moves of a group of traces (all by default; with a language: of its traces), in order.

    Echoes of the prompt, forced prefixes and format tags are no moves. Without `gaps`, OTHER is left out, and entries
    that it parts follow each other.
    """
    lexicon = read_lexicon(run, language)
    rows = lexicon.rows
    if group:
        rows = np.intersect1d(rows, select_rows(run.all_shards("traces", group_columns(group)), group))
        if len(rows) == 0:
            raise UserError(f"group {group!r} has no trace of the language {language!r}.")
    units = read_rows(run, rows)
    uses = cover(find_uses(run, lexicon, units))
    code = np.where(units.flags == 0, len(lexicon.entries), -1)
    new = np.ones(len(code), bool)
    new[1:] = code[1:] != code[:-1]
    new[units.bounds[:-1][np.diff(units.bounds) > 0]] = True
    for entry, start, stop in zip(uses.entry.tolist(), uses.start.tolist(), uses.stop.tolist(), strict=True):
        code[start:stop] = entry
        new[start], new[start + 1 : stop] = True, False
        new[stop : stop + 1] = True
    first = new & (code >= 0) & (gaps | (code < len(lexicon.entries)))
    at = np.concatenate([[0], np.cumsum(first)])[units.bounds]
    flat = code[first].astype(np.int64)
    return Moves([e["text"] for e in lexicon.entries] + [OTHER], [flat[a:b] for a, b in pairwise(at.tolist())])


def transition_graph(sequences: Sequence[np.ndarray], labels: Sequence[str]) -> "nx.DiGraph":
    """Nodes: moves that are used, by code, with `label` and `count`; edges: `count` of one right after the other.

    >>> graph = transition_graph([np.array([0, 1, 0])], ["a", "b"])
    >>> sorted(graph.edges(data="count")), graph.nodes[0]["count"]
    ([(0, 1, 1), (1, 0, 1)], 2)
    """
    import networkx as nx

    n = len(labels)
    used = np.bincount(np.concatenate([np.zeros(0, np.int64), *sequences]), minlength=n)
    pairs = [s[:-1] * n + s[1:] for s in sequences if len(s) > 1]
    code, count = np.unique(np.concatenate([np.zeros(0, np.int64), *pairs]), return_counts=True)
    graph = nx.DiGraph()
    graph.add_nodes_from(
        (i, {"label": for_xml(labels[i]), "count": int(used[i])}) for i in np.flatnonzero(used).tolist()
    )
    graph.add_edges_from((c // n, c % n, {"count": k}) for c, k in zip(code.tolist(), count.tolist(), strict=True))
    return graph


def for_xml(text: str) -> str:
    """Text with U+FFFD for what XML cannot hold.

    >>> for_xml("a\\x00<") == "a\\ufffd<"
    True
    """
    return text.translate(_NO_XML)


def automaton_graph(grammar: dict[str, Any]) -> "nx.DiGraph":
    """The automaton of a stored grammar: nodes are states, `count` how often they are left or ended in; edges have the
    `label` of their categories and `count`. State 0 begins."""
    import networkx as nx

    graph = nx.DiGraph()
    ends = dict(grammar["ends"])
    for s in range(grammar["states"]):
        graph.add_node(s, label=f"S{s}" if s else "S", count=ends.get(s, 0), ends=ends.get(s, 0))
    for s, category, to, uses in grammar["edges"]:
        label = for_xml(grammar["names"][category])
        graph.nodes[s]["count"] += uses
        if graph.has_edge(s, to):
            edge = graph.edges[s, to]
            edge["label"], edge["count"] = f"{edge['label']} | {label}", edge["count"] + uses
        else:
            graph.add_edge(s, to, label=label, count=uses)
    return graph


def communities(graph: "nx.DiGraph") -> list[list[int]]:
    """Communities of nodes by greedy modularity (Clauset, Newman and Moore 2004), counts as weights, the largest first.

    Deterministic. What it does not show: that there are communities; a random graph has some too.
    """
    import networkx as nx

    if graph.number_of_edges() == 0:
        return [[n] for n in sorted(graph)]
    found = nx.community.greedy_modularity_communities(graph, weight="count")
    return sorted((sorted(c) for c in found), key=lambda c: (-len(c), c))


def topology(graph: "nx.DiGraph") -> dict[str, float]:
    """Figures of a graph by name.

    nodes, edges (with loops); cycles: strongly connected components with an edge inside; cycle_share: of moves (node
    counts) in them; diameter, mean_path: of the largest weakly connected component, unweighted and undirected;
    clustering: its mean (Watts and Strogatz 1998), undirected, without loops; communities, modularity: of them, by
    counts.
    """
    import networkx as nx
    from scipy.sparse.csgraph import shortest_path

    cyclic = [c for c in nx.strongly_connected_components(graph) if len(c) > 1 or graph.has_edge(*[next(iter(c))] * 2)]
    total = sum(k for _, k in graph.nodes(data="count"))
    inside = sum(graph.nodes[n]["count"] for c in cyclic for n in c)
    pieces = sorted(nx.weakly_connected_components(graph), key=lambda c: (-len(c), min(c)))
    main = nx.Graph(graph.subgraph(sorted(pieces[0]))) if pieces else nx.Graph()
    main.remove_edges_from(list(nx.selfloop_edges(main)))
    n = len(main)
    distance = (
        shortest_path(nx.to_scipy_sparse_array(main, weight=None), unweighted=True) if n > 1 else np.zeros((n, n))
    )
    groups = communities(graph)
    edges = graph.number_of_edges()
    return {
        "nodes": float(len(graph)),
        "edges": float(edges),
        "cycles": float(len(cyclic)),
        "cycle_share": inside / total if total else 0.0,
        "diameter": float(distance.max(initial=0)),
        "mean_path": float(distance.sum() / (n * (n - 1))) if n > 1 else 0.0,
        "clustering": float(nx.average_clustering(main)) if n else 0.0,
        "communities": float(len(groups)),
        "modularity": float(nx.community.modularity(graph, groups, weight="count")) if edges else 0.0,
    }


def against_nulls(found: Moves, draws: int = 20, seed: int = 0) -> list[Figure]:
    """Figures of the graph of moves beside those of sequences without order.

    Nulls: `shuffled`, the moves of each trace in random order; `unigram`, as many moves a trace, each drawn from their
    frequencies in all traces. `small_world`: clustering over mean path, by their means in the null (the sigma of
    Humphries and Gurney 2008, with this null for the random graph); above 1: more clustered for its distances than
    without order. The 95 % range of 20 draws is nearly their least and greatest.

    What it does not show: that a figure outside the range is the language's and not of the tasks, whose steps have an
    order too; nor a p below 1 in 20.
    """
    real = topology(transition_graph(found.sequences, found.labels))
    figures = []
    for which, null in enumerate(NULLS):
        drawn = []
        for draw in range(draws):
            rng = np.random.default_rng([seed, 15, which, draw])
            drawn.append(topology(transition_graph(_without_order(found.sequences, null, rng), found.labels)))
        means = {name: float(np.mean([d[name] for d in drawn])) for name in drawn[0]}
        for d in (real, *drawn):
            d["small_world"] = _ratio(
                _ratio(d["clustering"], d["mean_path"]), _ratio(means["clustering"], means["mean_path"])
            )
        for name, value in real.items():
            values = np.array([d[name] for d in drawn])
            low, high = np.quantile(values, [0.025, 0.975])
            figures.append(Figure(name, value, null, float(np.mean(values)), float(low), float(high)))
    return figures


def _ratio(a: float, b: float) -> float:
    return a / b if b else float("nan")


def _without_order(sequences: list[np.ndarray], null: str, rng: np.random.Generator) -> list[np.ndarray]:
    if null == "shuffled":
        return [rng.permutation(s) for s in sequences]
    pool = np.concatenate([np.zeros(0, np.int64), *sequences])
    drawn = rng.choice(pool, len(pool)) if len(pool) else pool
    return np.split(drawn, np.cumsum([len(s) for s in sequences])[:-1])
