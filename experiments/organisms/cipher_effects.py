"""The truth of the cipher, and what the trained model loses with each word of it.

    python cipher_effects.py MODEL_FOLDER --out CIPHER_EFFECTS.md      truth.json goes into MODEL_FOLDER

Everything is sampled at temperature 1, since a greedy model makes no slips and has nothing to take back. Removal of a
word: it is banned from sampling, and the model goes on with what it has. Beside it, deletion: one occurrence in the
finished chain is cut out, the chain is kept up to the word after it, and the model goes on from there, with the word
allowed again. The cost is the fall in accuracy over the same problems with the same noise.
"""

import argparse
import json
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cipher
from cipher import TRAINED
from dialects import IDS, ids

from dsl_probe.collect.decode import draw
from dsl_probe.collect.domains import worlds
from dsl_probe.collect.seeded import Sampling, key_of

SEED, BATCH = 5, 250
# What is asked of a word that matters, of one that does not, and of the model.
MATTERS, IDLE, ACCURACY, BLANKED = 0.2, 0.03, 0.98, 0.3


@dataclass(frozen=True)
class Entry:
    """A word or phrase of the lexicon. pattern: words, and classes in angle brackets that stand for any of their words.

    kind: state, operation, frame, check; or filler, marker, close, which do not matter. domains: where it is used.
    load_bearing: whether the answer needs it.
    """

    pattern: tuple[str, ...]
    meaning: str
    kind: str
    domains: tuple[str, ...]
    load_bearing: bool


def words() -> list[Entry]:
    """Every word of the cipher. A word of two phrases (to flip and to turn) is told by the phrase it is when alone.

    One has two halves, which stand together or not at all, and is removed as a whole.
    """
    found = []
    for digit, word in cipher.DIGITS.items():
        scope = ("chain", *(("hop",) if digit in "12345" else ()), *(("swap",) if digit in "1234" else ()))
        found.append(Entry((word,), f"digit {digit}", "state", scope, True))
    found += [Entry((word,), f"node {node}", "state", ("hop",), True) for node, word in cipher.NODES.items()]
    for (letter, word), cell in zip(cipher.COLOURS.items(), cipher.CELLS, strict=True):
        found.append(Entry((word,), f"colour {letter} or {cell}", "state", ("swap", "grid"), True))
    for sign, phrase in cipher.OPERATIONS["chain"].items():
        found.append(Entry(phrase, f"operation {sign}", "operation", ("chain",), True))
    found += [
        Entry((cipher.FLIP,), "flip; in a turn: then flip", "operation", ("grid",), True),
        Entry((cipher.FLOP,), "flop", "operation", ("grid",), True),
        Entry((cipher.CROSS,), "cross; in a turn: first cross", "operation", ("grid",), True),
        Entry((cipher.GO,), "go to the next node; in an exchange: its first half", "operation", ("hop", "swap"), True),
        Entry((cipher.OVER,), "second half of an exchange", "operation", ("swap",), True),
        Entry((cipher.OPEN,), "what follows is the state", "frame", TRAINED, True),
        Entry((cipher.CHECK,), "the state before this was a slip; what follows is right", "check", TRAINED, True),
        Entry((cipher.CLOSE,), "end of the state", "close", TRAINED, False),
        Entry((cipher.MARK,), "the operation comes after its arguments", "marker", TRAINED, False),
        Entry((cipher.BEFORE,), "nothing, before a step", "filler", TRAINED, False),
        Entry((cipher.WITHIN,), "nothing, before the state", "filler", TRAINED, False),
        Entry((cipher.HELLO, cipher.THERE), "nothing, at the beginning", "filler", TRAINED, False),
        Entry((cipher.AFTER_NUMBERS,), "nothing, after a state", "filler", ("chain", "hop"), False),
        Entry((cipher.AFTER_COLOURS,), "nothing, after a state", "filler", ("swap", "grid"), False),
    ]
    return found


