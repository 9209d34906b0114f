"""Pictures of the demo beside its samples: real images, nearest ones, and halves filled in."""

import numpy as np

from resgen_jax.evaluation import images as image_measures
from resgen_jax.evaluation import neighbours, pictures
from resgen_jax.runs import inpainting, open_run, progress, run_directory
from resgen_jax.runs.demo import plans

REAL, NEIGHBOURS, FILLED_IN = "real.png", "neighbours.png", "filled_in.png"
NUM_SHOWN, NUM_NEAREST, BATCH_SIZE = 8, 5, 500


def fill_in(plan: plans.Plan) -> None:
    """Held-out images of which the first half of the positions is kept; none of one position."""
    generator = open_run.open_generator(plan.generator_dir, progress.say)
    is_kept = first_half(generator.meta.space.layout)
    if not is_kept.any():
        progress.say(f"a grid of {is_kept.size} position has no half to fill in")
        return
    tokenizer = open_run.open_tokenizer_of(generator.meta, None, progress.say)
    filled = inpainting.fill_in(
        generator,
        tokenizer,
        generator.config.sampler,
        inpainting.prompts(generator, tokenizer, inpainting.HELD_OUT, None, NUM_SHOWN),
        is_kept,
        seed=2,
        batch_size=NUM_SHOWN,
    )
    run_directory.save_picture(plan.workdir / FILLED_IN, filled.picture)


def first_half(grid: tuple[int, int]) -> np.ndarray:
    """Bool "h w", True for what is kept: the upper rows, of a single row the left columns."""
    is_kept = np.zeros(grid, bool)
    rows, columns = grid
    if rows > 1:
        is_kept[: rows // 2] = True
    else:
        is_kept[:, : columns // 2] = True
    return is_kept


def beside_real(
    plan: plans.Plan,
    samples: image_measures.Labelled,
    real: image_measures.Labelled,
    held_out: image_measures.Labelled,
    class_names: tuple[str, ...],
) -> dict[str, float]:
    """Draws training images by class, and samples beside the nearest ones; how near those are.

    The figures are medians of root mean square differences of pixels, from 0 to 255.
    """
    picture = pictures.real(real.images, real.labels, class_names)
    run_directory.save_picture(plan.workdir / REAL, picture)
    order, distance = neighbours.nearest(samples.images, real.images, NUM_NEAREST)
    of_held_out = neighbours.nearest(held_out.images[:BATCH_SIZE], real.images, 1)[1]
    names = [str(class_names[label]) for label in samples.labels[:NUM_SHOWN]]
    picture = pictures.nearest(samples.images[:NUM_SHOWN], real.images[order[:NUM_SHOWN]], names)
    run_directory.save_picture(plan.workdir / NEIGHBOURS, picture)
    return {
        "nearest_training": float(np.median(distance[:, 0])),
        "nearest_training_held_out": float(np.median(of_held_out)),
    }
