"""A small corpus with a known difference, for tests: made of nothing but a seed."""

import json
import random
from pathlib import Path

WORDS = "so the next step is to add both parts and then we check that it holds for each case of this sum".split()  # noqa: SIM905
TOPIC = {"math": ["number", "equation", "fraction", "divide"], "logic": ["knight", "liar", "statement", "implies"]}


def rows(problems: int = 30, samples: int = 2, seed: int = 0, private: str = "zorp") -> list[dict]:
    """Two models, two domains; model-b says `private` in half of its traces, model-a never."""
    rng = random.Random(seed)
    made = []
    for domain, topic in TOPIC.items():
        for p in range(problems):
            prompt = f"Problem {p}: " + " ".join(rng.choices(topic + WORDS, k=12))
            for model, regime in (("model-a", "base"), ("model-b", "rl_only")):
                for s in range(samples):
                    words = rng.choices(WORDS + topic * 2, k=rng.randint(40, 80))
                    if model == "model-b" and rng.random() < 0.5:
                        for _ in range(2):
                            words.insert(rng.randrange(len(words)), private)
                    text = "<think> " + " ".join(words) + f" . </think> <answer> {rng.randint(0, 9)} </answer>"
                    made.append(
                        {
                            "trace_id": f"{domain}/{p}/{model}/{s}",
                            "problem_id": f"{domain}/{p}",
                            "domain": domain,
                            "model": model,
                            "regime": regime,
                            "start_model": "model-a" if model == "model-b" else None,
                            "sample": s,
                            "prompt": prompt,
                            "text": text,
                            "correct": rng.random() < 0.5,
                            "finish": "stop",
                        }
                    )
    return made


def write_jsonl(path: Path, content: list[dict]) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in content), "utf-8")
    return path
