"""Runs as another version, or another hand, would have left them."""

import json

from dsl_probe.files import file_hash, footer_hash, sealed, write_json
from dsl_probe.store import Run


def record_anew(run: Run, stage: str) -> None:
    """Make the record of a stage hold for its files as they are now."""
    path = run.path / "stages" / f"{stage}.json"
    record = json.loads(path.read_text("utf-8"))
    record["outputs"] = {name: file_hash(run.path / name) for name in record["outputs"]}
    record["footers"] = {name: footer_hash(run.path / name) for name in record["outputs"] if name.endswith(".parquet")}
    write_json(path, sealed(record))  # renamed into its place, as stages do: an open run looks at the folder's time
