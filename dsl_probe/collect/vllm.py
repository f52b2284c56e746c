"""vLLM: fast sampling for `collect --engine vllm`, and its hidden states for `capture --backend vllm`.

**Not run against a real vLLM**: it needs a GPU, and the tests have none. They drive this file with stand-ins that take
the documented arguments only and answer in the documented formats (docs.vllm.ai, versions 0.18 to 0.22: `LLM.generate`,
`SamplingParams`, "Hidden State Extraction"). The first capture with it is checked by the stage's own self-check.

Sampling: each request has its own seed, but vLLM draws from a generator of its own, so its tokens are not those of
`--engine transformers` for the same seed. It computes in batches whose make-up depends on the machine, so a run
repeats on the same machine and version only (see its page "Reproducibility").

Hidden states: vLLM's layer id 0 is the embeddings and id k + 1 is what block k puts out, the last one too, before the
final norm. So resid_post of layer k is id k + 1 for every layer. Nothing else can be had.
"""

import os
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from dsl_probe.collect.backends import check_ids, check_layers
from dsl_probe.collect.decode import LOOP_EVERY
from dsl_probe.collect.local import check_fit, shown
from dsl_probe.collect.seeded import Outcome, Progress, Sampling, is_loop, key_of
from dsl_probe.collect.tokens import context_length
from dsl_probe.model_source import source_of
from dsl_probe.models import Model, describe_model, render, stop_ids
from dsl_probe.types import Problem, UserError

if TYPE_CHECKING:
    import torch

    from dsl_probe.collect.sample import CollectConfig

NOISE = "vllm: a torch generator a request, seeded with its key"
_engines: "WeakKeyDictionary[Any, tuple[list[int], Any, tempfile.TemporaryDirectory]]" = WeakKeyDictionary()


class VllmBackend:
    """Samples (problem, sample) pairs, a request each, all of a shard at once; called like `LocalBackend`.

    A loop is looked for afterwards, by the same rule, and the completion cut where the rule would have ended it
    (`sampled_tokens` in its meta says how long it was). Entropies are null: vLLM gives the likeliest tokens at most.
    """

    def __init__(self, spec: str, config: "CollectConfig", sampling: Sampling):
        self.model = describe_model(
            spec, revision=config.revision, dtype=config.compute, trust_remote_code=config.trust_remote_code
        )
        self.options = replace(sampling, stop_ids=sampling.stop_ids or stop_ids(self.model))
        self.template, self.prefix, self.seed = config.template, config.prefix, config.seed
        self.tokenizer_hash = self.model.tokenizer_hash
        vllm = _vllm()
        self.sampling = asdict(self.options) | {
            "seed": config.seed,
            "noise": NOISE if sampling.temperature else None,
            "engine": "vllm",
            "vllm": vllm.__version__,
            "dtype": self.model.dtype,
            "logprobs": "raw model at temperature 1",
            "transformers": version("transformers"),
        }
        self.llm = _engine(
            spec,
            self.model.dtype,
            config.revision,
            config.trust_remote_code,
            seed=0,
            tensor_parallel_size=_devices() if config.device_map == "auto" else 1,
            logprobs_mode="raw_logprobs",
        )

    def __call__(self, pairs: Sequence[tuple[Problem, int]], progress: Progress) -> list[Outcome]:
        prefix = self.model.tokenizer(self.prefix, add_special_tokens=False)["input_ids"]
        rendered = {p.id: [*render(self.model, self.template, p.prompt), *prefix] for p, _ in pairs}
        check_fit(self.model, rendered.values(), self.options.max_new_tokens)
        prompts = [rendered[problem.id] for problem, _ in pairs]
        params = [self._params(key_of(self.seed, problem.id, sample)) for problem, sample in pairs]
        answers = self.llm.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
        outcomes = [self._outcome(ids, len(prefix), a) for ids, a in zip(prompts, answers, strict=True)]
        progress.tokens(sum(len(o.token_ids or []) for o in outcomes))
        progress.traces(len(outcomes))
        return outcomes

    def _params(self, key: int) -> Any:
        options = self.options
        return _vllm().SamplingParams(
            n=1,
            temperature=options.temperature,
            top_p=options.top_p,
            top_k=options.top_k,
            min_p=0.0,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            repetition_penalty=1.0,
            seed=key % 2**63,
            max_tokens=options.max_new_tokens,
            min_tokens=0,
            # What ends a completion stands here in full, and nothing of the model's generation_config besides.
            ignore_eos=True,
            stop_token_ids=list(options.stop_ids),
            stop=list(options.stop_texts) or None,
            logprobs=0,
            # Its text is needed only where texts may end it, and those may be special tokens.
            detokenize=bool(options.stop_texts),
            skip_special_tokens=False,
        )

    def _outcome(self, prompt: list[int], n_prefix: int, answer: Any) -> Outcome:
        if list(answer.prompt_token_ids) != prompt:
            raise UserError(
                "vLLM read another prompt than it was given: its version does not take token ids as they are."
            )
        made = answer.outputs[0]
        ids = [int(i) for i in made.token_ids]
        if made.logprobs is None or len(made.logprobs) != len(ids):
            raise UserError(f"vLLM gave {len(ids)} tokens and {len(made.logprobs or [])} log-probabilities.")
        logprobs = [float(made.logprobs[n][i].logprob) for n, i in enumerate(ids)]
        meta: dict[str, Any] = {"prefix_tokens": n_prefix} if n_prefix else {}
        finish = made.finish_reason if made.finish_reason in ("stop", "length") else None
        if finish is None:
            meta["finish_reason"] = made.finish_reason
        end = loop_end(ids, self.options.loop_tokens)
        if end is not None and not (end == len(ids) and finish == "stop"):
            meta["sampled_tokens"] = len(ids)
            ids, logprobs, finish = ids[:end], logprobs[:end], "loop"
        text = self.prefix + shown(self.model, ids, self.options)
        return Outcome(text=text, finish=finish, prompt_ids=prompt, token_ids=ids, logprobs=logprobs, meta=meta)


