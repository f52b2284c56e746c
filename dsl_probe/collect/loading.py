"""How a model is loaded: the options that collect, capture and score share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsl_probe.models import Model


@dataclass(frozen=True, kw_only=True)
class Loading:
    """Base of the configs of stages that load a model."""

    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    adapter: str | None = None
    """Folder or hub id of a PEFT adapter on the model."""
    device: str = "auto"
    """cpu, cuda, mps ...; auto takes an accelerator where there is one."""
    compute: str = "auto"
    """What the model computes in: float32, bfloat16, float16; auto is float32 on a CPU and bfloat16 elsewhere."""
    device_map: str | None = None
    """For a model larger than one GPU: "auto", as transformers and accelerate read it."""
    trust_remote_code: bool = False
    """Let a model run the code that comes with it."""


def load(name: str, options: Loading) -> "Model":
    """The model called `name`, loaded as the options say."""
    from dsl_probe.models import load_model

    return load_model(
        name,
        revision=options.revision,
        adapter=options.adapter,
        device=options.device,
        dtype=options.compute,
        device_map=options.device_map,
        trust_remote_code=options.trust_remote_code,
    )


def identity(name: str, options: Loading) -> str:
    """What tells its weights apart, adapter included: an input of the stage."""
    from dsl_probe.models import model_identity

    return model_identity(name, options.revision, options.adapter)
