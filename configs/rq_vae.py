"""What the configs of RQ-VAE share: a small network for two CPU cores, losses, `:l2` and `:tiny`.

No config itself.
"""

import ml_collections

from resgen_jax.configs import common


def small() -> ml_collections.ConfigDict:
    """RQ-VAE that sees patches of 4 pixels: what two CPU cores can train.

    Data, losses, learning rate and length are left to the config.
    """
    config = common.begin("rq_vae")
    config.model = dict(
        patch_size=4,
        width=32,
        multipliers=(1, 2),
        num_res_blocks=1,
        num_decoder_res_blocks=1,
        num_middle_blocks=1,
        has_middle_attention=False,
        bridge_size=0,
        code_dim=32,
    )
    config.quantizer = dict(
        learner="ema", depth=8, codebook_size=256, decay=0.98, restart_threshold=0.1
    )
    config.optimizer = dict(b2=0.99)
    return config


def of_digits() -> ml_collections.ConfigDict:
    """A small RQ-VAE of grey digits."""
    config = small()
    config.data = dict(path="", channels=1, num_threads=0)
    config.model.code_dim = 16
    # Half of the images are decoded from a prefix of their levels: more of each digit is in the
    # coarse codes, which the generator learns best.
    config.loss = dict(commitment="prefix", depth_drop_rate=0.5, start_step=100, average_decay=0.99)
    config.optimizer.update(learning_rate=2e-3, warmup_steps=50)
    return config


def of_photographs(image_size: int) -> ml_collections.ConfigDict:
    """A small RQ-VAE of photographs in a folder a class."""
    config = small()
    config.data = folder(image_size, batch_size=32)
    config.optimizer.clip_norm = 1.0
    return config


def folder(image_size: int, batch_size: int) -> dict:
    """The section `data` of photographs in a folder a class."""
    return dict(
        source="folder",
        path="",
        image_size=image_size,
        channels=3,
        batch_size=batch_size,
        num_threads=2,
        max_unreadable=100,
    )


def sharpen(config: ml_collections.ConfigDict) -> None:
    """LPIPS-squeeze and a small patch GAN in the loss; weights and steps are left to the config."""
    config.loss = dict(
        reconstruction="l2",
        perceptual="squeeze",
        weights="",
        commitment="total",
        commitment_weight=0.1,
    )
    config.adversarial = dict(
        kind="patch_gan",
        num_layers=2,
        loss="hinge",
        weighting="adaptive",
        optimizer=dict(b1=0.5, b2=0.9, clip_norm=1.0),
    )


def leave_squared_error_alone(config: ml_collections.ConfigDict) -> None:
    """What `:l2` does: neither LPIPS nor an adversary."""
    config.loss.perceptual = ""
    del config["adversarial"]


def make_tiny(config: ml_collections.ConfigDict) -> None:
    """What `:tiny` does to all of them; photographs are cut to 16 pixels, LPIPS is left out."""
    config.model.width = 8
    if config.data.channels == 3:
        config.data.update(batch_size=8, image_size=16)
    else:
        config.data.batch_size = 16
    config.quantizer.update(depth=3, codebook_size=16)
    config.loss.start_step = 2
    if "adversarial" in config:
        config.loss.perceptual = ""
        config.adversarial.update(width=4, num_layers=1)
    common.take_few_steps(config)
