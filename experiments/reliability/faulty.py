"""Something happens at the n-th write call: the calls are counted first, then each is made to fail, or is the last."""

import builtins
import errno
import functools
import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

KINDS = ("open", "fsync", "replace", "mkdir", "parquet", "safetensors", "states")
ERRORS = {"full": errno.ENOSPC, "read-only": errno.EROFS, "denied": errno.EACCES, "vanished": errno.ENOENT}
Action = Callable[[str], None]


class Calls:
    """Counts the write calls of each kind under a folder; before number `at` of `kind` it does `action(path)`.

    open: for writing. parquet: pq.write_table, a ParquetWriter and each table given to it, after half a file has been
    written. safetensors: save_file of numpy. states: os.open, posix_fallocate and pwrite of a file of states. Of calls
    without a path (fsync) all are counted.
    """

    def __init__(self, folder: Path, kind: str = "", at: int = -1, action: Action | None = None):
        self.folder, self.kind, self.at, self.action = str(folder), kind, at, action
        self.counts = dict.fromkeys(KINDS, 0)
        self.path = ""

    def seen(self, kind: str, path: Any) -> None:
        path = "" if path is None or isinstance(path, int) else os.fspath(path)
        if path and not str(path).startswith(self.folder):
            return
        number = self.counts[kind]
        self.counts[kind] += 1
        if kind == self.kind and number == self.at and self.action is not None:
            self.path = str(path)
            if kind in ("parquet", "safetensors"):
                with open(path, "wb") as file:
                    file.write(b"PAR1 and then the disk was full")
            self.action(str(path))

    def install(self) -> None:
        """Watch the calls from now on; in a child alone, since nothing undoes it."""
        import pyarrow.parquet as pq
        import safetensors.numpy
        import safetensors.torch

        def before(kind: str, real: Any, path: Callable[..., Any], when: Callable[..., bool] = lambda *_: True) -> Any:
            @functools.wraps(real)
            def watched(*args: Any, **options: Any) -> Any:
                if when(*args, *options.values()):
                    self.seen(kind, path(*args))
                return real(*args, **options)

            return watched

        def writes(_: Any, mode: Any = "r", *__: Any) -> bool:
            return isinstance(mode, str) and bool(set(mode) & set("wxa+"))

        first = lambda path, *_: path  # noqa: E731
        second = lambda _, path, *__: path  # noqa: E731
        builtins.open = io.open = before("open", io.open, first, writes)
        os.fsync = before("fsync", os.fsync, lambda _: None)
        os.replace = before("replace", os.replace, second)
        os.mkdir = before("mkdir", os.mkdir, first)
        # Its path is a descriptor: that of a file of states.
        os.posix_fallocate = before("states", os.posix_fallocate, lambda *_: None)
        os.pwrite = before("states", os.pwrite, lambda *_: None)
        os.open = before("states", os.open, first, lambda _, flags, *__: bool(flags & os.O_CREAT))
        pq.write_table = before("parquet", pq.write_table, second)

        class Writer(pq.ParquetWriter):
            def __init__(writer, where: Any, *args: Any, **options: Any):
                self.seen("parquet", where)
                writer.place = where
                super().__init__(where, *args, **options)

            def write_table(writer, *args: Any, **options: Any) -> None:
                self.seen("parquet", writer.place)
                super().write_table(*args, **options)

        pq.ParquetWriter = Writer
        for module in (safetensors.numpy, safetensors.torch):
            module.save_file = before("safetensors", module.save_file, second)


def fail(error: str) -> Action:
    """Raise an OSError, as the system would with this path."""

    def action(path: str) -> None:
        raise OSError(ERRORS[error], os.strerror(ERRORS[error]), path or None)

    return action
