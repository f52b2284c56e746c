"""Each command: its options (a stage's config, flattened), the call, and its result as lines or as one JSON object.

A command imports what it needs inside, so that `status` answers at once.
"""

from dsl_probe.commands.findings import compare, effects, mine, probe, validate
from dsl_probe.commands.traces import capture, collect, import_, score
from dsl_probe.commands.whole import demo, export, status

__all__ = [
    "capture", "collect", "compare", "demo", "effects", "export",
    "import_", "mine", "probe", "score", "status", "validate",
]  # fmt: skip
