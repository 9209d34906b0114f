"""Laws of the metrics file."""

import errno
import io
import json
import os

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto import event_pb2

from resgen_jax.core import errors
from resgen_jax.training.telemetry import writer


def test_what_is_written_is_read_back(tmp_path):
    with writer.Writer(tmp_path) as out:
        out.write(1, "train", {"loss": 0.1, "bad": float("nan")})
        # On the disk at once: a killed run loses no line.
        assert writer.read(tmp_path) == [{"step": 1, "split": "train", "loss": 0.1, "bad": None}]
        out.write(2, "held_out", {"error": 3})
    assert writer.read(tmp_path)[1] == {"step": 2, "split": "held_out", "error": 3.0}


def test_lines_after_the_restored_step_and_a_torn_one_are_dropped(tmp_path):
    with writer.Writer(tmp_path) as out:
        for step in range(1, 6):
            out.write(step, "train", {"loss": 1 / 3 / step})
    path = tmp_path / writer.FILE
    kept = path.read_bytes().splitlines(keepends=True)[:3]
    with path.open("ab") as file:
        file.write(b'{"step": 6, "split": "tra')
    assert len(writer.read(tmp_path)) == 5
    with writer.Writer(tmp_path, restored_step=3) as out:
        assert path.read_bytes() == b"".join(kept)
        out.write(4, "train", {"loss": 4})
    assert [line["step"] for line in writer.read(tmp_path)] == [1, 2, 3, 4]


def test_a_run_without_a_checkpoint_starts_its_file_anew(tmp_path):
    with writer.Writer(tmp_path) as out:
        out.write(1, "train", {"loss": 1})
    with writer.Writer(tmp_path):
        assert writer.read(tmp_path) == []


def test_switched_off_it_writes_nothing(tmp_path):
    with writer.Writer(tmp_path / "other", is_on=False) as out:
        out.write(1, "train", {"loss": 1})
    assert not (tmp_path / "other").exists()


def events_of(folder):
    """Step and value of everything in the one events file."""
    (path,) = folder.glob("events.out.tfevents.*")
    data, found = path.read_bytes(), []
    while data:  # length (8 bytes), its checksum (4), the event, its checksum (4)
        size = int.from_bytes(data[:8], "little")
        event = event_pb2.Event.FromString(data[12 : 12 + size])
        found += [(event.step, value) for value in event.summary.value]
        data = data[16 + size :]
    return found


def test_events_hold_the_same_numbers(tmp_path):
    with writer.Writer(tmp_path) as out:
        out.write(7, "train", {"loss": 0.25})
    ((step, value),) = events_of(tmp_path)
    assert (step, value.tag, value.simple_value) == (7, "train/loss", 0.25)


def test_pictures_go_into_the_events_and_not_among_the_lines(tmp_path):
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    with writer.Writer(tmp_path) as out:
        out.show(4, "evaluation", {"samples": pixels})
    assert writer.read(tmp_path) == []
    ((step, value),) = events_of(tmp_path)
    assert (step, value.tag) == (4, "evaluation/samples")
    with Image.open(io.BytesIO(value.image.encoded_image_string)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_a_full_disk_is_one_line(tmp_path):
    class FullDisk(io.StringIO):
        def flush(self):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with writer.Writer(tmp_path) as out:
        lines = out._sinks[0]
        lines.close()
        lines._file = FullDisk()
        with pytest.raises(errors.UserError, match=r"No space left.*bytes free"):
            out.write(1, "train", {"loss": 1})


def test_lines_are_strict_json(tmp_path):
    with writer.Writer(tmp_path) as out:
        out.write(1, "train", {"loss": float("inf")})

    def refuse(name):
        raise AssertionError(name)

    text = (tmp_path / writer.FILE).read_text()
    assert json.loads(text, parse_constant=refuse)["loss"] is None


BAD = (
    b"\xff\xfe\x00",
    b'{"step": 2, "split": "tra',
    b"[1, 2]",
    b"7",
    b"null",
    b'{"split": "train"}',
    b'{"step": "2", "split": "train"}',
    b'{"step": 2, "split": "train", "loss": "low"}',
    b"[" * 100_000,
)


@pytest.mark.parametrize("bad", BAD, ids=range(len(BAD)))
def test_damaged_line_costs_no_other_and_is_set_aside_with_a_word(tmp_path, bad):
    with writer.Writer(tmp_path) as out:
        for step in range(1, 6):
            out.write(step, "train", {"loss": step})
    path = tmp_path / writer.FILE
    lines = path.read_bytes().splitlines(keepends=True)
    lines[1] = bad + b"\n"
    path.write_bytes(b"".join(lines))
    assert [line["step"] for line in writer.read(tmp_path)] == [1, 3, 4, 5]
    told = []
    with writer.Writer(tmp_path, restored_step=4, warn=told.append):
        pass
    assert path.read_bytes() == b"".join([lines[0], *lines[2:4]])
    assert (tmp_path / writer.DAMAGED).read_bytes() == lines[1]
    assert len(told) == 1
    assert "1 of them, were moved" in told[0]
    with writer.Writer(tmp_path, restored_step=4, warn=told.append):
        assert len(told) == 1


def test_whole_last_line_that_lacks_its_end_counts(tmp_path):
    with writer.Writer(tmp_path) as out:
        out.write(1, "train", {"loss": 1})
    path = tmp_path / writer.FILE
    path.write_bytes(path.read_bytes().rstrip())
    assert [line["step"] for line in writer.read(tmp_path)] == [1]


def test_a_file_of_metrics_that_cannot_be_read_is_told_in_one_line(tmp_path):
    (tmp_path / writer.FILE).mkdir()
    with pytest.raises(errors.UserError, match=r"cannot read .*metrics.jsonl \(Is a directory\)"):
        writer.read(tmp_path)
    with pytest.raises(errors.UserError, match="move it away"):
        writer.Writer(tmp_path)
