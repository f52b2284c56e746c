"""Logic with one solution: knights and knaves (500, 3 to 7 people) and zebra puzzles (100), both shipped.

    >>> p = Problem("p", "logic", "", "Ann is a knight, and Bob is a knave.", {"set": "knights"})
    >>> verify(p, "<answer>(1) Ann is a knight (2) Bob: knave</answer>").correct
    True

Knights and knaves: every person of the reference must be given the right role; of two statements about one person the
last counts. Zebra: the last JSON object (or Python dict) of the answer, every category in order of position; names are
compared without regard to case. What this does not show: a right answer in prose that this reading misses
("the first two are knights") is called wrong, with the reason "no role for ...".
"""

import ast
import json
import re
from collections.abc import Sequence

from dsl_probe.collect.domains import shipped_problems
from dsl_probe.collect.verify import Verdict, answer_part, find_in, tagged
from dsl_probe.types import Problem

SETS = {"knights": "knights_knaves", "zebra": "zebra_loong"}
_STATEMENT = re.compile(r"([A-Z][a-z]{1,30}) is a (knight|knave)")
_WORDS = re.compile(r"(?P<word>\w{1,40})|(?P<colon>\*{0,2}\s{0,3}[:=])|(?P<stop>[.!?](?=\s|$)|\n\s{0,5}\n)", re.UNICODE)
_SPEECH = {"said", "says", "say", "claims", "claimed", "told", "tells", "states", "stated", "if", "suppose", "assume"}
_SPEECH |= {"statement", "remarked", "commented", "noted", "asserts", "asserted", "mentioned", "heard", "assuming"}


def problems(seed: int, n: int, sets: Sequence[str] = ()) -> list[Problem]:
    """n of the shipped problems, both kinds pooled and shuffled by `seed`."""
    return shipped_problems(SETS, sets, "logic", seed, n)


def verify(problem: Problem, completion: str) -> Verdict:
    """Whether the answer is the solution. The kind is told by the reference: JSON is a zebra puzzle."""
    if problem.target is None:
        return Verdict(None, None, "the problem has no reference")
    if problem.target.lstrip().startswith("{"):
        return _verify_zebra(json.loads(problem.target), completion)
    return _verify_knights(dict(_STATEMENT.findall(problem.target)), completion)


def _verify_knights(target: dict[str, str], completion: str) -> Verdict:
    part = answer_part(completion)
    found = find_in(part)
    said = roles(found.text, list(target)) if found else {}
    if not said and not (found and "answer tag" in found.how):
        said = roles(part[-3000:], list(target))
    if not said:
        return Verdict(found.text[:500] if found else None, False, "no answer")
    written = ", ".join(f"{name}: {said[name]}" for name in target if name in said)
    if missing := [name for name in target if name not in said]:
        return Verdict(written, False, f"no role for {', '.join(missing)}")
    if "both" in said.values():
        return Verdict(written, False, "a person has two roles")
    wrong = [name for name in target if said[name] != target[name]]
    return Verdict(written, not wrong, f"wrong about {', '.join(wrong)}" if wrong else "every role is right")


def roles(text: str, names: list[str]) -> dict[str, str]:
    """Who is said to be what: name -> knight | knave | both. Later statements replace earlier ones.

    Reads "A is a knight", "A: knave", "A and B are knights", "Knights: A, B", "A is not a knight", "all are knaves",
    JSON and table rows; a name before said, told, claims, if ... is a speaker or a supposition and gets no role.
    """
    known = {name.casefold(): name for name in names}
    found: dict[str, str] = {}
    waiting: list[str] = []  # names that have no role yet
    heading = last_role = ""  # "Knights:" gives its role to the names after it
    negated = alternative = False
    previous: list[str] = []  # names the last role went to
    for match in _WORDS.finditer(text.replace("n't", " not").replace("n’t", " not")):
        word = (match.group("word") or "").casefold()
        singular = {"knights": "knight", "knaves": "knave"}.get(word, word)
        if match.group("stop"):
            waiting, negated, alternative, last_role, previous = [], False, False, "", []
            heading = heading if match.group("stop").isspace() and heading else ""
        elif match.group("colon"):
            if last_role and not previous:
                heading = last_role
        elif word in known:
            if heading:
                found[known[word]] = heading
            else:
                waiting = [*waiting, known[word]] if not previous else [known[word]]
                previous = []
            alternative = False
        elif word in ("all", "everyone", "everybody", "each"):
            waiting, previous = list(names), []
        elif word == "none":
            waiting, previous, negated = list(names), [], True
        elif word in ("not", "isn", "aren"):
            negated = True
        elif word == "or":
            alternative = True
        elif word in _SPEECH:
            waiting, previous = [], []
        elif singular in ("knight", "knave"):
            role = singular if not negated else {"knight": "knave", "knave": "knight"}[singular]
            if alternative and previous and last_role and last_role != role:
                found.update(dict.fromkeys(previous, "both"))  # "A is a knight or a knave" says nothing
            for name in waiting:
                found[name] = role
            previous, waiting, last_role, negated = waiting, [], role, False
            heading = "" if previous else heading
    return found


def _verify_zebra(target: dict[str, list[str]], completion: str) -> Verdict:
    part = answer_part(completion)
    content = next((t for t in reversed(tagged(part)) if t), part)
    said = last_object(content.replace(r"\{", "{").replace(r"\}", "}"))
    if said is None:
        return Verdict(None, False, "no JSON object")
    if set(said) == {"solution"} and isinstance(said["solution"], dict):
        said = said["solution"]
    written = json.dumps(said)[:2000]
    given = {_name(k): [_name(v) for v in vs] for k, vs in said.items() if isinstance(vs, list)}
    if missing := [category for category in target if _name(category) not in given]:
        return Verdict(written, False, f"no list for {', '.join(missing)}")
    if extra := sorted(set(given) - {_name(c) for c in target}):
        return Verdict(written, False, f"unknown category {', '.join(extra)[:200]}")
    wrong = [category for category, values in target.items() if given[_name(category)] != [_name(v) for v in values]]
    return Verdict(written, not wrong, f"wrong: {', '.join(wrong)}" if wrong else "every list is right")


def _name(value: object) -> str:
    return re.sub(r"[\s_-]{1,20}", "-", str(value)[:200].strip().casefold())


def last_object(text: str) -> dict | None:
    """The last complete outermost {...} of the last 20,000 characters that is a JSON object or a Python dict."""
    text = text[-20_000:]
    found, depth, start, quote, skip = None, 0, 0, "", False
    for i, char in enumerate(text):
        if skip:
            skip = False
        elif quote:
            skip = char == "\\"
            quote = "" if char == quote or char == "\n" else quote
        elif depth and char in "\"'" and (char == '"' or not text[i - 1].isalnum()):
            quote = char
        elif char == "{":
            start = i if depth == 0 else start
            depth += 1
        elif char == "}" and depth:
            depth -= 1
            if depth == 0 and (parsed := _parsed(text[start : i + 1])) is not None:
                found = parsed
    return found


def _parsed(text: str) -> dict | None:
    for read in (json.loads, ast.literal_eval):
        try:
            value = read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError, TypeError):
            continue
        if isinstance(value, dict):
            return value
    return None
