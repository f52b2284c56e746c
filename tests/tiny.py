"""A random Llama of a few kilobytes with a word tokenizer, on disk as transformers saves it."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dsl_probe.models import Model

SPECIAL = ["<pad>", "<s>", "</s>", "<unk>", "<|user|>", "<|assistant|>"]
TEXT = (
    "<think> </think> <answer> </answer> : . , ? + - * / = the is so wait let me check answer think number first then "
    "two plus times hence therefore done what user assistant"
)
WORDS = [*SPECIAL, *TEXT.split(), *map(str, range(40))]
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}|> {{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


def tiny_tokenizer():
    """Words split at spaces; <s> is put before every text; no generation surprises."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    ids = {word: i for i, word in enumerate(WORDS)}
    raw = Tokenizer(models.WordLevel(ids, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", ids["<s>"])])
    return PreTrainedTokenizerFast(
        tokenizer_object=raw,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        pad_token="<pad>",
        additional_special_tokens=["<|user|>", "<|assistant|>"],
        chat_template=CHAT_TEMPLATE,
    )


def tiny_model(folder: Path, seed: int = 0, spread: float = 0.3, **generation: object) -> Path:
    """Save a 2-layer Llama (d_model 32) and its tokenizer into `folder`; returns the folder.

    spread: standard deviation of the weights; larger makes it surer of its tokens. generation: entries of its
    generation_config.json, to see whether they leak.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = tiny_tokenizer()
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=spread,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    for name, value in generation.items():
        setattr(model.generation_config, name, value)
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def architecture(kind: str, folder: Path) -> "Model":
    """A random model of a kind, small, with a tokenizer that was loaded from disk (the bridge wants such a one)."""
    import torch
    import transformers as tf

    from dsl_probe.models import Model

    sizes = {"vocab_size": 80, "bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    wide = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 3, "num_attention_heads": 4}
    configs = {
        "llama": lambda: tf.LlamaConfig(**sizes, **wide, num_key_value_heads=2),
        "qwen2": lambda: tf.Qwen2Config(**sizes, **wide, num_key_value_heads=2),
        "gpt2": lambda: tf.GPT2Config(**sizes, n_embd=16, n_layer=3, n_head=4, n_positions=64),
    }
    torch.manual_seed(0)
    hf = tf.AutoModelForCausalLM.from_config(configs[kind]()).eval()
    tiny_tokenizer().save_pretrained(folder)
    tokenizer = tf.AutoTokenizer.from_pretrained(folder)
    return Model(kind, hf, tokenizer, 3, 16, "cpu", "float32", "hash")
