"""Progress: plain lines are told every ten seconds with an honest ETA; a terminal gets a bar."""

import io

import rich.console

from resgen_jax.runs import progress


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def plain_console():
    return rich.console.Console(file=io.StringIO(), width=200, force_terminal=False)


def test_plain_lines_come_every_ten_seconds_and_at_the_end():
    on, clock = plain_console(), Clock()
    lines = progress._Lines(on, "tokenizer", 100, clock)
    clock.now += 5.0  # compiling
    for done in range(20, 101):
        clock.now += 0.5 * (done > 20)
        lines(done, {"loss": 1 / done})
    lines.finish()
    text = on.file.getvalue().splitlines()
    # 80 pieces at 2 a second, from piece 20 on where an earlier run had stopped.
    assert text == [
        "tokenizer  30/100  loss 0.03333  2/s  35.0 s left",
        "tokenizer  50/100  loss 0.02  2/s  25.0 s left",
        "tokenizer  70/100  loss 0.01429  2/s  15.0 s left",
        "tokenizer  90/100  loss 0.01111  2/s  5.0 s left",
        "tokenizer  100/100  loss 0.01  2/s  in 40.0 s",
    ]


def test_phase_tells_its_end_even_when_it_was_quick():
    on = plain_console()
    with progress.phase("encode", 3, on=on) as report:
        report(3)
        report.note("photo\n\x1b[2J.jpg cannot be read")
    assert on.file.getvalue().splitlines()[0] == r"photo\n\x1b[2J.jpg cannot be read"
    assert on.file.getvalue().splitlines()[1].startswith("encode  3/3")


def test_terminal_gets_a_bar_with_the_values():
    on = rich.console.Console(file=io.StringIO(), width=160, force_terminal=True)
    with progress.phase("generator", 50, on=on) as report:
        report(30, {"loss": 0.5})
    shown = on.file.getvalue()
    assert "30/50" in shown
    assert "loss 0.5" in shown
