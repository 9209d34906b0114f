"""Tests of what the command line calls run on one device."""

import places_of_runs
import pytest


@pytest.fixture(autouse=True)
def one_device():
    """The laws of many devices have tests of their own, and compile longer."""
    with places_of_runs.on_one_device():
        yield
