"""A safetensors file that is written row by row, so that a shard of states need not fit in memory."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_DTYPES = {"bf16": ("BF16", 2), "fp32": ("F32", 4)}


class StateFile:
    """Tensors of known shapes [rows, width] whose rows are put in any order.

    The format (github.com/huggingface/safetensors): 8 bytes length, a JSON header padded to a multiple of 8 by spaces,
    then each tensor's bytes, row-major, little-endian. The bytes depend on names, shapes and values alone. The whole
    file is reserved first, so that a full disk shows before the work, not after.

    >>> with StateFile(path, {"resid_post.12": (1_000, 576)}, "bf16") as file:     # doctest: +SKIP
    ...     file.put("resid_post.12", 0, states)
    """

    def __init__(self, path: Path, shapes: dict[str, tuple[int, int]], dtype: str):
        self.path, self.shapes, self.dtype = path, shapes, dtype
        tag, self.item = _DTYPES[dtype]
        entries, at = {}, 0
        self.start: dict[str, int] = {}
        for name, (rows, width) in shapes.items():
            size = rows * width * self.item
            entries[name] = {"dtype": tag, "shape": [rows, width], "data_offsets": [at, at + size]}
            self.start[name] = at
            at += size
        header = json.dumps(entries, separators=(",", ":")).encode()
        header += b" " * (-len(header) % 8)
        self.header = len(header).to_bytes(8, "little") + header
        self.size = len(self.header) + at

    def __enter__(self) -> "StateFile":
        self.file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o644)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(self.file, 0, self.size)
            else:
                os.ftruncate(self.file, self.size)
            _write(self.file, self.header, 0)
        except BaseException:
            os.close(self.file)
            raise
        return self

    def __exit__(self, *_: Any) -> None:
        os.close(self.file)

    def put(self, name: str, row: int, states: "torch.Tensor") -> None:
        """Write states [n, width] as rows row .. row + n, rounded to the file's dtype."""
        import torch

        kind = torch.bfloat16 if self.dtype == "bf16" else torch.float32
        raw = states.to(kind).contiguous().view(torch.uint8).numpy()
        _write(self.file, raw.tobytes(), self._offset(name, row))

    def get(self, name: str, row: int, n: int) -> "torch.Tensor":
        """Read rows row .. row + n back from the file: float32 [n, width]."""
        import torch

        width = self.shapes[name][1]
        raw = bytearray(os.pread(self.file, n * width * self.item, self._offset(name, row)))
        kind = torch.bfloat16 if self.dtype == "bf16" else torch.float32
        return torch.frombuffer(raw, dtype=kind).reshape(n, width).float()

    def _offset(self, name: str, row: int) -> int:
        return len(self.header) + self.start[name] + row * self.shapes[name][1] * self.item


def _write(file: int, raw: bytes, at: int) -> None:
    view = memoryview(raw)
    while len(view):
        n = os.pwrite(file, view, at)
        view, at = view[n:], at + n
