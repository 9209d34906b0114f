"""Whether a run can be kept where it is to be; several processes are in tests/multi_process."""

import pytest

from resgen_jax.core import errors
from resgen_jax.runtime import work_directory


def test_nothing_is_left_behind(tmp_path):
    work_directory.check(tmp_path / "new")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "run").mkdir()
    work_directory.check(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("place", ["file", "file/run", "/proc/run", "/sys/kernel"])
def test_a_place_that_cannot_be_written_is_refused_in_one_line(tmp_path, place):
    (tmp_path / "file").write_text("")
    workdir = tmp_path / place
    with pytest.raises(errors.UserError, match="cannot write in --workdir=") as refused:
        work_directory.check(workdir)
    assert str(workdir) in str(refused.value)
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
