"""Interventions against transformers' states, blocks run by hand, TransformerLens' hooks, and themselves alone."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from tiny import architecture, tiny_model

from dsl_probe.collect import backends
from dsl_probe.collect.backends import capture
from dsl_probe.collect.decode import draw
from dsl_probe.collect.seeded import Sampling
from dsl_probe.models import Model, load_model
from dsl_probe.probe.erase import leace
from dsl_probe.probe.intervene import (
    Pass,
    after,
    at,
    before,
    changed,
    erase,
    everywhere,
    patch,
    random_direction,
    sampled,
    steer,
    typical_norm,
)
from dsl_probe.types import UserError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
IDS = [[1, 20, 30, 41, 5, 9, 17], [1, 22, 3], [2, 33, 8, 40, 7], [1, 9, 9, 35]]
DIRECTION = torch.arange(16.0) - 5
KINDS = ["llama", "gpt2", "qwen2"]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, Model]:
    return {kind: architecture(kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> Model:
    return load_model(str(tiny_model(tmp_path_factory.mktemp("tiny") / "model")), device="cpu")


def an_eraser(model: Model, layer: int) -> Any:
    """Of the label `the first half of the states`, on states of random tokens."""
    made = torch.randint(3, 60, (20, 6), generator=torch.Generator().manual_seed(0)).tolist()
    states = capture(model, made, [layer], [range(6)] * 20)[f"resid_post.{layer}"]
    return leace(states, torch.arange(120) % 3)


def ways(model: Model, layer: int, ids: list[list[int]]) -> dict[str, Callable[[], AbstractContextManager[None]]]:
    """An intervention of each kind, at places that differ by sequence."""
    places = [[len(x) // 2, len(x) - 1] for x in ids]
    other = torch.randn(2 * len(ids), model.d_model, generator=torch.Generator().manual_seed(1))
    eraser, turned = an_eraser(model, layer), torch.linspace(-1, 2, model.d_model)
    return {
        "steer": lambda: steer(model, layer, turned, 0.7),
        "steer by a norm, at places": lambda: steer(model, layer, turned, 0.7, norm=3.0, where=at(places)),
        "erase": lambda: erase(model, layer, eraser),
        "erase at places": lambda: erase(model, layer, eraser, where=at(places)),
        "patch": lambda: patch(model, layer, places, other),
    }


def by_hand(name: str, states: Any, ids: list[int], model: Model, layer: int) -> Any:
    """What `ways` should make of the states [n, d] of a sequence that is alone."""
    n, turned = len(ids), torch.linspace(-1, 2, model.d_model)
    places, new = [n // 2, n - 1], states.clone()
    if name == "patch":
        new[places] = torch.randn(2, model.d_model, generator=torch.Generator().manual_seed(1))
        return new
    chosen = places if "places" in name else list(range(n))
    for p in chosen:
        if name.startswith("steer"):
            new[p] += 0.7 * (3.0 if "norm" in name else states[p].norm()) * turned / turned.norm()
        else:
            new[p] = an_eraser(model, layer)(states[p])
    return new


def logits(model: Model, ids: list[int]) -> Any:
    with torch.inference_mode():
        return model.hf(torch.tensor([ids])).logits[0]


def blocks_after(model: Model, layer: int, hidden: Any) -> Any:
    """Logits [n, v] of a Llama or GPT-2 whose block `layer` put out hidden [n, d]: the rest of its blocks by hand."""
    body, hidden, more = model.hf.get_decoder(), hidden[None], {}
    places = torch.arange(hidden.shape[1])[None]
    blocks, norm = (body.h, body.ln_f) if hasattr(body, "h") else (body.layers, body.norm)
    if hasattr(body, "rotary_emb"):
        more = {"position_embeddings": body.rotary_emb(hidden, places), "position_ids": places}
    with torch.inference_mode():
        for block in blocks[layer + 1 :]:
            out = block(hidden, attention_mask=None, **more)
            hidden = out[0] if isinstance(out, tuple) else out
        return model.hf.lm_head(norm(hidden))[0]


@pytest.mark.parametrize("layer", [0, 1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_the_rest_of_the_model_goes_on_from_the_changed_states(kind, layer, models):
    model, ids = models[kind], IDS[0]
    with torch.inference_mode():
        plain = model.hf(torch.tensor([ids]), output_hidden_states=True)
    states = capture(model, [ids], [layer], [range(7)])[f"resid_post.{layer}"]
    if layer < 2:
        assert torch.equal(states, plain.hidden_states[layer + 1][0])
    assert torch.allclose(blocks_after(model, layer, states), plain.logits[0], atol=1e-6)
    for name, way in ways(model, layer, [ids]).items():
        expected = by_hand(name, states, ids, model, layer)
        with way():
            got = logits(model, ids)
            seen = capture(model, [ids], [layer], [range(7)])[f"resid_post.{layer}"]
        assert torch.allclose(seen, expected, atol=1e-5), name
        assert torch.allclose(got, blocks_after(model, layer, expected), atol=1e-5), name
        assert (got - plain.logits[0]).abs().max() > 1e-3, name


@pytest.mark.parametrize("kind", KINDS)
def test_earlier_layers_and_earlier_positions_stay_as_they_are(kind, models):
    model = models[kind]
    every = [range(len(x)) for x in IDS]
    plain = capture(model, IDS, [0, 1, 2], every)
    with steer(model, 1, DIRECTION, 2.0, where=at([[4], [], [3], [1]])):
        states = capture(model, IDS, [0, 1, 2], every)
    assert torch.equal(states["resid_post.0"], plain["resid_post.0"])
    at_it, later = [4, 7 + 3 + 3, 15 + 1], [*range(4, 7), 13, 14, *range(16, 19)]
    for name, touched in (("resid_post.1", at_it), ("resid_post.2", later)):
        differ = (states[name] != plain[name]).any(-1)
        assert torch.nonzero(differ)[:, 0].tolist() == touched


@pytest.mark.parametrize("kind", KINDS)
def test_a_change_by_nothing_changes_no_bit(kind, models):
    model = models[kind]
    tokens, mask = backends.padded(IDS, "cpu")
    for layer in (0, 2):
        own = torch.zeros(len(IDS), tokens.shape[1], 16)

        def keep(hidden, now, own=own):
            own.copy_(hidden)
            return hidden

        with torch.inference_mode():
            plain = model.hf(tokens, attention_mask=mask).logits
            with changed(model, layer, keep):
                assert torch.equal(model.hf(tokens, attention_mask=mask).logits, plain)
            with steer(model, layer, DIRECTION, 0.0):
                assert torch.equal(model.hf(tokens, attention_mask=mask).logits, plain)
            itself = torch.cat([own[i, : len(x)] for i, x in enumerate(IDS)])
            with patch(model, layer, [range(len(x)) for x in IDS], itself):
                assert torch.equal(model.hf(tokens, attention_mask=mask).logits, plain)


def test_bfloat16_stays_bfloat16(models):
    model = models["llama"]
    half = replace(model, hf=copy.deepcopy(model.hf).to(torch.bfloat16), dtype="bfloat16")
    plain = logits(half, IDS[0])
    with steer(half, 1, DIRECTION, 0.0):
        assert torch.equal(logits(half, IDS[0]), plain)
    for name, way in ways(half, 1, IDS[:1]).items():
        with way():
            assert capture(half, IDS[:1], [1], [[0]])["resid_post.1"].dtype == torch.bfloat16
            assert not torch.equal(logits(half, IDS[0]), plain), name


@pytest.mark.parametrize("kind", KINDS)
def test_all_states_of_another_sequence_give_its_logits(kind, models):
    model, other = models[kind], [2, 50, 6, 6, 31, 12, 18]
    for layer in (0, 1, 2):
        states = capture(model, [other], [layer], [range(7)])[f"resid_post.{layer}"]
        with patch(model, layer, [range(7)], states):
            assert torch.equal(logits(model, IDS[0]), logits(model, other))
    with patch(model, 1, [[6]], capture(model, [other], [1], [[6]])["resid_post.1"]):
        assert not torch.allclose(logits(model, IDS[0])[-1], logits(model, other)[-1], atol=1e-5)


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_transformer_lens_hooks_do_the_same(kind, models):
    model, ids, layer = models[kind], IDS[0], 1
    bridge = backends._bridge(model)
    for name, way in ways(model, layer, [ids]).items():
        seen = {}

        def change(states, hook, name=name):
            return by_hand(name, states[0], ids, model, layer)[None]

        def keep(states, hook, k, seen=seen):
            seen[k] = states[0]

        # Those of a layer run in their order; a hook's own name is not the alias that it was asked for by.
        hooks = [(f"blocks.{layer}.hook_resid_post", change)]
        hooks += [(f"blocks.{k}.hook_resid_post", partial(keep, k=k)) for k in (0, 1, 2)]
        with torch.inference_mode():
            theirs = bridge.run_with_hooks(torch.tensor([ids]), fwd_hooks=hooks)[0]
        with way():
            ours = capture(model, [ids], [0, 1, 2], [range(7)])
            assert torch.allclose(logits(model, ids), theirs, atol=1e-5), name
        assert all(torch.allclose(ours[f"resid_post.{k}"], seen[k], atol=1e-5) for k in (0, 1, 2)), name
        assert not torch.allclose(logits(model, ids), theirs, atol=1e-3), name


@pytest.mark.parametrize("kind", KINDS)
def test_padding_on_either_side_moves_no_position(kind, models):
    model = models[kind]
    for name, way in ways(model, 1, IDS).items():
        with way(), torch.inference_mode():
            tokens, mask = backends.padded(IDS, "cpu")
            right = model.hf(tokens, attention_mask=mask).logits
            left, seen = torch.zeros_like(tokens), torch.zeros_like(tokens)
            for row, x in enumerate(IDS):
                left[row, -len(x) :], seen[row, -len(x) :] = torch.tensor(x), 1
            places = (seen.cumsum(-1) - 1).clamp(min=0)
            turned = model.hf(left, attention_mask=seen, position_ids=places).logits
        for row, x in enumerate(IDS):
            assert torch.allclose(right[row, : len(x)], turned[row, -len(x) :], atol=1e-5), name
            if "places" not in name and name != "patch":
                with way():
                    assert torch.allclose(logits(model, x), right[row, : len(x)], atol=1e-5), name


# ---- while the model samples


PROMPTS = [[1, 20, 30, 41, 5, 9, 17], [1, 22, 3], [1, 33, 8, 40, 7], [1, 9], [1, 14, 15, 16, 17, 18, 19, 20, 21]]
KEYS = [11, 12, 13, 14, 15]
DRAWN = Sampling(max_new_tokens=24, stop_ids=(2,), loop_tokens=0)


def test_a_sequence_is_changed_in_company_as_it_is_alone(tiny):
    """Rows join, are padded and drop out; each keeps its own places, states and direction."""
    n = len(PROMPTS)
    limits = [24, 5, 17, 24, 9]
    generator = torch.Generator().manual_seed(2)
    places = [[2, len(p) + 1, len(p) + 4] for p in PROMPTS]
    states = torch.randn(3 * n, 32, generator=generator) * 3
    directions = torch.randn(n, 32, generator=generator)
    plain = draw(tiny, PROMPTS, KEYS, DRAWN, limits=limits)
    for size, join in ((n, True), (2, True), (n, False), (2, False)):
        with patch(tiny, 0, places, states):
            patched = draw(tiny, PROMPTS, KEYS, DRAWN, size=size, limits=limits, join=join)
        with steer(tiny, 0, directions, 0.8):
            steered = draw(tiny, PROMPTS, KEYS, DRAWN, size=size, limits=limits, join=join)
        for i in range(n):
            one = ([PROMPTS[i]], [KEYS[i]], DRAWN)
            with patch(tiny, 0, [places[i]], states[3 * i : 3 * i + 3]):
                assert patched[i].token_ids == draw(tiny, *one, limits=[limits[i]])[0].token_ids
            with steer(tiny, 0, directions[i], 0.8):
                assert steered[i].token_ids == draw(tiny, *one, limits=[limits[i]])[0].token_ids
        for done in (patched, steered):
            assert sum(a.token_ids != b.token_ids for a, b in zip(done, plain, strict=True)) >= n - 1


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_fed_to_a_cache_are_changed_as_in_one_pass_over_all(kind, models):
    model = models[kind]
    eraser = an_eraser(model, 1)
    late = [[len(p) + 2, len(p) + 3] for p in PROMPTS]
    other = torch.randn(2 * len(PROMPTS), 16, generator=torch.Generator().manual_seed(3))
    for while_drawn, over_all in (
        (lambda: steer(model, 1, DIRECTION, 0.9), None),
        (lambda: erase(model, 1, eraser), None),
        (lambda: patch(model, 1, late, other), None),
        (lambda: steer(model, 1, DIRECTION, 0.9, where=after(range(30, 60))), None),
        (lambda: steer(model, 1, DIRECTION, 0.9, where=sampled), "own"),
    ):
        with while_drawn():
            done = draw(model, PROMPTS, KEYS, replace(DRAWN, max_new_tokens=8, stop_ids=()), size=3)
        whole = [[*p, *d.token_ids] for p, d in zip(PROMPTS, done, strict=True)]
        again = steer(model, 1, DIRECTION, 0.9, where=at([range(len(p), len(p) + 8) for p in PROMPTS]))
        with again if over_all else while_drawn(), torch.inference_mode():
            tokens, mask = backends.padded(whole, "cpu")
            logprobs = model.hf(tokens, attention_mask=mask).logits.log_softmax(-1)
        for i, (p, d) in enumerate(zip(PROMPTS, done, strict=True)):
            told = [logprobs[i, len(p) - 1 + t, token].item() for t, token in enumerate(d.token_ids)]
            assert told == pytest.approx(d.logprobs, abs=1e-4)


def test_transformers_generate_is_changed_too(tiny):
    direction = torch.linspace(-1, 1, 32)
    greedy = Sampling(temperature=0, max_new_tokens=12, loop_tokens=0)
    with steer(tiny, 0, direction, 0.9, where=sampled):
        ours = draw(tiny, PROMPTS[:1], [0], greedy)[0].token_ids
        theirs = tiny.hf.generate(torch.tensor(PROMPTS[:1]), max_new_tokens=12, do_sample=False, eos_token_id=None)
    assert theirs[0, len(PROMPTS[0]) :].tolist() == ours
    assert draw(tiny, PROMPTS[:1], [0], greedy)[0].token_ids != ours


def test_prompts_that_are_read_once_cannot_be_changed_differently(tiny):
    prompts, keys = [PROMPTS[0]] * 3, [1, 2, 3]
    states = torch.randn(3, 32, generator=torch.Generator().manual_seed(4)) * 4
    with (
        patch(tiny, 0, [[3]] * 3, states),
        pytest.raises(UserError, match=r"sequences 0, 1, 2 begin alike .* join=False"),
    ):
        draw(tiny, prompts, keys, DRAWN)
    with patch(tiny, 0, [[3]] * 3, states):
        done = draw(tiny, prompts, keys, DRAWN, join=False)
    for i in range(3):
        with patch(tiny, 0, [[3]], states[i : i + 1]):
            assert draw(tiny, prompts[:1], keys[i : i + 1], DRAWN)[0].token_ids == done[i].token_ids
    with patch(tiny, 0, [[3]] * 3, states[:1].expand(3, 32)):
        same = draw(tiny, prompts, keys, DRAWN)
        assert [s.token_ids for s in same] == [d.token_ids for d in draw(tiny, prompts, keys, DRAWN, join=False)]


# ---- hooks, places, placebos, arguments


def hooks(model: Model) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.hf.modules())


def test_hooks_are_gone_however_it_ends(models):
    model = models["llama"]
    was, plain = hooks(model), logits(model, IDS[0])
    for way in ways(model, 1, IDS).values():
        with way():
            assert hooks(model) == was + 2
        assert hooks(model) == was
        with pytest.raises(ZeroDivisionError), way(), steer(model, 0, DIRECTION, 1.0):
            assert hooks(model) == was + 4
            raise ZeroDivisionError
        assert hooks(model) == was
    with pytest.raises(ZeroDivisionError), changed(model, 1, lambda hidden, now: hidden / (1 // 0)):
        logits(model, IDS[0])
    with pytest.raises(RuntimeError), erase(model, 1, lambda states: states[..., :3]):
        logits(model, IDS[0])
    with pytest.raises(UserError), steer(model, 7, DIRECTION, 1.0):
        pass
    assert hooks(model) == was and torch.equal(logits(model, IDS[0]), plain)


def test_changes_of_one_layer_add_up(models):
    model = models["llama"]
    with steer(model, 1, DIRECTION, 0.5, norm=2.0), steer(model, 1, -DIRECTION, 0.25, norm=2.0):
        twice = logits(model, IDS[0])
    with steer(model, 1, DIRECTION, 0.25, norm=2.0):
        assert torch.allclose(logits(model, IDS[0]), twice, atol=1e-5)


def test_where_is_told_by_tokens_and_padding():
    ids = torch.tensor([[5, 6, 5, 6, 7, 0], [0, 5, 6, 7, 5, 6]])
    positions = torch.tensor([[0, 1, 2, 3, 4, -1], [-1, 0, 1, 2, 3, 4]])
    now = Pass(ids, positions, False, [(0,), (1,)])
    step = Pass(torch.tensor([[5], [7]]), torch.tensor([[6], [5]]), True, [(1,), (0,)])

    def places(where, of):
        return [of.positions[r][where(of)[r]].tolist() for r in range(2)]

    assert places(everywhere, now) == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 4]]
    assert places(sampled, now) == [[], []] and places(sampled, step) == [[6], [5]]
    assert places(after([6, 7]), now) == [[1, 3, 4], [1, 2, 4]] and places(after([7]), step) == [[], [5]]
    # At the padding before row 1 there is no state to be changed, though the motif follows.
    assert places(before([5, 6]), now) == [[1], [2]]
    assert places(before([7, 0]), now) == [[], []] and places(before([6]), now) == [[0, 2], [0, 3]]
    assert places(before([5]), step) == [[], []] and places(before([5] * 9), now) == [[], []]
    assert places(at([[5], [6, 0, 6]]), step) == [[6], [5]]
    assert places(at([[0, 4], []]), now) == [[0, 4], []]


def test_a_random_direction_is_at_right_angles_and_as_long():
    rng = torch.Generator().manual_seed(0)
    mixed = torch.randn(6, 6, generator=rng, dtype=torch.float64)
    covariance, direction = mixed @ mixed.T, torch.randn(6, generator=rng, dtype=torch.float64) * 5
    off = torch.eye(6, dtype=torch.float64) - torch.outer(direction, direction) / direction.norm() ** 2
    for given in (None, covariance):
        found = torch.stack([random_direction(direction, seed, given) for seed in range(3_000)])
        assert torch.allclose(found.norm(dim=-1), direction.norm().expand(3_000))
        assert (found @ direction).abs().max() < 1e-9 * direction.norm() ** 2
        # Its mean outer product is that of normal draws, projected and brought to one length.
        root = torch.linalg.cholesky(torch.eye(6, dtype=torch.float64) if given is None else given)
        drawn = torch.randn(20_000, 6, generator=rng, dtype=torch.float64) @ root.T @ off
        drawn = drawn / drawn.norm(dim=-1, keepdim=True)
        expected = drawn.T @ drawn / len(drawn)
        assert torch.allclose(found.T @ found / 3_000 / direction.norm() ** 2, expected, atol=0.03)
    single = direction.float()
    assert random_direction(single, 1).dtype == torch.float32
    assert torch.equal(random_direction(single, 1), random_direction(single, 1))
    with pytest.raises(UserError, match="at right angles"):
        random_direction(direction, 0, torch.outer(direction, direction))


def test_the_typical_norm_is_not_moved_by_a_few_long_states():
    states = torch.eye(5).repeat(3, 1) * 2
    states[0] *= 1_000
    assert typical_norm(states) == 2.0


def test_arguments_that_do_not_fit_are_named(models):
    model = models["llama"]
    for bad in (torch.zeros(16), torch.ones(3), torch.full((16,), torch.nan)):
        with pytest.raises(UserError, match="a direction is 16 numbers"), steer(model, 1, bad, 1.0):
            pass
    with pytest.raises(UserError, match=r"layers 0\.\.2"), erase(model, 3, lambda states: states):
        pass
    with (
        pytest.raises(UserError, match=r"2 positions need states \[2, 16\]"),
        patch(model, 1, [[0], [1]], torch.ones(3, 16)),
    ):
        pass
    with pytest.raises(UserError, match="no position twice"), patch(model, 1, [[1, 1]], torch.ones(2, 16)):
        pass
    with pytest.raises(UserError, match="counted from 0"):
        at([[-1]])
    with patch(model, 1, [[0]], torch.ones(1, 16)), pytest.raises(UserError, match="given for 1 sequences"):
        capture(model, IDS, [1], [[0]] * 4)
    with steer(model, 1, DIRECTION, 1.0), pytest.raises(UserError, match="need token ids"):
        model.hf(inputs_embeds=torch.ones(1, 2, 16))
    with steer(model, 1, DIRECTION, 1.0), pytest.raises(UserError, match="mask of 4 dimensions"):
        model.hf(torch.tensor([[1, 2]]), attention_mask=torch.zeros(1, 1, 2, 2))
