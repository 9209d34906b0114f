"""Whether a file can be written is found out without leaving a trace."""

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
