"""A model ready to use, out of a run directory or an export."""

import os
from collections.abc import Callable
from typing import Any

from resgen_jax.convert import exports, pretrained
from resgen_jax.recipes import on_images
from resgen_jax.runs import open_run, progress, run_directory

Model = pretrained.Tokenizer | pretrained.Generator | pretrained.CodePredictor


def open_model(path: str | os.PathLike, note: Callable[[str], None] = progress.say) -> Model:
    """The tokenizer or generator in a run directory, by its newest good checkpoint, or an export.

    A tokenizer has `encode(images)`, `decode(codes)` and `codebooks`; a generator `sample(labels,
    key, **knobs)` and `sample_images(classes, seed=0)`. `note` hears of damaged checkpoints and of
    data that have moved. Raises UserError where neither lies there.
    """
    if exports.is_export(path) or not run_directory.is_there(path):
        return pretrained.from_pretrained(path)
    config = run_directory.read(path)
    if run_directory.role_of(config) is on_images.ROLE:
        return _tokenizer(open_run.open_tokenizer(path, note))
    return _generator(open_run.open_generator(path, note), note)


def _tokenizer(run: open_run.TokenizerRun) -> pretrained.Tokenizer:
    model = run.model

    def encode(tree: Any, images: Any) -> Any:
        return model.encode(tree["params"], tree["statistics"], images)

    def decode(tree: Any, codes: Any) -> Any:
        return model.decode(tree["params"], tree["statistics"], codes)

    return pretrained.Tokenizer(
        run.config.model,
        model.codebooks(run.statistics),
        {"params": run.params, "statistics": run.statistics},
        encode,
        decode,
        _description(run),
        (model.grid[0] * model.grid[1], model.depth),
    )


def _generator(run: open_run.GeneratorRun, note: Callable[[str], None]) -> pretrained.Generator:
    tree = {"params": run.params, "statistics": {"codebooks": run.codebooks}}
    return pretrained.Generator(
        run.model,
        run.config.sampler,
        tree,
        run.meta.class_names,
        _description(run),
        lambda: _tokenizer(open_run.open_tokenizer_for(run, None, note)),
    )


def _description(run: Any) -> dict[str, Any]:
    return {"kind": run.config.task, "step": run.step}
