"""Does a reasoning model have a private language? Recover its motifs, and test every claim against its null.

The public API. Names are loaded on first use, so that `import dsl_probe` costs milliseconds and never imports torch.

>>> import dsl_probe
>>> sorted(dsl_probe.__all__)[:3]
['CompareConfig', 'Comparison', 'ImportConfig']
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Problem": "types",
    "Trace": "types",
    "Run": "store",
    "UserError": "types",
    "ImportConfig": "collect.importer",
    "import_traces": "collect.importer",
    "MineConfig": "mine.stage",
    "mine_motifs": "mine.stage",
    "LanguageConfig": "mine.language",
    "learn_language": "mine.language",
    "CompareConfig": "share.comparison",
    "Comparison": "share.comparison",
    "compare": "share.compare",
    "growth": "share.growth",
    "monitor": "share.monitor",
    "sharing": "share.views",
    "claims": "share.views",
    "validate": "share.views",
}
__all__ = list(_HOME)

if TYPE_CHECKING:
    from dsl_probe.collect.importer import ImportConfig, import_traces
    from dsl_probe.mine.language import LanguageConfig, learn_language
    from dsl_probe.mine.stage import MineConfig, mine_motifs
    from dsl_probe.share.compare import compare
    from dsl_probe.share.comparison import CompareConfig, Comparison
    from dsl_probe.share.growth import growth
    from dsl_probe.share.monitor import monitor
    from dsl_probe.share.views import claims, sharing, validate
    from dsl_probe.store import Run
    from dsl_probe.types import Problem, Trace, UserError


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'dsl_probe' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"dsl_probe.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
