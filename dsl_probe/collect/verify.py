"""Find the answer in a completion and compare it: exactly, as a number, as a choice.

    >>> find_answer("<think>2+2 is 5, no, 4</think> So <answer>\\\\boxed{4}</answer>")
    Found(text='4', how='box in answer tag')
    >>> same_number("1,234.50", "2469/2")
    True

Rules, in this order. (1) Text after an end-of-text token is dropped. (2) What follows the last `</think>` is the answer
part; where nothing follows it, or it never closes, all text is. (3) In the answer part the kinds are tried in order: an
<answer> tag (one that never closes runs to the end, since samplers stop at the closing tag), \\boxed{}, `#### x`, then
"the answer is x" (only in the last 500 characters, not after maybe, if ..., not inside a <think> that never closes,
and not before a last sentence that breaks off). (4) **The last one of a kind counts**; empty ones do not. A box that
never closes is truncated text and counts for nothing. What this does not show: whether the reasoning led to the
answer; and where a completion goes on to invent a next question without an end-of-text token, that question's
answer is the last and counts.

Completions are hostile: every scan here is linear in the text, and every regex has bounded repeats.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

END_TOKENS = ("<|im_end|>", "<|endoftext|>", "<｜end▁of▁sentence｜>", "<|eot_id|>", "</s>", "<eos>", "<|end_of_text|>")
LONGEST_ANSWER = 20_000
_STATED = re.compile(
    r"\banswer(?:\s{1,3}(?:is|would\sbe|should\sbe)|\s{0,3}[:=])[\s*_:]{0,8}|答案(?:是|为|：|:)\s{0,3}",
    re.IGNORECASE,
)
_HEDGE = re.compile(
    r"\b(?:maybe|perhaps|if|whether|suppose|unless|check|could|might|possible|possibly|that)\b[^.\n]{0,25}$", re.I
)
_NUMBER = re.compile(r"[-−]?\d{1,3}(?:,\d{3}){1,40}(?:\.\d{1,60})?(?!\d)|[-−]?\d{1,100}(?:\.\d{1,60})?|[-−]?\.\d{1,60}")
_SPACE = re.compile(r"\\[,;:! ]|~|\{,\}|\s")
_DECIMAL = re.compile(r"[-+]?(?:\d{1,300}(?:\.\d{0,300})?|\.\d{1,300})", re.ASCII)
_FRACTION = re.compile(r"([-+]?)\\frac(?:\{([-+]?[\d.]{1,100})\}|(\d))(?:\{([-+]?[\d.]{1,100})\}|(\d))")
_POWER = re.compile(r"(?:([-+]?[\d.]{1,100})(?:\\times|\\cdot|×|\*))?10(?:\^|\*\*)\{?([-+]?\d{1,3})\}?")
_REPEATING = re.compile(r"([-+]?)(\d{0,60})\.(\d{0,60})\\(?:overline|bar)(?:\{(?=\d))?(\d{1,60})\}?", re.ASCII)
_SCIENTIFIC = re.compile(r"([-+]?[\d.]{1,100})[eE]([-+]?\d{1,3})")
_CHOICE = re.compile(r"\(?([A-Z])\)?(?:[.:)]?\s.{0,400})?[.:)]?", re.DOTALL)


@dataclass(frozen=True)
class Verdict:
    """What a verifier found. `correct` is None where it could not judge; `reason` says by which rule, in words."""

    answer: str | None
    correct: bool | None
    reason: str


@dataclass(frozen=True)
class Found:
    """An answer as written, and the mark it was found by."""

    text: str
    how: str


def answer_part(completion: str) -> str:
    """The text in which an answer counts: up to an end token, after the last `</think>` unless nothing follows it."""
    stops = [at for token in END_TOKENS if (at := completion.find(token)) > 0]
    text = completion[: min(stops)] if stops else completion
    at = text.rfind("</think>")
    tail = text[at + len("</think>") :] if at >= 0 else ""
    return tail if tail.strip() else text


def tagged(text: str, tag: str = "answer") -> list[str]:
    """Contents of every <tag>..</tag>. One that never closes runs to the next opening one, or to the end.

    A closing tag with no opening one (a prompt template may have forced it) closes what stands before it.
    """
    opening, closing, found, lower = f"<{tag}>", f"</{tag}>", [], text.lower()
    if len(lower) != len(text):  # a few characters change their length in lower case: then offsets would not fit
        lower = text
    at = lower.find(opening)
    if at < 0 and (end := lower.rfind(closing)) >= 0:
        return [text[:end].strip()]
    while at >= 0:
        start = at + len(opening)
        at = lower.find(opening, start)
        stop = len(text) if at < 0 else at
        end = lower.find(closing, start, stop)
        found.append(text[start : stop if end < 0 else end].strip())
    return found


def boxed(text: str) -> list[str]:
    """Contents of every complete \\boxed{..} or \\fbox{..}, braces nested; an inner box comes first.

    >>> boxed(r"\\boxed{\\frac{1}{2}} and \\boxed{3")
    ['\\\\frac{1}{2}']
    """
    found, opened = [], []
    for match in re.finditer(
        r"boxed\{|\\(?:boxed|fbox)[ \t]{0,4}(?:\{|([^\s{}$\\.,]{1,40}))|\\.|[{}]", text, re.DOTALL
    ):
        token = match.group()
        if match.group(1):  # \boxed 5
            found.append(match.group(1))
        elif token in ("\\{", "\\}"):
            continue
        elif token.endswith("{"):
            opened.append(match.end() if len(token) > 1 else -1)
        elif token == "}" and opened and (start := opened.pop()) >= 0 and match.start() - start <= LONGEST_ANSWER:
            found.append(text[start : match.start()].strip())
    return found


def find_answer(completion: str) -> Found | None:
    """The marked answer of a completion, by the rules of this module, or None."""
    return find_in(answer_part(completion))


def find_in(part: str) -> Found | None:
    """As find_answer, in text that is the answer part already."""
    for content in reversed(tagged(part)):
        if content:
            box = next((b for b in reversed(boxed(content)) if b), None)
            return Found(box, "box in answer tag") if box else Found(content, "answer tag")
    if box := next((b for b in reversed(boxed(part)) if b), None):
        return Found(box, "box")
    at = part.rfind("####")
    if at >= 0 and (line := part[at + 4 :].strip().partition("\n")[0].strip()):
        return Found(line, "####")
    if unfinished(part):
        return None
    end = part.rstrip()[-500:]
    stated = [m for m in _STATED.finditer(end) if not _HEDGE.search(end[max(0, m.start() - 30) : m.start()])]
    if stated and end[-1:].isalpha() and re.search(r"[.!?\n]\s", end[stated[-1].start() :]):
        return None
    if stated and (text := _trimmed(end[stated[-1].end() :].partition("\n")[0])) and not text.startswith("not "):
        return Found(text, "stated")
    return None


def unfinished(part: str) -> bool:
    """Whether the text stops inside a <think>: then only a mark (a tag, a box) is an answer."""
    return "<think>" in part and "</think>" not in part


def _trimmed(text: str) -> str:
    """What "the answer is" introduces, up to the end of its sentence and without emphasis."""
    text = re.split(r"[.!?](?:\s|$)|</|。", text.replace("**", ""), maxsplit=1)[0].strip()
    if text.startswith(r"\(") and r"\)" in text:
        text = text[2 : text.index(r"\)")]
    elif text.startswith("$") and "$" in text[1:]:
        text = text[1 : text.index("$", 1)]
    return text.strip(" *_`\"'")


def last_number(text: str) -> str | None:
    """The last number of the last 100 characters: what is left to try where no answer is marked."""
    # A box that is still there when this is asked was cut off.
    found = [] if unfinished(text) or "boxed" in text else _NUMBER.findall(text.rstrip()[-100:])
    return found[-1] if found else None


def plain(text: str) -> str:
    """An answer without what does not change its meaning: spacing, fonts, sizes, $, degrees, percent, dots."""
    text = text.strip().replace("−", "-").replace("–", "-")
    text = re.sub(r"\\(?:left|right|displaystyle|limits|[bB]igg?[lr]?)(?![A-Za-z])", "", text)
    text = re.sub(r"\\[dtc]frac(?![A-Za-z])", r"\\frac", text)
    text = re.sub(r"\\(?:text|mathrm|mathbf|textbf|mbox|operatorname|mathit)\s{0,3}\{([^{}]{0,400})\}", r"\1", text)
    text = re.sub(r"\^\s?(?:\{\s?\\circ\s?\}|\\circ)|°|\\?%|\\\(|\\\)|\\\[|\\\]|\\?\$", "", text)
    return _SPACE.sub("", text.strip("*")).rstrip(".")


def as_number(text: str) -> Fraction | None:
    """The exact value of a written number: 1,234 -3.50 3/4 \\frac{3}{4} 1e-5 2.5\\times10^{3} $5 50%; else None.

    A percent sign is dropped (50% is 50), as the references of the shipped sets do.
    """
    text = plain(text[:400])
    if re.fullmatch(r"[-+]?\d{1,3}(?:,\d{3}){1,40}(?:\.\d{0,60})?", text):
        text = text.replace(",", "")
    try:
        if _DECIMAL.fullmatch(text):
            return Fraction(text.rstrip("."))
        if match := _FRACTION.fullmatch(text):
            sign, a, a1, b, b1 = match.groups()
            return (-1 if sign == "-" else 1) * Fraction(a or a1) / Fraction(b or b1)
        if match := _REPEATING.fullmatch(text):
            sign, whole, fixed, again = match.groups()
            nines = Fraction(int(again), (10 ** len(again) - 1) * 10 ** len(fixed))
            return (-1 if sign == "-" else 1) * (Fraction(f"{whole or 0}.{fixed or 0}") + nines)
        if match := _SCIENTIFIC.fullmatch(text) or _POWER.fullmatch(text):
            return Fraction(match.group(1) or 1) * Fraction(10) ** int(match.group(2))
        top, slash, bottom = text.partition("/")
        if slash and _DECIMAL.fullmatch(top) and _DECIMAL.fullmatch(bottom):
            return Fraction(top) / Fraction(bottom)
    except (ValueError, ZeroDivisionError):
        pass
    return None


def same_number(a: str, b: str) -> bool:
    """Whether both are numbers of exactly the same value. 0.33 is not 1/3."""
    first = as_number(a)
    return first is not None and first == as_number(b)


def same_text(a: str, b: str) -> bool:
    """Whether both are the same after `plain`, capitals aside where either is a word of more than one letter."""
    a, b = plain(a), plain(b)
    return a == b or (len(a) > 1 and a.isalpha() and a.casefold() == b.casefold())


def choice(text: str) -> str | None:
    """The letter of a multiple-choice answer: C, (C), "C) 12", \\text{C}, "Option C"; else None."""
    text = re.sub(r"\\(?:text|mathrm|textbf|mathbf)\s{0,3}\{([^{}]{0,400})\}", r"\1", text[:600].strip())
    text = re.sub(r"^(?:option|choice)\s{1,3}", "", text.strip("$* \n"), flags=re.IGNORECASE)
    match = _CHOICE.fullmatch(text)
    return match.group(1) if match else None


def verify_exact(target: str | None, completion: str) -> Verdict:
    """The verifier of problem files: the marked answer, or else all of the answer part, is the target's own text."""
    found = find_answer(completion) or Found(answer_part(completion).strip(), "whole text")
    if not found.text:
        return Verdict(None, False, "no answer")
    if target is None:
        return Verdict(found.text, None, "the problem has no reference")
    same = " ".join(found.text.split()) == " ".join(target.split())
    return Verdict(found.text, same, f"{'same text' if same else 'other text'} ({found.how})")
