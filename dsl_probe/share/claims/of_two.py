"""Rules for the claims that set an RL-only group against a fine-tuned one, or against its base."""

import shlex
from collections.abc import Sequence
from dataclasses import replace

from dsl_probe.share.claims.facts import Facts
from dsl_probe.share.claims.verdicts import (
    CONTRADICTED,
    SUPPORTED,
    UNDECIDED,
    Claim,
    above,
    below,
    figure,
    judged,
    row,
    together,
    written,
)
from dsl_probe.share.means import Estimate

ACCURACY = 0.05
SHARING = 0.05
# Measures of incoherence and the difference that counts: shares of units and words; changes of script a 1,000 units.
INCOHERENCE = {"repetition": 0.02, "switches": 1.0, "out_of_lexicon": 0.02}
# A motif in s problems of one group and none of the other has |z| = sqrt(s); the family-wise threshold is about 4.4.
RESOLUTION = 20
# Share of the problems that RESOLUTION may be for its absence to speak.
BLIND = 0.2
# R1-Zero less R1 as published by ARC Prize (ARC-AGI-1: 14 % and 15.8 %; AIME: 71 % and 76 %), without intervals.
PUBLISHED = {"ARC-AGI-1": 0.14 - 0.158, "AIME": 0.71 - 0.76}
_WORDS = {"rl_only": "RL-only", "sft": "fine-tuned", "base": "base"}


def legible_without_sft(f: Facts) -> Claim:
    """RL-only is as right as fine-tuned, righter than base, and not more incoherent than fine-tuned."""
    n = 2 + len(INCOHERENCE)
    made = Claim(
        "legible-without-sft",
        "Fine-tuning on human reasoning is not needed for accurate, legible reasoning where answers can be checked.",
        f"Accuracy of RL-only less fine-tuned above -{ACCURACY}, and less base above 0; repetition, changes of script "
        f"(1,000 units) and words outside the lexicon, RL-only less fine-tuned, below {_margins()}. All {n} must hold, "
        f"by intervals at 1 - .05 / {n}; one that excludes its margin contradicts.",
        UNDECIDED,
        "",
    )
    if lacking := _lacking(f, "rl_only", "sft", "base"):
        return replace(made, reading=lacking)
    to_sft, to_base = (f.differences.get(("rl_only", other, "accuracy", "all")) for other in ("sft", "base"))
    worse = {m: f.differences.get(("rl_only", "sft", m, "all")) for m in INCOHERENCE}
    parts = [above(to_sft, -ACCURACY, n), above(to_base, 0.0, n)]
    parts += [below(worse[m], margin, n, share=m != "switches") for m, margin in INCOHERENCE.items()]
    listed = ", ".join(f"{m} {written(found)}" for m, found in worse.items())
    reading = (
        f"RL-only less fine-tuned: accuracy {written(to_sft)}, {listed}; less base: accuracy {written(to_base)}. "
        f"{_open(parts, ['accuracy to fine-tuned', 'accuracy to base', *INCOHERENCE])}"
    )
    evidence = [row("accuracy, RL-only - fine-tuned", to_sft), row("accuracy, RL-only - base", to_base)]
    evidence += [row(f"{m}, RL-only - fine-tuned", found) for m, found in worse.items()]
    evidence += [row(f"{m}, RL-only - base", f.differences.get(("rl_only", "base", m, "all"))) for m in INCOHERENCE]
    return judged(made, together(parts), reading, evidence, to_sft)


