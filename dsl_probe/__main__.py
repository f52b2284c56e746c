"""`python -m dsl_probe` is the `dsl-probe` command."""

from dsl_probe.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
