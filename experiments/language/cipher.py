"""How much of a known language is recovered: the organism `cipher` against its truth.json.

    python experiments/language/cipher.py          about four minutes on a CPU -> CIPHER.md

Traces of the cipher and of the model it came from, on the same problems, make the run; traces on other problems test
the grammar. Nothing of truth.json is seen by the tool.
"""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import adjusted_rand_score

from dsl_probe.collect.importer import import_traces
from dsl_probe.collect.sample import collect
from dsl_probe.collect.shipped import shipped_folder
from dsl_probe.demo import organism_sampling
from dsl_probe.mine.automaton import Automaton, sample
from dsl_probe.mine.grammar import from_json
from dsl_probe.mine.language import LanguageConfig, learn_language, read_grammar
from dsl_probe.mine.stage import mine_motifs
from dsl_probe.store import Run

HERE = Path(__file__).resolve().parent
RUNS = HERE.parents[1] / "runs"
DOMAINS = ("chain", "hop", "swap", "grid")
PROBLEMS, SAMPLES, DRAWN, SEED = 500, 2, 1_000, 0
REST = 1


def traces(name: str, model: str, problem_seed: int) -> Run:
    """A run of traces at temperature 1."""
    run = Run.create(RUNS / f"language-{name}")
    config = organism_sampling(
        model=str(shipped_folder("organisms") / model),
        name=model,
        domains=DOMAINS,
        n=PROBLEMS,
        samples=SAMPLES,
        problem_seed=problem_seed,
    )
    collect(run, config)
    return run


def acceptor(truth: dict[str, Any], domain: str) -> re.Pattern[str]:
    """The true grammar of a domain's chains as a regular expression over words, each with a space behind it."""

    def of(symbol: str) -> str:
        if symbol in truth["productions"]:
            own = []
            for text in truth["productions"][symbol]:
                where, colon, rest = text.partition(":")
                if colon and where not in DOMAINS:
                    raise ValueError(text)
                if not colon or where == domain:
                    own.append(rest if colon else text)
            return "(?:" + "|".join(written(text) for text in own) + ")"
        if symbol.startswith("<"):
            return "(?:" + "|".join(f"{word} " for word in truth["classes"][symbol[1:-1]]) + ")"
        return f"(?:{symbol} )"

    def written(text: str) -> str:
        parts = re.findall(r"[()?+]|[^\s()?+]+", text)
        return "".join({"(": "(?:"}.get(p, p) if p in "()?+" else of(p) for p in parts)

    return re.compile(of("chain"))


def classes(truth: dict[str, Any], domain: str) -> dict[str, str]:
    """Word -> its class in a domain: of a state, an argument, or an operation said in one word; else itself."""
    found = {w["pattern"][0]: " ".join(w["pattern"]) for w in truth["words"] if domain in w["domains"]}
    words = [text.partition(": ")[2].split() for text in truth["productions"]["OPERATION"] if text.startswith(domain)]
    every = [word for phrase in words for word in phrase]
    for word in (phrase[0] for phrase in words if len(phrase) == 1):
        if every.count(word) == 1:
            found[word] = "<operation>"
    for kind in ("ARGUMENTS", "STATE"):
        text = next(t for t in truth["productions"][kind] if t.startswith(domain))
        for name in set(re.findall(r"<(\w+)>", text)):
            found |= dict.fromkeys(truth["classes"][name], f"<{name}>")
    sizes = {c: sum(v == c for v in found.values()) for c in found.values()}
    return {word: c if sizes[c] > 1 else word for word, c in found.items()}


def chain(words: list[str]) -> list[str]:
    """The words between <think> and </think>."""
    start = words.index("<think>") + 1 if "<think>" in words else 0
    return words[start : words.index("</think>")] if "</think>" in words else words[start:]


def score_lexicon(run: Run, truth: dict[str, Any]) -> dict[str, float]:
    """Precision, recall and F1 of the words, and how many of those found have the right domains."""
    found = {
        tuple(r["pattern"]): set(r["domains"])
        for r in run.table("languages/cipher/lexicon").to_pylist()
        if r["kind"] == "word"
    }
    true = {tuple(w["pattern"]): set(w["domains"]) for w in truth["words"]}
    both = found.keys() & true.keys()
    p, r = len(both) / len(found), len(both) / len(true)
    return {
        "claimed": len(found),
        "true": len(true),
        "precision": p,
        "recall": r,
        "F1": 2 * p * r / (p + r),
        "scope": float(np.mean([found[w] == true[w] for w in both])),
    }


