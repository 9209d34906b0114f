"""Training level by level: which codes are scored, and with which heads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_tasks

from resgen_jax.core import errors
from resgen_jax.training import resgen_loss


def test_level_by_level_scores_the_hidden_codes_of_one_level_alone(key):
    """Whatever the logits say of finer levels, which are hidden too."""
    space, batch = tiny_tasks.SPACE, jax.tree.map(jnp.asarray, tiny_tasks.codes())
    spec = resgen_loss.LossSpec(masks="level_by_level")
    drawn = resgen_loss.draw(batch, key, spec, space)
    is_masked = np.asarray(drawn["is_masked"])
    level = is_masked.any(axis=1).argmax(axis=-1)
    assert len(np.unique(level)) > 1
    shape = (*drawn["codes"].shape, space.codes.codebook_size)
    logits = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    nll = -np.asarray(jax.nn.log_softmax(logits))
    chosen = np.take_along_axis(nll, np.asarray(drawn["codes"])[..., None], axis=-1)[..., 0]
    is_of_level = is_masked & (np.arange(space.codes.depth) == level[:, None, None])
    found = resgen_loss.code_nll(drawn, jnp.asarray(logits)) / resgen_loss.counts(drawn).num_tokens
    assert float(found) == pytest.approx(chosen[is_of_level].mean(), rel=1e-5)
    finer = np.arange(space.codes.depth) > level[:, None, None]
    assert (is_masked & finer).any()
    moved = logits + 5.0 * finer[..., None] * (np.arange(shape[-1]) == 0)
    again = resgen_loss.code_nll(drawn, jnp.asarray(moved, jnp.float32))
    assert float(again) == float(resgen_loss.code_nll(drawn, jnp.asarray(logits)))


def test_level_by_level_needs_a_head_of_codes():
    with pytest.raises(errors.UserError, match="model.head 'mixture' predicts the sum of all"):
        tiny_tasks.generator(loss=resgen_loss.LossSpec(masks="level_by_level"))