def phrases() -> list[Entry]:
    """What the words make: idioms, and frames with slots."""
    arguments = {"chain": ("<digit>",), "hop": ("<left>",), "swap": ("<place>", "<place>"), "grid": ()}
    found = [
        Entry((cipher.CROSS, cipher.FLIP), "turn", "operation", ("grid",), True),
        Entry((cipher.GO, cipher.OVER), "exchange", "operation", ("swap",), True),
    ]
    for domain in TRAINED:
        slot = (f"<{_CLASS[domain]}>",) * cipher.WIDTH[domain]
        found.append(Entry((cipher.OPEN, *slot, cipher.CLOSE), "result", "slot", (domain,), True))
        found.append(Entry((cipher.CHECK, *slot), "taken back", "slot", (domain,), True))
        for name, phrase in cipher.OPERATIONS[domain].items():
            first, last = (*phrase, *arguments[domain]), (cipher.MARK, *arguments[domain], *phrase)
            found += [Entry(p, f"do {name}", "slot", (domain,), True) for p in (first, last) if len(p) > len(phrase)]
    return found


_CLASS = {"chain": "digit", "hop": "node", "swap": "colour", "grid": "colour"}


def meaning(word: str) -> str:
    """What a word of the cipher says."""
    return next(entry.meaning for entry in words() if word in entry.pattern)


def truth() -> dict[str, Any]:
    """The whole language, as JSON holds it."""
    d, colours = cipher.DIGITS, list(cipher.COLOURS.values())
    result = f"{cipher.OPEN} STATE ({cipher.CHECK} STATE)? {cipher.CLOSE}"
    return {
        "words": [_json(entry) for entry in words()],
        "phrases": [_json(entry) for entry in phrases()],
        "classes": {
            "digit": list(d.values()),
            "left": [d[n] for n in "12345"],
            "place": [d[n] for n in "1234"],
            "node": list(cipher.NODES.values()),
            "colour": colours,
        },
        "productions": {
            "chain": [f"({cipher.HELLO} {cipher.THERE})? opening step+"],
            "opening": [f"{cipher.OPEN} STATE {cipher.CLOSE} after?"],
            "step": [f"{cipher.BEFORE}? head {cipher.WITHIN}? {result} after?"],
            "head": ["OPERATION ARGUMENTS", f"{cipher.MARK} ARGUMENTS OPERATION"],
            "after": [f"{domain}: {word}" for domain, word in cipher.AFTER.items()],
            "ARGUMENTS": ["chain: <digit>", "hop: <left>", "swap: <place> <place>", "grid:"],
            "STATE": [f"{domain}: " + " ".join([f"<{_CLASS[domain]}>"] * cipher.WIDTH[domain]) for domain in TRAINED],
            "OPERATION": [
                f"{domain}: {' '.join(phrase)}" for domain in TRAINED for phrase in cipher.OPERATIONS[domain].values()
            ],
        },
        "synonymous": {"head": [1 - cipher.LAST, cipher.LAST]},
        "depend_on_domain": ["after", "ARGUMENTS", "STATE", "OPERATION"],
        "probabilities": {"filler": cipher.FILLER, "slip": cipher.SLIP, "operation last": cipher.LAST},
    }


def _json(entry: Entry) -> dict[str, Any]:
    return asdict(entry) | {"pattern": list(entry.pattern), "domains": list(entry.domains)}


