"""launch/tpu_pod.sh and tpu_worker.sh, with a stand-in for gcloud and for the hosts of the pod."""

import os
import shlex
import signal
import subprocess
import time

import launchers
import pytest

# Notes its arguments; says the states in the file `states` one after the other, and the last one
# for ever; ends a run with the codes in the file `codes`, likewise.
GCLOUD = """
next() {{
    head -n 1 "{folder}/$1"
    if [ "$(wc -l <"{folder}/$1")" -gt 1 ]; then sed -i 1d "{folder}/$1"; fi
}}
case "$*" in
    *" describe "*)
        state="$(next states)"
        if [ "$state" = MISSING ]; then echo "NOT_FOUND: no such TPU" >&2; exit 1; fi
        if [ "$state" = UNKNOWN ]; then echo "no network" >&2; exit 1; fi
        echo "$state" && exit ;;
esac
echo "$*" >>"{folder}/calls"
case "$*" in
    *"tpu_worker.sh run"*) exit "$(next codes)" ;;
esac
"""


def start(folder, *flags, states, codes=("0",)):
    """The ended launcher, and the commands that changed something, in short."""
    launchers.stand_in(folder / "gcloud", GCLOUD.format(folder=folder).splitlines())
    launchers.stand_in(folder / "tar", [])
    (folder / "states").write_text("\n".join(states) + "\n")
    (folder / "codes").write_text("\n".join(codes) + "\n")
    done = launchers.launch(
        "tpu_pod.sh",
        *launchers.TPU,
        *flags,
        *launchers.TRAIN,
        PATH=launchers.path_with(folder),
        RESGEN_POLL="0",
        TMPDIR=folder,
    )
    calls = folder / "calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    words = ("create", "delete", "scp", "git clone", "tar -x", "install", "worker.sh run")
    return done, [next(word for word in words if word in line) for line in lines]


PUT = ["scp", "tar -x", "install"]


def test_the_printed_commands_of_one_start():
    done = launchers.launch(
        "tpu_pod.sh", "--print", *launchers.TPU, *launchers.MAKE, "--spot", *launchers.TRAIN
    )
    lines = [shlex.split(line) for line in done.stdout.splitlines()]
    assert lines[0][:6] == ["gcloud", "compute", "tpus", "tpu-vm", "create", "pod"]
    assert {"--accelerator-type=v5litepod-256", "--version=v2-alpha-tpuv5-lite"} < set(lines[0])
    assert {"--spot", "--zone=us-west4-a"} < set(lines[0])
    assert lines[1][0] == "tar"
    assert {"--exclude=./.git", "--exclude=./.venv*", "--exclude=./runs"} < set(lines[1])
    for line in lines[2:]:
        assert {"--worker=all", "--zone=us-west4-a"} < set(line)
    command = next(word for word in lines[-1] if word.startswith("--command="))
    words = shlex.split(command.removeprefix("--command="))
    assert words == [
        "bash",
        "resgen_jax/launch/tpu_worker.sh",
        "run",
        *launchers.TRAIN,
        "--distributed",
    ]


def test_a_queued_resource_and_a_clone():
    done = launchers.launch(
        "tpu_pod.sh",
        "--print",
        *launchers.TPU,
        *launchers.MAKE,
        "--project=mine",
        "--queued",
        "--repository=https://example.org/resgen_jax",
        "--revision=main",
        "--delete",
        *launchers.TRAIN,
    )
    create, clone, *_, delete = done.stdout.splitlines()
    assert create.startswith("gcloud compute tpus queued-resources create pod ")
    assert "--node-id=pod" in create
    assert "--runtime-version=v2-alpha-tpuv5-lite" in create
    assert "git clone --quiet --depth=1 --branch=main https://example.org/resgen_jax" in clone
    assert delete.startswith("gcloud compute tpus queued-resources delete pod --force --quiet")
    assert all("--project=mine" in line for line in done.stdout.splitlines())
    assert "scp" not in done.stdout


def test_words_pass_two_shells_unchanged():
    odd = '--config.name=it\'s "a" $HOME'
    done = launchers.launch("tpu_pod.sh", "--print", *launchers.TPU, *launchers.TRAIN, odd)
    *_, command, _ = shlex.split(done.stdout.splitlines()[-1])
    assert shlex.split(command.removeprefix("--command="))[-2] == odd


def test_a_pod_that_is_there_is_used(tmp_path):
    done, calls = start(tmp_path, states=["READY"])
    assert done.returncode == 0, done.stderr
    assert calls == [*PUT, "worker.sh run"]


def test_a_missing_pod_is_made_and_waited_for(tmp_path):
    done, calls = start(
        tmp_path, *launchers.MAKE, "--delete", states=["MISSING", "CREATING", "CREATING", "READY"]
    )
    assert done.returncode == 0, done.stderr
    assert calls == ["create", *PUT, "worker.sh run", "delete"]


