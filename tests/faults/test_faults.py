"""A slice of the faults that launch/check_faults.sh does by the hundred."""

import signal

import fault_disks
import fault_kinds
import fault_runs
import fault_states
import pytest


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """One undisturbed run for all."""
    return fault_kinds.Bench(tmp_path_factory.mktemp("faults"), seed=1)


def check(tally, number, most_lost):
    assert tally.wrong == []
    assert tally.number == number
    assert tally.most_lost <= most_lost


@pytest.mark.slow
@pytest.mark.parametrize(("number", "most_lost"), [(signal.SIGKILL, 40), (signal.SIGTERM, 0)])
def test_runs_ended_by_signals_at_any_moment_end_as_one_undisturbed(bench, number, most_lost):
    check(fault_kinds.killed(bench, 2, number, "toy", fault_runs.toy), 2, most_lost)


@pytest.mark.slow
def test_runs_killed_between_two_writes_end_as_one_undisturbed(bench):
    check(fault_kinds.killed_at_files(bench, 2), 2, 40)


@pytest.mark.slow
def test_damage_to_files_of_a_checkpoint_changes_no_loss(bench):
    counts = {"flip": 3, "truncate": 1, "delete": 1}
    for how, tally in fault_kinds.damaged(bench, counts).items():
        check(tally, counts[how], 10)


@pytest.mark.slow
def test_what_is_refused_goes_on_once_it_is_mended(bench):
    check(fault_kinds.poisoned(bench, 1), 1, 40)
    check(fault_disks.disk_full(bench, 1), 1, 40)


@pytest.mark.slow
@pytest.mark.parametrize("do", [fault_disks.fast_disk_full, fault_states.damaged_metrics])
def test_what_a_run_can_do_without_ends_none(bench, do):
    tally = do(bench, 1)
    check(tally, 1, 0)
    assert tally.resumed == 1


@pytest.mark.slow
def test_an_error_of_input_or_output_at_any_operation_loses_nothing(bench):
    check(fault_disks.input_output_errors(bench, 1), 1, 40)
