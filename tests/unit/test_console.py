from __future__ import annotations

import io
import os
import re
import subprocess
import sys

import pytest

from zemosaic_app.console import (
    LiveConsole,
    PlainConsole,
    Verbosity,
    duration_text,
    open_console,
    printable,
    terminal_stream,
    time_left_text,
    write_line,
)
from zemosaic_engine.events import LogLine, Metric, PhaseStarted, Progress, SubCount, TileCount, TimeLeft


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_plain_lines_for_a_pipe_and_a_bar_for_a_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(open_console(io.StringIO()), PlainConsole)
    assert isinstance(open_console(Terminal()), LiveConsole)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(open_console(Terminal()), PlainConsole)


def test_plain_output_is_one_printable_line_a_log_line():
    stream = io.StringIO()
    with PlainConsole(stream, Verbosity.VERBOSE) as console:
        console(PhaseStarted("tile stacking", 2, 0.5))
        console(LogLine("an evil\nname\x1b[31m.fit"))
        console(LogLine("careful", "WARN"))
        console(LogLine("detail", "DEBUG"))
        console(TileCount(1, 2))
        console(SubCount(1, 2))
    assert stream.getvalue().splitlines() == [
        "--- tile stacking",
        "[GRID] an evil?name?[31m.fit",
        "WARN: [GRID] careful",
    ]


@pytest.mark.parametrize(
    ("verbosity", "shown"),
    [
        (Verbosity.QUIET, ["WARN: [GRID] careful", "ERROR: [GRID] wrong"]),
        (
            Verbosity.NORMAL,
            [
                "--- starting",
                "--- reading headers",
                "[GRID] 16 subs",
                "--- tile stacking",
                "[WATCH] a.fit waits for the next full pass",
                "WARN: [GRID] careful",
                "ERROR: [GRID] wrong",
            ],
        ),
    ],
)
def test_what_is_shown_unless_more_is_asked_for(verbosity, shown):
    stream, now = io.StringIO(), [0.0]
    with PlainConsole(stream, verbosity, now=lambda: now[0]) as console:
        console(PhaseStarted("starting", 0, 0.0))
        console(LogLine("versions of libraries"))
        console(PhaseStarted("reading headers", 1, 0.5))
        console(LogLine("16 subs"))
        console(PhaseStarted("tile stacking", 2, 0.5))
        console(LogLine("a.fit waits for the next full pass", source="WATCH"))
        for level in ("DEBUG", "INFO", "WARN", "ERROR"):
            console(LogLine({"WARN": "careful", "ERROR": "wrong"}.get(level, "detail"), level))
        if verbosity is Verbosity.QUIET:
            now[0] = 60.0
            console(Progress("tiles", 1, 2))
    assert stream.getvalue().splitlines() == shown


def test_debug_lines_are_shown_when_asked_for():
    stream = io.StringIO()
    with PlainConsole(stream, Verbosity.DEBUG) as console:
        console(LogLine("detail", "DEBUG"))
    assert stream.getvalue() == "DEBUG: [GRID] detail\n"


def test_progress_comes_every_few_seconds_only():
    stream, now = io.StringIO(), [0.0]
    with PlainConsole(stream, now=lambda: now[0]) as console:
        console(TimeLeft(130.0))
        for step in range(1, 101):
            now[0] += 0.2
            console(Progress("tiles", step, 100))
    lines = stream.getvalue().splitlines()
    assert len(lines) <= 4
    assert lines[0].strip() == "tiles: 25/100 (25 %), about 2 min left"


def test_a_reader_that_goes_away_does_not_stop_the_run():
    code = (
        "import sys\n"
        "from zemosaic_app.console import PlainConsole\n"
        "from zemosaic_engine.events import LogLine\n"
        "console = PlainConsole(sys.stdout)\n"
        "for number in range(100000):\n"
        "    console(LogLine(f'[GRID] line {number}'))\n"
        "sys.stderr.write('finished')\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == "finished"
        assert process.wait(30) == 0


def test_the_live_bar_shows_phase_count_time_left_and_lines_without_markup(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with LiveConsole(stream) as console:
        console(PhaseStarted("tile stacking", 2, 0.5))
        console(Progress("tile stacking", 3, 12))
        console(TimeLeft(300.0))
        console(Metric("0.1 ADU", "WARN", figure="step"))
        console._bars.refresh()
    text = stream.getvalue()
    for words in ("tile stacking", "3/12", "about 5 min left", "WARN: [GRID][METRICS] step: 0.1 ADU"):
        assert words in text
    assert text.rstrip("\n").endswith(("\x1b[?25h", "\x1b[2K")), "the cursor is shown again"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "a few seconds"),
        (12.0, "10 s"),
        (47.0, "50 s"),
        (89.0, "1 min"),
        (1500.0, "25 min"),
        (7500.0, "2 h 05 min"),
    ],
)
def test_durations_are_no_finer_than_an_estimate_deserves(seconds, text):
    assert duration_text(seconds) == text


def test_time_left_is_said_as_an_estimate():
    assert time_left_text(3.0) == "a few seconds left"
    assert time_left_text(130.0) == "about 2 min left"


def test_printable_keeps_letters_of_all_languages():
    assert printable("Fünf σ, été\t") == "Fünf σ, été?"


def test_a_full_disk_or_a_closed_stream_is_no_reason_to_stop(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full here")
    with open("/dev/full", "w", encoding="utf-8") as full:
        write_line(full, "one")
        write_line(full, "two")
    stream = (tmp_path / "closed").open("w")
    stream.close()
    write_line(stream, "three")


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_streams_that_are_not_there(monkeypatch, name):
    monkeypatch.setattr(sys, name, None)
    stream = terminal_stream(errors=name == "stderr")
    write_line(stream, "nobody reads this")
    assert not stream.isatty()


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_bar_leaves_no_text_out_on_a_terminal_of_any_width(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with LiveConsole(stream) as console:
        console(TimeLeft(4000.0))
        console(PhaseStarted("GRID: photometry & blending", 1, 0.1))
        console(Progress("GRID: photometry & blending", 514, 1026))
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    letters = re.sub(r"[\s━╸╺]", "", shown)
    assert "514/1026" in letters if width >= 60 else "blending" in letters
    if width >= 80:
        assert "GRID: photometry & blending" in shown
        assert "514/1026" in shown
        assert "about 67 min left" in shown
