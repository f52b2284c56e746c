"""Why a verdict may be wrong for this run: each threat is computed from the data, and names its figure."""

from dsl_probe.share.claims.facts import Facts, Group

LENGTHS = 1.5
ACCURACY = 0.05
PROBLEMS = 100
TRUNCATED = 0.1
# Claims that set one group against another.
CONTRASTS = frozenset(
    {"legible-without-sft", "own-language", "shared-vocabulary", "r1-zero-and-r1-alike", "incoherent-outside"}
)
_TEXT = CONTRASTS - {"r1-zero-and-r1-alike"}
_LANGUAGE = frozenset({"own-language"})


def threats(facts: Facts, claim: str) -> list[str]:
    """Sentences on what could explain the outcome of a claim (its id) otherwise, or hide it.

    What it does not show: that there is no other threat: sampling that was not recorded, provider faults, and training
    data of the base are not seen.
    """
    groups = _spoken_of(facts) if claim in CONTRASTS else {facts.subject: facts.groups[facts.subject]}
    found = _of_each(groups)
    if claim in CONTRASTS:
        found += _between(facts, groups, claim)
    if claim in _LANGUAGE:
        if facts.motifs is None or facts.motifs.load_bearing is None:
            found.append("Effects not run: whether any motif matters to the answer is unknown.")
        if not facts.grammars:
            found.append(
                "No grammar of the RL-only group was learnt and tested: dsl-probe mine RUN --language.group GROUP"
            )
    if claim in ("legible-without-sft", "incoherent-outside"):
        over = f"; it over-uses {facts.motifs.over:,} motifs against the base" if facts.motifs else ""
        found.append(f"Words that the base writes too, or the prompts, count as known, in whatever sense{over}.")
    if claim == "predictable-errors":
        found.append("A motif may mark what kind of problem it is, and that how hard it is.")
    return found


def _spoken_of(facts: Facts) -> dict[str, Group]:
    """The groups that play a part; where none does, all."""
    played = {side: facts.groups[side] for side in facts.roles.values()}
    return played or dict(facts.groups)


def _of_each(groups: dict[str, Group]) -> list[str]:
    found = []
    for side, g in groups.items():
        who = {"a": "A", "b": "B"}.get(side, side)
        if g.problems < PROBLEMS:
            found.append(f"{who} answered {g.problems} problems, fewer than {PROBLEMS}: intervals are rough.")
        if g.samples == 1:
            found.append(f"{who} has problems with one sample: luck and problem cannot be told apart there.")
        if g.truncated > TRUNCATED:
            found.append(f"{g.truncated:.0%} of the traces of {who} were truncated or loop.")
        if g.prefixed > 0:
            found.append(f"{g.prefixed:.0%} of the traces of {who} open with a forced prefix.")
        if "unknown" in g.regimes:
            found.append(f"The regime of {who} is unknown.")
        elif len(g.regimes) > 1:
            found.append(f"{who} mixes regimes ({', '.join(g.regimes)}): it plays no part.")
    return found


def _between(facts: Facts, groups: dict[str, Group], claim: str) -> list[str]:
    found, all_groups = [], list(groups.values())
    units = [g.units for g in all_groups if g.units > 0]
    if claim in _TEXT and len(units) > 1 and max(units) > LENGTHS * min(units):
        found.append(f"Lengths are unmatched: {max(units) / min(units):.1f} times as many units a trace in one group.")
    right = [g.accuracy for g in all_groups if g.accuracy is not None]
    if claim in _TEXT and len(right) > 1 and max(right) - min(right) > ACCURACY:
        found.append(
            f"Accuracy is unmatched: {min(right):.2f} to {max(right):.2f}; wrong chains are written otherwise."
        )
    trained = {side: g for side, g in groups.items() if side != facts.roles.get("base")}
    starts = sorted({s for g in trained.values() for s in g.starts})
    if starts != ["base"]:
        found.append(f"Training did not start from a base checkpoint for all: {', '.join(starts)}.")
    temperatures = sorted({t for g in all_groups for t in g.temperatures})
    if not temperatures:
        found.append("Sampling was not recorded: temperatures may differ.")
    elif len(temperatures) == 1:
        found.append(f"One temperature ({temperatures[0]:g}): others were not sampled.")
    else:
        found.append(f"Temperatures differ or mix: {', '.join(f'{t:g}' for t in temperatures)}.")
    if len({g.templates for g in all_groups}) > 1:
        found.append("Chat templates differ between the groups.")
    if facts.prompts_differ:
        found.append(f"{facts.prompts_differ:,} paired problems had other prompts in A than in B.")
    if facts.design != "paired":
        found.append("A and B answered different problems: a difference may be the problems'.")
    if all(g.models == 1 for g in trained.values()):
        found.append("One model of each regime: a model cannot be told from its regime.")
    return found
