#!/usr/bin/env bash
# From the repository's root, after make demo: about five minutes on two cores.
set -e
.venv/bin/python experiments/nulls/run.py runs/real --splits 20 --out experiments/nulls/RESULTS.md
