"""RQ-Transformer on ImageNet 256x256 codes: an 8x8 grid of depth 4 (arXiv 2203.01941).

    resgen train --config=configs/generators/rq_transformer_imagenet256.py:821m \\
        --config.data.codes=DIR --config.mesh.fsdp=8 --workdir=DIR

`:480m`, `:821m` (the default), `:1400m` or `:3800m` names the size: 480.9, 820.9, 1,387.5 and
3,822.5 M parameters. `:guided` adds a null class, drops a tenth of the classes and samples with
guidance, which the published networks do not have; `:tiny` takes a few steps of a small network.

`:pod4096` is the run for a pod: 31,278 steps of batch 4,096 with a learning rate of 7.1e-4 after
312 steps, an average of 0.9998 and a clip at 0.71, for as many samples (`pods.scale_to_batch` has
the rules and their sources). It is a starting point: these settings have not been run.

Published: FID 15.72, 13.11, 11.56 with the tokenizer of 10 epochs, and 8.71 for `:1400m` and 7.55
for `:3800m` with that of 50 epochs, by the authors' own evaluator (statistics of the training set,
images not rounded to 8 bits), so not to be held against figures of the ADM protocol. 100 epochs of
batch 2,048, AdamW at 5e-4, top-p 0.92. This config has not been trained here.

In the paper, the codes and soft targets of an image are drawn from the encoder's latents, at a
temperature of 0.5. Here they are drawn from the sum of the cached codes, which lacks what the last
level left. Not published, so chosen: the average of the parameters, and a warm-up of 1 % of the
run.
"""

import ml_collections

from resgen_jax.configs import common, pods, rq_transformer
from resgen_jax.core import build

# 1,281,167 images a hundred times, in batches of 2,048.
NUM_STEPS = 62_557
SIZES = {
    "480m": dict(width=1536, num_heads=24, num_body_layers=12, num_head_layers=4),
    "821m": dict(width=1536, num_heads=24, num_body_layers=24, num_head_layers=4),
    "1400m": dict(width=1536, num_heads=24, num_body_layers=42, num_head_layers=6),
    "3800m": dict(width=2560, num_heads=40, num_body_layers=42, num_head_layers=6),
}


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of the words above, with commas between them."""
    words = build.words(arg, {*SIZES, "guided", "pod4096", "tiny"})
    config = common.begin("rq_transformer")
    config.data = dict(codes="", batch_size=2048, num_threads=16)
    # What the codes have to be; a codes directory of other sizes is refused.
    config.space = dict(grid=(8, 8), depth=4, codebook_size=16384, code_dim=256, num_classes=1000)
    size = next((word for word in SIZES if word in words), "821m")
    config.model = dict(**SIZES[size], dropout_rate=0.1, remat="full", compute_dtype="bfloat16")
    config.loss = dict(soft_target_temperature=0.5, draws_codes=True, average_decay=0.9999)
    config.optimizer = dict(
        learning_rate=5e-4, warmup_steps=625, b2=0.95, weight_decay=1e-4, clip_norm=1.0
    )
    config.train = dict(
        num_steps=NUM_STEPS,
        log_every=100,
        evaluate_every=5_000,
        checkpoint_every=2_500,
        num_held_out_batches=20,
    )
    config.sampler = dict(temperature=1.0, top_p=0.92)
    if "pod4096" in words:
        pods.scale_to_batch(config, 4096)
    rq_transformer.apply(config, words, guidance_scale=2.0)
    return config
