"""An automaton as a grammar that a person can read: what is optional, what are alternatives, what comes again.

States are taken out one by one and the edges about them joined to expressions (Brzozowski and McCluskey 1963), first
where nothing is written twice by it. A state that can only do what another can do after one more thing makes that thing
optional. What is left when expressions would grow too long stays a state, and the grammar right-linear.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from dsl_probe.mine.automaton import Automaton

# An expression: a symbol (int), a name (str), ("seq" | "alt", parts...), or ("opt" | "star", part).
Expr = int | str | tuple
NOTHING: Expr = ("seq",)
END = -1
_NAMES = 60  # names that are given, so that long grammars do not take long
_LONGEST_RUN = 12  # parts that get a name together
_LONGEST, _WHOLE = 60, 400  # symbols in an expression, and in the grammar, before states are rather kept


def seq(*parts: Expr) -> Expr:
    """One after the other.

    >>> seq(1, seq(2, 3), seq())
    ('seq', 1, 2, 3)
    """
    flat = [p for part in parts for p in (part[1:] if isinstance(part, tuple) and part[0] == "seq" else (part,))]
    return flat[0] if len(flat) == 1 else ("seq", *flat)


def alt(parts: Sequence[Expr]) -> Expr:
    """One of them; with nothing among them: optional.

    >>> alt([2, seq(), 1]), alt([3, 3])
    (('opt', ('alt', 1, 2)), 3)
    """
    flat = {p for part in parts for p in (part[1:] if isinstance(part, tuple) and part[0] == "alt" else (part,))}
    some = sorted(flat - {NOTHING}, key=repr)
    if not some:
        return NOTHING
    inner = some[0] if len(some) == 1 else ("alt", *some)
    if NOTHING not in flat:
        return inner
    return inner if isinstance(inner, tuple) and inner[0] in ("opt", "star") else ("opt", inner)


def size(expr: Expr) -> int:
    """Symbols and names in an expression."""
    return sum(size(part) for part in expr[1:]) if isinstance(expr, tuple) else 1


def grammar(automaton: Automaton) -> dict[int, list[tuple[Expr, int]]]:
    """State -> its productions, (expression, next state or END). State 0 begins; mostly it is the only one left."""
    # A state with no way on stands here too, or edges to it would never be taken out.
    edges: dict[int, dict[int, set[Expr]]] = {s: defaultdict(set) for s in range(len(automaton.target))}
    for state, row in enumerate(automaton.target.tolist()):
        for symbol, to in enumerate(row):
            if to >= 0:
                edges[state][to].add(symbol)
        if automaton.count[state, -1] > 0:
            edges[state][END].add(NOTHING)
    while _make_optional(edges) or _take_out(edges):
        pass
    return {s: [(alt(sorted(e, key=repr)), to) for to, e in sorted(out.items())] for s, out in sorted(edges.items())}


def _make_optional(edges) -> bool:
    """Of a state that does what another does after x: let it do x or not, and go on from there."""
    best = (0, 0, 0)
    for a in list(edges):
        mine = {(e, to) for to, es in edges[a].items() for e in es}
        for b in edges[a]:
            if b in (a, END, 0):
                continue
            theirs = {(e, to) for to, es in edges[b].items() for e in es}
            if theirs and theirs <= mine and NOTHING not in edges[a][b] and not any(to == b for _, to in theirs):
                best = max(best, (len(theirs), -a, -b))
    if not best[0]:
        return False
    a, b = -best[1], -best[2]
    for to, es in list(edges[b].items()):
        edges[a][to] -= es
        if not edges[a][to]:
            del edges[a][to]
    edges[a][b].add(NOTHING)
    return True


def _take_out(edges) -> bool:
    """Take out the state about which the least is written twice; False if that would be too much."""
    into: dict[int, list[int]] = defaultdict(list)
    for a, out in edges.items():
        for b in out:
            if a != b:
                into[b].append(a)
    costs = []
    for s in edges:
        if s == 0:
            continue
        before = [sum(size(e) for e in edges[a][s]) for a in into[s]]
        after = [sum(size(e) for e in es) for to, es in edges[s].items() if to != s]
        loop = sum(size(e) for e in edges[s].get(s, ()))
        twice = (len(after) - 1) * sum(before) + (len(before) - 1) * sum(after) + (len(before) * len(after) - 1) * loop
        costs.append((twice, max(before, default=0) + loop + max(after, default=0), s))
    if not costs:
        return False
    twice, longest, s = min(costs)
    whole = sum(size(e) for out in edges.values() for es in out.values() for e in es)
    if twice > 0 and (longest > _LONGEST or whole > _WHOLE):
        return False
    loop = edges[s].pop(s, None)
    again = ("star", alt(sorted(loop, key=repr))) if loop else NOTHING
    for a in into[s]:
        first = alt(sorted(edges[a].pop(s), key=repr))
        for to, es in edges[s].items():
            edges[a][to].add(seq(first, again, alt(sorted(es, key=repr))))
    del edges[s]
    return True


def named(grammar: dict[int, list[tuple[Expr, int]]]) -> dict[str, Expr]:
    """The same with names for what is written more than once, first those that save most.

    Keys: S (the beginning) and states that are left, then N1, N2 ...; a name in an expression is a str.
    """
    rules: dict[str, Expr] = {}
    for state, out in grammar.items():
        name = "S" if state == 0 else f"S{state}"
        rules[name] = alt([seq(e, *(() if to == END else (f"S{to}",))) for e, to in out])
    for number in range(1, _NAMES + 1):
        saved = {run: (n - 1) * (len(run) - 1) for run, n in _repeated(list(rules.values())).items()}
        most = max(saved.values(), default=0)
        if most < 2:
            break
        run = max((r for r, bits in saved.items() if bits == most), key=repr)
        name = f"N{number}"
        rules = {k: _replaced(rule, run, name) for k, rule in rules.items()}
        rules[name] = ("seq", *run)
    return rules


def _repeated(rules: list[Expr]) -> dict[tuple, int]:
    """Runs of two parts or more that stand in more than one place, and how often, without overlap."""
    # Parts by number: to look up a run of phrases costs as much as to read them all.
    number: dict[Expr, int] = {}
    counts: dict[tuple, int] = defaultdict(int)
    where: dict[tuple, tuple] = {}
    for part in (p for rule in rules for p in _sequences(rule)):
        coded = tuple([number.setdefault(p, len(number)) for p in part])
        free: dict[tuple, int] = {}  # where each run may stand next
        for i in range(len(part)):
            for j in range(i + 2, min(len(part), i + _LONGEST_RUN) + 1):
                run = coded[i:j]
                if free.get(run, 0) <= i:
                    counts[run] += 1
                    free[run] = j
                    where[run] = part, i, j
    return {part[i:j]: counts[run] for run, (part, i, j) in where.items() if counts[run] > 1}


def _sequences(expr) -> Iterator[tuple]:
    if isinstance(expr, tuple):
        if expr[0] == "seq":
            yield expr[1:]
        for part in expr[1:]:
            yield from _sequences(part)


def _replaced(expr, run: tuple, name: str):
    if not isinstance(expr, tuple):
        return expr
    parts = [_replaced(p, run, name) for p in expr[1:]]
    if expr[0] != "seq":
        return (expr[0], *parts)
    out, i = [], 0
    while i < len(parts):
        if tuple(parts[i : i + len(run)]) == run:
            out.append(name)
            i += len(run)
        else:
            out.append(parts[i])
            i += 1
    return out[0] if len(out) == 1 else ("seq", *out)


def written(expr, names: Sequence[str]) -> str:
    """An expression as text: `a b? ( c | d e )*`.

    >>> written(("seq", 0, ("opt", 1), ("star", ("alt", 2, ("seq", 3, 4)))), "abcde")
    'a b? ( c | d e )*'
    """
    if isinstance(expr, str):
        return expr
    if isinstance(expr, int):
        return names[expr]
    kind, *parts = expr
    if kind == "seq":
        return " ".join(f"( {written(p, names)} )" if _is(p, "alt") else written(p, names) for p in parts)
    if kind == "alt":
        return " | ".join(written(p, names) for p in parts)
    inner = written(parts[0], names)
    mark = "?" if kind == "opt" else "*"
    return f"( {inner} ){mark}" if isinstance(parts[0], tuple) else inner + mark


def _is(expr, kind: str) -> bool:
    return isinstance(expr, tuple) and expr[0] == kind
