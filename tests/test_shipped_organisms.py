"""The model organisms in data/: small, loadable by anybody, and what their cards say."""

import json
import re

import pytest
import torch

from dsl_probe.collect.decode import draw
from dsl_probe.collect.domains import load_domain
from dsl_probe.collect.local import shown
from dsl_probe.collect.seeded import Sampling
from dsl_probe.collect.shipped import shipped_folder
from dsl_probe.models import load_model, render, stop_ids

FOLDERS = sorted(p for p in shipped_folder("organisms").iterdir() if p.is_dir())
NAMES = [p.name for p in FOLDERS]


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_size_and_files(folder):
    assert sum(p.stat().st_size for p in folder.iterdir()) <= 2_000_000
    assert {"model.safetensors", "tokenizer.json", "config.json", "recipe.json", "README.md"} <= {
        p.name for p in folder.iterdir()
    }
    assert json.loads((folder / "recipe.json").read_text())["kind"] in folder.name
    assert len({load_model(str(f), device="cpu").tokenizer_hash for f in FOLDERS}) == 1


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_accuracy_is_that_of_the_card(folder):
    """Greedy accuracy on other problems than the card's lies where the card's interval and their number allow."""
    model = load_model(str(folder), device="cpu", dtype="float32")
    domains = [load_domain(name) for name in ("chain", "hop", "swap", "grid")]
    asked = [(domain, problem) for domain in domains for problem in domain.problems(1, 50)]
    sampling = Sampling(temperature=0, max_new_tokens=110, stop_ids=stop_ids(model), loop_tokens=0)
    done = draw(model, [render(model, "raw", p.prompt) for _, p in asked], [0] * len(asked), sampling)
    right = [
        bool(d.verify(p, shown(model, c.token_ids, sampling)).correct) for (d, p), c in zip(asked, done, strict=True)
    ]
    card = re.search(r"greedy, chain hop swap grid \| (\S+) \[", (folder / "README.md").read_text())
    assert card
    expected = float(card.group(1))
    assert abs(sum(right) / len(right) - expected) < 3 * max(0.01, (expected * (1 - expected) / len(right)) ** 0.5)


def test_the_bridge_computes_the_same():
    from transformer_lens.model_bridge import TransformerBridge
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = str(FOLDERS[0])
    words = AutoTokenizer.from_pretrained(folder)
    ids = torch.tensor([words("chain 3 + 4 * 2 ? <think> 7")["input_ids"]])
    plain, bridged = (AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval() for _ in range(2))
    with torch.no_grad():
        expected = plain(ids).logits
        got = TransformerBridge.boot_transformers(folder, hf_model=bridged, tokenizer=words)(ids)
    assert torch.allclose(got, expected, atol=1e-4)