def check_options(config: "CollectConfig") -> None:
    """Refuse what vLLM is not given here, before anything is loaded."""
    if config.adapter is not None:
        raise UserError("--engine vllm takes no --adapter: merge it into the model, or use --engine transformers.")
    if config.device != "auto":
        raise UserError(f"--engine vllm picks its device itself: leave --device {config.device} out.")
    if config.device_map not in (None, "auto"):
        raise UserError(f"--device-map {config.device_map!r} is unknown to vLLM; auto spreads a model over all GPUs.")
    if config.checkpoints is None:
        _plain_source(config.model)


def loop_end(tokens: Sequence[int], window: int) -> int | None:
    """After how many tokens sampling would have been ended as a loop, had it been looked at while it ran; None: never.

    >>> loop_end([1, 2] * 40, 64), loop_end(list(range(80)), 64)
    (64, None)
    """
    ends = range(LOOP_EVERY, len(tokens) + 1, LOOP_EVERY)
    return next((n for n in ends if is_loop(tokens[:n], window)), None)


def capture_vllm(
    model: Model,
    ids: Sequence[Sequence[int]],
    layers: Sequence[int],
    positions: Sequence[Sequence[int]],
    site: str = "resid_post",
) -> "dict[str, torch.Tensor]":
    """States by vLLM's own extraction: a prefill of each sequence, one token that is thrown away, a file of states.

    Arguments and result as in `backends.capture`; resid_post only. vLLM loads the model a second time, beside the one
    that the self-check needs: on one GPU it takes nine tenths of what that leaves free (--device cpu leaves all of it).
    Prefix caching is off, since tokens found in the cache are not computed and their states would be missing; lengths
    and token ids are compared, and a state of zeros is refused.
    """
    import torch

    layers = check_layers(layers, model.n_layers)
    check_ids(model, ids, positions)
    if site != "resid_post":
        raise UserError(f"vLLM hands out resid_post only; for --site {site} use --backend transformers.")
    wanted = [i for i, places in enumerate(positions) if len(places)]
    longest, room = max((len(ids[i]) for i in wanted), default=0), context_length(model)
    if room and longest >= room:
        raise UserError(
            f"a sequence fills all {room} positions of {model.name}, and vLLM needs one for a new token: "
            f"use --backend transformers for it."
        )
    dtype = next(model.hf.parameters()).dtype
    parts: list[torch.Tensor] = []
    if wanted:
        llm = _extractor(model, layers)
        one = _vllm().SamplingParams(n=1, temperature=0.0, max_tokens=1, detokenize=False)
        asked = [[int(t) for t in ids[i]] for i in wanted]
        answers = llm.generate([{"prompt_token_ids": x} for x in asked], one, use_tqdm=False)
        for i, sent, answer in zip(wanted, asked, answers, strict=True):
            path = (getattr(answer, "kv_transfer_params", None) or {}).get("hidden_states_path")
            if path is None:
                raise UserError(
                    "vLLM wrote no hidden states: its version has no extract_hidden_states (0.18 and later have it)."
                )
            states = read_states(Path(path), sent, len(layers), model.d_model)
            parts.append(states[torch.as_tensor(positions[i], dtype=torch.long)].to(dtype))
    rows = torch.cat(parts) if parts else torch.empty(0, len(layers), model.d_model, dtype=dtype)
    return {f"{site}.{k}": rows[:, n].contiguous() for n, k in enumerate(layers)}


