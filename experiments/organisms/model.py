"""The architecture of every organism: a Llama of 0.9 M parameters that reads whole words."""

import json
from pathlib import Path
from typing import Any

from dialects import FRAMES, vocabulary

WIDTH, LAYERS, HEADS, INNER, CONTEXT = 128, 4, 4, 384, 192


def tokenizer() -> Any:
    """One token a word, words parted by spaces; <bos> is put first."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = vocabulary()
    raw = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.post_processor = processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", FRAMES.index("<bos>"))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
    )


def fresh(seed: int) -> Any:
    """A randomly initialised model."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(vocabulary()),
        hidden_size=WIDTH,
        intermediate_size=INNER,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=FRAMES.index("<bos>"),
        eos_token_id=FRAMES.index("<eos>"),
        pad_token_id=FRAMES.index("<pad>"),
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def as_model(hf: Any, name: str) -> Any:
    """The organism in training as a Model, to be sampled."""
    from dsl_probe.models import Model, hash_tokenizer

    words = tokenizer()
    return Model(name, hf.eval(), words, LAYERS, WIDTH, "cpu", "float32", hash_tokenizer(words))


def load(folder: Path) -> Any:
    """Weights in float32, to be trained further."""
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def save(hf: Any, folder: Path, recipe: dict[str, Any]) -> None:
    """float32 weights, tokenizer and recipe.json; the recipe is written last and marks the folder as complete."""
    hf.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    (folder / "recipe.json").write_text(json.dumps(recipe, indent=1, sort_keys=True) + "\n")
