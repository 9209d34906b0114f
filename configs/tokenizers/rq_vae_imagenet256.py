"""RQ-VAE on ImageNet 256x256: an 8x8 grid of depth 4, 8 or 16, at RQ-VAE's published sizes.

    resgen train --config=configs/tokenizers/rq_vae_imagenet256.py:depth16 \\
        --config.data.path=IMAGENET --config.loss.weights=WEIGHTS --config.mesh.data=-1 \\
        --workdir=runs/imagenet_tokenizer

IMAGENET holds train/ and val/ with a folder a class; WEIGHTS is the folder with LPIPS on VGG16.
`:depth4`, `:depth8` or `:depth16` (the default) names the depth, `:rq_vae` the published tokenizer
(depth 4, one codebook of 16,384 for all levels, updates of every step), `:l2` leaves LPIPS and the
adversary out, `:tiny` takes a few steps of a small network.

Published for `:rq_vae`: 100.2 M parameters (checked here), rFID 4.73 after 10 epochs of batch 128
on four A100 and 3.20 after 50. ResGen's own tokenizer (depth 8 and 16) is not published: its sizes
are taken to be these, with 1,024 entries a level, which is what its generator's config expects.
Not trained here; hours and rFID are unknown.
"""

import ml_collections

from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of `depth4`, `depth8`, `depth16`, `rq_vae`, `l2` and `tiny`."""
    words = build.words(arg, {"depth4", "depth8", "depth16", "rq_vae", "l2", "tiny"})
    config = ml_collections.ConfigDict()
    config.task = "rq_vae"
    config.seed = 0
    config.data = dict(
        source="folder",
        path="",
        image_size=256,
        channels=3,
        batch_size=128,
        num_threads=16,
        max_unreadable=100,
        crop="adm",
        flip=True,
        random_crop=(1.0, 1.0),  # anywhere along the longer side
    )
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
    # RQ-VAE's commitment, to every prefix of the codes. At depth 16 on CIFAR-10 (`rq_vae_folder.py:
    # px32` with depth 16, 2,000 steps, 1,000 held-out images of all classes) it gave 20.17, 22.92
    # and 24.08 dB at depth 2, 6 and 16, "total" 19.97, 22.89 and 24.25: more in the coarse levels,
    # a little less in the deepest, and no level that tells nothing.
    config.loss = dict(
        reconstruction="l2",
        perceptual="vgg",
        perceptual_weight=1.0,
        weights="",
        commitment="prefix",
        commitment_weight=0.25,
        start_step=1,  # k-means on the first batch starts the codebooks
        average_decay=0.9999,
    )
    config.adversarial = dict(
        kind="patch_gan",
        width=64,
        num_layers=2,
        normalization="batch",
        loss="hinge",
        weight=0.75,
        weighting="adaptive",
        start_step=0,
        optimizer=dict(learning_rate=4e-5, warmup_steps=5_000, decay="constant", b1=0.5, b2=0.9),
    )
    config.optimizer = dict(
        learning_rate=4e-5, warmup_steps=5_000, decay="constant", b1=0.5, b2=0.9
    )
    config.mesh = dict(data=-1, fsdp=1, tensor=1)
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
    if "tiny" in words:
        _make_tiny(config)
    if "l2" in words:
        config.loss.perceptual = ""
        del config["adversarial"]
    return config


def _make_tiny(config: ml_collections.ConfigDict) -> None:
    config.data.update(batch_size=8, image_size=16, num_threads=0)
    config.model.update(
        width=8,
        multipliers=(1, 2),
        num_res_blocks=1,
        num_decoder_res_blocks=1,
        latent_channels=8,
        code_dim=8,
        dtype="float32",
    )
    config.quantizer.update(depth=3, codebook_size=16)
    config.loss.update(start_step=2, perceptual="")
    config.adversarial.update(width=4, num_layers=1)
    config.adversarial.optimizer.warmup_steps = 1
    config.optimizer.warmup_steps = 1
    config.train = dict(num_steps=4, log_every=1, evaluate_every=2, checkpoint_every=2)
