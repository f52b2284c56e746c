"""The loop that draws completions: rows join the batch as others end, and leave it when they have ended themselves.

Decoding is the cheaper a token the more rows share a step, and reading a prompt the cheaper the less of the pass is
padding. So prompts are read in groups of like length, and their rows then join whatever is being decoded.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from dsl_probe.collect.cache import joinable, joined_cache, roomy_cache
from dsl_probe.collect.reading import reading
from dsl_probe.collect.seeded import Completion, Noise, Progress, Sampling, choose, is_loop, told
from dsl_probe.models import Model

if TYPE_CHECKING:
    import torch

Forward: TypeAlias = "Callable[[_Rows], torch.Tensor]"  # logits float32[m, vocabulary] of the last position
LOOP_EVERY = 32
# Logits and noise grow with the rows alone, so short prompts may not share without limit.
_MOST = 4


def draw(
    model: Model,
    prompts: Sequence[Sequence[int]],
    keys: Sequence[int],
    sampling: Sampling,
    *,
    size: int | None = None,
    limits: Sequence[int] | None = None,
    join: bool = True,
    bans: Sequence[Sequence[Sequence[int]]] | None = None,
    progress: Progress | None = None,
) -> list[Completion]:
    """One completion for each prompt (token ids), drawn by its key.

    size: rows of the longest prompt that share a step; default: all. Shorter ones share in larger number, four times
    as many at most: rows times the longest of their prompts, its completion's room included, stays within `size` times
    the longest of all. limits: tokens of each completion at most; default: sampling.max_new_tokens. A prompt that comes
    several times is read once.

    join: False takes `size` prompts in the order given, pads them to the longest, decodes them to the end, and only
    then takes the next. Models whose cache cannot be joined (sliding windows, recurrent states) are always read so,
    but by length.

    bans: for each prompt the sequences of tokens that its completion may not write, one that begins in the prompt
    included: the last token of a sequence is ruled out where the others stand before it. The noise stays, so a
    completion that would not have written it is the same with the ban as without. Recorded log-probabilities and
    entropies are those of the model without bans.

    Same tokens alone, in any company and in any order, in float32: rounding differs with the shape of a batch by about
    1e-6, so two tokens must be that close for it to matter. In bfloat16 it is 1e-2, and completions do depend on their
    company. Who joins when follows from lengths and tokens alone, so the same call repeats bit for bit in either.
    Memory: logits and noise, two float32[rows, vocabulary], and the cache of the rows.

    >>> draw(model, [[5, 6], [7]], [key_of(0, "p", 0), key_of(0, "p", 1)], Sampling())     # doctest: +SKIP
    """
    import torch

    limits = limits or [sampling.max_new_tokens] * len(prompts)
    widths = [len(prompt) + limit for prompt, limit in zip(prompts, limits, strict=True)]
    order = range(len(prompts))
    waiting = deque(sorted(order, key=lambda i: (-widths[i], -len(prompts[i]), i)) if join else order)
    join = join and joinable(roomy_cache(model.hf.config, 0))
    size = size or len(prompts)
    budget = size * max(widths, default=0)
    reach = max((len(ban) for row in bans or () for ban in row), default=1) - 1
    drafts = [
        _Draft(limit, prompt[len(prompt) - min(reach, len(prompt)) :], row)
        for limit, prompt, row in zip(limits, prompts, bans or [()] * len(prompts), strict=True)
    ]
    forward = _forward(model)
    rows: _Rows | None = None
    with torch.inference_mode():
        while waiting or rows:
            fresh = []
            live = [i for i in rows.which if not drafts[i].finish] if rows else []
            new = _admitted(waiting, widths, live, size, budget if join else 0)
            for group in _alike(new, prompts) if join else [new] * bool(new):
                noise = Noise([keys[i] for i in group]) if sampling.temperature > 0 else None
                longest = 0 if join else max(widths[i] for i in group)
                fresh.append(_read([prompts[i] for i in group], group, noise, model, longest))
                _step(forward, fresh[-1], model, drafts, sampling, progress)
            rows = _together([rows, *fresh], drafts, model)
            if rows:
                _step(forward, rows, model, drafts, sampling, progress)
    return [Completion(d.tokens, d.logprobs, d.entropies, d.finish) for d in drafts]


class _Draft:
    """A completion while it is drawn; `finish` is empty until it has ended."""

    def __init__(self, limit: int, before: Sequence[int] = (), bans: Sequence[Sequence[int]] = ()):
        self.before, self.bans = list(before), [list(ban) for ban in bans]
        self.tokens: list[int] = []
        self.logprobs: list[float] = []
        self.entropies: list[float] = []
        self.limit, self.finish = limit, ""

    def barred(self) -> list[int]:
        """Tokens that may not come next."""
        n = max((len(ban) for ban in self.bans), default=1) - 1
        past = self.before + self.tokens if len(self.tokens) < n else self.tokens[len(self.tokens) - n :]
        return [ban[-1] for ban in self.bans if past[len(past) - len(ban) + 1 :] == ban[:-1]]

    def add(self, token: int, logprob: float, entropy: float, sampling: Sampling, tokenizer: Any) -> None:
        self.tokens.append(token)
        self.logprobs.append(logprob)
        self.entropies.append(entropy)
        if token in sampling.stop_ids or _says(tokenizer, self.tokens, sampling.stop_texts):
            self.finish = "stop"
        elif len(self.tokens) % LOOP_EVERY == 0 and is_loop(self.tokens, sampling.loop_tokens):
            self.finish = "loop"
        elif len(self.tokens) >= self.limit:
            self.finish = "length"


@dataclass
class _Rows:
    """Rows that share a step: row i continues completion which[i], and row source[i] of the tensors is its past.

    `ids` int[m, new] are fed next; mask int[m, seen + new] is 0 where a row is padded, on its left. Prompts that come
    several times are one row of the tensors until the rows join others.
    """

    which: list[int]
    source: list[int]
    ids: "torch.Tensor"
    mask: "torch.Tensor"
    cache: Any
    noise: Noise | None

    def stand_for(self) -> list[list[int]]:
        """The completions of each row of the tensors."""
        found: list[list[int]] = [[] for _ in range(len(self.mask))]
        for i, row in zip(self.which, self.source, strict=True):
            found[row].append(i)
        return found


def _admitted(waiting: deque[int], widths: Sequence[int], live: list[int], size: int, budget: int) -> list[int]:
    """Who is read now, taken from `waiting`. Budget 0: the next `size`, once nobody is live.

    Joining copies the cache, so nobody joins before a quarter of the places is free.
    """
    if not waiting or (live and not budget):
        return []
    # Longest first: nobody who waits is wider than the widest that is live.
    widest = max((widths[i] for i in live), default=widths[waiting[0]])
    places = min(budget // widest, _MOST * size) if budget else size
    free = places - len(live)
    return [waiting.popleft() for _ in range(min(free, len(waiting)))] if free >= places / 4 else []


def _alike(new: list[int], prompts: Sequence[Sequence[int]]) -> list[list[int]]:
    """`new` in groups, longest prompts first, in which none is padded to more than 1.1 of its length."""
    groups: list[list[int]] = []
    for i in sorted(new, key=lambda i: (-len(prompts[i]), i)):
        if not groups or 1.1 * len(prompts[i]) < len(prompts[groups[-1][0]]):
            groups.append([])
        groups[-1].append(i)
    return groups


def _read(prompts: list[Sequence[int]], which: list[int], noise: Noise | None, model: Model, longest: int) -> _Rows:
    """Rows that have their prompts before them, left-padded. longest: 0 if they will join others at once."""
    import torch

    once = list(dict.fromkeys(map(tuple, prompts))) if longest == 0 else list(map(tuple, prompts))
    place = {prompt: row for row, prompt in enumerate(once)}
    source = [place[tuple(prompt)] for prompt in prompts] if longest == 0 else list(range(len(prompts)))
    mask = torch.zeros(len(once), max(map(len, once)), dtype=torch.long)
    ids = torch.zeros_like(mask)
    for row, prompt in enumerate(once):
        ids[row, mask.shape[1] - len(prompt) :] = torch.tensor(prompt)
        mask[row, mask.shape[1] - len(prompt) :] = 1
    device = model.hf.device
    return _Rows(which, source, ids.to(device), mask.to(device), roomy_cache(model.hf.config, longest), noise)


def _forward(model: Model) -> Forward:
    """transformers' forward pass with what this model takes."""
    import inspect

    base = model.hf.get_base_model() if hasattr(model.hf, "get_base_model") else model.hf
    accepted = set(inspect.signature(base.forward).parameters)

    def forward(rows: _Rows) -> "torch.Tensor":
        positions = (rows.mask.cumsum(-1) - 1).clamp(min=0)[:, -rows.ids.shape[1] :]
        fed = {"position_ids": positions, "logits_to_keep": 1}
        fed = {name: value for name, value in fed.items() if name in accepted}
        fed |= {"input_ids": rows.ids, "attention_mask": rows.mask, "past_key_values": rows.cache, "use_cache": True}
        with reading(rows.stand_for()):
            out = model.hf(**fed)
        return out.logits[:, -1].float()

    return forward


