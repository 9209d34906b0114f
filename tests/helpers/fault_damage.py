"""Damage to the files of a checkpoint, and real runs that go on from it."""

import collections
import functools
import json
import os
import pathlib
import re
import shutil
import time

import fault_runs
import numpy as np

HOW = ("flip", "truncate", "delete")


def files_by_kind(folder):
    """The files of a checkpoint below names that leave out their numbers and hashes."""
    found = collections.defaultdict(list)
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_file() and path.stat().st_size:
            name = str(path.relative_to(folder))
            found[re.sub(r"[0-9a-f]{16,}|\d+", "*", name)].append(path)
    return dict(found)


def harm(path, how, random):
    """Does it to one file, at a random place; what was done in words."""
    size = path.stat().st_size
    if how == "delete":
        path.unlink()
        return "deleted"
    place = int(random.integers(size))
    if how == "truncate":
        os.truncate(path, place)
        return f"truncated to {place} of {size} bytes"
    data, bit = bytearray(path.read_bytes()), int(random.integers(8))
    data[place] ^= 1 << bit
    path.write_bytes(bytes(data))
    return f"bit {bit} of byte {place} of {size} flipped"


def template(place):
    """A run stopped after it has saved twice or more."""
    workdir = pathlib.Path(place) / "template"
    run = fault_runs.Process(
        functools.partial(fault_runs.toy, seconds=0.05), workdir, log=f"{workdir}.log"
    )
    while run.is_alive() and len(fault_runs.saved_steps(workdir)) < 2:
        time.sleep(0.02)
    run.send(15)
    assert run.wait() == 3, run.said()
    return workdir


def go_on(whole, stopped, place, faults, seed, reported):
    """In one process: each of the `faults`, (how, number) pairs, and the rest of the run.

    Writes a list of [how, what is wrong or "", steps lost, words] to the file `reported`.
    """
    expected, random = fault_runs.lines(whole), np.random.default_rng(seed)
    found = []
    for how, number in faults:
        workdir = pathlib.Path(place) / f"{how}-{number}"
        shutil.copytree(stopped, workdir)
        saved = fault_runs.saved_steps(workdir)
        kinds = files_by_kind(workdir / "checkpoints" / str(saved[-1]))
        names = sorted(kinds)
        files = kinds[names[number % len(names)]]
        path = files[int(random.integers(len(files)))]
        words = f"{path.relative_to(workdir)} {harm(path, how, random)}"
        messages = []
        try:
            fault_runs.run_toy(workdir, report=functools.partial(_note, messages))
            wrong, lost = _judge(workdir, saved, expected, messages)
        except Exception as failure:  # whatever it is, it is not what was asked for
            wrong, lost = f"{type(failure).__name__}: {failure}", 0
        found.append([how, wrong, lost, words])
        pathlib.Path(reported).write_text(json.dumps(found))
        shutil.rmtree(workdir)
    return 0


def _note(messages, event):
    if event.message and "damaged" in event.message:
        messages.append(event.message)


def _judge(workdir, saved, expected, messages):
    """What is wrong with a run that went on, or nothing; and the steps made again."""
    began = fault_runs.first_step(workdir) - 1
    if fault_runs.lines(workdir) != expected:
        return "other losses", 0
    if began == saved[-1]:
        return (f"warned of nothing: {messages}" if messages else ""), 0
    if began != saved[-2]:
        return f"went on from {began}, though {saved} were there", 0
    if len(messages) != 1 or str(saved[-1]) not in messages[0]:
        return f"did not say once that {saved[-1]} is damaged: {messages}", 0
    if not (pathlib.Path(workdir) / "checkpoints" / f"damaged-{saved[-1]}").is_dir():
        return "the damaged checkpoint was not set aside", 0
    return "", saved[-1] - began
