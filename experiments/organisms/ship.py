"""Put chosen organisms into data/organisms: bfloat16 weights, tokenizer, recipe, and a card with what was measured.

    python experiments/organisms/ship.py [NAME ...] [--lineage 1] [--out data/organisms]

Needs the evaluation of each (evaluate.py; for the cipher cipher_effects.py, which wrote truth.json). git keeps every
version of a file, so this is done once, when the models are final.
"""

import argparse
import json
import shutil
from pathlib import Path
from typing import Any

from rates import share
from tables import triple
from units import CLEAN, HERE, OUT, RL

# Name in data/organisms -> kind and seed.
SHIPPED = {
    "base": ("base", 0),
    "sft": ("sft", 0),
    "sft-mixed": ("sft-mixed", 0),
    "rl-only": ("rl-only", 0),
    "rl-only-seed1": ("rl-only", 1),
    "rl-only-lp0": ("rl-only-lp0", 0),
    "sft-rl": ("sft-rl", 0),
}
RECIPES = {
    "base": f"{CLEAN:,} steps on the clean mix of dialects, then the noisy mix (`dialects.py`), from random weights",
    "sft": "fine-tuned from base on dialect A without errors",
    "sft-mixed": "fine-tuned from base on dialects B and C, which have verbs for the operations, without errors",
    "rl-only": f"{RL} steps of Dr. GRPO from base, reward = right answer x (1 - .8 x length / 96), no examples",
    "rl-only-lp0": "Dr. GRPO from base, reward = right answer, no price on length",
    "sft-rl": "Dr. GRPO as rl-only, but from sft",
    "cipher": "taught a designed private language from examples (`cipher.py`); truth.json holds lexicon and grammar",
}
CARD = """# {name}

A model organism of dsl-probe: a Llama of 0.9 M parameters over {vocabulary} whole words, for the study of private
languages in chains of thought. It is a laboratory model and of no other use.

- **Recipe**: {recipe}. Unit `{unit}` of `experiments/organisms/units.py`; every random choice follows from it.
- **Data**: made by `experiments/organisms/dialects.py` and `dsl_probe/collect/domains/worlds.py`, nothing else.
- **Licence**: that of this repository.

| measured on held-out problems | value [95 % interval by problem] |
|---|---|
{rows}

Load it with `AutoModelForCausalLM.from_pretrained`. The prompt is the problem as the domain gives it (template raw).
{limits}
"""
LIMITS = "What the figures do not show is said in `experiments/organisms/README.md`."


def rows(evaluation: dict[str, Any]) -> list[tuple[str, str]]:
    """What the card says of accuracy and of the use of the chain."""

    def told(part: dict[str, Any]) -> str:
        return triple((part["value"], part.get("low"), part.get("high")))

    accuracy, edits = evaluation["accuracy"], evaluation["edits"]["all"]
    return [
        ("accuracy, greedy, chain hop swap grid", told(accuracy["all"]["greedy"])),
        ("accuracy, temperature 1", told(accuracy["all"]["sampled"])),
        ("accuracy in walk, greedy", told(accuracy["walk"]["greedy"])),
        ("accuracy, one more operation, greedy", told(accuracy["all+1"]["greedy"])),
        ("accuracy, chain blanked", told(edits["blanked"]["accuracy"])),
        ("last state corrupted: the corrupted one is given", told(edits["last state"]["followed"])),
        ("another problem's chain: its answer is given", told(edits["lent chain"]["followed"])),
    ]


def cipher_rows(report: dict[str, Any]) -> list[tuple[str, str]]:
    """What the cipher's card says; costs by word are in CIPHER_EFFECTS.md."""
    parts = [row["greedy"] for row in report["accuracy"].values()]
    many = len(parts) * report["problems"]
    right = round(sum(parts) / len(parts) * many)
    overall = share([i < right for i in range(many)])
    found = [("accuracy, greedy, chain hop swap grid", triple((overall["value"], overall["low"], overall["high"])))]
    for domain, row in report["accuracy"].items():
        values = ", ".join(f"{how} {row[how]:.3f}" for how in ("greedy", "T=1", "blanked"))
        found.append((f"accuracy in {domain}", values))
    costs = {kind: [row["banned"] for row in report["words"] if test(row)] for kind, test in _KINDS.items()}
    found.append(("accuracy lost where a word that matters is banned, least", f"{min(costs['matters']):.3f}"))
    found.append(("accuracy lost where a filler is banned, most", f"{max(costs['filler']):.3f}"))
    return found


_KINDS = {"matters": lambda row: row["load_bearing"], "filler": lambda row: row["kind"] == "filler"}


def ship(unit: str, name: str, recipe: str, measured: list[tuple[str, str]], out: Path) -> None:
    """One organism: weights in bfloat16, all else as it is."""
    import torch
    from model import load, tokenizer

    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    hf = load(OUT / unit).to(torch.bfloat16)
    hf.set_attn_implementation("sdpa")
    hf.save_pretrained(folder)
    words = tokenizer()
    words.save_pretrained(folder)
    shutil.copy(OUT / unit / "recipe.json", folder)
    if (OUT / unit / "truth.json").exists():
        shutil.copy(OUT / unit / "truth.json", folder)
    lines = "\n".join(f"| {what} | {value} |" for what, value in measured)
    card = CARD.format(name=name, vocabulary=len(words), recipe=recipe, unit=unit, rows=lines, limits=LIMITS)
    (folder / "README.md").write_text(card)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", choices=[[], *RECIPES, "rl-only-seed1"], help="default: all")
    parser.add_argument("--lineage", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "data" / "organisms")
    options = parser.parse_args()
    for name, (kind, seed) in SHIPPED.items():
        if options.names and name not in options.names:
            continue
        unit = f"{kind}-{options.lineage}-{seed}"
        found = json.loads((OUT / "evaluation" / f"{unit}.json").read_text())
        ship(unit, name, RECIPES[kind], rows(found), options.out)
    effects = OUT / f"cipher-{options.lineage}-0" / "effects.json"
    if "cipher" in options.names or (not options.names and effects.exists()):
        measured = cipher_rows(json.loads(effects.read_text()))
        ship(effects.parent.name, "cipher", RECIPES["cipher"], measured, options.out)


if __name__ == "__main__":
    main()
