"""What the uses of a lexicon cost under a model that scored the traces."""

import numpy as np

from dsl_probe.mine.uses import Units, Uses
from dsl_probe.store import Run


def use_bits(run: Run, units: Units, uses: Uses) -> dict[str, np.ndarray]:
    """Name of a score -> bits of each use float64[k]: the sum over the tokens that share a character with it.

    nan where the trace was not scored, or where a token has no score or no place in the text. Without scores: empty.

    What it does not show: that a model finds the use strange; its tokens may be dear because of what they stand after.
    """
    found = {}
    for name in (stage.partition(".")[2] for stage in run.stages() if stage.startswith("score.")):
        bits = found[name] = np.full(len(uses.at), np.nan)
        order = np.argsort(uses.at, kind="stable")
        bounds = np.searchsorted(uses.at[order], np.arange(len(units.rows) + 1))
        place = {int(row): i for i, row in enumerate(units.rows)}
        for shard in run.each_shard(f"scores/{name}", ["trace_row", "starts", "stops", "logprobs"]):
            for row in shard.to_pylist():
                i = place.get(row["trace_row"])
                if i is None or bounds[i] == bounds[i + 1] or row["starts"] is None or row["logprobs"] is None:
                    continue
                k = order[bounds[i] : bounds[i + 1]]
                starts, stops, logs = (np.array(row[c], np.float64) for c in ("starts", "stops", "logprobs"))
                total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(-logs / np.log(2)))])
                unknown = np.concatenate([[0], np.cumsum(np.isnan(logs))])
                first = np.searchsorted(stops, units.starts[uses.start[k]], "right")
                last = np.searchsorted(starts, units.stops[uses.stop[k] - 1], "left")
                known = (last > first) & (unknown[last] == unknown[first])
                bits[k] = np.where(known, total[last] - total[first], np.nan)
    return found
