"""Typed slots: the form under which a vocabulary entry is mined, itself or `<NUM>`, `<VAR>`, ...

A slot is decided once for each entry of the vocabulary, never for each unit.
"""

import re
from collections.abc import Sequence

import numpy as np

from dsl_probe.mine.segment import CAPITALISED, NO_SPACE, Segmented
from dsl_probe.types import UserError

# On by default: what never tells two words of a language apart, and what is the same in every run.
DEFAULT_SLOTS = ("NUM", "DATA")
SLOTS = ("NUM", "DATA", "VAR", "OP", "MATH", "CODE", "NAME")
_OF_KIND = {"NUM": "number", "DATA": "data", "MATH": "math", "CODE": "code"}
_OWN = re.compile(r"([A-Z][A-Z0-9_]*)=(.+)", re.DOTALL)
_GREEK = (
    "alpha beta gamma delta epsilon varepsilon zeta eta theta vartheta iota kappa lambda mu nu xi rho sigma tau "
    "upsilon phi varphi chi psi omega"
)
_VARIABLES = re.compile(rf"(?![aAiIπ])[A-Za-zα-ω]|\\(?:{'|'.join(_GREEK.split())})")
_SIGNS = "+ - * / = < > == × · ∙ ⋅ ÷ ± ∓ − ∗ ≤ ≥ ≠ ≈ ≡ ∼ ≪ ≫".split()  # noqa: SIM905
_COMMANDS = "times cdot div pm mp ast le leq leqslant ge geq geqslant ne neq lt gt approx equiv sim ll gg"
_OPERATORS = frozenset(_SIGNS) | {f"\\{name}" for name in _COMMANDS.split()}
# An entry longer than this is compared with no expression of the user's, which may take more than linear time.
_LONGEST = 200
# A word form is a name if it is written with a capital so often, and so often right after another word.
_NAME_SHARE, _NAME_INSIDE, _NAME_TIMES = 0.95, 0.25, 3


def parse_slots(slots: Sequence[str], units: str = "words") -> list[tuple[str, re.Pattern[str] | None]]:
    """Slots as (name, expression of the user's or None), in order. Refuses what is none.

    >>> parse_slots(["NUM", "UNIT=km|cm"])[1][0]
    'UNIT'
    """
    if isinstance(slots, bool):  # as older records have it
        raise UserError(f"slots is {slots}; it is a list of names now: --slots NUM DATA, or --slots for none.")
    parsed: list[tuple[str, re.Pattern[str] | None]] = []
    for entry in slots:
        own = _OWN.fullmatch(entry)
        if own:
            try:
                parsed.append((own[1], re.compile(own[2])))
            except re.error as error:
                raise UserError(f"--slots {entry!r}: {own[2]!r} is no regular expression ({error}).") from error
        elif entry not in SLOTS:
            raise UserError(f"--slots {entry!r} is unknown; known are {', '.join(SLOTS)}, and NAME=REGEX for your own.")
        elif units == "tokens" and entry in ("MATH", "CODE", "NAME"):
            raise UserError(f"--slots {entry} needs --units words: a token is never a whole formula, block or name.")
        else:
            parsed.append((entry, None))
    return parsed


def slot_forms(
    texts: Sequence[str], kinds: Sequence[str], slots: Sequence[str] = DEFAULT_SLOTS, names: np.ndarray | None = None
) -> list[str]:
    """The form of each vocabulary entry; the first of `slots` that fits an entry takes it.

    NUM: numbers. DATA: blocks of numbers and boards. VAR: a single Latin letter but a and i, a small Greek one but π,
    `\\theta`; wherever it stands, so also the option (B) and the e of "e.g.". OP: + - * / = < > and their kin in
    Unicode and LaTeX; so also the hyphen and the bullet. MATH, CODE: formulas and code, each one unit. NAME: entries
    in `names`, bool[n]. NAME=REGEX: entries that the expression fits as a whole. Format tags have no slot.

    NUM and DATA alone are applied by default. VAR and OP join what differs (`<` and `>`, the letter and the option),
    MATH and CODE hide what stands inside, and NAME depends on the other traces, so that one word may be a slot in one
    run and none in another, and motif ids with it.

    >>> slot_forms(["12.5", "x", "km"], ["number", "word", "word"], ["NUM", "VAR", "UNIT=km|cm"])
    ['<NUM>', '<VAR>', '<UNIT>']
    """
    parsed = parse_slots(slots)

    def form(i: int) -> str:
        text, kind = texts[i], kinds[i]
        if kind == "format":
            return text
        # Units of the tokens system hold the space before them.
        bare = text.strip() or text
        for name, own in parsed:
            if own is not None:
                fits = len(text) <= _LONGEST and own.fullmatch(bare) is not None
            elif name in _OF_KIND:
                fits = kind == _OF_KIND[name]
            elif name == "VAR":
                fits = kind in ("word", "latex") and _VARIABLES.fullmatch(bare) is not None
            elif name == "OP":
                fits = bare in _OPERATORS
            else:
                fits = names is not None and bool(names[i])
            if fits:
                return f"<{name}>"
        return text

    return [form(i) for i in range(len(texts))]


def name_evidence(units: Segmented) -> np.ndarray:
    """How each vocabulary entry is written: int64[n_vocabulary, 3]: times, times with a capital, so after a word.

    Right after a word, with white space between, a capital is not the start of a sentence. Counts add over shards.
    """
    is_word = np.array([k == "word" for k in units.kinds], bool)
    capital = units.case == CAPITALISED
    after_word = np.zeros(len(units.ids), bool)
    if len(units.ids):
        after_word[1:] = is_word[units.ids[:-1]] & (units.space[1:] != NO_SPACE) & (units.space[1:] < 2)
    columns = (np.ones(len(units.ids), bool), capital, capital & after_word)
    return np.stack([np.bincount(units.ids[c], minlength=len(units.kinds)) for c in columns], axis=1)


def find_names(texts: Sequence[str], kinds: Sequence[str], evidence: np.ndarray) -> np.ndarray:
    """bool[n_vocabulary]: the entry is a name: nearly always capitalised, and often in the middle of a sentence.

    Forms that differ in case alone are judged together. What it does not show: names of several words, names in
    capitals, a name that is a word too (Will, Hope); a heading's word that is never used elsewhere passes for one.
    """
    folded: dict[str, int] = {}
    code = np.array([folded.setdefault(text.lower(), len(folded)) for text in texts], np.int64)
    total = np.zeros((len(folded), 3), np.int64)
    np.add.at(total, code, evidence)
    times, capital, inside = total.T
    name = (capital >= _NAME_SHARE * times) & (inside >= np.maximum(_NAME_INSIDE * times, _NAME_TIMES))
    # "I'm" and "I've" are no names.
    fits = np.array(
        [k == "word" and len(t) > 1 and not re.match(r"i['’]", t, re.I) for t, k in zip(texts, kinds, strict=True)],
        bool,
    )
    return name[code] & fits if len(texts) else fits
