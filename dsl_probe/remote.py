"""A run behind a URL that fsspec knows (s3://, gs://, https://, memory://): its files, fetched when they are read."""

import fnmatch
import tempfile
from pathlib import Path

from dsl_probe.types import UserError


class Remote:
    """The files of a folder elsewhere, as they were when it was opened; each is copied here when it is first read.

    The copies are removed when the object goes. Nothing is written there.
    """

    def __init__(self, url: str):
        import fsspec

        try:
            self.fs, root = fsspec.core.url_to_fs(url)
            self.root = root.rstrip("/")
            found = self.fs.find(self.root)
        except Exception as error:  # fsspec and what it loads raise what they like
            raise UserError(f"{url} cannot be opened: {type(error).__name__}: {error}") from error
        self.names = sorted(name.removeprefix(self.root).lstrip("/") for name in found)
        self._folder = tempfile.TemporaryDirectory(prefix="dsl-probe-")
        self.folder = Path(self._folder.name)

    def matching(self, pattern: str) -> list[str]:
        """Names of files; `*` does not cross a slash."""
        parts = pattern.split("/")
        return [
            name
            for name in self.names
            if len(own := name.split("/")) == len(parts)
            and all(fnmatch.fnmatchcase(a, b) for a, b in zip(own, parts, strict=True))
        ]

    def fetch(self, name: str) -> Path:
        """The local copy of a file; a path that does not exist where there is none."""
        path = self.folder / name
        if name in self.names and not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = path.with_name(path.name + ".part")
            try:
                self.fs.get_file(f"{self.root}/{name}", str(part))
            except Exception as error:
                raise UserError(f"{name} cannot be fetched: {type(error).__name__}: {error}") from error
            part.rename(path)
        return path