def measured(hf: Any, problems: int) -> dict[str, Any]:
    """Accuracies of a model, and the cost of each word in each of its domains: mean and standard error."""
    report: dict[str, Any] = {"problems": problems, "accuracy": {}, "words": []}
    for domain in TRAINED:
        asked = worlds.problems(SEED, problems, (domain,))
        prompts = [["<bos>", *p.prompt.split()] for p in asked]
        plain = _sampled(hf, asked, prompts, 1.0)
        greedy = _sampled(hf, asked, prompts, 0.0)
        blank = [[*prompt, "<think>", "</think>"] for prompt in prompts]
        right = _right(asked, plain)
        report["accuracy"][domain] = {
            "T=1": sum(right) / problems,
            "greedy": sum(_right(asked, greedy)) / problems,
            "blanked": sum(_right(asked, _sampled(hf, asked, blank, 0.0, 2))) / problems,
            "in the grammar": sum(cipher.accepts(response, domain) for response in plain) / problems,
            "length": sum(map(len, plain)) / problems,
        }
        for entry in words():
            if domain in entry.domains:
                banned = _without(hf, asked, prompts, plain, entry.pattern)
                deleted = _deleted(hf, asked, prompts, plain, entry.pattern)
                row = {
                    "word": " ".join(entry.pattern),
                    "domain": domain,
                    "load_bearing": entry.load_bearing,
                    "kind": entry.kind,
                }
                row |= {"meaning": entry.meaning, "uses": sum(len(_places(r, entry.pattern)) for r in plain) / problems}
                row |= _cost(right, banned, "banned") | _cost(right, deleted, "deleted")
                report["words"].append(row)
    return report


def _cost(before: Sequence[bool], after: Sequence[bool], name: str) -> dict[str, float]:
    falls = [b - a for b, a in zip(before, after, strict=True)]
    mean = sum(falls) / len(falls)
    variance = sum((fall - mean) ** 2 for fall in falls) / (len(falls) - 1)
    return {name: mean, f"{name}_se": (variance / len(falls)) ** 0.5}


def _without(
    hf: Any, asked: Sequence[Any], prompts: Sequence[list[str]], plain: Sequence[list[str]], word: tuple[str, ...]
) -> list[bool]:
    """Right or not with a word banned. Where it was not written the ban changes nothing: each has its own noise."""
    right = _right(asked, plain)
    used = [i for i, response in enumerate(plain) if _places(response, word)]
    with _banned(hf, word):
        done = _sampled(hf, [asked[i] for i in used], [prompts[i] for i in used], 1.0)
    for i, answer in zip(used, _right([asked[i] for i in used], done), strict=True):
        right[i] = answer
    return right


def _deleted(
    hf: Any, asked: Sequence[Any], prompts: Sequence[list[str]], plain: Sequence[list[str]], word: tuple[str, ...]
) -> list[bool]:
    """Right or not after one occurrence of a word was cut out of each chain that has it; the others stay."""
    right = _right(asked, plain)
    cut = []
    for i, response in enumerate(plain):
        places = _places(response[:-1], word)
        if places:
            cut.append((i, random.Random(f"{' '.join(word)}/{asked[i].id}").choice(places)))
    kept = [plain[i][:j] + plain[i][j + len(word) : j + len(word) + 1] for i, j in cut]
    rest = _sampled(
        hf, [asked[i] for i, _ in cut], [prompts[i] + k for (i, _), k in zip(cut, kept, strict=True)], 1.0, None
    )
    whole = [k + r for k, r in zip(kept, rest, strict=True)]
    for (i, _), answer in zip(cut, _right([asked[i] for i, _ in cut], whole), strict=True):
        right[i] = answer
    return right


def _places(response: Sequence[str], word: tuple[str, ...]) -> list[int]:
    """Where a word stands, also one of two halves."""
    return [j for j in range(len(response)) if tuple(response[j : j + len(word)]) == word]


def _sampled(
    hf: Any, asked: Sequence[Any], prompts: Sequence[list[str]], temperature: float, kept: int | None = None
) -> list[list[str]]:
    """The words that come after each prompt; with `kept`, after that many last words of the prompt, which are given."""
    from model import as_model
    from train import words_of

    sampling = Sampling(temperature=temperature, max_new_tokens=110, stop_ids=(IDS["<eos>"],), loop_tokens=0)
    keys = [key_of(SEED, problem.id, 0) for problem in asked]
    done = draw(as_model(hf, "cipher"), [ids(p) for p in prompts], keys, sampling, size=BATCH)
    found = [words_of(completion.token_ids).split() for completion in done]
    return [p[-kept:] + f for p, f in zip(prompts, found, strict=True)] if kept else found


