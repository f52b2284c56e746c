"""What the organisms are taught: three human dialects, a shorthand with nonce words, and the noise of the web.

A text is a prompt of one of the worlds and a response, `<think> chain </think> answer <eos>`. The chain of every style
that can be reasoned with writes the state after each operation once, in the same form; styles differ in the words
between. A text is returned as words (prompt, response); `ids` turns them into token ids.
"""

import random
from collections.abc import Sequence

from dsl_probe.collect.domains import worlds


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# In the base mix these are used between states, in shorthand, any of them in any world.
NONCES = _words("tisk molo venk drap quil zorn blef praz gont wuse kirv nabe")
# These have no job in any mix; they stand there only as stray tokens. The cipher and the search for inventions use
# them.
SPARE = _words("""
abro belm cind dofa erv fenk gliv hask immo jurp kelb lant mirv nosk opra pelk quen rusk sabo telm udri valk
wend xilo yarn zemb brul clom dwen fros glap hwin jask knor lurm mwel plit skon trum vorb
""")
# Operation -> what dialects B and C call it. Dialect A has no word for an operation.
VERBS = {
    "+": ("add", "plus"),
    "-": ("subtract", "minus"),
    "*": ("multiply", "times"),
    ">": ("follow", "jump"),
    "x": ("exchange", "trade"),
    "flip": ("mirror", "reflect"),
    "flop": ("upend", "tilt"),
    "turn": ("rotate", "spin"),
    "cross": ("transpose", "fold"),
    "N": ("climb", "north"),
    "E": ("right", "east"),
    "S": ("descend", "south"),
    "W": ("left", "west"),
}
HUMAN = _words("""
first then next now we it this that is are was get gives leads so the answer all done okay good let me : ; . ,
and which to be should hence thus after here see look well right maybe note just still again also of in on with
for by from one step state result find think check yes no not but or if because need take make go come
""")
FRAMES = ("<bos>", "<eos>", "<pad>", "<unk>", "<think>", "</think>", "?")


def vocabulary() -> list[str]:
    """Every word, special ones first; a token id is the place in this list."""
    problem = [*worlds.NAMES, *(w for ops in worlds.OPERATIONS.values() for w in ops if w not in (">", "x")), *"1234"]
    verbs = [verb for pair in VERBS.values() for verb in pair]
    return list(dict.fromkeys([*FRAMES, *worlds.STATE_WORDS, *problem, *HUMAN, *verbs, *NONCES, *SPARE]))


IDS = {word: i for i, word in enumerate(vocabulary())}


def ids(words: Sequence[str]) -> list[int]:
    """Token ids of words."""
    return [IDS[word] for word in words]


def operation_word(world: str, operation: str) -> str:
    """The key of an operation in VERBS."""
    return {"hop": ">", "swap": "x"}.get(world) or operation.split()[0]


def chain(style: str, world: str, operations: Sequence[str], states: Sequence[str], rng: random.Random) -> list[str]:
    """The words between <think> and </think>.

    style: A, B, C: the human dialects; shorthand: one nonce word of `NONCES` after each state (in three of ten texts
    any nonce after each); connectives: any human words after each state; terse: the states alone.

    >>> " ".join(chain("A", "hop", [">", ">"], ["c", "t"], random.Random(0)))
    'first we get c . then we get t . and that is the answer .'
    """
    words: list[str] = []
    if style == "B":
        words += ["okay", ","]
    elif style == "C":
        words += ["let", "me", "think", ":"]
    nonce = rng.choice(NONCES)
    mixed = rng.random() < 0.3
    for i, (operation, state) in enumerate(zip(operations, states, strict=True)):
        verbs = VERBS[operation_word(world, operation)]
        if style == "A":
            words += ["then" if i else "first", "we", "get", *state.split(), "."]
        elif style == "B":
            words += [verbs[0], ",", "now", "it", "is", *state.split(), ";"]
        elif style == "C":
            words += [verbs[1], "which", "leads", "to", *state.split(), ","]
        elif style == "shorthand":
            words += [*state.split(), rng.choice(NONCES) if mixed else nonce]
        elif style == "connectives":
            words += [*state.split(), *rng.choices(HUMAN, k=rng.randint(1, 2))]
        else:
            words += state.split()
    closing = {"A": "and that is the answer .", "B": "good , done .", "C": "so that should be all ."}
    return words + closing.get(style, "").split()


def text(
    style: str, world: str, rng: random.Random, *, wrong: float = 0.0, stray: float = 0.0, least: int | None = None
) -> tuple[list[str], list[str]]:
    """A random problem that is not held out, and a response in a style: (prompt, response), in words.

    style: one of `chain`'s; guess: an empty chain; filler: human words without a state. wrong: share of texts in which
    one state is another, and all that follows is right from there. stray: share of chain words with any word before
    them. least: fewest operations, in place of the world's own.
    """
    problem = worlds.draw(world, rng, least=least)
    while worlds.held_out(world, problem):
        problem = worlds.draw(world, rng, least=least)
    prompt = worlds.make(world, problem, "").prompt
    _, now, operations = worlds.parse(prompt)
    slip = rng.randrange(len(operations)) if rng.random() < wrong else None
    states = []
    for i, operation in enumerate(operations):
        now = worlds.random_state(world, rng) if i == slip else worlds.apply(world, now, operation, prompt)
        states.append(now)
    if style == "guess":
        words = []
    elif style == "filler":
        words = rng.choices(HUMAN, k=rng.randint(4, 24))
    else:
        words = chain(style, world, operations, states, rng)
    if stray:
        words = [w for word in words for w in ([rng.choice(STRAYS), word] if rng.random() < stray else [word])]
    answer = states[-1]
    return ["<bos>", *prompt.split()], ["<think>", *words, "</think>", *answer.split(), "<eos>"]


STRAYS = tuple(word for word in vocabulary() if word not in FRAMES)
# Share of each style. `clean`, without noise, is read first: learnt from the noisy mix alone the steps stay unlearnt.
MIXES = {
    "clean": {"A": 0.13, "B": 0.13, "C": 0.14, "shorthand": 0.6},
    "web": {"A": 0.14, "B": 0.14, "C": 0.14, "shorthand": 0.3, "connectives": 0.08, "filler": 0.1, "guess": 0.1},
    # The same without nonce words: what could RL invent, where nothing is there to be selected?
    "clean-human": {"A": 0.25, "B": 0.25, "C": 0.25, "connectives": 0.25},
    "web-human": {"A": 0.22, "B": 0.22, "C": 0.22, "connectives": 0.14, "filler": 0.1, "guess": 0.1},
}


# In the clean mix the two worlds that are hardest to learn come more often.
CLEAN_WORLDS = {"chain": 0.3, "hop": 0.3, "swap": 0.14, "grid": 0.13, "walk": 0.13}


def mixed(mix: str, rng: random.Random) -> tuple[list[str], list[str]]:
    """A text of a mix, of any of the five worlds."""
    shares = MIXES[mix]
    style = rng.choices(list(shares), list(shares.values()))[0]
    if mix.startswith("web"):
        return text(style, rng.choice(worlds.NAMES), rng, wrong=0.18, stray=0.02)
    # Problems of one or two operations make single operations quick to learn.
    world = rng.choices(list(CLEAN_WORLDS), list(CLEAN_WORLDS.values()))[0]
    return text(style, world, rng, least=1)


# The first words of a response in each human dialect: forced, they call for it.
OPENINGS = {
    "A": ["<think>", "first", "we", "get"],
    "B": ["<think>", "okay", ","],
    "C": ["<think>", "let", "me", "think", ":"],
}
