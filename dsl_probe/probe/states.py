"""Stored states of a capture, read where they lie: by block, or at chosen rows."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsl_probe.store import Run
from dsl_probe.types import FileError, UserError

if TYPE_CHECKING:
    import torch

BLOCK = 16_384


class StoredStates:
    """The states of one layer of a capture: rows run over its shards, one after another.

    run: the run; acts: the capture's name; key: such as "resid_post.12". Files are mapped, not read, so memory is that
    of the block or rows asked for.

    >>> StoredStates(run, "smollm2", "resid_post.12").take(np.array([0, 5])).shape     # doctest: +SKIP
    torch.Size([2, 576])
    """

    def __init__(self, run: Run, acts: str, key: str):
        self.run, self.key = run, key
        self.files = [f"acts/{acts}/{k:05d}.safetensors" for k in range(len(run.shards("traces")))]
        shapes = [self._open(run.file(file), lambda part: part.get_shape()) for file in self.files]
        self.first = np.cumsum([0, *(shape[0] for shape in shapes)])
        self.shape = (int(self.first[-1]), int(shapes[0][1]))

    def blocks(self, size: int = BLOCK) -> "Iterator[tuple[int, torch.Tensor]]":
        """(first row, float32 [m, d]), m <= size, in order; a block ends with its file."""
        for first, name in zip(self.first, self.files, strict=False):
            file = self.run.file(name)
            rows = self._open(file, lambda part: part.get_shape()[0])
            for start in range(0, rows, size):
                yield int(first) + start, self._open(file, lambda part, s=start: part[s : s + size].float())

    def take(self, rows: np.ndarray) -> "torch.Tensor":
        """float32 [n, d], the states at these rows, in their order."""
        import torch

        rows = np.asarray(rows, np.int64)
        if len(rows) and not 0 <= rows.min() <= rows.max() < self.shape[0]:
            raise IndexError(f"rows run from 0 to {self.shape[0] - 1}; got {rows.min()} to {rows.max()}")
        found = torch.empty(len(rows), self.shape[1])
        shard = np.searchsorted(self.first, rows, "right") - 1
        for k in np.unique(shard):
            here = np.flatnonzero(shard == k)
            local = rows[here] - self.first[k]
            order = np.argsort(local, kind="stable")
            file = self.run.file(self.files[k])
            # In blocks, since what lies far apart is mapped page by page all the same.
            for part in np.array_split(order, max(1, len(order) // BLOCK)):
                if len(part):
                    low, high = int(local[part[0]]), int(local[part[-1]]) + 1
                    block = self._open(file, lambda one, a=low, b=high: one[a:b])
                    found[torch.from_numpy(here[part])] = block[torch.from_numpy(local[part] - low)].float()
        return found

    def _open(self, file: Any, use: Any) -> Any:
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(file, framework="pt") as part:
                if self.key not in part.keys():  # noqa: SIM118 (not a dict)
                    raise UserError(f"{file} has no {self.key}; it has {', '.join(part.keys())}.")
                return use(part.get_slice(self.key))
        except (OSError, SafetensorError) as error:
            raise FileError(
                f"{file} has no readable {self.key} ({error}); capture again: dsl-probe capture ... --force"
            ) from error


def captured_layers(run: Run, acts: str) -> tuple[str, tuple[int, ...]]:
    """Site and layers of a capture, layers rising: ("resid_post", (8, 16)).

    Raises UserError where there is no such capture.
    """
    from safetensors import safe_open

    checked_capture(run, acts)
    with safe_open(run.file(f"acts/{acts}/00000.safetensors"), framework="np") as part:
        keys = [re.fullmatch(r"(\w+)\.(\d+)", key) for key in list(part.keys())]
    found = sorted((match[1], int(match[2])) for match in keys if match)
    return found[0][0], tuple(layer for _, layer in found)


def read_index(run: Run, acts: str) -> pa.Table:
    """The index of a capture (types.ACTS_INDEX) over all shards, `row` running over them."""
    checked_capture(run, acts)
    tables, first = [], 0
    for k in range(len(run.shards("traces"))):
        table = run.table(f"acts/{acts}/{k:05d}.index")
        at = table.schema.get_field_index("row")
        tables.append(table.set_column(at, pa.field("row", pa.int64()), pc.add(table["row"].cast(pa.int64()), first)))
        first += pc.max(table["row"]).as_py() + 1 if table.num_rows else 0
    return pa.concat_tables(tables)


def checked_capture(run: Run, acts: str) -> None:
    """Raises UserError where there is no finished capture of this name."""
    if run.stage(f"capture.{acts}") is None:
        done = [s.partition(".")[2] for s in run.stages() if s.startswith("capture.")]
        raise UserError(
            f"{run.path} has no finished capture {acts!r}; it has {', '.join(done) or 'none'}. "
            f"Make one: dsl-probe capture {run.path} --model MODEL --layers 1 2 --at steps"
        )