def own_language(f: Facts) -> Claim:
    """Motifs that RL-only over-uses, the base lacks, that are stable and matter; and a grammar that explains more."""
    made = Claim(
        "own-language",
        "RL-only training makes its own domain-specific language in token space.",
        "At least one motif over-represented against the base (p_adj <= .05, equal units), absent from the base, "
        "stable and load-bearing; and in some domain a grammar that explains held-out problems better than the Markov "
        f"model. Contradicted where no motif is over-represented and absent from the base, and {RESOLUTION} problems, "
        f"the fewest that such a motif is found in, are at most {BLIND:.0%} of them.",
        UNDECIDED,
        "",
    )
    if lacking := _lacking(f, "rl_only", "base"):
        return replace(made, reading=lacking)
    m = f.motifs
    if m is None:
        command = _command(f, {"a": "rl_only", "b": "base", "base": "base"})
        return replace(made, reading=f"This comparison holds no test of RL-only against base. Run: {command}")
    grammar = {d: found for d, (verdict, found) in f.grammars.items() if verdict.startswith("supported")}
    evidence = [figure("motifs tested", m.tested, m.problems), figure("over-represented against base", m.over, None)]
    evidence += [figure("and absent from the base", m.novel, None), figure("and stable", m.stable, None)]
    evidence += [figure("and load-bearing", m.load_bearing, None)]
    evidence += [row(f"bits a unit, grammar - Markov: {d}", found) for d, (_, found) in sorted(f.grammars.items())]
    found = f"Of {m.tested:,} motifs {m.over:,} are over-represented against the base"
    if m.novel is None:
        verdict, reading = UNDECIDED, f"{found}; whether the base lacks them was not tested: name it with --base."
    elif m.novel == 0 and m.paired and BLIND * m.problems >= RESOLUTION:
        verdict = CONTRADICTED
        reading = (
            f"{found}, none of them absent from it: any word of its own stands in fewer than about {RESOLUTION} of "
            f"{m.problems:,} problems ({RESOLUTION / m.problems:.0%})."
        )
    elif m.novel == 0:
        few = f"{m.problems:,} problems{'' if m.paired else ', not paired,'} are too few to tell"
        verdict, reading = UNDECIDED, f"{found}, none absent from it, but {few}."
    elif m.load_bearing is None:
        verdict = UNDECIDED
        reading = f"Effects not run. {found}, {m.novel:,} of them absent from it, of which {m.stable:,} are stable."
    else:
        verdict = SUPPORTED if m.load_bearing and grammar else UNDECIDED
        tail = f"in {len(grammar)} of {len(f.grammars)} domains a grammar beats the Markov model"
        reading = f"{found}, {m.novel:,} absent from it, {m.stable:,} stable, {m.load_bearing:,} load-bearing; {tail}."
    made = replace(made, verdict=verdict, reading=reading, evidence=tuple(evidence))
    return replace(made, effect="motifs absent from the base, stable", value=float(m.stable), n=m.problems)


def shared_vocabulary(f: Facts) -> Claim:
    """RL-only shares less between domains than fine-tuned, and is worse on domains that it was not trained on."""
    made = Claim(
        "shared-vocabulary",
        "RL-only finds no broadly shared vocabulary; fine-tuning is needed for generality across domains.",
        f"RL-only less fine-tuned: mean Morisita-Horn similarity between domains below -{SHARING}, and accuracy on "
        f"unseen domains below -{ACCURACY}. Both must hold, by intervals at 1 - .05 / 2; one that lies above its "
        "margin contradicts.",
        UNDECIDED,
        "",
    )
    if lacking := _lacking(f, "rl_only", "sft"):
        return replace(made, reading=lacking)
    unseen = f.differences.get(("rl_only", "sft", "accuracy", "outside"))
    parts = [below(f.sharing, -SHARING, 2), below(unseen, -ACCURACY, 2)]
    said = [f"RL-only less fine-tuned: sharing between domains {written(f.sharing)}"]
    if f.sharing is None:
        command = _command(f, {"a": "rl_only", "b": "sft", "base": "base"})
        said = [f"Sharing needs two domains in both, RL-only and fine-tuned as A and B: {command}"]
    said.append(
        f"accuracy on unseen domains {written(unseen)}"
        if f.rl_domains
        else "which domains the RL model was trained on is unknown: name them with --rl-domains"
    )
    told = {True: "holds", False: "fails", None: "is open"}
    reading = f"{'; '.join(said)}. That it shares less {told[parts[0]]}; that it is worse there {told[parts[1]]}."
    evidence = [row("sharing (Morisita-Horn), RL-only - fine-tuned", f.sharing)]
    evidence += [
        row(f"accuracy {place} the RL domains, RL-only - fine-tuned", found)
        for place in ("outside", "inside")
        if (found := f.differences.get(("rl_only", "sft", "accuracy", place)))
    ]
    return judged(made, together(parts), reading, evidence, f.sharing)


def alike(f: Facts) -> Claim:
    """RL-only and fine-tuned are equally often right."""
    made = Claim(
        "r1-zero-and-r1-alike",
        "R1-Zero and R1 score alike.",
        f"Accuracy of RL-only less fine-tuned, 95 % interval within -{ACCURACY} and {ACCURACY}; one that lies outside "
        "contradicts.",
        UNDECIDED,
        "",
    )
    published = [
        row(f"accuracy, R1-Zero - R1: {name}", Estimate(value, float("nan"), float("nan"), 0), "published")
        | {"n": None}
        for name, value in PUBLISHED.items()
    ]
    listed = ", ".join(f"{name} {value:+.3f}" for name, value in PUBLISHED.items())
    stands = f"Published for R1-Zero less R1, without intervals: {listed}."
    if lacking := _lacking(f, "rl_only", "sft"):
        return replace(made, reading=f"{lacking} {stands}", evidence=tuple(published))
    found = f.differences.get(("rl_only", "sft", "accuracy", "all"))
    verdict = together([above(found, -ACCURACY), below(found, ACCURACY)])
    own = f"These groups, RL-only less fine-tuned: accuracy {written(found)}. {stands}"
    evidence = [row("accuracy, RL-only - fine-tuned", found), *published]
    return judged(made, verdict, own, evidence, found)


