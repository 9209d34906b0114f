"""What PyTorch itself writes, in both of its formats, is read to the same numbers."""

import argparse

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from resgen_jax.convert import torch_files
from resgen_jax.core import errors


def checkpoint():
    """What training scripts save: weights, optimizer and odds and ends."""
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3, 8, 8)).sum().backward()
    optimizer.step()
    grid, row = torch.arange(24.0).reshape(4, 6), torch.arange(10.0)
    tensors = {
        "turned": grid.t(),
        "view": row[2:7],
        "same": row,
        "half": grid.half(),
        "brain": grid.bfloat16(),
        "repeated": torch.ones(3, 1).expand(3, 4),
        "parameter": torch.nn.Parameter(grid),
        "scalar": torch.tensor(3.5),
        "flags": torch.tensor([True, False]),
        "none": torch.zeros(0, 3),
    }
    rest = {
        "optimizer": optimizer.state_dict(),
        "args": argparse.Namespace(rate=0.1),
        "best": np.float64(3.0),
        "history": np.arange(3),
        "device": torch.device("cpu"),
    }
    return network, {"state_dict": network.state_dict(), "trainer": {"ema": tensors}, **rest}


@pytest.mark.parametrize("is_zip", [True, False])
def test_both_formats_give_the_same_numbers(tmp_path, is_zip):
    _, saved = checkpoint()
    path = tmp_path / "x.pth"
    torch.save(saved, path, _use_new_zipfile_serialization=is_zip)
    for section, tensors in (
        ("state_dict", saved["state_dict"]),
        ("trainer/ema", saved["trainer"]["ema"]),
    ):
        found = torch_files.read(path, section)
        assert found.keys() == tensors.keys()
        for name, tensor in tensors.items():
            assert found[name].shape == tuple(tensor.shape)
            assert found[name].dtype.name == str(tensor.dtype).removeprefix("torch.")
            expected = tensor.detach().to(torch.float64).numpy()
            np.testing.assert_array_equal(found[name].astype(np.float64), expected)


def test_types_without_a_storage_of_their_own(tmp_path):
    path = tmp_path / "x.pth"
    tensors = {
        "a": torch.tensor([1, 2**16 - 1], dtype=torch.uint16)[1:],
        "b": torch.arange(4.0).to(torch.float8_e4m3fn),
    }
    torch.save(tensors, path)
    found = torch_files.read(path)
    assert found["a"].tolist() == [2**16 - 1]
    assert found["b"].astype(np.float32).tolist() == [0, 1, 2, 3]


def test_whole_networks_and_programs_are_refused(tmp_path):
    network, _ = checkpoint()
    path = tmp_path / "x.pth"
    torch.save(network, path)
    with pytest.raises(errors.UserError, match=r"wants to run torch\.nn.*Sequential, refused"):
        torch_files.read(path)