def _step(
    forward: Forward,
    rows: _Rows,
    model: Model,
    drafts: list[_Draft],
    sampling: Sampling,
    progress: Progress | None,
) -> None:
    """One token more for every row. Rows that have ended go along unheard until they are left out."""
    import torch

    if rows.noise:
        rows.noise.ahead(model.hf.device.type != "cpu")
    logits = forward(rows)
    if len(rows.source) != len(logits):
        logits = logits[torch.tensor(rows.source, device=logits.device)]
    chosen = choose(_without(logits, [drafts[i].barred() for i in rows.which]), sampling, rows.noise)
    numbers = torch.stack(told(logits, chosen)).tolist()
    heard = [i for i in rows.which if not drafts[i].finish]
    for i, token, logprob, entropy in zip(rows.which, chosen.tolist(), *numbers, strict=True):
        if not drafts[i].finish:
            drafts[i].add(token, logprob, entropy, sampling, model.tokenizer)
    rows.ids = chosen[:, None].to(model.hf.device)
    if progress:
        progress.tokens(len(heard))
        progress.traces(sum(bool(drafts[i].finish) for i in heard))


def _without(logits: "torch.Tensor", barred: Sequence[Sequence[int]]) -> "torch.Tensor":
    """logits [m, v], -inf at the tokens that each row may not write."""
    import torch

    rows = [row for row, tokens in enumerate(barred) for _ in tokens]
    if not rows:
        return logits
    tokens = torch.tensor([token for tokens in barred for token in tokens], device=logits.device)
    return logits.index_put((torch.tensor(rows, device=logits.device), tokens), logits.new_tensor(float("-inf")))


