"""What `streamlit run app/main.py -- ...` may say after the two dashes."""

import argparse
import sys
from pathlib import Path


def given() -> argparse.Namespace:
    """--run and --runs."""
    parser = argparse.ArgumentParser(prog="streamlit run app/main.py --", allow_abbrev=False)
    parser.add_argument("--run", type=Path, help="the run folder to show")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="the folder that holds runs (default: runs)")
    return parser.parse_known_args(sys.argv[1:])[0]
