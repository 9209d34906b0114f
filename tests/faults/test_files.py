"""A slice of the hostile files that launch/check_files.sh opens by the thousand.

Here they are opened in this process, whatever time and memory it takes: without bounds, many of
these would not end.
"""

import file_kinds
import file_trials
import pytest

GROUPS = ("weights", "pictures", "npz", "tar", "parquet", "ArrayRecord", "codes")
# What takes more than a moment to make or to read.
SLOW = (
    "thousandfold",
    "30,000",
    "20,000",
    "300,000",
    "zeros, packed",
    "lists",
    "again and again",
    "images of 1 MB",
    "100 MB",
    "30 MB",
    "million",
    "names of 1 MB",
    "PNG of packed",
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Whole files of all forms."""
    return file_kinds.Whole(tmp_path_factory.mktemp("files") / "whole")


def wrong(trials, whole, tmp_path):
    """Of some files those that neither were read nor refused in one line."""
    found = []
    for number, trial in enumerate(trials):
        folder = tmp_path / str(number)
        folder.mkdir()
        outcome = file_trials.read(trial.reader, trial.make(whole, folder))
        if outcome.wrong:
            found.append(f"{trial.group}: {trial.name}: {outcome.wrong}")
    return found


@pytest.mark.parametrize("group", GROUPS)
def test_known_hostile_files_are_refused_in_one_line(group, whole, tmp_path):
    trials = [
        trial
        for trial in file_kinds.known(seed=0)
        if trial.group == group and not any(word in trial.name for word in SLOW)
    ]
    assert trials
    assert wrong(trials, whole, tmp_path) == []


def test_mutated_files_are_read_or_refused_in_one_line(whole, tmp_path):
    trials = file_kinds.mutated(whole, 45, seed=2, groups=GROUPS)
    assert len(trials) >= 40
    assert wrong(trials, whole, tmp_path) == []


def test_what_was_not_refused_in_one_line_is_told():
    assert file_trials._bad_line("one\ntwo")
    assert file_trials._bad_line("\x1b[2J")
    assert not file_trials._bad_line("x.npz is damaged; write it again")


def test_trials_are_the_same_for_the_same_seed(whole, tmp_path):
    for seed, is_same in ((3, True), (4, False)):
        contents = []
        for name, number in (("a", 3), ("b", seed)):
            trial = file_kinds.mutated(whole, 20, number, groups=("npz",))[1]
            (tmp_path / f"{name}{seed}").mkdir()
            contents.append(trial.make(whole, tmp_path / f"{name}{seed}").read_bytes())
        assert (contents[0] == contents[1]) is is_same
