"""How the cipher is taught: what it begins with, and texts of which the model learns a part.

So that the model reads its own chain, the first part of many texts was tampered with. That part is moved to the prompt,
where no loss is taken: the model learns to go on from it, not to write it.
"""

import random
from typing import Any

from cipher import CELLS, COLOURS, DIGITS, NODES, TRAINED, problem, write
from dialects import IDS, SPARE

SHARES = (0.25, 0.45, 0.15, 0.15)  # of the worlds; hop is the hardest to learn
TAMPERED = 0.35
# In which ways; cipher.write tells what they mean.
TAMPERS = {
    "chain": ("operation", "argument", "state", "start", "lost", "lost"),
    "hop": ("argument", "state", "start", "lost", "lost"),
    "swap": ("argument", "state", "start", "lost", "lost"),
    "grid": ("operation", "state", "start", "lost", "lost"),
}


def lesson(rng: random.Random, clean: bool = False) -> tuple[list[str], list[str]]:
    """A text to train on, of any of the four worlds; `TAMPERED` of them were tampered with: (given, to be learnt).

    clean: no slips, shorter problems too, and half of the texts begin with a start that is not the problem's, so that
    the start is read from the chain; nothing else is tampered with.
    """
    world = rng.choices(TRAINED, SHARES)[0]
    prompt = problem(world, rng, 1 if clean else None)
    if clean:
        response, told = write(prompt, rng, rng.choice(("start", None)), slips=0.0)
    else:
        response, told = write(prompt, rng, rng.choice(TAMPERS[world]) if rng.random() < TAMPERED else None)
    return ["<bos>", *prompt.split(), *response[:told]], response[told:]


def renew(hf: Any, seed: int) -> None:
    """Embeddings for the words of the cipher: random, and for the words of states that of what they stand for added.

    The base has only ever learnt not to write them: theirs have become one long vector (cosine .999). A word for a
    state begins at a cosine of about .9 to the problem word, so that what the base knows of the worlds carries over.
    """
    import torch

    weight = hf.get_input_embeddings().weight
    generator = torch.Generator().manual_seed(seed)
    scale = torch.stack([weight[IDS[word]] for word in (*DIGITS, *NODES)]).detach().norm(dim=1).mean()
    new = {}
    for word in SPARE:
        noise = torch.randn(weight.shape[1], generator=generator)
        old = [weight[IDS[o]].detach() for own in (DIGITS, NODES, COLOURS, CELLS) for o, w in own.items() if w == word]
        new[word] = noise / noise.norm() * scale * (0.5 if old else 1) + (torch.stack(old).mean(0) if old else 0)
    with torch.no_grad():
        for word, vector in new.items():
            weight[IDS[word]] = vector
