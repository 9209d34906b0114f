"""How long RVQ encoding takes, beside vector-quantize-pytorch on the same cores.

python tests/benchmarks/time_rvq.py --num_steps=7
"""

import functools
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
from resgen_jax.quantizers import chunks, codebook_averages, rvq

Runner = Callable[[], Int[np.ndarray, "n q"]]
PACKAGES = ("torch", "vector_quantize_pytorch")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command: its exit code."""
    parser = peer_command.Parser(
        "time_rvq", "Time RVQ encoding beside vector-quantize-pytorch (extra peers)."
    )
    return peer_command.run(
        parser, arguments, PACKAGES, lambda values: compare(num_runs=values.num_steps)
    )


def compare(
    *,
    num_vectors: int = 16384,
    code_dim: int = 64,
    codebook_size: int = 1024,
    depth: int = 8,
    num_runs: int = 7,
    seed: int = 0,
    max_distances: int = chunks.MAX_DISTANCES,
) -> dict[str, Any]:
    """Median seconds of both encoders in alternating runs, their ratio, the share of equal codes.

    `ratio` is PyTorch's seconds over ours. Both start from the same arrays in host memory and end
    with codes there; compilation and the first run are apart.
    """
    if num_runs < 1:
        raise errors.UserError(f"num_runs is {num_runs}; expected 1 or more")
    latents, codebooks = random_problem(seed, num_vectors, code_dim, codebook_size, depth)
    peer = torch_runner(latents, codebooks)
    ours = jax_runner(latents, codebooks, max_distances)
    started = time.perf_counter()
    codes = ours()
    first_seconds = time.perf_counter() - started
    share_equal = float(np.mean(codes == peer()))
    seconds: dict[str, list[float]] = {"jax": [], "torch": []}
    for _ in range(num_runs):
        for name, runner in (("jax", ours), ("torch", peer)):
            started = time.perf_counter()
            runner()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "device": jax.devices()[0].device_kind,
        "num_vectors": num_vectors,
        "code_dim": code_dim,
        "codebook_size": codebook_size,
        "depth": depth,
        "num_runs": num_runs,
        "jax_first_seconds": first_seconds,
        "jax_seconds": medians["jax"],
        "torch_seconds": medians["torch"],
        "jax_fastest_seconds": min(seconds["jax"]),
        "torch_fastest_seconds": min(seconds["torch"]),
        "ratio": medians["torch"] / medians["jax"],
        "share_equal_codes": share_equal,
    }


def random_problem(
    seed: int, num_vectors: int, code_dim: int, codebook_size: int, depth: int
) -> tuple[Float[np.ndarray, "n c"], Float[np.ndarray, "q v c"]]:
    """Gaussian vectors, and codebooks whose entries shrink with the level."""
    named = keys.named_keys(jax.random.key(seed), "latents", "codebooks")
    latents = jax.random.normal(named["latents"], (num_vectors, code_dim))
    codebooks = codebook_averages.random_codebooks(
        named["codebooks"], depth, codebook_size, code_dim
    )
    return np.asarray(latents), np.asarray(codebooks) * np.sqrt(code_dim).astype(np.float32)


def jax_runner(
    latents: Float[np.ndarray, "n c"], codebooks: Float[np.ndarray, "q v c"], max_distances: int
) -> Runner:
    """`rvq.encode` under jit."""
    encode = jax.jit(functools.partial(rvq.encode, max_distances=max_distances))
    arrays = jax.device_put((latents, codebooks))

    def run():
        return np.asarray(jax.block_until_ready(encode(*arrays))[0])

    return run


def torch_runner(
    latents: Float[np.ndarray, "n c"], codebooks: Float[np.ndarray, "q v c"]
) -> Runner:
    """ResidualVQ of vector-quantize-pytorch in evaluation mode, given these codebooks."""
    import torch
    import vector_quantize_pytorch

    depth, codebook_size, code_dim = codebooks.shape
    model = vector_quantize_pytorch.ResidualVQ(
        dim=code_dim, num_quantizers=depth, codebook_size=codebook_size, kmeans_init=False
    ).eval()
    with torch.no_grad():
        for layer, table in zip(model.layers, codebooks, strict=True):
            layer._codebook.embed.copy_(torch.from_numpy(table.copy())[None])
    rows = torch.from_numpy(latents.copy())[None]

    def run():
        with torch.inference_mode():
            return model(rows)[1][0].numpy()

    return run


if __name__ == "__main__":
    sys.exit(main())
