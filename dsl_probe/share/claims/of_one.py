"""Rules for the claims on one model: the RL-only group, or A where there is none."""

from dataclasses import replace

from dsl_probe.share.claims.facts import LEAST_SAMPLES, Facts
from dsl_probe.share.claims.verdicts import UNDECIDED, Claim, above, below, figure, judged, row, together, written

AUROC = 0.55
ALPHA = 0.05
SATURATED = (0.05, 0.95)
SLOPE = 0.01
VERIFIED = 100
YIELD = 0.05


def predictable_errors(f: Facts) -> Claim:
    """Who is wrong is foreseen from motifs on problems that were held out."""
    made = Claim(
        "predictable-errors",
        "Errors can be foreseen from the chain of thought, as trust needs.",
        f"AUROC of correctness from motif counts, within domains, on held-out problems, above {AUROC} by its 95 % "
        f"interval, above that of length and domain alone, and p <= {ALPHA} against exchanged verdicts. An interval "
        f"below {AUROC} contradicts.",
        UNDECIDED,
        "",
    )
    name, x = f.groups[f.subject].name, f.foresight
    if x is None:
        said = f"{name} needs at least 20 problems answered rightly, 20 wrongly, and motifs in ten."
        return replace(made, reading=said)
    parts = [above(x.auroc, AUROC), above(x.gain, 0.0) or None, x.p <= ALPHA or None]
    reading = (
        f"{name}: AUROC {written(x.auroc, sign='')}, by {written(x.gain)} more than by length and domain alone; "
        f"calibration error {x.ece.value:.3f}; p {x.p:.3f}."
    )
    evidence = [row("AUROC, motifs", x.auroc), row("AUROC, length and domain", x.baseline), row("gain", x.gain)]
    evidence += [row("ECE, motifs", x.ece), row("ECE, length and domain", x.baseline_ece)]
    evidence += [figure("AUROC, verdicts exchanged (mean)", x.null, None), figure("p", x.p, None)]
    return judged(made, together(parts), reading, evidence, x.auroc, "AUROC, motifs")


def log_compute(f: Facts) -> Claim:
    """Majority over more chains is right more often, by doublings of the tokens."""
    low, high = SATURATED
    made = Claim(
        "log-compute",
        "Accuracy grows with the logarithm of inference compute.",
        "Gain in majority@k for each doubling of the tokens above 0 by its 95 % interval, for a model with pass@1 "
        f"between {low} and {high} and {LEAST_SAMPLES} chains a problem or more; below {SLOPE} contradicts. pass@k is "
        "shown but does not count: it cannot fall.",
        UNDECIDED,
        "",
    )
    group = f.groups[f.subject]
    tree = [] if f.tree is None else [figure("steps of trees", f.tree[0], None)]
    tree += [] if f.tree is None else [figure("steps that change the accuracy (p_adj <= .05)", f.tree[1], None)]
    evidence = [row(f"{measure}: {c.model}", s) for c in f.curves for measure, s in sorted(c.slopes.items())] + tree
    made = replace(made, evidence=tuple(evidence))
    if not f.curves:
        said = (
            f"{group.name} has {group.samples} chain{'s' * (group.samples != 1)} of some problem; {LEAST_SAMPLES} "
            f"judged ones of each are needed: dsl-probe collect --samples {LEAST_SAMPLES}"
        )
        return replace(made, reading=said)
    fit = [c for c in f.curves if low <= c.passed <= high and "majority_slope" in c.slopes]
    if not fit:
        said = "; ".join(f"{c.model} is saturated: pass@1 {c.passed:.3f}" for c in f.curves)
        return replace(made, reading=f"{said}. Take harder or easier problems.")
    parts = []
    for curve in fit:
        grows = above(curve.slopes["majority_slope"], 0.0)
        parts.append(True if grows else False if below(curve.slopes["majority_slope"], SLOPE) else None)
    listed = "; ".join(f"{c.model} {written(c.slopes['majority_slope'])} up to k = {c.k}" for c in fit)
    reading = f"Gain in majority@k for each doubling: {listed}."
    main = fit[0].slopes["majority_slope"]
    return judged(made, together(parts), reading, evidence, main, f"majority_slope: {fit[0].model}")


def verified_data(f: Facts) -> Claim:
    """Enough right, complete, distinct traces to train on."""
    made = Claim(
        "verified-data",
        "Reasoning runs make new, verified training data.",
        f"At least {VERIFIED} right and complete traces of different text, and their share of the judged traces above "
        f"{YIELD} by its 95 % interval; a share below it contradicts.",
        UNDECIDED,
        "",
    )
    name, x = f.groups[f.subject].name, f.verified
    if x is None:
        return replace(made, reading=f"No trace of {name} was judged: import them with `correct`, or collect them.")
    parts = [x.distinct >= VERIFIED or None, above(x.share, YIELD)]
    new = f"; {x.new:,} of them the base did not write" if x.new is not None else ""
    reading = (
        f"{name}: {x.distinct:,} verified traces of {x.problems:,} problems, share {written(x.share, sign='')}{new}."
    )
    evidence = [row("share verified", x.share), figure("verified traces", x.distinct, x.problems)]
    evidence += [figure("not written by the base", x.new, None)] if x.new is not None else []
    return judged(made, together(parts), reading, evidence, x.share, "share verified")
