"""Whether a file can be written is found out without leaving a trace."""

import errno
import os

import pytest

from resgen_jax.core import errors
from resgen_jax.io import disks, paths


def test_whether_a_file_can_be_written_is_found_out_without_leaving_a_trace(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"kept")
    for name in ("new", "file", "a/b/c/new", "x" * 200):
        disks.check_writable(tmp_path / name)
    for name, reason in (
        ("folder", "Is a directory"),
        ("file/new", "Not a directory"),
        ("a/" + "x" * 256, "File name too long"),
    ):
        with pytest.raises(errors.UserError, match=f"cannot write .*{reason}.*name another place"):
            disks.check_writable(tmp_path / name)
    assert paths.names_in(tmp_path) == ["file", "folder"]
    assert (tmp_path / "file").read_bytes() == b"kept"


@pytest.mark.parametrize("number", disks.TROUBLE)
def test_trouble_of_a_disk_is_found_in_the_words_of_libraries(number):
    assert disks.told_in(f"write failed: {os.strerror(number)} [while saving]") == number


def test_other_words_tell_of_no_disk():
    assert disks.told_in("shapes differ") is None


def test_what_a_disk_refuses_is_told_with_the_way_out_and_faults_pass():
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with (
        pytest.raises(
            errors.UserError, match=r"cannot write the codes \(No space left .*\); free some"
        ),
        disks.explained("the codes", "free some"),
    ):
        raise full
    with pytest.raises(OSError, match="Bad file"), disks.explained("the codes"):
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
