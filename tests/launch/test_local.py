"""launch/local.sh: processes that know of each other, end together, and stop together."""

import pathlib
import re
import shlex
import signal
import subprocess
import sys
import time

import launchers
import pytest

TINY = ("train", "--config=tokenizers/rq_vae_digits.py:tiny", "--config.train.num_steps=2")


# A shell cannot trap what was ignored when it began, as Ctrl-C is in background jobs of another.
WITH_CTRL_C = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL); "
    "os.execvp('bash', ['bash', *sys.argv[1:]])"
)


def started(script, *arguments, **more):
    """The script while it runs."""
    return subprocess.Popen(
        [sys.executable, "-c", WITH_CTRL_C, launchers.LAUNCH / script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=launchers.environment(**more),
    )


def is_running(pid):
    state = pathlib.Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rpartition(")")[2].split()[0] != "Z"


def wait_until(condition):
    deadline = time.monotonic() + launchers.DEADLINE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def resgen(tmp_path, *lines):
    """A stand-in that leaves its process id in a file named by its number, then does the lines."""
    first = ['number="${!#}"', 'number="${number##*,}"', f'echo $$ >"{tmp_path}/$number"']
    return launchers.stand_in(tmp_path / "resgen", [*first, *lines])


def have_started(tmp_path):
    """Whether both have left their process ids."""
    return all(path.exists() and path.read_text() for path in (tmp_path / "0", tmp_path / "1"))


def test_processes_are_told_of_each_other():
    printed = launchers.launch("local.sh", "--print", "--processes=3", *launchers.TRAIN).stdout
    *lines, wait = printed.splitlines()
    assert wait == "wait"
    assert len(lines) == 3
    places = set()
    for number, line in enumerate(lines):
        assert line.endswith(" &")
        words = shlex.split(line.removesuffix(" &"))
        assert words[:2] == ["env", "JAX_PLATFORMS=cpu"]
        assert words[3:-1] == list(launchers.TRAIN)
        where, count, which = words[-1].removeprefix("--distributed=").split(",")
        assert (int(count), int(which)) == (3, number)
        places.add(where)
    assert re.fullmatch(r"\{'127\.0\.0\.1:2\d{4}'\}", str(places))


def test_each_process_has_a_gpu_of_its_own():
    printed = launchers.launch("local.sh", "--print", "--gpus", "--port=99", *launchers.TRAIN)
    for number, line in enumerate(printed.stdout.splitlines()[:2]):
        assert f"CUDA_VISIBLE_DEVICES={number}" in line
        assert f"--distributed=127.0.0.1:99,2,{number}" in line
        assert "JAX_PLATFORMS" not in line


def test_printed_words_are_read_back_by_a_shell():
    odd = '--config.name=it\'s "a" $HOME \\ `x`'
    printed = launchers.launch("local.sh", "--print", *launchers.TRAIN, odd).stdout
    line = printed.splitlines()[0].removesuffix(" &")
    read = subprocess.run(
        ["bash", "-c", f'words() {{ printf "%s\\n" "$@"; }}; words {line}'],
        capture_output=True,
        text=True,
    )
    assert odd in read.stdout.splitlines()


def test_output_is_numbered_and_paths_are_those_of_the_caller(tmp_path):
    program = resgen(tmp_path, "echo from $PWD")
    done = subprocess.run(
        ["bash", launchers.LAUNCH / "local.sh", *TINY],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=launchers.environment(RESGEN=program),
    )
    assert done.returncode == 0, done.stderr
    assert sorted(done.stdout.splitlines()) == [f"[1] from {tmp_path}", f"from {tmp_path}"]


def test_one_that_fails_takes_the_others_along(tmp_path):
    # The second would wait forever, SIGTERM or not, as one does that waits for a dead process.
    program = resgen(
        tmp_path,
        'if [ "$number" = 1 ]; then exit 7; fi',
        "trap '' TERM",
        "while :; do sleep 0.1; done",
    )
    start = time.monotonic()
    done = launchers.launch("local.sh", *TINY, RESGEN=program, RESGEN_PATIENCE="1")
    assert done.returncode == 7
    assert "process 1 ended with exit code 7" in done.stderr
    assert time.monotonic() - start < 10
    assert not is_running(int((tmp_path / "0").read_text()))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_all_save_and_stop(tmp_path, number):
    program = resgen(tmp_path, "trap 'exit 3' TERM", "while :; do sleep 0.1; done")
    run = started("local.sh", *TINY, RESGEN=program)
    wait_until(lambda: have_started(tmp_path))
    time.sleep(0.2)
    run.send_signal(number)
    _, errors = run.communicate(timeout=launchers.DEADLINE)
    assert run.returncode == 3, errors


def test_a_second_signal_kills(tmp_path):
    program = resgen(tmp_path, "trap '' TERM", "while :; do sleep 0.1; done")
    run = started("local.sh", *TINY, RESGEN=program)
    wait_until(lambda: have_started(tmp_path))
    for _ in range(2):
        time.sleep(0.4)
        run.send_signal(signal.SIGINT)
    run.communicate(timeout=launchers.DEADLINE)
    assert run.returncode == 130
    for which in "01":
        assert not is_running(int((tmp_path / which).read_text()))


@pytest.mark.slow
def test_two_real_processes_join(tmp_path):
    """As the command line joins them, but without a run to compile."""
    lines = [
        "import sys",
        "from resgen_jax.runtime import joining",
        "joining.join(sys.argv[-1].removeprefix('--distributed='))",
        "import jax",
        "print(jax.process_index(), jax.process_count(), jax.device_count(), sys.argv[1:-1])",
    ]
    (tmp_path / "join.py").write_text("\n".join(lines))
    command = [sys.executable, str(tmp_path / "join.py")]
    program = launchers.stand_in(tmp_path / "resgen", [f'exec {shlex.join(command)} "$@"'])
    done = launchers.launch("local.sh", *TINY, RESGEN=program, PYTHONPATH=launchers.ROOT)
    assert done.returncode == 0, done.stderr
    for number, prefix in enumerate(["", "[1] "]):
        assert f"{prefix}{number} 2 2 {list(TINY)}" in done.stdout.splitlines()
