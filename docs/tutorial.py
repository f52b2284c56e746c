# %% [markdown]
# # Does a model that was only rewarded write another language than one that was shown how?
# Three models grown for this purpose ship with the repository: a base, its fine-tuned child `sft`, and `rl-only`.
# %%
import dsl_probe
from dsl_probe.collect.domains.worlds import STATE_WORDS
from dsl_probe.collect.sample import collect
from dsl_probe.collect.shipped import shipped_folder
from dsl_probe.demo import organism_sampling

runs = []
for name, regime in {"base": "base", "sft": "sft", "rl-only": "rl_only"}.items():
    runs.append(dsl_probe.Run.create(f"runs/tutorial-{name}"))
    start = {} if name == "base" else {"start_model": "base", "start_ckpt": "base"}
    path = str(shipped_folder("organisms") / name)
    config = organism_sampling(
        model=path, name=name, regime=regime, domains=("chain", "hop", "swap"), n=40, samples=4, **start
    )
    collect(runs[-1], config)

# %% [markdown]
# Both against each other and against their base, on the same problems, at equal units of text. The words that a world
# alone speaks of (its states) would tell how terse a model is, so that they are left out of sharing.
# %%
groups = {"a": "model=rl-only", "b": "model=sft", "base": "model=base", "content": tuple(sorted(STATE_WORDS))}
found = dsl_probe.compare(runs, out="runs/tutorial", **groups)
print(found.summary())
found.plot().save("runs/tutorial.svg")
found.discoveries().query("part_of.isna()")[["text", "log_odds", "ci_low", "p_adj", "novelty", "stable", "verdict"]]

# %% What the design claims, with the doubts that apply here; sharing; and what would have been missed or invented.
print(dsl_probe.claims(found.run, **groups).summary())
print(dsl_probe.sharing(found.run, **groups).summary())
print(dsl_probe.validate(found.run, group="model=rl-only", spikes=("nonce",), motifs=2, splits=4).summary())
# %% One page to hand on.
found.to_html("runs/tutorial.html")
