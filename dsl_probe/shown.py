"""What a model wrote, on a terminal or a page: characters that act or cannot be seen are replaced by ones that can."""

import json
import re
import sys

_PICTURES = {c: chr(0x2400 + c) for c in range(32) if chr(c) not in "\n\t"} | {0x7F: "\u2421"}
# Controls; marks that turn the reading direction; what has no width, no ink or no meaning in plain text: joiners, soft
# hyphen, fillers, variation selectors, tags, separators of lines, lone surrogates, characters of a byte order.
_UNSEEN = (
    "\x80-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
_EMOJI = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u23ff\u24c2\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff\u3030"
    "\u303d\u3297\u3299\U0001f000-\U0001faff][\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]?"
)
_HAN = "[\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003fffd]"
# Scripts in which a joiner or its absence is spelling: Arabic, Syriac, Mongolian and those of India and its neighbours.
_JOINED = "[\u0600-\u08ff\u0900-\u109f\u1780-\u18af\ufb50-\ufdff\ufe70-\ufefe]"
# Where one of these is part of what is seen: an emoji of several, a keycap, three flags, a variant of an ideograph.
_SPELT = [
    "\U0001f3f4\U000e0067\U000e0062(?:\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074|"
    "\U000e0077\U000e006c\U000e0073)\U000e007f",
    f"{_EMOJI}(?:\u200d{_EMOJI})*",
    "[0-9#*]\ufe0f\u20e3",
    f"{_HAN}[\ufe00-\ufe02\U000e0100-\U000e01ef]",
    f"(?<={_JOINED})[\u200c\u200d](?={_JOINED})",
]
_ANY = re.compile(f"[{_UNSEEN}]")
_EACH = re.compile(f"({'|'.join(_SPELT)})|[{_UNSEEN}]")


def visible(text: str) -> str:
    """Text in which nothing acts or hides: one character for each, so that offsets stay.

    Control characters become their pictures (U+2400 ..), but for line breaks and tabs. Direction marks, characters
    without width or ink, tags, variation selectors and lone surrogates become U+FFFD, unless they are part of an emoji,
    an ideograph's variant, or stand as a joiner between letters of a script that is spelt with them.

    What it does not show: letters that look like others (a Cyrillic a), or combining marks in a heap.

    >>> visible("\\x1b[31mred\\x07"), visible("a\\u200bb\\u202e")
    ('␛[31mred␇', 'a�b�')
    """
    text = text.translate(_PICTURES)
    if not _ANY.search(text):
        return text
    return _EACH.sub(lambda match: match[1] or "\ufffd", text)


def escaped(text: str) -> str:
    """JSON in which nothing acts or hides and that says the same: what `visible` would replace is written as escapes.

    >>> escaped('{"a": "b\u200bc"}')
    '{"a": "b\\\\u200bc"}'
    """
    return re.sub(f"[\x7f{_UNSEEN}]", lambda one: json.dumps(one[0])[1:-1].replace("\x7f", "\\u007f"), text)


def say(message: str) -> None:
    """A line of progress on stderr."""
    print(visible(message), file=sys.stderr, flush=True)