def read_states(path: Path, ids: Sequence[int], n_layers: int, d_model: int) -> "torch.Tensor":
    """States [len(ids), n_layers, d_model] from a file that vLLM wrote, which is then deleted.

    Layout: safetensors with `hidden_states` [tokens, layers, d_model] and `token_ids` [tokens].
    """
    try:
        found = _load_file(path)
    finally:
        for file in (path, Path(f"{path}.lock")):
            file.unlink(missing_ok=True)
    states, read = found["hidden_states"], found["token_ids"].tolist()
    if read != list(ids):
        raise UserError(f"vLLM's states are of {len(read)} tokens, not of the {len(ids)} that it was given.")
    if tuple(states.shape) != (len(ids), n_layers, d_model):
        raise UserError(
            f"vLLM's states have shape {list(states.shape)}, not {[len(ids), n_layers, d_model]}: it cannot give all "
            f"of these layers for this architecture. Use --backend transformers."
        )
    if not bool((states != 0).any(-1).all()):
        raise UserError("vLLM gave states of zeros: tokens that it did not compute. Use --backend transformers.")
    return states


def _load_file(path: Path) -> "dict[str, torch.Tensor]":
    # Newer versions write in the background and hold a lock meanwhile, which their own reader waits for.
    with suppress(ImportError):
        from vllm.distributed.kv_transfer.kv_connector.v1 import (  # ty: ignore[import-not-found]
            example_hidden_states_connector as connector,
        )

        if hasattr(connector, "load_hidden_states"):
            return connector.load_hidden_states(str(path))
    from safetensors.torch import load_file

    return load_file(path)


def _extractor(model: Model, layers: list[int]) -> Any:
    """The engine that writes the states of these layers; one a model, made anew for other layers."""
    held = _engines.get(model.hf)
    if held is not None and held[0] == layers:
        return held[1]
    _engines.pop(model.hf, None)
    if hasattr(model.hf, "peft_config"):
        raise UserError("--backend vllm takes no --adapter: merge it into the model, or use --backend transformers.")
    _plain_source(model.name)
    folder = tempfile.TemporaryDirectory(prefix="states-")
    llm = _engine(
        model.name,
        model.dtype,
        # What was loaded, which a branch may not point at any more.
        getattr(model.hf.config, "_commit_hash", None),
        type(model.hf).__module__.startswith("transformers_modules"),
        enable_chunked_prefill=False,
        speculative_config={
            "method": "extract_hidden_states",
            "num_speculative_tokens": 1,
            "draft_model_config": {"hf_config": {"eagle_aux_hidden_state_layer_ids": [k + 1 for k in layers]}},
        },
        kv_transfer_config={
            "kv_connector": "ExampleHiddenStatesConnector",
            "kv_role": "kv_producer",
            "kv_connector_extra_config": {"shared_storage_path": folder.name},
        },
        **_share_of_gpu(model),
    )
    _engines[model.hf] = layers, llm, folder
    return llm


def _engine(spec: str, dtype: str, revision: str | None, trust_remote_code: bool, **options: Any) -> Any:
    # In a process of its own vLLM's scheduling depends on timing, and with it the rounding.
    os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
    return _vllm().LLM(
        model=spec,
        tokenizer_revision=revision,
        revision=revision,
        dtype=dtype,
        trust_remote_code=trust_remote_code,
        generation_config="vllm",
        enable_prefix_caching=False,
        **options,
    )


def _share_of_gpu(model: Model) -> dict[str, float]:
    """Nine tenths of what the model that is loaded already leaves of its GPU; vLLM's default elsewhere."""
    if not model.device.startswith("cuda"):
        return {}
    import torch

    free, total = torch.cuda.mem_get_info(model.hf.device)
    return {"gpu_memory_utilization": round(0.9 * free / total, 3)}


def _plain_source(spec: str) -> None:
    if source_of(spec)[1]:
        raise UserError(f"vLLM is given a hub id or a folder, not the GGUF file {spec}: use transformers for it.")


def _devices() -> int:
    import torch

    return max(1, torch.cuda.device_count())


def _vllm() -> Any:
    try:
        import vllm  # ty: ignore[import-not-found]
    except ImportError as error:
        raise UserError("vLLM is not installed: pip install 'dsl-probe[vllm]' (Linux with a GPU).") from error
    return vllm