def incoherent_outside(f: Facts) -> Claim:
    """RL-only is more incoherent than base, or else fine-tuned, outside its RL domains and not inside."""
    n = 3 * len(INCOHERENCE)
    made = Claim(
        "incoherent-outside",
        "Incoherence is seen elsewhere but not in the domains that RL was trained on.",
        "For one measure, RL-only less base (less fine-tuned where there is no base): outside above its margin, inside "
        f"below it, and outside less inside above it ({_margins()}), by intervals at 1 - .05 / {n}. Contradicted where "
        "one lies above its margin inside, or all lie below it outside.",
        UNDECIDED,
        "",
    )
    if lacking := _lacking(f, "rl_only"):
        return replace(made, reading=lacking)
    other = next((role for role in ("base", "sft") if role in f.roles), None)
    if other is None:
        return replace(made, reading=_lacking(f, "base") or "")
    if not f.rl_domains:
        said = "Which domains the RL model was trained on is unknown. Name them: dsl-probe compare RUN .. --rl-domains"
        return replace(made, reading=said)
    places = ("outside", "inside", "outside - inside")
    found = {(m, p): f.differences.get(("rl_only", other, m, p)) for m in INCOHERENCE for p in places}
    if not any(found.values()):
        return replace(made, reading="There are no traces on either side: both need domains inside and outside.")
    over = {
        (m, p): above(x, INCOHERENCE[m], n, share=m != "switches" and p != "outside - inside")
        for (m, p), x in found.items()
    }
    seen = [m for m in INCOHERENCE if over[m, "outside"] and over[m, "outside - inside"] and over[m, "inside"] is False]
    inside = [m for m in INCOHERENCE if over[m, "inside"]]
    if inside or all(over[m, "outside"] is False for m in INCOHERENCE):
        verdict = CONTRADICTED
    else:
        verdict = SUPPORTED if seen else UNDECIDED
    listed = "; ".join(
        f"{m} outside {written(found[m, 'outside'])}, inside {written(found[m, 'inside'])}" for m in INCOHERENCE
    )
    main = (seen or inside or list(INCOHERENCE))[0]
    evidence = [row(f"{m} {p}, RL-only - {_WORDS[other]}", x) for (m, p), x in found.items()]
    reading = f"RL-only less {_WORDS[other]}: {listed}."
    return judged(made, verdict, reading, evidence, found[main, "outside - inside"], f"{main}, outside - inside")


def _margins() -> str:
    return ", ".join(f"{name} {margin}" for name, margin in INCOHERENCE.items())


def _open(parts: Sequence[bool | None], names: Sequence[str]) -> str:
    said = []
    for word, outcome in (("against it", False), ("open", None)):
        which = [name for name, part in zip(names, parts, strict=True) if part is outcome]
        said += [f"{word}: {', '.join(which)}"] if which else []
    return ("; ".join(said) + ".").capitalize() if said else "All parts hold."


def _lacking(f: Facts, *roles: str) -> str | None:
    """What is missing for a claim that needs groups in these roles, and the command that brings it."""
    missing = [role for role in roles if role not in f.roles]
    if not missing:
        return None
    command = _command(f, {"a": "rl_only", "b": "sft", "base": "base"})
    said = f"No group of this comparison is {' or '.join(_WORDS[role] for role in missing)}, by the traces' regime."
    absent = [role for role in missing if role not in f.elsewhere]
    if absent:
        regimes = " and ".join(role for role in absent)
        said += f" The run has no traces of regime {regimes} on these problems: import them, then run: {command}"
        return said
    return f"{said} Run: {command}"


def _command(f: Facts, options: dict[str, str]) -> str:
    """A compare command with the groups of the run that play these roles."""
    words = ["dsl-probe", "compare", "RUN"]
    for option, role in options.items():
        name = f.name(role) if role in f.roles else f.elsewhere.get(role, f"regime={role}")
        words += [f"--{option}", shlex.quote(name)]
    return " ".join(words)
