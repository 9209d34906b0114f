"""What the tests of the loop share."""

import pytest
from toy_runs import train


@pytest.fixture
def uninterrupted(tmp_path, single):
    """The folder and the state of a run that nothing disturbed."""
    return tmp_path / "uninterrupted", train(tmp_path / "uninterrupted", single)
