"""By how much training moved a model on its own text: bits a token and bits a motif, read from `score`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dsl_probe.groups import parse_group
from dsl_probe.share.corpus import Corpus
from dsl_probe.share.means import mean_interval, problem_means
from dsl_probe.store import Run

_CHANGED = 1.0  # bits: a token that one model finds twice as likely as the other
_TOP = 0.1
_LN2 = float(np.log(2))


@dataclass(frozen=True)
class Ratios:
    """Log-ratios of two models on the tokens of some traces, one trace after another.

    rows int64[traces]: trace_row, ascending. bounds int64[traces + 1]: their tokens. bits float64[tokens]: log2 of the
    trained model's probability over the base model's, NaN where a token has no score. js float64[tokens]: divergence of
    the two distributions in bits, NaN where it was not asked for. starts, stops int32[tokens]: characters of the text,
    -1 where the ids do not spell it.
    """

    rows: np.ndarray
    bounds: np.ndarray
    bits: np.ndarray
    js: np.ndarray
    starts: np.ndarray
    stops: np.ndarray


def ratios(run: Run, trained: str, base: str) -> Ratios | None:
    """Log-ratios of two groups' models on all traces that both scored; None where `score` has not run for both.

    trained, base: groups with a `model=`. Either one scoring of the one model `--against` the other, or one of each
    with the same tokens. The scorings are known by the models' names, as the audit of `score` knows them.
    """
    names = [parse_group(group).get("model") for group in (trained, base)]
    if None in names:
        return None
    known = {stage.partition(".")[2]: run.stage(stage) for stage in run.stages() if stage.startswith("score.")}
    known = {name: record["config"] for name, record in known.items() if record}
    for name, config in known.items():
        sides = [_is(config, names[0]), _named(config.get("against"), names[1])]
        back = [_is(config, names[1]), _named(config.get("against"), names[0])]
        if all(sides) or all(back):
            return _read(run, name, None, 1.0 if all(sides) else -1.0)
    alone = [next((n for n, c in known.items() if not c.get("against") and _is(c, name)), None) for name in names]
    return _read(run, alone[0], alone[1], 1.0) if alone[0] and alone[1] else None


def _named(path: str | None, model: str | None) -> bool:
    return path is not None and model is not None and (path == model or Path(path).name == Path(model).name)


def _is(config: dict[str, Any], model: str | None) -> bool:
    return config.get("audit") == model or _named(config["model"], model)


def _read(run: Run, first: str, second: str | None, sign: float) -> Ratios | None:
    columns = ["trace_row", "ids", "starts", "stops", "logprobs"]
    parts = []
    others = run.each_shard(f"scores/{second}", ["trace_row", "ids", "logprobs"]) if second else None
    for shard in run.each_shard(f"scores/{first}", columns + ([] if second else ["logprobs_against", "js"])):
        bounds, own = _lists(shard["logprobs"])
        row = shard["trace_row"].to_numpy()
        if others is not None:
            other = next(others, None)
            if other is None or not np.array_equal(row, other["trace_row"].to_numpy()):
                return None
            if not np.array_equal(_lists(shard["ids"])[1], _lists(other["ids"])[1], equal_nan=True):
                return None  # other tokens: no ratio
            against, js = _lists(other["logprobs"])[1], np.full(len(own), np.nan)
        else:
            against, js = _lists(shard["logprobs_against"])[1], _lists(shard["js"])[1]
        lengths = np.diff(bounds)
        places = [_places(shard[name], lengths) for name in ("starts", "stops")]
        parts.append((row, lengths, sign * (own - against) / _LN2, js, *places))
    if not parts:
        return None
    row, lengths, bits, js, starts, stops = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Ratios(row.astype(np.int64), np.concatenate([[0], np.cumsum(lengths)]), bits, js, starts, stops)


def _lists(column: Any) -> tuple[np.ndarray, np.ndarray]:
    lists = column.combine_chunks()
    offsets = lists.offsets.to_numpy().astype(np.int64)
    values = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
    return np.concatenate([[0], np.cumsum(np.diff(offsets))]), values


def _places(column: Any, lengths: np.ndarray) -> np.ndarray:
    """Characters by token; -1 for a trace whose ids do not spell its text, which has a null in their place."""
    lists = column.combine_chunks()
    out = np.full(int(lengths.sum()), -1, np.int32)
    out[np.repeat(lists.is_valid().to_numpy(zero_copy_only=False), lengths)] = lists.flatten().to_numpy()
    return out


def shift_rows(found: Ratios, group: str, rows: np.ndarray, problem: np.ndarray, domain: np.ndarray) -> list[dict]:
    """How far the two models are apart on a group's text: rows (group, domain, measure, value, ci_low, ci_high, ..).

    rows: trace rows of the group; problem, domain: of every trace. Means over problems of means over traces. `bits`:
    mean log2 ratio a token, on a model's own text an estimate of its divergence from the other (Kullback-Leibler).
    `js`: mean Jensen-Shannon divergence of the next-token distributions. `changed`: share of tokens that one of the two
    finds at least twice as likely. `top_tenth`: share of all absolute log-ratio that lies on the tenth of a trace's
    tokens that moved most; .1 if all moved alike, 1 if no other moved.

    What it does not show: that the tokens that moved matter. On a model's own samples `bits` is above 0 wherever the
    two differ at all, by whatever cause.
    """
    here = np.flatnonzero(np.isin(found.rows, rows))
    values = {name: np.full(len(here), np.nan) for name in ("bits", "js", "changed", "top_tenth")}
    for k, i in enumerate(here.tolist()):
        part = slice(found.bounds[i], found.bounds[i + 1])
        bits, js = found.bits[part], found.js[part]
        bits, js = bits[~np.isnan(bits)], js[~np.isnan(js)]
        if len(bits):
            size = np.sort(np.abs(bits))[::-1]
            values["bits"][k], values["changed"][k] = bits.mean(), (size >= _CHANGED).mean()
            if size.sum() > 0:
                values["top_tenth"][k] = size[: int(np.ceil(_TOP * len(size)))].sum() / size.sum()
        if len(js):
            values["js"][k] = js.mean()
    made = []
    own = domain[found.rows[here]]
    for name in ["all", *np.unique(own).tolist()]:
        inside = np.ones(len(here), bool) if name == "all" else own == name
        code = np.unique(problem[found.rows[here[inside]]], return_inverse=True)[1]
        for measure, value in values.items():
            if not np.isnan(value[inside]).all():
                e = mean_interval(problem_means(value[inside], code))
                about = {"group": group, "domain": name, "measure": measure}
                made.append(about | {"value": e.value, "ci_low": e.low, "ci_high": e.high, "problems": e.problems})
    return made


def motif_bits(
    found: Ratios, corpus: Corpus, rows: np.ndarray, item: np.ndarray, motifs: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bits by which the trained model prefers each motif over the base model, with 95 % limits: float64[motifs] each.

    The log2 ratio summed over the tokens that touch an occurrence, mean over the occurrences in a problem, then over
    problems. rows: traces of the group; item: problem of each; motifs: rows of the motif table. NaN where the group has
    no scored occurrence.

    What it does not show: novelty by itself. A motif is sampled where its model likes it, so that the bits are above 0
    on average even for what the base says as well; compare with the bits of the other motifs.
    """
    none = np.full(len(motifs), np.nan)
    spelt = found.starts[np.minimum(found.bounds[:-1], max(len(found.starts) - 1, 0))] >= 0
    place = np.full(corpus.traces.num_rows, -1, np.int64)
    place[found.rows[spelt]] = np.flatnonzero(spelt)
    item_of = np.full(corpus.traces.num_rows, -1, np.int64)
    item_of[rows] = item
    code = np.full(corpus.motifs.num_rows, -1, np.int64)
    code[motifs] = np.arange(len(motifs))
    use = np.flatnonzero((code[corpus.motif] >= 0) & (item_of[corpus.trace] >= 0) & (place[corpus.trace] >= 0))
    if not len(use):
        return none, none, none
    trace = corpus.trace[use]
    first, last = corpus.characters(trace, corpus.start[use], corpus.stop[use])
    # Characters of all traces on one line, so that one search serves them all.
    step = int(max(found.stops.max(initial=0), last.max(initial=0))) + 2
    token_trace = np.repeat(np.arange(len(found.rows)), np.diff(found.bounds))
    stops, starts = (token_trace * step + at.astype(np.int64) for at in (found.stops, found.starts))
    line = place[trace] * step
    from_token = np.searchsorted(stops, line + first, "right")
    to_token = np.searchsorted(starts, line + last, "left")
    total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(found.bits))])
    bits = total[np.maximum(to_token, from_token)] - total[from_token]
    n_items = int(item.max()) + 1
    pair, inverse = np.unique(code[corpus.motif[use]] * n_items + item_of[trace], return_inverse=True)
    mean = np.bincount(inverse, bits) / np.bincount(inverse)
    return _intervals(pair // n_items, mean, len(motifs))


def _intervals(motif: np.ndarray, means: np.ndarray, motifs: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over each motif's problems with Student's interval, as `mean_interval` but for all motifs at once."""
    from scipy.special import stdtrit

    n = np.bincount(motif, minlength=motifs)
    mean = np.bincount(motif, means, motifs) / np.where(n > 0, n, np.nan)
    spread = np.bincount(motif, (means - mean[motif]) ** 2, motifs)
    with np.errstate(invalid="ignore", divide="ignore"):
        half = stdtrit(np.maximum(n - 1, 1), 0.975) * np.sqrt(spread / (n - 1) / n)
    half[n < 2] = np.nan
    return mean, mean - half, mean + half
