"""Any reasoning-gym dataset as `gym:NAME` (extra `gym`), scored by its own score_answer inside the sandbox.

Item i of a reasoning-gym dataset is `Random(seed + i)`, so datasets with seeds 1 and 2 share all items but one. Here
`problems(seed, n)` therefore takes items seed * 1,000,000 and on: two seeds share no item (some small families still
repeat a question). Correct is a score of exactly 1.0: the datasets give partial credit below. Where an item's answer is
None, `target` is None and the item can be scored all the same.
"""

from collections.abc import Callable
from functools import partial

from dsl_probe.collect.domains import Domain, worker
from dsl_probe.collect.verify import LONGEST_ANSWER, Verdict, answer_part, find_answer
from dsl_probe.types import Problem, UserError

BLOCK = 1_000_000
# Datasets whose items depend on the dataset's size: they are made one by one.
_ALONE = ("acre",)


def domain(name: str, *, unsafe_exec: bool = False) -> Domain:
    """The domain of one dataset. Raises UserError for an unknown one."""
    names = _names()
    if name not in names:
        import difflib

        close = difflib.get_close_matches(name, names, 5) or sorted(names)
        raise UserError(f"reasoning-gym has no dataset {name!r}. Allowed (close or all): {', '.join(close)}.")
    draw: Callable[[int, int], list[Problem]] = partial(problems, name)
    return Domain(f"gym:{name}", draw, partial(verify, unsafe_exec=unsafe_exec), runs_code=True)


def _names() -> set[str]:
    try:
        from reasoning_gym.factory import DATASETS
    except ImportError as error:
        raise UserError("gym:NAME needs reasoning-gym; pip install 'dsl-probe[gym]'.") from error
    return set(DATASETS) - {"composite"}  # composite is a mixture that needs a configuration


def problems(name: str, seed: int, n: int) -> list[Problem]:
    """Items seed * 1,000,000 ... + n - 1 of a dataset with its default configuration."""
    if not 0 <= n <= BLOCK:
        raise UserError(f"gym:{name} gives 0 to {BLOCK} problems a seed; {n} were asked for.")
    found = []
    for i in range(n):
        # The size is BLOCK whatever n is: the same item must come with another n.
        place = (seed * BLOCK + i, 1, 0) if name in _ALONE else (seed * BLOCK, BLOCK, i)
        meta = {"dataset": name, "seed": place[0], "size": place[1], "index": place[2]}
        # In the worker, whose hash seed is fixed: several generators iterate over sets. No answer, so nothing is run.
        entry = worker.ask("gym", meta | {"config": {}}, unsafe_exec=True)
        found.append(Problem(f"gym/{name}/{seed * BLOCK + i}", f"gym:{name}", entry["question"], entry["answer"], meta))
    return found


def verify(problem: Problem, completion: str, *, unsafe_exec: bool = False) -> Verdict:
    """Score the marked answer, or else all of the answer part, with the dataset's score_answer."""
    found = find_answer(completion)
    answer = found.text if found else answer_part(completion).strip()
    how = found.how if found else "whole text"
    if not answer:
        return Verdict(None, False, "no answer")
    if len(answer) > LONGEST_ANSWER:
        return Verdict(answer[:500], False, f"answer of {len(answer)} characters ({how})")
    score, why = score_answer(problem, answer, unsafe_exec=unsafe_exec)
    return Verdict(answer, None if score is None else score == 1.0, f"{why} ({how})")


def score_answer(problem: Problem, answer: str, *, unsafe_exec: bool = False) -> tuple[float | None, str]:
    """The dataset's score of an answer, made in the sandbox since many scorers eval() it, and a word on it."""
    meta = problem.meta
    request = {"prompt": problem.prompt, "answer": answer, "config": meta.get("config", {})}
    request |= {key: meta[key] for key in ("dataset", "seed", "size", "index")}
    try:
        reply = worker.ask("gym", request, unsafe_exec=unsafe_exec)
    except worker.WorkerError as error:
        return (None, f"not decided: {error}") if error.undecided else (0.0, f"scorer failed: {error}")
    if "score" not in reply:
        return None, "not decided: this version of reasoning-gym makes another item"
    return reply["score"], f"score {reply['score']:g}"
