"""Output whose reader has gone away."""

import io
import os
import sys

import pytest

from resgen_jax.cli import outputs


@pytest.fixture
def abandoned():
    """A stream into a pipe that nobody reads."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w") as stream:
        yield stream


def test_writing_goes_on_into_nothing(abandoned):
    stream = outputs.Lasting(abandoned)
    for _ in range(3):
        assert stream.write("a line\n") == 7
        stream.flush()
    print("x" * 100_000, file=stream, flush=True)


def test_other_troubles_are_told_and_all_else_is_the_streams_own():
    class Full(io.StringIO):
        def flush(self):
            raise OSError(28, "No space left on device")

    full = Full()
    stream = outputs.Lasting(full)
    stream.write("kept")
    assert stream.getvalue() == "kept"
    with pytest.raises(OSError, match="No space left"):
        stream.flush()


def test_streams_are_as_they_were_afterwards():
    before = sys.stdout, sys.stderr
    with outputs.lasting():
        assert isinstance(sys.stdout, outputs.Lasting)
        assert isinstance(sys.stderr, outputs.Lasting)
    assert (sys.stdout, sys.stderr) == before
