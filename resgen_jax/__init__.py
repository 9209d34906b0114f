"""Generation with residual vector quantization: tokenizers, generators, samplers and training."""

import importlib

__version__ = "0.1.0"

# By name and late, each: most of the library asks this file for its version alone.


def open(path):
    """The tokenizer or generator in a run directory, or in one that `resgen convert` wrote.

    A tokenizer has `encode(images)`, `decode(codes)` and `codebooks`, a generator
    `sample(labels, key, **knobs)` and `sample_images(classes, seed=0)`; see
    `resgen_jax.runs.models`.
    """
    return importlib.import_module("resgen_jax.runs.models").open_model(path)


from_pretrained = open


def train(config, workdir):
    """The state after training a config, of a file or a name, to its end; goes on where it stopped.

    See `resgen_jax.runs.train`.
    """
    module = importlib.import_module("resgen_jax.runs.configs.configuration")
    return importlib.import_module("resgen_jax.runs.train").train(module.frozen(config), workdir)


def load_images(paths, image_size, *, channels=3, crop="center"):
    """Images of a folder, or of files, as a tokenizer takes them: "n h w c" in [-1, 1].

    See `resgen_jax.evaluation.image_arrays`.
    """
    module = importlib.import_module("resgen_jax.evaluation.image_arrays")
    return module.load_images(paths, image_size, channels=channels, crop=crop)


def save_grid(images, path, *, columns=None, names=(), title=""):
    """Images "n h w c", in [-1, 1] or uint8, on one sheet; see `load_images`."""
    module = importlib.import_module("resgen_jax.evaluation.image_arrays")
    return module.save_grid(images, path, columns=columns, names=names, title=title)


def base_config(name):
    """A config that travels with the package: `base_config("tokenizers/rq_vae_mnist.py:tiny")`.

    For the config files of users, which change it and return it. It is what `get_config` of that
    file gives for the words behind the colon. A file of one's own is found by its path.
    """
    return importlib.import_module("resgen_jax.runs.configs.configuration").read_file(name)
