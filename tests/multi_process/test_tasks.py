"""Tokenizer, adversary and generator in two and four real processes train as in one."""

import jax
import numpy as np
import processes
import pytest
import run_tasks_process

from resgen_jax.runtime import mesh as meshes


@pytest.fixture(scope="module")
def alone():
    """The figures of one process with one device."""
    return run_tasks_process.figures(meshes.make(meshes.Spec(), jax.devices()[:1]))


@pytest.mark.slow
@pytest.mark.parametrize("num_processes", [2, 4])
def test_losses_and_statistics_are_those_of_one_process(tmp_path, alone, num_processes):
    output = tmp_path / "figures"
    processes.succeed(
        run_tasks_process.__file__,
        num_processes,
        lambda number, port: (number, num_processes, port, output, 2),
    )
    for process in range(num_processes):
        found = np.load(f"{output}.{process}.npz")
        assert set(found) == set(alone)
        for name, expected in alone.items():
            is_loss = name.split("/")[-1] in ("loss", "grad_norm")
            tolerance = {"rtol": 1e-5} if is_loss else {"rtol": 1e-4, "atol": 1e-5}
            np.testing.assert_allclose(found[name], expected, **tolerance, err_msg=name)
    assert {name.split("/")[0] for name in alone} == {"tokenizer", "adversarial", "generator"}
    assert any(np.any(alone[name]) for name in alone if "statistics/" in name)
