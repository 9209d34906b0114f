"""Files of weights for tests of reading them."""

import pytest
import torch_format as torch


@pytest.fixture(params=["zip", "legacy"])
def write(request, tmp_path):
    """Writes opcodes and storages in either format and gives the file."""

    def write(opcodes, storages=None):
        path = tmp_path / "weights.pth"
        writer = torch.write_zip if request.param == "zip" else torch.write_legacy
        writer(path, opcodes, storages)
        return path

    return write
