"""Learners whose codebooks are moving averages of what chose them: EMA, cosine, probabilistic."""

import jax.numpy as jnp

from resgen_jax.core import keys, trees
from resgen_jax.quantizers import codebook_averages, cosine, kmeans, learner, probabilistic_rvq, rvq
from resgen_jax.quantizers.learner import Learner, Spec


def ema_rvq(spec: Spec) -> Learner:
    """RVQ with a codebook per level, learnt by moving averages with restart of dead codes."""
    return _ema(spec, spec.depth, kmeans.start, lambda stats: stats, lambda key, rows: rows)


def shared_ema_rvq(spec: Spec) -> Learner:
    """As `ema_rvq`, with one codebook for all levels, learnt from the residuals of all.

    One update a step, by the counts and sums of all levels together. RQ-VAE's own code
    (kakaobrain/rq-vae-transformer) updates the shared codebook after each level of a step, with a
    decay each: a step decays by decay ** depth, the last level weighs most, and level 2 already
    chooses from what level 1 has moved. With `decay` set to that power the pace is about the same.
    """
    return _ema(
        spec, 1, kmeans.start_shared, codebook_averages.pool, codebook_averages.pool_candidates
    )


def _ema(spec, num_tables, start_stats, gather, gather_candidates) -> Learner:
    """The two differ in how statistics and restart candidates of the levels come together."""

    def codebooks(state):
        tables = codebook_averages.codebooks_from(state, spec.smoothing)
        return jnp.broadcast_to(tables, (spec.depth, *tables.shape[1:]))

    def init(key):
        tables = codebook_averages.random_codebooks(
            key, num_tables, spec.codebook_size, spec.code_dim
        )
        return codebook_averages.stats_of(tables)

    def start(state, latents, key, is_valid=None):
        del state  # a fresh start: nothing of the random codebooks remains
        return start_stats(
            key, latents, spec.depth, spec.codebook_size, is_valid, **learner.start_options(spec)
        )

    def update(state, latents, quantized, key, is_valid=None):
        tables, codes = codebooks(state), quantized.codes
        batch = codebook_averages.statistics(
            latents, codes, tables, is_valid, max_distances=spec.max_distances
        )
        state = codebook_averages.update(state, gather(batch), decay=spec.decay)
        if spec.restart_threshold == 0.0:
            return state
        named = keys.named_keys(key, "rows", "levels")
        rows = codebook_averages.entering_rows(named["rows"], latents, codes, tables, is_valid)
        candidates = gather_candidates(named["levels"], rows)
        return codebook_averages.restart(state, candidates, threshold=spec.restart_threshold)

    axes = trees.stand_in(
        codebook_averages.CodebookStats, counts=(None, None), sums=(None, None, None)
    )
    return Learner(init, start, learner.quantizer(spec, codebooks), update, codebooks, axes)


def cosine_rvq(spec: Spec) -> Learner:
    """RVQ that chooses by cosine similarity: each level's codes have one, learnt, length.

    Their directions are moving averages of unit vectors, put back on the sphere; `smoothing` has no
    part in it. With depth 1 and unit latents, the codebook of ViT-VQGAN (section 3.2).
    """

    def init(key):
        return cosine.random_state(key, spec.depth, spec.codebook_size, spec.code_dim)

    def start(state, latents, key, is_valid=None):
        del state  # a fresh start: nothing of the random codebooks remains
        return cosine.start(
            key, latents, spec.depth, spec.codebook_size, is_valid, **learner.start_options(spec)
        )

    def update(state, latents, quantized, key, is_valid=None):
        tables, codes = cosine.codebooks_from(state), quantized.codes
        state = cosine.update(
            state, latents, codes, is_valid, decay=spec.decay, max_distances=spec.max_distances
        )
        if spec.restart_threshold == 0.0:
            return state
        rows = codebook_averages.entering_rows(key, latents, codes, tables, is_valid)
        return cosine.restart(state, rows, threshold=spec.restart_threshold)

    axes = trees.stand_in(
        cosine.CosineState, counts=(None, None), sums=(None, None, None), lengths=(None,)
    )
    quantize = learner.quantizer(spec, cosine.codebooks_from)
    return Learner(init, start, quantize, update, cosine.codebooks_from, axes)


def probabilistic(spec: Spec) -> Learner:
    """Probabilistic RVQ by moving averages (CLaM-TTS section 3); the author's decay is 0.999.

    No code can die, so `restart_threshold` and `smoothing` have no part in it.
    """

    def codebooks(state):
        return state.codebooks

    def init(key):
        tables = codebook_averages.random_codebooks(
            key, spec.depth, spec.codebook_size, spec.code_dim
        )
        return probabilistic_rvq.ProbabilisticState(
            codebooks=tables, variances=jnp.ones(spec.depth)
        )

    def start(state, latents, key, is_valid=None):
        del state  # a fresh start: nothing of the random codebooks remains
        stats = kmeans.start(
            key, latents, spec.depth, spec.codebook_size, is_valid, **learner.start_options(spec)
        )
        tables = codebook_averages.codebooks_from(stats, smoothing=0.0)
        codes, _ = rvq.encode(latents, tables, max_distances=spec.max_distances)
        variances = probabilistic_rvq.variances_left(latents, codes, tables, is_valid)
        return probabilistic_rvq.ProbabilisticState(codebooks=tables, variances=variances)

    def update(state, latents, quantized, key, is_valid=None):
        del key  # nothing random in it
        return probabilistic_rvq.update(
            state,
            latents,
            quantized.codes,
            is_valid,
            decay=spec.decay,
            max_distances=spec.max_distances,
        )

    axes = trees.stand_in(
        probabilistic_rvq.ProbabilisticState, codebooks=(None, None, None), variances=(None,)
    )
    return Learner(init, start, learner.quantizer(spec, codebooks), update, codebooks, axes)
