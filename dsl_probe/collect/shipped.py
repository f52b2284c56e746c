"""Where the data that comes with the project lies: in the repository, not in the installed package."""

from pathlib import Path

from dsl_probe.types import UserError


def shipped_folder(kind: str) -> Path:
    """The repository's data/`kind`: `traces`, `problems`. Raises UserError where there is no repository."""
    folder = Path(__file__).resolve().parents[2] / "data" / kind
    if not folder.is_dir():
        raise UserError(f"this needs the repository's data/{kind} (looked in {folder}); clone it and run make demo.")
    return folder
