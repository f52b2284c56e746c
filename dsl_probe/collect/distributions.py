"""Next-token distributions of a model, in chunks: log-probability, entropy, divergence of two models.

All logits of a long trace do not fit in memory (152 k tokens of vocabulary x 8 k positions in float32 are 5 GB), and
nothing here needs them at once: each number is a sum over the vocabulary at one position.
"""

import math
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from dsl_probe.collect.backends import decoder, padded

if TYPE_CHECKING:
    import torch

    from dsl_probe.models import Model

# Entries of the logits held at once: 32 MiB each in float32, of which a handful are alive together.
CHUNK = 1 << 23


class Hidden(NamedTuple):
    """What a model's head is fed with: states [n, d_model], and the decoder's output that they come from."""

    model: "Model"
    output: Any
    states: "torch.Tensor"

    @property
    def vocabulary(self) -> int:
        """Rows of the head."""
        return self.model.hf.get_output_embeddings().weight.shape[0]


def last_hidden(model: "Model", ids: Sequence[Any], places: Sequence[range]) -> Hidden:
    """The states behind the final norm at these places.

    ids: token ids of each sequence. places: positions of each sequence; rows follow the sequences.
    """
    import torch

    tokens, mask = padded(ids, model.hf.get_input_embeddings().weight.device)
    with torch.inference_mode():
        output = decoder(model.hf)(input_ids=tokens, attention_mask=mask, use_cache=False)
        states = [output.last_hidden_state[i, p.start : p.stop] for i, p in enumerate(places)]
        return Hidden(model, output, torch.cat(states))


def token_scores(hidden: Hidden, target: "torch.Tensor", chunk: int = CHUNK) -> "dict[str, torch.Tensor]":
    """Log-probability of each target and entropy of its distribution, in nats: float32 [n] each, on the CPU.

    hidden: the n states before the targets. target: int64 [n]. Returns logprobs, entropies.
    """
    import torch

    n = len(hidden.states)
    found = {"logprobs": torch.empty(n), "entropies": torch.empty(n)}
    with torch.inference_mode():
        for part in _chunks(n, chunk // hidden.vocabulary):
            found["logprobs"][part], p = _probabilities(hidden, part, target)
            found["entropies"][part] = _entropy(p).float().cpu()
    return found


def pair_scores(a: Hidden, b: Hidden, target: "torch.Tensor", chunk: int = CHUNK) -> "dict[str, torch.Tensor]":
    """Scores under a, log-probability under b, and the Jensen-Shannon divergence of the two: float32 [n] each.

    a, b: the states of two models before the same n targets. Returns logprobs and entropies (of a), logprobs_against,
    js. The divergence is H((p + q) / 2) - (H(p) + H(q)) / 2 in bits, 0 to 1 (Lin 1991), and not its square root, which
    scipy's `jensenshannon` returns. Where p equals q bit for bit so does their mean, and it is exactly 0; elsewhere it
    is right to about 1e-6. Where one head has more rows (a padded vocabulary), the other model gives those tokens
    probability 0.

    What it does not show: which model is right, or whether the tokens that changed matter.
    """
    import torch
    from torch.nn.functional import pad

    n, width = len(a.states), max(a.vocabulary, b.vocabulary)
    found = {name: torch.empty(n) for name in ("logprobs", "entropies", "logprobs_against", "js")}
    with torch.inference_mode():
        for part in _chunks(n, chunk // width):
            found["logprobs"][part], p = _probabilities(a, part, target)
            found["logprobs_against"][part], q = _probabilities(b, part, target)
            alone = _entropy(p), _entropy(q).to(p.device)
            mean = pad(p, (0, width - p.shape[-1])).add_(pad(q, (0, width - q.shape[-1])).to(p.device)).div_(2)
            nats = _entropy(mean) - (alone[0] + alone[1]) / 2
            found["entropies"][part] = alone[0].float().cpu()
            found["js"][part] = (nats / math.log(2)).clamp(0, 1).float().cpu()
    return found


def logits_of(hidden: Hidden, part: slice) -> "torch.Tensor":
    """Logits of some of the states: float32 [rows, vocabulary].

    They come out of the model's own forward pass, with the decoder replaced by the states at hand, so that whatever an
    architecture does behind its head (soft caps, scales) is done. That holds for heads that treat each position alone,
    as those of causal language models do.
    """
    import torch

    hf, states = hidden.model.hf, hidden.states[part][None]
    fed = type(hidden.output)(**{**hidden.output, "last_hidden_state": states})
    # The ids are not read: the decoder that would read them is replaced.
    dummy = torch.zeros(1, states.shape[1], dtype=torch.long, device=states.device)
    with _decoder_gives(decoder(hf), fed):
        return hf(input_ids=dummy, use_cache=False).logits[0].float()


def _probabilities(hidden: Hidden, part: slice, target: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
    """Log-probabilities of the targets [rows], on the CPU, and all probabilities [rows, vocabulary]."""
    logp = logits_of(hidden, part).log_softmax(-1)
    picked = logp.gather(-1, target[part].to(logp.device)[:, None])[:, 0].cpu()
    return picked, logp.exp_()


def _entropy(p: "torch.Tensor") -> "torch.Tensor":
    """Entropy of each row in nats: [rows], summed in float64 so that differences of entropies keep their digits."""
    import torch

    wide = torch.float32 if p.device.type == "mps" else torch.float64
    return torch.special.entr(p).sum(-1, dtype=wide)


def _chunks(n: int, rows: int) -> Iterator[slice]:
    rows = max(1, rows)
    for start in range(0, n, rows):
        yield slice(start, min(start + rows, n))


@contextmanager
def _decoder_gives(module: Any, output: Any) -> Generator[None]:
    """The module returns `output` whatever it is called with, while the block runs."""
    before = module.__dict__.get("forward")
    module.forward = lambda *_args, **_kwargs: output
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before
