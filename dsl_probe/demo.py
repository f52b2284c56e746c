"""The demo: the question on model organisms whose training we know, and on real models as far as their traces reach."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsl_probe.collect.domains.worlds import NAMES as WORLDS
from dsl_probe.collect.domains.worlds import STATE_WORDS
from dsl_probe.collect.shipped import shipped_folder
from dsl_probe.shown import say

if TYPE_CHECKING:
    from dsl_probe.collect.sample import CollectConfig

# Organism -> regime. All were trained from "base"; sft on one human dialect, rl-only on right answers alone.
ORGANISMS = {"base": "base", "sft": "sft", "rl-only": "rl_only"}
# Name of a comparison -> its two models.
PAIRS = {"rl-only-vs-sft": ("rl-only", "sft"), "rl-only-vs-base": ("rl-only", "base"), "sft-vs-base": ("sft", "base")}
ORGANISM_LIMITS = (
    "These are laboratory models of 0.9 M parameters: they show what the tool does where the truth is known, and what "
    "can happen, not what large models do. One seed of one lineage is shown; experiments/organisms has all. The words "
    "that rl-only over-uses were in the base model's training text, where RL found them: selected, not invented."
)
# Worlds that the organisms were trained in; walk, no fine-tuning and no reinforcement saw.
SEEN = tuple(world for world in WORLDS if world != "walk")
# Organism -> the organism that it was trained from: languages that are learnt.
LANGUAGES = {"rl-only": "base", "sft": "base"}
START = "Qwen/Qwen2.5-3B-Instruct"
# Model -> name of its comparison. All were trained from START and answered the same prompts.
TRAINED = {
    "Qwen2.5-3B-Instruct+GRPO(RG-games)": "games",
    "Qwen2.5-3B-Instruct+GRPO(RG-algebra)": "algebra",
    "Qwen2.5-3B-Instruct+GRPO(RG-algorithmic)": "algorithmic",
    "Qwen2.5-3B-Instruct+GRPO(RG-logic)": "logic",
    "starzmustdie/Qwen-2.5-3B-rlft": "rlft",
    "Qwen2.5-3B-Instruct+GRPO(RG-cognition,intra)": "cognition-intra",
    "Qwen2.5-3B-Instruct+GRPO(RG-algebra,intra)": "algebra-intra",
    "Qwen2.5-3B-Instruct+GRPO(RG-arithmetic,intra)": "arithmetic-intra",
}
LIMITS = (
    "All of these models start from one instruction-tuned checkpoint, so nothing here tells RL-only from SFT. "
    "A difference is in usage: that a motif is over-represented does not show that it is meaningful, new or "
    "load-bearing. Problems come from few templates, so they are less independent than they count."
)


def run_demo(out: Path, real: Path, force: bool = False) -> dict[str, Any]:
    """Both halves; what is done already is kept, unless `force`. Returns counts and findings.

    `out` holds the organisms' traces, collected into `out`-NAME first, with states; `real` those of real models.
    """
    return {"organisms": organisms(out, force), "real": real_models(real, force)}


def organism_sampling(**more: Any) -> "CollectConfig":
    """How an organism is sampled: bare prompts, at most 110 tokens, float32 on a CPU; more: the other options."""
    from dsl_probe.collect.sample import CollectConfig

    return CollectConfig(template="raw", max_new_tokens=110, batch_size=256, compute="float32", device="cpu", **more)


def organisms(out: Path, force: bool = False) -> dict[str, Any]:
    """Collect from each organism, bring the traces together, keep its states on its own traces, mine, compare."""
    from dsl_probe.collect.capture import CaptureConfig, capture_states
    from dsl_probe.collect.importer import import_traces
    from dsl_probe.collect.sample import collect
    from dsl_probe.mine.stage import mine_motifs
    from dsl_probe.store import Run

    models = shipped_folder("organisms")
    parts, report = [], {"collect": {}, "capture": {}}
    for name, regime in ORGANISMS.items():
        _say(f"collect from {name}")
        part = Run.create(out.with_name(f"{out.name}-{name}"))
        config = organism_sampling(
            model=str(models / name),
            name=name,
            regime=regime,
            start_model=None if name == "base" else "base",
            start_ckpt="unknown" if name == "base" else "base",
            reasoning_sft=regime == "sft",
            domains=WORLDS,
            n=100,
            samples=2,
        )
        report["collect"][name] = asdict(collect(part, config, force=force))
        parts.append(part.path)
    run = Run.create(out)
    report["import"] = asdict(import_traces(run, parts, force=force))
    for name in ORGANISMS:
        _say(f"states of {name}")
        config = CaptureConfig(
            model=str(models / name),
            name=name,
            only=f"model={name}",
            layers=(1, 3),
            at=("every:4",),
            batch=64,
            compute="float32",
            device="cpu",
        )
        report["capture"][name] = asdict(capture_states(run, config, force=force))
    report["mine"] = asdict(mine_motifs(run, force=force))
    report["languages"] = _languages(run, LANGUAGES, force)
    pairs = {name: (f"model={a}", f"model={b}", "model=base") for name, (a, b) in PAIRS.items()}
    # No world shares its states with another: with them, sharing would tell how terse a model is.
    states = tuple(sorted(STATE_WORDS))
    return report | {"comparisons": _compare(run, pairs, force, content=states, rl_domains=SEEN)}


def real_models(out: Path, force: bool = False) -> dict[str, Any]:
    """Every GRPO model among the shipped traces against its own start model, on the same prompts."""
    from dsl_probe.collect.importer import import_traces
    from dsl_probe.mine.stage import mine_motifs
    from dsl_probe.store import Run

    run = Run.create(out)
    _say("import the traces of real models")
    imported = import_traces(run, sorted(shipped_folder("traces").glob("*.parquet")), force=force)
    mined = mine_motifs(run, force=force)
    start = f"model={START}"
    pairs = {name: (f"model={model}", start, start) for model, name in TRAINED.items()}
    languages = _languages(run, {model: START for model in TRAINED}, force, grammar=False)
    return {
        "import": asdict(imported),
        "mine": asdict(mined),
        "languages": languages,
        "comparisons": _compare(run, pairs, force),
    }


def _languages(run: Any, trained: dict[str, str], force: bool, grammar: bool = True) -> dict[str, Any]:
    """The language of each model against the one that it was trained from."""
    from dsl_probe.mine.language import LanguageConfig, learn_language

    report = {}
    for model, start in trained.items():
        _say(f"language of {model}")
        name = TRAINED.get(model, model)
        config = LanguageConfig(group=f"model={model}", reference=f"model={start}", grammar=grammar, name=name)
        report[name] = asdict(learn_language(run, config, force=force))
    return report


def _compare(run: Any, pairs: dict[str, tuple[str, str, str]], force: bool, **options: Any) -> dict[str, Any]:
    from dsl_probe.share.compare import compare
    from dsl_probe.share.comparison import CompareConfig
    from dsl_probe.share.findings import findings

    report = {}
    for name, (a, b, base) in pairs.items():
        _say(f"compare {name}")
        config = CompareConfig(a=a, b=b, base=base, same_prompt=True, name=name, **options)
        done = compare(run, config, force=force)
        report[name] = {**asdict(done.result), "findings": [f.text for f in findings(done, top=4)]}
    return report


def as_lines(report: dict[str, Any], out: Path, real: Path) -> list[str]:
    """The report for a person, and how to open the rest."""
    lines = []
    for half, title, limits, path in (
        ("organisms", "Model organisms", ORGANISM_LIMITS, out),
        ("real", "Real models", LIMITS, real),
    ):
        traces, mined = report[half]["import"], report[half]["mine"]
        lines += [f"{title}: {traces['traces']:,} traces, {mined['units']:,} units, {mined['motifs']:,} motifs"]
        lines += [
            f"{name}: {found['words']:,} words and {found['phrases']:,} phrases far beyond the start model"
            for name, found in report[half]["languages"].items()
        ]
        for name, part in report[half]["comparisons"].items():
            lines += ["", f"{name}", *(f"  {text}" for text in part["findings"])]
        lines += ["", f"Limits: {limits}", f"Browse it: streamlit run app/main.py -- --run {path}", ""]
    return lines


def _say(what: str) -> None:
    say(f"demo: {what}")
