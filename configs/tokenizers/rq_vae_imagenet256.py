"""RQ-VAE on ImageNet 256x256: an 8x8 grid of depth 4, 8 or 16, at RQ-VAE's published sizes.

    resgen train --config=configs/tokenizers/rq_vae_imagenet256.py:depth16 \\
        --config.data.path=IMAGENET --config.loss.weights=WEIGHTS --config.mesh.data=-1 \\
        --workdir=runs/imagenet_tokenizer

IMAGENET holds train/ and val/ with a folder a class; WEIGHTS is the folder with LPIPS on VGG16.
`:depth4`, `:depth8` or `:depth16` (the default) names the depth, `:rq_vae` the published tokenizer
(depth 4, one codebook of 16,384 for all levels, updates of every step), `:l2` leaves LPIPS and the
adversary out, `:tiny` takes a few steps of a small network.

`:pod4096` is the run for a pod: 15,625 steps of batch 4,096 with learning rates of 2.3e-4 after 156
steps, an average of 0.9968 and codebook statistics that keep 0.725 a step, for as many samples
(`pods.scale_to_batch` has the rules and their sources). It is a starting point: these settings have
not been run, and a batch 32 times as large may lie beyond what the rules hold for.

Published for `:rq_vae`: 100.2 M parameters (checked here), rFID 4.73 after 10 epochs of batch 128
on four A100 and 3.20 after 50. ResGen's own tokenizer (depth 8 and 16) is not published: its sizes
are taken to be these, with 1,024 entries a level, which is what its generator's config expects.
Not trained here; hours and rFID are unknown.
"""

import ml_collections

from resgen_jax.configs import common, pods, rq_vae
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of the words above, with commas between them."""
    words = build.words(arg, {"depth4", "depth8", "depth16", "rq_vae", "l2", "pod4096", "tiny"})
    config = common.begin("rq_vae")
    config.data = rq_vae.folder(image_size=256, batch_size=128)
    config.data.update(num_threads=16, crop="adm", flip=True)
    config.data.random_crop = (1.0, 1.0)  # anywhere along the longer side
    config.model = dict(
        width=128,
        multipliers=(1, 1, 2, 2, 4, 4),
        num_res_blocks=2,
        num_decoder_res_blocks=3,
        attention_sizes=(8,),
        latent_channels=256,
        bridge_size=1,
        code_dim=256,
        dtype="bfloat16",
    )
    depth = next((n for n in (4, 8) if f"depth{n}" in words), 16)
    config.quantizer = dict(
        learner="ema", depth=depth, codebook_size=1024, decay=0.99, restart_threshold=0.05
    )
    rq_vae.sharpen(config)
    # RQ-VAE's commitment, to every prefix of the codes. At depth 16 on CIFAR-10 (`rq_vae_folder.py:
    # px32` with depth 16, 2,000 steps, 1,000 held-out images of all classes) it gave 20.17, 22.92
    # and 24.08 dB at depth 2, 6 and 16, "total" 19.97, 22.89 and 24.25: more in the coarse levels,
    # a little less in the deepest, and no level that tells nothing.
    config.loss.update(
        perceptual="vgg",
        perceptual_weight=1.0,
        commitment="prefix",
        commitment_weight=0.25,
        start_step=1,  # k-means on the first batch starts the codebooks
        average_decay=0.9999,
    )
    adam = dict(learning_rate=4e-5, warmup_steps=5_000, decay="constant", b1=0.5, b2=0.9)
    config.adversarial.update(width=64, normalization="batch", weight=0.75, start_step=0)
    config.adversarial.optimizer = adam
    config.optimizer = adam
    # 50 epochs of 1,281,167 images.
    config.train = dict(
        num_steps=500_000,
        log_every=100,
        evaluate_every=10_000,
        checkpoint_every=5_000,
        num_held_out_batches=20,
    )
    if "rq_vae" in words:
        config.quantizer.update(learner="shared_ema", depth=4, codebook_size=16_384)
    if "pod4096" in words:
        pods.scale_to_batch(config, 4096)
    if "tiny" in words:
        _make_tiny(config)
    if "l2" in words:
        rq_vae.leave_squared_error_alone(config)
    return config


def _make_tiny(config: ml_collections.ConfigDict) -> None:
    rq_vae.make_tiny(config)
    config.data.num_threads = 0
    config.model.update(
        multipliers=(1, 2),
        num_res_blocks=1,
        num_decoder_res_blocks=1,
        latent_channels=8,
        code_dim=8,
        dtype="float32",
    )
    config.adversarial.optimizer.warmup_steps = 1
