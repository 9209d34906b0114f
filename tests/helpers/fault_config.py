"""The tiny tokenizer of digits for runs that are disturbed; `adversarial` gives it an opponent."""

import pathlib
import runpy

DIGITS = pathlib.Path(__file__).parents[2] / "configs" / "tokenizers" / "rq_vae_digits.py"


def get_config(arg=""):
    """The config; `arg` is empty or `adversarial`."""
    config = runpy.run_path(str(DIGITS))["get_config"]("tiny")
    config.train = dict(num_steps=16, log_every=1, evaluate_every=6, checkpoint_every=4)
    if arg == "adversarial":
        config.adversarial = dict(width=4, num_layers=1, start_step=2)
    return config