def test_a_silent_service_is_asked_again_and_nothing_made(tmp_path):
    done, calls = start(tmp_path / "a", *launchers.MAKE, states=["UNKNOWN", "UNKNOWN", "READY"])
    assert done.returncode == 0, done.stderr
    assert calls == [*PUT, "worker.sh run"]
    done, calls = start(tmp_path / "b", *launchers.MAKE, states=["UNKNOWN"])
    assert done.returncode == 1
    assert "no network" in done.stderr
    assert not calls


def test_a_missing_pod_of_unknown_kind_is_refused(tmp_path):
    done, calls = start(tmp_path, states=["MISSING"])
    assert done.returncode == 2
    assert "--type is missing" in done.stderr
    assert not calls


def test_a_preempted_pod_is_made_anew_and_the_run_goes_on(tmp_path):
    """However often, and whether it saved (3) or the connection just broke (255)."""
    states = [
        "READY",
        "PREEMPTED",
        "PREEMPTED",
        "MISSING",
        "READY",
        "PREEMPTED",
        "MISSING",
        "READY",
    ]
    done, calls = start(
        tmp_path, *launchers.MAKE, "--max_restarts=0", states=states, codes=["255", "3", "0"]
    )
    assert done.returncode == 0, done.stderr
    again = ["delete", "create", *PUT, "worker.sh run"]
    assert calls == [*PUT, "worker.sh run", *again, *again]


@pytest.mark.parametrize("code", [2, 130])
def test_a_mistake_and_a_wish_to_stop_end_it(tmp_path, code):
    done, calls = start(tmp_path, states=["READY"], codes=[str(code)])
    assert done.returncode == code
    assert calls.count("worker.sh run") == 1


def test_crashes_are_counted(tmp_path):
    done, calls = start(tmp_path, "--max_restarts=2", states=["READY"], codes=["1"])
    assert done.returncode == 1
    assert calls.count("worker.sh run") == 3


def worker(tmp_path, *words, **more):
    """The worker's script as it runs on a host."""
    places = {"HOME": tmp_path, "RESGEN": tmp_path / "resgen", "RESGEN_RUN": tmp_path / "run"}
    return subprocess.Popen(
        ["bash", launchers.LAUNCH / "tpu_worker.sh", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=launchers.environment(**(places | more)),
        start_new_session=True,
    )


def ended(process):
    output, errors = process.communicate(timeout=launchers.DEADLINE)
    return process.returncode, output, errors


@pytest.mark.parametrize("code", [0, 1, 2, 3])
def test_a_host_says_what_the_run_says_and_how_it_ended(tmp_path, code):
    launchers.stand_in(tmp_path / "resgen", ['echo "$@"', f"exit {code}"])
    got, output, errors = ended(worker(tmp_path, "run", *launchers.TRAIN))
    assert (got, output) == (code, " ".join(launchers.TRAIN) + "\n"), errors


def wait_for(path):
    deadline = time.monotonic() + launchers.DEADLINE
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_second_start_lets_the_first_save(tmp_path):
    lines = ["trap 'echo saved; exit 3' TERM", f"touch {tmp_path}/up"]
    launchers.stand_in(tmp_path / "resgen", [*lines, "while :; do sleep 0.1; done"])
    first = worker(tmp_path, "run", *launchers.TRAIN)
    wait_for(tmp_path / "up")
    launchers.stand_in(tmp_path / "resgen2", [])
    second = worker(tmp_path, "run", *launchers.TRAIN, RESGEN=tmp_path / "resgen2")
    code, output, _ = ended(first)
    # 130, not 3: whoever started the first is not to start it again.
    assert (code, output) == (130, "saved\n")
    assert ended(second)[0] == 0


def test_a_run_outlives_its_connection_and_can_be_stopped(tmp_path):
    lines = [f"trap 'echo saved >{tmp_path}/saved; exit 3' TERM", f"touch {tmp_path}/up"]
    launchers.stand_in(tmp_path / "resgen", [*lines, "while :; do echo x; sleep 0.1; done"])
    connected = worker(tmp_path, "run", *launchers.TRAIN)
    wait_for(tmp_path / "up")
    os.killpg(connected.pid, signal.SIGKILL)
    connected.communicate(timeout=launchers.DEADLINE)
    time.sleep(0.5)
    assert not (tmp_path / "saved").exists()
    assert ended(worker(tmp_path, "stop"))[0] == 0
    assert (tmp_path / "saved").read_text() == "saved\n"
    assert ended(worker(tmp_path, "stop"))[0] == 0  # nothing runs any more


def test_a_run_that_does_not_stop_is_killed(tmp_path):
    launchers.stand_in(
        tmp_path / "resgen", ["trap '' TERM", f"touch {tmp_path}/up", "while :; do sleep 0.1; done"]
    )
    run = worker(tmp_path, "run", *launchers.TRAIN)
    wait_for(tmp_path / "up")
    assert ended(worker(tmp_path, "stop", RESGEN_PATIENCE="1"))[0] == 0
    assert ended(run)[0] == 137


@pytest.mark.parametrize("words", [[], ["start"], ["run"]])
def test_a_host_refuses_what_it_does_not_know(tmp_path, words):
    launchers.assert_refused(launchers.launch("tpu_worker.sh", *words, HOME=tmp_path))
