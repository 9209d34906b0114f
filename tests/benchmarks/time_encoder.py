"""How long images take to codes, beside the same RQ-VAE in PyTorch on the same cores.

python tests/benchmarks/time_encoder.py --num_steps=11 --batch_size=16
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import peer_command
from jaxtyping import Float, Int

from resgen_jax.core import errors, keys
from resgen_jax.quantizers import codebook_averages, rvq
from resgen_jax.tokenizers import rq_vae

Runner = Callable[[], Int[np.ndarray, "b l q"]]
PyTree = Any
PACKAGES = ("torch",)
# The blocks of RQ-VAE at 64 pixels: three halvings, attention at 8x8.
SPEC = rq_vae.Spec(
    image_size=64,
    width=64,
    multipliers=(1, 2, 2, 4),
    num_res_blocks=2,
    num_decoder_res_blocks=3,
    attention_sizes=(8,),
    latent_channels=256,
    code_dim=64,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: its exit code."""
    parser = peer_command.Parser(
        "time_encoder", "Time images to codes beside the same RQ-VAE in PyTorch (extra peers)."
    )
    parser.add_argument("--batch_size", type=int, default=64, help="images a time (%(default)s)")

    def measure(values: argparse.Namespace) -> dict[str, Any]:
        return compare(batch_size=values.batch_size, num_runs=values.num_steps)

    return peer_command.run(parser, arguments, PACKAGES, measure)


def compare(
    spec: rq_vae.Spec = SPEC,
    *,
    batch_size: int = 64,
    depth: int = 8,
    codebook_size: int = 1024,
    num_runs: int = 5,
    seed: int = 0,
) -> dict[str, Any]:
    """Median seconds of both in alternating runs, images a second, the share of equal codes.

    PyTorch runs as it comes and with its faster memory layout for convolutions; `ratio` is its
    faster median over ours.
    """
    if num_runs < 1:
        raise errors.UserError(f"num_runs is {num_runs}; expected 1 or more")
    params, codebooks, images = random_problem(spec, batch_size, depth, codebook_size, seed)
    runners = {
        "jax": jax_runner(spec, params, codebooks, images),
        "torch": torch_runner(spec, params, codebooks, images),
        "torch_channels_last": torch_runner(spec, params, codebooks, images, channels_last=True),
    }
    codes = {name: runner() for name, runner in runners.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(num_runs):
        for name, runner in runners.items():
            started = time.perf_counter()
            runner()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "device": jax.devices()[0].device_kind,
        "image_size": spec.image_size,
        "batch_size": batch_size,
        "encoder_gflops_per_image": rq_vae.encoder_flops(spec) / 1e9,
        "num_runs": num_runs,
        **{f"{name}_images_per_second": batch_size / value for name, value in medians.items()},
        "ratio": min(medians["torch"], medians["torch_channels_last"]) / medians["jax"],
        "ratio_default_layout": medians["torch"] / medians["jax"],
        "share_equal_codes": float(np.mean(codes["jax"] == codes["torch"])),
    }


def random_problem(
    spec: rq_vae.Spec, batch_size: int, depth: int, codebook_size: int, seed: int
) -> tuple[PyTree, Float[np.ndarray, "q v c"], Float[np.ndarray, "b h w colours"]]:
    """Parameters without zeros, codebooks whose entries shrink with the level, and noise."""
    named = keys.named_keys(jax.random.key(seed), "params", "noise", "codebooks", "images")
    params = jax.jit(rq_vae.make(spec).init)(named["params"])
    leaves, structure = jax.tree.flatten(params)
    noise = jax.random.split(named["noise"], len(leaves))
    leaves = [
        leaf + 0.03 * jax.random.normal(key, leaf.shape)
        for leaf, key in zip(leaves, noise, strict=True)
    ]
    codebooks = codebook_averages.random_codebooks(
        named["codebooks"], depth, codebook_size, spec.code_dim
    )
    shape = (batch_size, spec.image_size, spec.image_size, spec.channels)
    images = jax.random.uniform(named["images"], shape, minval=-1.0, maxval=1.0)
    return jax.tree.unflatten(structure, leaves), np.asarray(codebooks), np.asarray(images)


def jax_runner(
    spec: rq_vae.Spec,
    params: PyTree,
    codebooks: Float[np.ndarray, "q v c"],
    images: Float[np.ndarray, "b h w colours"],
) -> Runner:
    """The encoder and `rvq.encode` in one jitted program."""
    network = rq_vae.make(spec)

    @jax.jit
    def encode(params, codebooks, images):
        return rvq.encode(network.apply(params, images, method="encode"), codebooks)[0]

    arrays = jax.device_put((params, codebooks))
    return lambda: np.asarray(encode(*arrays, images))


def torch_runner(
    spec: rq_vae.Spec,
    params: PyTree,
    codebooks: Float[np.ndarray, "q v c"],
    images: Float[np.ndarray, "b h w colours"],
    *,
    channels_last: bool = False,
) -> Runner:
    """The same blocks of `torch.nn.functional`, and a lean nearest-code search."""
    import torch
    import torch_encoder

    layout = torch.channels_last if channels_last else torch.contiguous_format
    encoder = torch_encoder.Encoder(spec, params, layout)
    tables = [torch.from_numpy(np.array(table)) for table in codebooks]

    def run():
        with torch.inference_mode():
            pixels = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2)
            residual = encoder(pixels.contiguous(memory_format=layout))
            codes = []
            for table in tables:
                score = residual @ table.T - 0.5 * (table**2).sum(-1)
                codes.append(score.argmax(-1))
                residual = residual - table[codes[-1]]
            return torch.stack(codes, -1).numpy().astype(np.int32)

    return run


if __name__ == "__main__":
    sys.exit(main())
