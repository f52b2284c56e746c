"""The command line: `dsl-probe COMMAND ...`, one command a stage.

stdout is the result (--json: exactly one object), stderr is progress and log. Exit codes: 0 done, 1 finished with
rejected, left out or damaged parts, 2 usage or bad input, 130 interrupted.
"""

import errno
import sys
from collections.abc import Callable

from dsl_probe import commands
from dsl_probe.shown import say
from dsl_probe.types import UserError

COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "demo": commands.demo,
    "import": commands.import_,
    "collect": commands.collect,
    "capture": commands.capture,
    "score": commands.score,
    "mine": commands.mine,
    "probe": commands.probe,
    "effects": commands.effects,
    "compare": commands.compare,
    "validate": commands.validate,
    "export": commands.export,
    "status": commands.status,
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "--version"):
        print(_version() if argv and argv[0] == "--version" else _usage())
        return 0 if argv else 2
    if argv[0] not in COMMANDS:
        say(f"dsl-probe: {argv[0]!r} is no command; there are: {', '.join(COMMANDS)}.")
        return 2
    try:
        return COMMANDS[argv[0]](argv[1:])
    except UserError as error:
        say(f"dsl-probe: {error}")
        return 2
    except KeyboardInterrupt:
        print("dsl-probe: interrupted; the same command goes on from here.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except OSError as error:  # wherever a name is looked up first
        if error.errno != errno.ENAMETOOLONG:
            raise
        say(f"dsl-probe: {error.filename!r:.200}: a name this long can be no file or folder here.")
        return 2


def _usage() -> str:
    lines = [f"  {name:8s} {(fn.__doc__ or '').splitlines()[0]}" for name, fn in COMMANDS.items()]
    title = "usage: dsl-probe COMMAND ...      (dsl-probe COMMAND --help tells its options)"
    return "\n".join([title, "", "Does a reasoning model have a private language?", "", *lines])


def _version() -> str:
    from dsl_probe import __version__

    return f"dsl-probe {__version__}"
