"""Heads and counterparts on the codes of one tokenizer: equal steps, batch and nearly equal size.

    resgen train --config=tokenizers/rq_vae_cifar10.py --config.data.path=CIFAR10 \\
        --config.quantizer.depth=8 --workdir=runs/cifar10_depth8
    resgen encode --workdir=runs/cifar10_depth8 --output=runs/cifar10_codes8 --flip
    resgen scale compare --config=comparisons/cifar10.py --config.codes=runs/cifar10_codes8 \\
        --workdir=runs/comparison --features=mobilenet

Every method trains for 2,000 steps of 64 on two views of 50,000 images, so it sees each view about
once. All have 1.60 to 1.74 M parameters; an auxiliary code head counts where sampling asks it.
`:seeds` trains three seeds of each, `:tiny` takes a few steps of small networks.
"""

import ml_collections

from resgen_jax.core import build

TRUNK = dict(width=128, num_heads=4, mlp_width=512, modulation_width=128)
OPTIMIZER = dict(learning_rate=2e-3, warmup_steps=100)
PLAIN_AND_GUIDED = dict(guidance_scale=[1.0, 1.5, 2.0, 3.0])


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The comparison; `arg` holds any of `seeds` and `tiny`."""
    words = build.words(arg, {"seeds", "tiny"})
    tiny = ":tiny" if "tiny" in words else ""
    config = ml_collections.ConfigDict()
    config.codes = ""
    config.seeds = (0, 1, 2) if "seeds" in words else (0,)
    config.sampling_seeds = (0,)
    config.num_samples = 8 if tiny else 2000
    config.batch_size = 8 if tiny else 250
    config.fields = {}
    if not tiny:
        config.fields = dict(
            loss=dict(average_decay=0.995),
            optimizer=OPTIMIZER,
            train=dict(num_steps=2000, evaluate_every=1000, num_held_out_batches=64),
        )
    config.methods = {
        "mixture": resgen(tiny),
        "paper": resgen(tiny, "paper", num_layers=7),
        "codes": resgen(tiny, "codes", num_layers=5),
        "levels": resgen(tiny, "levels", levels=dict(width=72)),
        "flow": resgen(tiny, "flow", flow=dict(width=96)),
        "rq_transformer": counterpart(tiny, "rq_transformer_cifar10.py", "guided"),
        "ar_resgen": ar_resgen(tiny),
        "level_by_level": counterpart(tiny, "level_by_level_cifar10.py"),
    }
    return config


def resgen(tiny: str, head: str = "", num_layers: int = 4, **model: dict) -> dict:
    """ResGen with a head; layers and widths bring all methods to about 1.67 M parameters."""
    trunk = dict(TRUNK, num_layers=num_layers)
    fields = dict(model=dict(trunk=trunk, **model)) if not tiny else {}
    return counterpart(tiny, "resgen_cifar10.py", head) | dict(fields=fields)


def ar_resgen(tiny: str) -> dict:
    """AR-ResGen, whose sampling does not ask its code head: larger, therefore."""
    fields = dict(model=dict(num_layers=7, num_components=72)) if not tiny else {}
    return counterpart(tiny, "ar_resgen_cifar10.py") | dict(fields=fields)


def counterpart(tiny: str, file: str, word: str = "") -> dict:
    """A method by its own config, which has the size of the others."""
    words = ",".join(each for each in (word, tiny.removeprefix(":")) if each)
    name = f"generators/{file}" + (f":{words}" if words else "")
    sweep = dict(guidance_scale=[1.0]) if tiny else PLAIN_AND_GUIDED
    return dict(config=name, fields={}, sweep=dict(sweep))
