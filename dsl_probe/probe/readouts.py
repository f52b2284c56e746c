"""What the probe says at every captured state of some traces, for whoever reads them."""

from typing import Any

import numpy as np
import pyarrow as pa

from dsl_probe.probe.asked import Asked, Sweep
from dsl_probe.probe.states import read_index
from dsl_probe.probe.sweep import LayerFit
from dsl_probe.types import READOUTS


def read_out(sweep: Sweep, part: Asked, fit: LayerFit, layer: int) -> pa.Table:
    """Probabilities at all captured states of `readout_traces` labelled traces of a domain, evenly spaced.

    Each state is read by the fit that did not see its problem. A probability is the logistic function of the decision
    value; whether it is calibrated say ece and brier in probes.parquet. Estimators without weights have no read-outs.

    What it does not show: what the model will do; the probe was fitted at the target's sites, and elsewhere it is asked
    what it was never trained on.
    """
    if not sweep.config.readout_traces or fit.coef is None or fit.intercept is None:
        return READOUTS.empty_table()
    labels = part.labels
    traces = np.unique(labels.trace_row)
    if len(traces) > sweep.config.readout_traces:
        traces = traces[np.linspace(0, len(traces) - 1, sweep.config.readout_traces).astype(int)]
    index = read_index(sweep.run, sweep.acts).select(["row", "trace_row", "predicts", "read"])
    index = index.filter(pa.array(np.isin(index["trace_row"].to_numpy(), traces)))
    rows, first = np.unique(index["row"].to_numpy(), return_index=True)
    index = index.take(pa.array(first))
    fold_of = dict(zip(labels.trace_row.tolist(), part.fold.tolist(), strict=True))
    fold = np.array([fold_of[row] for row in index["trace_row"].to_pylist()], np.int64)
    x = sweep.states(layer, rows).numpy()
    scores = np.empty((len(rows), len(part.questions)), np.float32)
    for o in np.unique(fold):
        scores[fold == o] = x[fold == o] @ fit.coef[1 + o].T + fit.intercept[1 + o]
    p = 1 / (1 + np.exp(-np.clip(scores, -50, 50)))
    told = dict(zip(labels.rows.tolist(), range(len(labels)), strict=True))
    of = [told.get(row) for row in rows.tolist()]
    n = len(rows)
    parts = []
    for q, name in enumerate(part.names()):
        columns: dict[str, Any] = {c: index[c] for c in ("trace_row", "predicts", "read")}
        columns |= {"acts": [sweep.acts] * n, "target": [labels.target.text] * n, "question": [name] * n}
        columns |= {"domain": [part.domain] * n, "layer": np.full(n, layer, np.int32), "probability": p[:, q]}
        columns["label"] = [None if i is None else int(part.columns[i, q]) for i in of]
        parts.append(pa.table({c: columns[c] for c in READOUTS.names}).cast(READOUTS))
    return pa.concat_tables(parts)
