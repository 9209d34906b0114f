"""What comparisons of heads and counterparts have in common; no config itself."""

from typing import Any

import ml_collections

# Without the options that a config may have, which the counterparts' networks do not all have.
PLAIN = dict(norm="layer", has_gated_mlp=False, activation="gelu", normalises_queries=False)
TRUNK = dict(width=128, num_heads=4, mlp_width=512, modulation_width=128, **PLAIN)


class Methods:
    """Entries of a comparison's `methods`: the configs `generators/NAME_DATA.py`, small if tiny."""

    def __init__(self, data: str, guidance_scale: list[float], is_tiny: bool):
        self.data, self.is_tiny = data, is_tiny
        self.sweep = dict(guidance_scale=[1.0] if is_tiny else guidance_scale)

    def resgen(self, num_layers: int, head: str = "", **model: Any) -> dict:
        """ResGen with a head, on a trunk of the study's width."""
        trunk = dict(TRUNK, num_layers=num_layers)
        return self.of("resgen", head, model=dict(trunk=trunk, **model))

    def of(self, name: str, word: str = "", **fields: Any) -> dict:
        """A method by its own config, with fields of its own."""
        words = ",".join(filter(None, (word, "tiny" if self.is_tiny else "")))
        return dict(
            config=f"generators/{name}_{self.data}.py" + (f":{words}" if words else ""),
            fields={} if self.is_tiny else fields,
            sweep=dict(self.sweep),
        )


def begin(words: frozenset) -> ml_collections.ConfigDict:
    """Seeds, samples and batch; the methods and what they share are left to the comparison."""
    is_tiny = "tiny" in words
    config = ml_collections.ConfigDict()
    config.codes = ""
    config.seeds = (0, 1, 2) if "seeds" in words else (0,)
    config.sampling_seeds = (0,)
    config.num_samples = 8 if is_tiny else 2000
    config.num_reference = 8 if is_tiny else 10_000
    config.batch_size = 8 if is_tiny else 250
    config.fields = {}
    return config


def train_on_digits(config: ml_collections.ConfigDict) -> None:
    """The training that all methods share on the codes of 5,000 digits."""
    config.num_samples = 500
    config.fields = dict(
        optimizer=dict(learning_rate=3e-3, warmup_steps=100, matrices="adamw"),
        train=dict(num_steps=1200, evaluate_every=300, num_held_out_batches=7),
    )
