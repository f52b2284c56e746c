"""How the cipher is taught: what it begins with, and texts of which the model learns a part.

So that the model reads its own chain, many texts were tampered with. No loss is taken on the words that lead up to a
harm: the model learns to go on from it, not to do it.
"""

import random
from typing import Any

from cipher import CELLS, COLOURS, DIGITS, NODES, SLIP, TRAINED, problem, write
from dialects import IDS, SPARE

SHARES = (0.25, 0.45, 0.15, 0.15)  # of the worlds; hop is the hardest to learn
TAMPERED, MANY_SLIPS = 0.5, 0.4
# In which ways; cipher.write tells what they mean.
TAMPERS = {
    "chain": ("operation", "argument", "state", "start", "lost", "lost"),
    "hop": ("argument", "state", "start", "lost", "lost"),
    "swap": ("argument", "state", "start", "lost", "lost"),
    "grid": ("operation", "state", "start", "lost", "lost"),
}


def lesson(rng: random.Random, stage: str) -> tuple[list[str], list[str], list[bool]]:
    """A text to train on, of any of the four worlds: prompt, response, and which words of it are to be learnt.

    stage: "first": no slips, shorter problems too, and in half of the texts the start, operations or arguments are
    others than the problem's, so that the model reads its chain. "slips": the whole language, with slips so frequent
    that taking them back is learnt. "last": the whole language as it is.
    """
    world = rng.choices(TRAINED, SHARES)[0]
    prompt = problem(world, rng, 1 if stage == "first" else None)
    harms = [harm for harm in TAMPERS[world] if stage != "first" or harm in ("start", "operation", "argument")]
    harm = rng.choice(harms) if rng.random() < TAMPERED else None
    slips = {"first": 0.0, "slips": MANY_SLIPS, "last": SLIP}[stage]
    response, learnt = write(prompt, rng, harm, slips)
    return ["<bos>", *prompt.split()], response, learnt


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