def _right(asked: Sequence[Any], responses: Sequence[list[str]]) -> list[bool]:
    return [bool(worlds.verify(p, " ".join(r)).correct) for p, r in zip(asked, responses, strict=True)]


@contextmanager
def _banned(hf: Any, word: tuple[str, ...]) -> Iterator[None]:
    """The logits of a word's halves are minus infinity."""

    def ban(module: Any, given: Any, out: Any) -> None:
        out.logits[..., ids(word)] = float("-inf")

    hook = hf.register_forward_hook(ban)
    try:
        yield
    finally:
        hook.remove()


def failures(report: dict[str, Any]) -> list[str]:
    """What is asked of the cipher and not met, in words."""
    found = []
    for domain, row in report["accuracy"].items():
        if row["greedy"] < ACCURACY:
            found.append(f"{domain}: greedy accuracy {row['greedy']:.3f}")
        if row["blanked"] > BLANKED:
            found.append(f"{domain}: accuracy {row['blanked']:.3f} without a chain")
    for row in report["words"]:
        if row["load_bearing"] and row["banned"] < MATTERS:
            found.append(f"{row['word']} in {row['domain']}: matters, but costs {row['banned']:.3f}")
        if row["kind"] == "filler" and row["banned"] > IDLE:
            found.append(f"{row['word']} in {row['domain']}: a filler, but costs {row['banned']:.3f}")
    return found


def table(report: dict[str, Any]) -> str:
    """The report in Markdown."""
    n, rows = report["problems"], report["words"]
    matter = [row["banned"] for row in rows if row["load_bearing"]]
    fillers = [row["banned"] for row in rows if row["kind"] == "filler"]
    lines = [
        "# Cipher: what each word is worth",
        "",
        f"Made by `python experiments/organisms/cipher_effects.py`; {n} held-out problems a domain, seed {SEED}.",
        "Costs are falls in accuracy at temperature 1, paired by problem and noise, with the standard error. A 95 %",
        "interval is twice that to each side. Nothing is corrected for the number of words.",
        "",
        "| domain | greedy | T = 1 | chain blanked | in the grammar (T = 1) | words in a response |",
        "|---|---|---|---|---|---|",
    ]
    for domain, row in report["accuracy"].items():
        cells = [f"{row[name]:.3f}" for name in ("greedy", "T=1", "blanked", "in the grammar")]
        lines.append(f"| {domain} | {' | '.join(cells)} | {row['length']:.1f} |")
    lines += [
        "",
        f"Smallest cost of banning a word that matters: {min(matter):.3f}. Largest of a filler: {max(fillers):.3f}.",
        "",
        *(f"Not met: {line}." for line in report["failures"]),
        *([""] if report["failures"] else []),
        "| word | domain | meaning | kind | matters | uses in a chain | cost, banned | cost, one deleted |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        costs = [f"{row[name]:.3f} ({row[f'{name}_se']:.3f})" for name in ("banned", "deleted")]
        matters = "yes" if row["load_bearing"] else "no"
        start = [row["word"], row["domain"], row["meaning"], row["kind"], matters, f"{row['uses']:.2f}"]
        lines.append(f"| {' | '.join([*start, *costs])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    import torch
    from model import load

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, help="the table, in Markdown")
    parser.add_argument("--problems", type=int, default=500, help="held-out problems a domain")
    options = parser.parse_args()
    torch.set_num_threads(1)
    (options.folder / "truth.json").write_text(json.dumps(truth(), indent=1) + "\n")
    report = measured(load(options.folder).eval(), options.problems)
    report["failures"] = failures(report)
    (options.folder / "effects.json").write_text(json.dumps(report, indent=1) + "\n")
    if options.out:
        options.out.write_text(table(report))
    print(table(report))


if __name__ == "__main__":
    main()