def score_domain(stored: dict[str, Any], truth: dict[str, Any], domain: str, test: list[list[str]]) -> dict[str, Any]:
    """Of one domain's grammar: how it agrees with the true one as a language, in its classes, and slot by slot."""
    automaton, members = from_json(stored)
    category = {word: c for c, words in enumerate(members) for word in words}
    coded = [np.array([category.get(word, REST) for word in words]) for words in test]
    bounds = np.concatenate([[0], np.cumsum([len(c) for c in coded])])
    true = acceptor(truth, domain)
    rng = np.random.default_rng([SEED, 1])
    drawn = [
        [str(rng.choice(members[c])) for c in symbols] for symbols in sample(automaton, DRAWN, SEED, *stored["lengths"])
    ]
    gold = classes(truth, domain)
    seen = sorted(w for w in gold if w in category)
    labels = [category[w] if category[w] != REST else f"rest {w}" for w in seen]
    return {
        "held-out traces parse": float(automaton.accepts(np.concatenate(coded), bounds).mean()),
        "held-out traces in the true grammar": float(np.mean([_accepted(true, chain(w)) for w in test])),
        "drawn traces in the true grammar": float(np.mean([_accepted(true, chain(w)) for w in drawn])),
        "ARI": float(adjusted_rand_score([gold[w] for w in seen], [str(x) for x in labels])),
        "labels": [(f"{domain} {gold[w]}", f"{domain} {x}") for w, x in zip(seen, labels, strict=True)],
        "slot": slots(members, gold, [chain(w) for w in test], category),
        "synonymous": synonymous(automaton, category, truth, domain),
    }


def _form(word: str) -> str:
    """A word as the mine stage writes it."""
    return "<NUM>" if word.isdigit() else word.lower()


def _accepted(true: re.Pattern[str], words: list[str]) -> bool:
    return true.fullmatch("".join(f"{word} " for word in words)) is not None


def slots(
    members: list[list[str]], gold: dict[str, str], test: list[list[str]], category: dict[str, int]
) -> np.ndarray:
    """Units of held-out chains: right, claimed, true. True: units of a class of several words. Claimed: units of a
    category of several; right where the category is the one that shares most words with the class."""
    kinds = {c for c in gold.values() if c.startswith("<")}
    best = {}
    for kind in kinds:
        words = {w for w, c in gold.items() if c == kind}
        best[kind] = max(range(REST + 1, len(members)), key=lambda c, words=words: len(words & set(members[c])))
    counts = np.zeros(3, int)
    for words in test:
        for word in words:
            true = gold.get(word, "").startswith("<")
            claimed = category.get(word, REST) > REST and len(members[category[word]]) > 1
            counts += [true and claimed and best[gold[word]] == category[word], claimed, true]
    return counts


def synonymous(automaton: Automaton, category: dict[str, int], truth: dict[str, Any], domain: str) -> bool:
    """Whether both orders of every step lead from the end of the opening to one state: alternatives."""
    production = {
        kind: next(t for t in truth["productions"][kind] if t.startswith(domain)).partition(":")[2].split()
        for kind in ("STATE", "ARGUMENTS")
    }
    first = {f"<{name}>": words[-1] for name, words in truth["classes"].items()}
    state, arguments = ([first[p] for p in production[kind]] for kind in ("STATE", "ARGUMENTS"))
    opening = ["<think>", "glap", *state, "hwin"]
    ends = []
    for text in truth["productions"]["OPERATION"]:
        where, _, operation = text.partition(": ")
        if where != domain:
            continue
        forms = ([*operation.split(), *arguments], ["jask", *arguments, *operation.split()])
        for form in forms:
            symbols = np.array([category[w] for w in [*opening, *form]])
            ends.append(int(automaton.walk(symbols, np.array([0, len(symbols)]))[-1]))
        if ends[-1] != ends[-2] or ends[-1] < 0:
            return False
    return True


