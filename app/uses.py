"""One motif in numbers: rates with intervals, how evenly it is spread, where in a trace it stands, its neighbours.

Everything is worked out of the motif's occurrences outside prompt echoes; the unit of resampling is the problem.
"""

from collections import Counter

import numpy as np
import pandas as pd
import streamlit as st

import data
from dsl_probe.store import Run

PARTS = 10
BLOCK, BLOCKS = 1_000, 16
BEGINNING, END = "(beginning of the trace)", "(end of the trace)"


@st.cache_resource(max_entries=4, show_spinner="Measuring the traces …")
def sizes(key: tuple[str, str]) -> pd.DataFrame:
    """Of each trace: its units, those that are counted (no echo, prefix or format), and the code of its problem."""
    run, every, counted = Run(key[0]), [], []
    for shard in run.each_shard("units", ["flags"]):
        lists = shard["flags"].combine_chunks()
        bounds = lists.offsets.to_numpy() - lists.offsets[0].as_py()
        total = np.concatenate([[0], np.cumsum(lists.flatten().to_numpy() == 0)])
        every.append(np.diff(bounds))
        counted.append(np.diff(total[bounds]))
    facts = data.trace_facts(key)
    problem = facts["problem_id"].where(facts["problem_id"].notna(), "\0" + facts.index.astype(str))
    code = pd.factorize(problem.astype(str) + "\0" + facts["domain"].astype(str))[0]
    return pd.DataFrame({"units": np.concatenate(every), "counted": np.concatenate(counted), "problem": code})


def ratio(x: np.ndarray, u: np.ndarray) -> tuple[float, float, float]:
    """sum x / sum u over problems, with its 95 % interval by Student's t on the linearised residuals.

    x, u: float64[problems]. NaN limits where there are fewer than two problems, or nothing was seen: then the residuals
    are all 0, which is no certainty. Source: Cochran 1977, Sampling Techniques, 6.4.

    >>> [round(v, 3) for v in ratio(np.array([1.0, 3.0]), np.array([10.0, 10.0]))]
    [0.2, 0.0, 1.471]
    """
    from scipy.special import stdtrit

    k, whole = len(x), float(u.sum())
    if not whole:
        return float("nan"), float("nan"), float("nan")
    value = float(x.sum()) / whole
    rest = x - value * u
    if k < 2 or not x.any() or not rest.any():
        return value, float("nan"), float("nan")
    half = float(stdtrit(k - 1, 0.975)) * float(np.sqrt((rest**2).sum() * k / (k - 1))) / whole
    return value, max(value - half, 0.0), value + half


def _own(key: tuple[str, str], motif_id: str) -> pd.DataFrame:
    """Occurrences outside prompt echoes."""
    where = data.occurrences(key, motif_id)
    return where[~where["echo"]]


@st.cache_data(max_entries=32, show_spinner="Counting by problem …")
def rates(key: tuple[str, str], motif_id: str) -> pd.DataFrame:
    """By model and domain, the highest first: rate per 1,000 counted units, its interval, and how evenly it is spread.

    Columns: model, domain, rate, ci_low, ci_high, count, support, problems, units, of_problems, dispersion (Gries' DP
    over problems) and by_chance (what it would be if the uses were scattered at random).
    """
    from scipy import sparse

    from dsl_probe.share.dispersion import chance_dispersion, dispersion

    facts, size = data.trace_facts(key), sizes(key)
    times = np.bincount(_own(key, motif_id)["trace_row"], minlength=len(facts)).astype(float)
    made = []
    for _, part in facts.groupby(["group", "domain"], observed=True, sort=True):
        model, domain, rows = part["group"].iloc[0], part["domain"].iloc[0], part.index.to_numpy()
        code = np.unique(size["problem"].to_numpy()[rows], return_inverse=True)[1]
        x = np.bincount(code, times[rows])
        u = np.bincount(code, size["counted"].to_numpy()[rows]).astype(float)
        value, low, high = ratio(x, u)
        spread = dispersion(sparse.csr_matrix(x[:, None]), u)[0] if len(u) > 1 else np.nan
        chance = chance_dispersion(np.array([x.sum()]), u)[0] if len(u) > 1 else np.nan
        made.append(
            {"model": str(model), "domain": str(domain), "rate": 1000 * value}
            | {"ci_low": 1000 * low, "ci_high": 1000 * high, "count": int(x.sum())}
            | {"support": int((times[rows] > 0).sum()), "problems": int((x > 0).sum()), "units": int(u.sum())}
            | {"of_problems": len(u), "dispersion": spread, "by_chance": chance}
        )
    return pd.DataFrame(made).sort_values(["rate", "count"], ascending=False, ignore_index=True)