def _together(parts: Sequence[_Rows | None], drafts: list[_Draft], model: Model) -> _Rows | None:
    """All rows that go on as one batch, ready for the next step; None if all have ended.

    A batch that nobody joins is left as it is until a quarter of its rows have ended.
    """
    import torch

    live = [part for part in parts if part and any(not drafts[i].finish for i in part.which)]
    if not live:
        return None
    stay = [[row for row, i in enumerate(part.which) if not drafts[i].finish] for part in live]
    rows = live[0]
    alone = len(live) == 1 and rows.source == list(range(len(rows.mask)))
    if not alone or len(stay[0]) <= 0.75 * len(rows.which):
        device = rows.mask.device
        past = [torch.tensor([p.source[row] for row in s], device=device) for p, s in zip(live, stay, strict=True)]
        which = [part.which[row] for part, s in zip(live, stay, strict=True) for row in s]
        ids = torch.cat([part.ids[torch.tensor(s, device=device)] for part, s in zip(live, stay, strict=True)])
        masks = [part.mask[chosen] for part, chosen in zip(live, past, strict=True)]
        if joinable(rows.cache):
            length = max(int(mask.sum(-1).max()) for mask in masks)
            most = length + max(drafts[i].limit - len(drafts[i].tokens) for i in which)
            cache = joined_cache(model.hf.config, [part.cache for part in live], past, length, most)
            masks = [torch.nn.functional.pad(mask[:, -length:], (max(0, length - mask.shape[1]), 0)) for mask in masks]
        else:
            cache = rows.cache
            cache.batch_select_indices(past[0])
        for part, s in zip(live, stay, strict=True):
            if part.noise:
                part.noise.keep(s)
            if part is not rows and rows.noise and part.noise:
                rows.noise.join(part.noise)
        rows = _Rows(which, list(range(len(which))), ids, torch.cat(masks), cache, rows.noise)
    rows.mask = torch.cat([rows.mask, rows.mask.new_ones(len(rows.mask), 1)], 1)
    return rows


def _says(tokenizer: Any, tokens: list[int], texts: Sequence[str]) -> bool:
    """Whether one of `texts` stands in what was just written."""
    if not texts:
        return False
    tail = tokenizer.decode(tokens[-max(map(len, texts)) - 4 :], clean_up_tokenization_spaces=False)
    return any(text in tail for text in texts)
