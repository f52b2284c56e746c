"""Growth over training written by hand, with numbers that tests know."""

import pyarrow as pa

from dsl_probe.store import Run
from dsl_probe.types import GROWTH, GROWTH_EVENTS


def write_growth(run: Run, motif_id: str, text: str) -> None:
    """A finished job of growth: one motif of one training run, never said at step 0 and born at step 50."""
    about = {"run": "r", "kind": "motif", "id": motif_id, "text": text}
    limits = {"ci_low": 0.0, "ci_high": 1.0, "n": 9}
    rows = [about | limits | {"step": s, "value": s / 100} for s in (0, 50)]
    rows += [row | {"kind": kind, "id": id} for row in rows for kind, id in (("opener", "top"), ("lexicon", "entries"))]
    event = dict.fromkeys(GROWTH_EVENTS.names) | about
    event |= {"first": 0.0, "highest": 0.5, "last": 0.5, "growth": 0.5, "birth": 50, "p_adj": 0.01}
    run.begin("growth", {}, {}, False)
    written = [
        run.write_table("growth.parquet", pa.Table.from_pylist(rows, GROWTH)),
        run.write_table("growth_events.parquet", pa.Table.from_pylist([event], GROWTH_EVENTS)),
    ]
    run.finish("growth", written, {}, seed=0)