@st.cache_data(max_entries=32, show_spinner=False)
def places(key: tuple[str, str], motif_id: str, most: int = 5) -> pd.DataFrame:
    """Share of a model's uses that stand in each tenth of the trace, of the models that use it most.

    Columns: series (the model), at (middle of the tenth, in per cent of the trace's units), value, ci_low, ci_high, n
    (uses of the model). The place is that of the motif's first unit, counted in all units of the trace.
    """
    facts, size, own = data.trace_facts(key), sizes(key), _own(key, motif_id)
    row = own["trace_row"].to_numpy()
    part = np.minimum(PARTS * own["start"].to_numpy() // np.maximum(size["units"].to_numpy()[row], 1), PARTS - 1)
    group = facts["group"].astype(str).to_numpy()[row]
    made = []
    for model in pd.Series(group).value_counts().index[:most]:
        here = group == model
        code = np.unique(size["problem"].to_numpy()[row[here]], return_inverse=True)[1]
        u = np.bincount(code).astype(float)
        for k in range(PARTS):
            value, low, high = ratio(np.bincount(code, part[here] == k, len(u)), u)
            middle = 100 * (k + 0.5) / PARTS
            about = {"series": model, "at": middle, "value": value, "n": int(here.sum())}
            made.append(about | {"ci_low": low, "ci_high": high})
    return pd.DataFrame(made, columns=["series", "at", "value", "ci_low", "ci_high", "n"])


@st.cache_data(max_entries=32, show_spinner="Reading what stands beside it …")
def neighbours(key: tuple[str, str], motif_id: str, most: int = 200) -> tuple[pd.DataFrame, pd.DataFrame, int]:
    """The units just before and just after the motif: form, count, share of the uses, problems; and the uses looked at.

    Of motifs in very many traces, the uses in a seeded sample of blocks of traces.
    """
    own, run, forms = _own(key, motif_id).sort_values("trace_row", kind="stable"), Run(key[0]), data.unit_forms(key)
    block = own["trace_row"] // BLOCK
    if block.nunique() > BLOCKS:
        chosen = np.random.default_rng(0).choice(block.unique(), BLOCKS, replace=False)
        own = own[block.isin(chosen)]
    rows = own["trace_row"].unique()
    ids = run.shard_rows("units", rows, ["ids"])["ids"] if len(rows) else []
    row, starts, stops = (own[name].to_numpy() for name in ("trace_row", "start", "stop"))
    bounds = np.searchsorted(row, [*rows, np.inf])  # occurrences stand in the order of the traces
    beside = np.empty((2, len(own)), np.int64)  # unit ids; -1 where the trace begins or ends
    for k, units in enumerate(ids):
        units, part = np.concatenate([[-1], units.values.to_numpy(), [-1]]), slice(bounds[k], bounds[k + 1])
        beside[0, part], beside[1, part] = units[starts[part]], units[stops[part] + 1]
    problem = sizes(key)["problem"].to_numpy()[row]
    count: tuple[Counter, Counter] = (Counter(), Counter())
    held: tuple[Counter, Counter] = (Counter(), Counter())
    for k, edge in enumerate((BEGINNING, END)):
        # Two units may be of one form: 7 and 12 are both a number.
        named = np.array([edge if i < 0 else forms[i] for i in beside[k].tolist()], object)
        count[k].update(named.tolist())
        held[k].update(form for form, _ in set(zip(named.tolist(), problem.tolist(), strict=True)))
    frames = [
        pd.DataFrame(
            [(form, n, n / max(len(own), 1), held[k][form]) for form, n in count[k].most_common(most)],
            columns=["unit", "count", "share", "problems"],
        )
        for k in (0, 1)
    ]
    return frames[0], frames[1], len(own)