def main() -> None:
    truth = json.loads((shipped_folder("organisms") / "cipher" / "truth.json").read_text())
    parts = [traces("cipher", "cipher", 0).path, traces("base", "base", 0).path]
    run = Run.create(RUNS / "language")
    import_traces(run, parts)
    mine_motifs(run)
    result = learn_language(run, LanguageConfig(group="model=cipher", reference="model=base", name="cipher"))
    test = traces("cipher-test", "cipher", 1).traces(["domain", "text"])
    words = score_lexicon(run, truth)
    lines = [
        "# The cipher: what is recovered of a known language",
        "",
        f"Made by `python experiments/language/cipher.py`: {PROBLEMS} problems a domain, {SAMPLES} samples each at "
        f"temperature 1; {len(test):,} traces on other problems test the grammar. Reference: the base model on the "
        "same problems.",
        "",
        f"Words: {words['claimed']} claimed, {words['true']} true; precision {words['precision']:.3f}, recall "
        f"{words['recall']:.3f}, **F1 {words['F1']:.3f}**; domains right for **{words['scope']:.3f}** of those found. "
        f"Traces exchanged at random between the models: {result.exchanged} words or phrases.",
        "",
        "| domain | held-out parse | of these traces in the true grammar | drawn from the recovered, accepted by the "
        "true | ARI of categories | slot F1 | both orders of a step are alternatives |",
        "|---|---|---|---|---|---|---|",
    ]
    grammars, total, labels = read_grammar(run, "cipher"), np.zeros(3, int), []
    for domain in DOMAINS:
        texts = [[_form(word) for word in text.split()] for text in test.loc[test["domain"] == domain, "text"]]
        s = score_domain(grammars[domain], truth, domain, texts)
        total += s["slot"]
        labels += s["labels"]
        right, claimed, true = s["slot"]
        lines.append(
            f"| {domain} | {s['held-out traces parse']:.3f} | {s['held-out traces in the true grammar']:.3f} | "
            f"{s['drawn traces in the true grammar']:.3f} | {s['ARI']:.3f} | {2 * right / (claimed + true):.3f} | "
            f"{'yes' if s['synonymous'] else 'no'} |"
        )
    right, claimed, true = total
    lines += [
        "",
        f"Slots, unit by unit over all domains: precision {right / claimed:.3f}, recall {right / true:.3f}, "
        f"**F1 {2 * right / (claimed + true):.3f}**. Categories, over the words of all domains: **ARI "
        f"{adjusted_rand_score(*zip(*labels, strict=True)):.3f}**. (0 is never an argument in these problems, so its "
        "word stands apart from the other digits.)",
        "",
        "Bits a unit on held-out problems (half of the run's): the Markov model (interpolated Kneser-Ney of the best "
        "order), the grammar alone, both mixed; difference to the Markov model with its 95 % interval by problem; the "
        "same where the units of each trace are shuffled.",
        "",
        "| domain | Markov (order) | grammar | both | grammar less Markov | shuffled: the same | numbers held: Markov, "
        "grammar |",
        "|---|---|---|---|---|---|---|",
    ]
    for domain in DOMAINS:
        b = grammars[domain]["bits"]
        lines.append(
            f"| {domain} | {b['markov']:.3f} ({b['markov_order']}) | {b['grammar']:.3f} | {b['both']:.3f} | "
            f"{_interval(b['difference'])} | {_interval(b['shuffled']['difference'])} | {b['parameters']['markov']:,}, "
            f"{b['parameters']['grammar']:,} |"
        )
    lines += ["", "## The grammars as they were recovered", ""]
    for domain in DOMAINS:
        g = grammars[domain]
        rules = sorted(g["productions"].items(), key=lambda rule: (rule[0][0] != "S", rule[0]))
        lines += [
            f"{domain}, {g['states']} states:",
            "",
            "```",
            *(f"{name} -> {text}" for name, text in rules),
            "```",
            "",
        ]
    (HERE / "CIPHER.md").write_text("\n".join(lines))
    print("\n".join(lines))


def _interval(three: list[float]) -> str:
    return f"{three[0]:.3f} [{three[1]:.3f}, {three[2]:.3f}]"


if __name__ == "__main__":
    main()
