"""Placebo on placebo: how often is an effect found where there is none?

    python experiments/effects/calibration.py --work runs/effects-cipher --out experiments/effects/CALIBRATION.md

In each of 200 trials traces are drawn, and in each of them two random spans of equal length and like frequency, one of
which is called the motif. Both are taken away as `dsl-probe effects` does it, and tested in the same way. Goes on where
it stopped.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from cipher import MODEL, make
from scipy import stats

from dsl_probe.collect.seeded import key_of
from dsl_probe.mine.uses import read_rows
from dsl_probe.models import load_model
from dsl_probe.probe.arms import ARM, PLACEBO, Arms, Draw
from dsl_probe.probe.draws import sample_draws, trace_sampling
from dsl_probe.probe.effect_table import ALL, effect_rows
from dsl_probe.probe.effects import TRACE_COLUMNS, EffectsConfig
from dsl_probe.probe.spans import Motif, Spans
from dsl_probe.store import Run

WANTED = ("ban", "delete", "replace")
TRIALS, PROBLEMS, JOBS = 200, 40, 20


def ghost(arms: Arms, number: int) -> list[Draw]:
    """The draws of one trial: two placebos of the same word, which itself is left alone."""
    spans = arms.spans
    rng = np.random.default_rng(key_of(number, "ghost", 0))
    gram, held = spans.of_length(1)
    # Words by how many traces hold them, so that a trial is as a motif would be.
    word = int(rng.choice(np.flatnonzero(held >= 200)))
    places = np.flatnonzero(gram == word)
    uses = {int(t): places[spans.doc[places] == t] for t in np.unique(spans.doc[places])}
    drawn: list[Draw] = []
    problems: set[str] = set()
    for t in rng.permutation([t for t in uses if t in arms.chains]).tolist():
        problem = arms.rows[t]["problem_id"]
        own = np.stack([uses[t], uses[t] + 1], 1)
        found = [spans.others(t, own, int(held[word]), rng) for _ in (ARM, PLACEBO)]
        if problem in problems or any(one is None for one in found):
            continue
        draws = []
        for arm, one in zip((ARM, PLACEBO), found, strict=True):
            assert one is not None
            draws += arms.edited(t, arm, spans.text(one[0]), one, arms.bans_of(one[0]), WANTED, rng, int(held[word]))
        if len(draws) == 2 * len(WANTED):
            problems.add(problem)
            drawn += draws
        if len(problems) == PROBLEMS:
            break
    return drawn


def trials(run: Run, work: Path) -> pd.DataFrame:
    """All trials' samples; what is there already is kept."""
    work.mkdir(parents=True, exist_ok=True)
    config = EffectsConfig(model=str(MODEL), device="cpu", batch_size=256, seed=1)
    left = [k for k in range(TRIALS) if not (work / f"{k:03d}.parquet").is_file()]
    if left:
        rows = run.all_shards("traces", TRACE_COLUMNS).to_pylist()
        model = load_model(str(MODEL), device="cpu")
        arms = Arms(Spans(run, read_rows(run, np.arange(len(rows)))), rows, model, 1, config.after)
        sampling = trace_sampling(rows, config)
        for k in left:
            motif = Motif(f"ghost {k:03d}", f"ghost {k:03d}", ())
            table = sample_draws(model, arms, motif, ghost(arms, k), sampling, config).to_pandas()
            table.to_parquet(work / f"{k:03d}.part")
            (work / f"{k:03d}.part").rename(work / f"{k:03d}.parquet")
            print(f"trial {k + 1} of {TRIALS}", file=sys.stderr, flush=True)
    return pd.concat([pd.read_parquet(work / f"{k:03d}.parquet") for k in range(TRIALS)])


def report(samples: pd.DataFrame) -> str:
    """The result in Markdown."""
    named = {m: m for m in samples.motif_id.unique()}
    made = effect_rows(samples, named, {}, model="cipher", permutations=10_000, seed=0).to_pandas()
    table = made[made.domain == ALL]
    low, high = stats.binom.interval(0.95, TRIALS, 0.05)
    lines = [
        "# Placebo on placebo",
        "",
        f"Made by `python experiments/effects/calibration.py`: {TRIALS} trials of {PROBLEMS} problems on the cipher, "
        f"{len(samples):,} draws, {int(samples.tokens.sum()):,} new tokens; seeds are the trials' numbers.",
        "",
        f"Where nothing is to be found, p <= .05 should come in 5 % of {TRIALS} trials: 95 % binomial interval "
        f"{low:.0f} to {high:.0f}.",
        "",
        "| intervention | p <= .05 | p <= .05, randomised | mean effect | intervals that hold 0 | KS p, randomised |",
        "|---|---|---|---|---|---|",
    ]
    rng = np.random.default_rng(0)
    for intervention in WANTED:
        rows = table[table.intervention == intervention]
        part = samples[samples.intervention == intervention]
        p = np.array([randomised(part[part.motif_id == m], rng) for m in rows.motif_id])
        known = rows[rows.ci_low.notna()]
        holds = ((known.ci_low <= 0) & (known.ci_high >= 0)).sum() + len(rows) - len(known)
        lines.append(
            f"| {intervention} | {(rows.p <= 0.05).sum()} | {(p <= 0.05).sum()} | {rows.effect.mean():+.4f} | "
            f"{holds} of {len(rows)} | {stats.kstest(p, 'uniform').pvalue:.3f} |"
        )
    lines += [
        "",
        f"Called load-bearing, of {len(table)} tests under one max-T correction: {int(table.load_bearing.sum())} "
        f"(smallest p_adj {table.p_adj.min():.3f}, seen once in {1 / table.p_adj.min():.0f}).",
        f"As {JOBS} jobs of {TRIALS // JOBS} motifs, each corrected by itself: {any_named(samples)} name any (by",
        f"chance {JOBS} x .05 / 2 = {JOBS * 0.025:.1f}, since only what costs more than its placebo is named).",
        "",
        "The sign-flip test of verdicts is discrete, so that the plain p is rejected somewhat too seldom; the",
        "randomised p divides the chance of what was observed evenly and is uniform if the test is exact.",
    ]
    return "\n".join(lines) + "\n"


def any_named(samples: pd.DataFrame) -> int:
    """How many jobs call a motif load-bearing."""
    found = 0
    motifs = sorted(samples.motif_id.unique())
    for job in range(JOBS):
        part = samples[samples.motif_id.isin(motifs[job::JOBS])]
        named = {m: m for m in motifs}
        table = effect_rows(part, named, {}, model="cipher", permutations=10_000, seed=job).to_pandas()
        found += bool(table[table.domain == ALL].load_bearing.any())
    return found


def randomised(part: pd.DataFrame, rng: np.random.Generator) -> float:
    """Randomised p of the sign-flip test of one verdict a problem, by its binomial form."""
    verdicts = part.pivot(index="problem_id", columns="arm", values="correct").astype(float)
    d = (verdicts["placebo"] - verdicts["arm"]).to_numpy()
    n, up = int((d != 0).sum()), int((d > 0).sum())
    far = abs(2 * up - n)
    k = np.arange(n + 1)
    chance = stats.binom.pmf(k, n, 0.5)
    beyond, equal = chance[np.abs(2 * k - n) > far].sum(), chance[np.abs(2 * k - n) == far].sum()
    return float(beyond + rng.random() * equal)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/effects-cipher"))
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "CALIBRATION.md")
    given = parser.parse_args()
    run = make(given.work, 500, 20_000)
    text = report(trials(run, given.work.parent / f"{given.work.name}-calibration"))
    given.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
