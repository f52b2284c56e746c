"""Files that are whole or not there: written under a temporary name, flushed, renamed; checked when they are read."""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from dsl_probe.types import FileError, UserError

# What a disk says, and not a peer, a pipe or another program.
_OF_DISK = (
    "ENOSPC",
    "EDQUOT",
    "EROFS",
    "EACCES",
    "EPERM",
    "EIO",
    "EFBIG",
    "ENOENT",
    "ENOTDIR",
    "ESTALE",
    "ELOOP",
    "ENAMETOOLONG",
)
_DISK = {getattr(errno, name) for name in _OF_DISK if hasattr(errno, name)}
_END = 8  # a Parquet file ends with the length of its footer, 4 bytes, and PAR1


@contextmanager
def replacing(path: Path) -> Generator[Path]:
    """A temporary name that becomes `path` only when the block ends well and the bytes are on the disk."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield temporary
            with open(temporary, "rb+") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def told(folder: Path) -> Generator[None]:
    """What the disk says of a file under `folder`, or of no file by name, as a UserError with the path."""
    try:
        yield
    except OSError as error:
        path = error.filename or folder
        if error.errno not in _DISK or not (isinstance(path, str | Path) and Path(path).is_relative_to(folder)):
            raise
        raise UserError(
            f"{path}: {error.strerror or error}. Mend that, and run the same command again: it goes on from there."
        ) from error


def write_tensors(path: Path, tensors: "dict[str, Any]") -> None:
    """Write numpy arrays as safetensors, atomically. Raises UserError."""
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary)
        except SafetensorError as error:  # of a full disk, too
            raise OSError(str(error)) from error


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, keys sorted, so that the same content gives the same bytes."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n", "utf-8")


def read_json(path: Path) -> dict[str, Any]:
    """Read JSON. Raises UserError."""
    try:
        return json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError, OSError) as error:
        raise FileError(f"{path} cannot be read ({error}); delete it and run its stage again.") from error


def file_hash(path: Path) -> str:
    """BLAKE2b-128 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def footer_hash(path: Path) -> str:
    """BLAKE2b-128 of a Parquet file's footer: schema, places and sizes of all that is in it. "" where there is none.

    The pages have checksums of their own; the footer has not, and a wrong bit there may drop rows in silence.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < 2 * _END:
            return ""
        file.seek(size - _END)
        end = file.read(_END)
        start = size - _END - int.from_bytes(end[:4], "little")
        if end[4:] != b"PAR1" or start < 0:
            return ""
        file.seek(start)
        return hashlib.blake2b(file.read(), digest_size=16).hexdigest()


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """A record with a digest of all else in it."""
    return record | {"digest": _digest(record)}


def seal_holds(record: dict[str, Any]) -> bool:
    """Whether a record is as it was written; one of before there were digests has none, and passes."""
    return record.get("digest") in (None, _digest(record))


def _digest(record: dict[str, Any]) -> str:
    rest = {k: v for k, v in record.items() if k != "digest"}
    return hashlib.blake2b(json.dumps(rest, sort_keys=True).encode(), digest_size=16).hexdigest()


def stamp(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written anew: inode, size, time."""
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def free_bytes(path: Path) -> int:
    """Free space on the disk that holds `path`."""
    return shutil.disk_usage(path).free


def allow_open_files(count: int) -> None:
    """Let this process hold `count` files open at a time. Raises UserError where the system does not let it."""
    try:
        import resource
    except ImportError:  # not on Windows, where the limit is another
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= count:
        return
    if hard != resource.RLIM_INFINITY and hard < count:
        raise UserError(
            f"{count:,} files must be open at a time, and the system allows {hard:,}. Take fewer and larger shards, or "
            f"raise the limit: ulimit -Hn {count}"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
