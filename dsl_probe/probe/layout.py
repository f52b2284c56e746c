"""Maps of the states at motifs' sites, for browsing, and how far the states themselves group by motif.

UMAP (McInnes, Healy and Melville 2018) bends distances: clusters that are seen in a map may not be there, so what is
said of groups is computed from the states, and the map's own figure stands beside.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from dsl_probe.probe.labels import captured_rules
from dsl_probe.probe.states import StoredStates, captured_layers, read_index
from dsl_probe.store import Run
from dsl_probe.types import LAYOUT

NEIGHBOURS = 10
_SHARES = ("neighbours", "chance", "neighbours_in_map")


def lay_out(
    run: Run, acts: str, most: int, seed: int, layer: int | None = None
) -> tuple[pa.Table, dict[str, float | None]]:
    """A map of the states at the last token of captured motifs, and figures of how they group.

    most: sites in all, drawn by seed, as many of each motif as of any other while there are. layer: default the middle
    of those captured. The table (types.LAYOUT) has a row a site; it is empty, with no figures, where no motifs were
    captured, or one alone, or fewer than 30 sites.

    Figures: `layer`, `sites`, `motifs` (their numbers); `neighbours`, mean share of the 10 nearest sites of other
    problems that are of the same motif, in the states (standardised), and `neighbours_in_map`; `chance` of it, the mean
    share of the motif among all sites of other problems, None where all are of one problem; `ari`, adjusted Rand index
    (Hubert and Arabie 1985) of k-means with as many clusters as motifs against the motifs, which is 0 in the mean for
    clusters at random.

    Memory: the sites' states (float32) and what UMAP needs, for up to 4,096 sites the distances of all pairs.

    What it does not show: meaning. States at the same token are alike in any model; a map of layer 0 shows it.

    >>> lay_out(run, "smollm2", 2_000, seed=0)[1]["neighbours"]     # doctest: +SKIP
    0.83
    """
    site, layers = captured_layers(run, acts)
    layer = layers[len(layers) // 2] if layer is None else layer
    if "motifs" not in captured_rules(run, acts):
        return LAYOUT.empty_table(), {}
    index = read_index(run, acts)
    wanted = (index["rule"].to_numpy(zero_copy_only=False) == "motifs") & (
        index["where"].to_numpy(zero_copy_only=False) == "at"
    )
    wanted &= ~index["negative"].to_numpy(zero_copy_only=False).astype(bool)
    places = index.filter(pa.array(wanted))
    motif = np.array(places["label"].to_pylist(), object)
    chosen = _balanced(motif, most, np.random.default_rng(seed))
    places, motif = places.take(pa.array(chosen)), motif[chosen]
    if len(chosen) < 3 * NEIGHBOURS or len(set(motif)) < 2:
        return LAYOUT.empty_table(), {}
    x = StoredStates(run, acts, f"{site}.{layer}").take(places["row"].to_numpy()).numpy()
    x = (x - x.mean(0)) / np.maximum(x.std(0), 1e-6)
    flat = _umap(x, seed)
    problems = run.shard_rows("traces", places["trace_row"].to_pylist(), ["problem_id", "trace_id"])
    problem = np.array([p or t for p, t in zip(*(c.to_pylist() for c in problems.columns), strict=True)], object)
    figures = {
        "layer": layer,
        "sites": len(chosen),
        "motifs": len(set(motif)),
        "neighbours": _same_neighbours(x, motif, problem),
        "neighbours_in_map": _same_neighbours(flat, motif, problem),
        "chance": _chance(motif, problem),
        "ari": _k_means_ari(x, motif, seed),
    }
    n = len(chosen)
    columns = {"acts": [acts] * n, "layer": np.full(n, layer, np.int32), "motif_id": motif.tolist()}
    columns |= {c: places[c] for c in ("trace_row", "unit", "predicts", "read")}
    columns |= {"x": flat[:, 0].astype(np.float32), "y": flat[:, 1].astype(np.float32)}
    return pa.table({c: columns[c] for c in LAYOUT.names}).cast(LAYOUT), figures


def told(run: Run, name: str) -> list[str]:
    """A line for each map of a finished probe stage: how far the states of its capture group by motif."""
    maps = run.json(f"probes/{name}/layout.json") if run.has(f"probes/{name}/layout.json") else {}
    lines = []
    for acts, of in maps.items():
        if not of:
            lines.append(f"map of {acts}: none, for want of {3 * NEIGHBOURS} sites of two motifs")
            continue
        near, chance, flat = (f"{of[share]:.0%}" if of[share] is not None else "unknown" for share in _SHARES)
        lines.append(
            f"map of {acts}, layer {of['layer']}: {of['sites']:,} sites of {of['motifs']} motifs; of the {NEIGHBOURS} "
            f"nearest states of other problems {near} are of the same motif, by chance {chance} (on the map {flat})"
        )
    return lines


def _balanced(motif: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    """Rows, at most `most`: rounds over the motifs, one of each in each round."""
    order = rng.permutation(len(motif))
    seen: dict[str, int] = {}
    turn = np.zeros(len(motif), np.int64)
    for i in order:
        turn[i] = seen[motif[i]] = seen.get(motif[i], -1) + 1
    return np.sort(order[np.argsort(turn[order], kind="stable")][:most])


def _umap(x: np.ndarray, seed: int) -> np.ndarray:
    from umap import UMAP

    with warnings.catch_warnings():
        # That a seed rules out parallel work is what is wanted here.
        warnings.filterwarnings("ignore", message="n_jobs value")
        return UMAP(n_components=2, random_state=seed, n_jobs=1).fit_transform(x)


def _same_neighbours(x: np.ndarray, motif: np.ndarray, problem: np.ndarray) -> float | None:
    found = []
    square = (x**2).sum(1)
    for i in range(len(x)):
        distance = square - 2 * (x @ x[i])
        distance[problem == problem[i]] = np.inf
        near = np.argpartition(distance, NEIGHBOURS)[:NEIGHBOURS]
        near = near[np.isfinite(distance[near])]
        if len(near):
            found.append(float((motif[near] == motif[i]).mean()))
    return float(np.mean(found)) if found else None


def _chance(motif: np.ndarray, problem: np.ndarray) -> float | None:
    found = [
        (motif[problem != problem[i]] == motif[i]).mean() for i in range(len(motif)) if (problem != problem[i]).any()
    ]
    return float(np.mean(found)) if found else None


def _k_means_ari(x: np.ndarray, motif: Sequence[str] | np.ndarray, seed: int) -> float:
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    clusters = KMeans(len(set(motif)), n_init=3, random_state=seed).fit_predict(x)
    return float(adjusted_rand_score(motif, clusters))
