"""The command line as a person or a script meets it: real processes, exit codes, one line a problem."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zemosaic_app import cli, command_session, commands, grammar
from zemosaic_app.console import Verbosity
from zemosaic_engine.canvas.advice import Advice, advice_lines
from zemosaic_engine.settings import setting_fields

ROOT = Path(__file__).resolve().parents[2]


def zemosaic(*arguments, **options):
    command = [sys.executable, "-m", "zemosaic_app.cli", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, **options)


def test_version():
    done = zemosaic("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("zemosaic 0.")


@pytest.mark.parametrize("command", ["grid", "classic", "run"])
def test_help_explains_every_setting_with_unit_and_default(command):
    text = " ".join(zemosaic(command, "--help", env={**os.environ, "COLUMNS": "200"}).stdout.split())
    for field in setting_fields():
        if (command, field.group) == ("grid", "classic"):
            assert field.option not in text
            continue
        assert field.option in text
        assert " ".join(field.help.split()) in text
        if field.unit:
            assert f"[{field.unit}; " in text
    assert "[%; at least 1 and at most 90; default 20]" in text
    assert "--no-grid-rgb-equalize" in text
    assert "130 stopped" in text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("grdi", "in", "out"), "there is no command 'grdi'; did you mean grid?"),
        (("grid", "--kapa-low", "3", "in", "out"), "there is no option --kapa-low; did you mean --stack-kappa-low?"),
        (("grid", "--pixel-scale=3", "in", "out"), "no option --pixel-scale; did you mean --pixel-scale-arcsec?"),
        (("--fresh", "grid", "in", "out"), "the option --fresh stands behind the command: zemosaic COMMAND --fresh"),
        (("--memory-gb", "2", "grid", "in", "out"), "the option --memory-gb stands behind the command"),
        (("grid", "in", "out", "more"), "unrecognized arguments: more"),
        (("grid",), "INPUT, OUTPUT"),
        (("grid", "in", "out", "--frobnicate"), "there is no option --frobnicate (see"),
        (("simulate", "out", "--preset", "huge"), "huge"),
        (("grid", "no_such_folder", "out"), "no_such_folder does not exist"),
        (("grid", "no_such_folder", "out", "--batch-overlap-pct", "200"), "--batch-overlap-pct is '200'"),
        (("grid", "no_such_folder", "out", "--settings", "none.toml"), "none.toml"),
        (("plan", "no_such_folder"), "no_such_folder does not exist"),
    ],
)
def test_wrong_usage_is_one_line_and_code_2(arguments, words, tmp_path):
    done = zemosaic(*arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    assert not (ROOT / "out").exists()


@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("option", ["-q", "-v", "--quiet", "--verbose", "--debug"])
def test_what_is_shown_can_be_chosen_before_and_behind_the_command(option, place):
    words = ["simulate", "out"]
    args = grammar.build_parser().parse_args([*words[:place], option, *words[place:]])
    shown = {"q": Verbosity.QUIET, "v": Verbosity.VERBOSE, "d": Verbosity.DEBUG}[option.strip("-")[0]]
    assert command_session.verbosity(args) == shown


def test_the_program_alone_shows_its_help():
    done = zemosaic()
    assert done.returncode == 2
    assert all(f"\n    {command}" in done.stdout for command in grammar.build_parser().commands)


def test_the_help_of_a_run_begins_with_examples_that_are_right():
    for command in ("grid", "classic", "run"):
        _, _, rest = zemosaic(command, "--help").stdout.partition("examples:\n")
        examples = [line.split() for line in rest.partition("\n\n")[0].splitlines()]
        assert len(examples) == 3
        for program, *words in examples:
            assert (program, words[0]) == ("zemosaic", command)
            commands.settings_of(
                grammar.build_parser().parse_args([word for word in words if word[-5:] != ".toml"][:3])
            )


def test_the_package_is_a_program_too():
    done = subprocess.run(
        [sys.executable, "-m", "zemosaic_app", "--version"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.startswith("zemosaic 0.")


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("zemosaic gr", {"grid"}),
        ("zemosaic grid --stack-kap", {"--stack-kappa-low", "--stack-kappa-high"}),
        ("zemosaic grid --photometry ", {"survey", "tiles", "none"}),
        ("zemosaic completion ", {"bash", "zsh", "fish"}),
    ],
)
def test_a_shell_is_told_how_a_line_may_go_on(line, wanted, tmp_path):
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_SHELL": "bash", "_ARGCOMPLETE_IFS": "\n", "COMP_LINE": line}
    asked |= {"COMP_POINT": str(len(line)), "_ARGCOMPLETE_STDOUT_FILENAME": str(tmp_path / "told")}
    assert zemosaic(env={**os.environ, **asked}).returncode == 0
    told = {word.strip() for word in (tmp_path / "told").read_text().splitlines()}
    assert {word for word in told if not word.startswith("-") or line.endswith("kap")} == wanted


def test_a_shell_understands_what_it_is_told(tmp_path):
    for shell in ("bash", "zsh", "fish"):
        done = zemosaic("completion", shell)
        assert done.returncode == 0
        if shutil.which(shell):
            (tmp_path / shell).write_text(done.stdout)
            subprocess.run([shell, "-n", tmp_path / shell], check=True)


def test_debug_shows_the_traceback_before_the_line():
    done = zemosaic("grid", "no_such_folder", "out", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("zemosaic: ")


def test_a_folder_without_a_usable_sub_fails_with_code_1(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.fits").write_text("not a FITS file at all\n")
    done = zemosaic("grid", tmp_path / "in", tmp_path / "out")
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "out" / "zemosaic.log").read_text().splitlines()[-1].split()[2] == "ERROR"
    assert "a.fits" in (tmp_path / "out" / "rejected_subs.csv").read_text()


def test_settings_of_a_file_and_of_options_meet(tmp_path):
    path = tmp_path / "m.toml"
    path.write_text("threads = 3\nbatch_overlap_pct = 30\n")
    arguments = ["grid", "a", "b", "--settings", str(path), "--threads", "2", "--winsor-limits", "0.1", "0.2"]
    settings = commands.settings_of(grammar.build_parser().parse_args([*arguments, "--no-grid-rgb-equalize"]))
    assert (settings.threads, settings.batch_overlap_pct) == (2, 30.0)
    assert settings.winsor_limits == (0.1, 0.2)
    assert settings.grid_rgb_equalize is False


def test_what_nobody_foresaw_is_one_line_and_code_1(tmp_path):
    code = (
        "import sys\nfrom zemosaic_app import cli, grammar\n"
        "grammar.run_plan = lambda args: 1 // 0\n"
        "sys.exit(cli.main(['plan', 'x', *sys.argv[1:]]))"
    )
    quiet = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert quiet.returncode == 1
    assert quiet.stderr.count("\n") == 1
    assert "ZeroDivisionError" in quiet.stderr
    loud = subprocess.run(
        [sys.executable, "-c", code, "--debug"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert loud.returncode == 1
    assert "Traceback" in loud.stderr


# --- runs on a tiny survey


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli") / "survey"
    done = zemosaic("simulate", folder, "--preset", "tiny", "--seed", "3")
    assert done.returncode == 0, done.stderr
    assert "seed 3" in done.stdout
    return folder


def test_plan_lists_the_subs_in_time_order_and_keeps_an_edited_plan(survey, tmp_path):
    target = tmp_path / "plan.csv"
    target.write_text("my own notes\n")
    done = zemosaic("plan", survey, "--output", target)
    assert done.returncode == 0, done.stderr
    assert "16 subs" in done.stdout
    assert re.search(r"\nMosaic.* pixels of 2.37 arcsec, from 16 subs\nA run takes about .* of memory\n", done.stdout)
    assert len(target.read_text().splitlines()) == 17
    assert (tmp_path / "plan.csv.1.bak").read_text() == "my own notes\n"
    assert zemosaic("plan", survey, "--output", target).returncode == 0
    assert not (tmp_path / "plan.csv.2.bak").exists(), "the same plan again needs no backup"


def test_grid_makes_a_mosaic_in_plain_lines(survey, tmp_path):
    done = zemosaic("grid", survey, tmp_path / "out", "-v")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout.startswith("--- starting\n")
    assert done.stdout.replace("\n", "").isprintable(), "no control characters in a pipe"
    assert "[GRID][METRICS] Inter-tile median stddev" in done.stdout
    names = ["mosaic_grid.fits", "mosaic_grid_coverage.fits", "mosaic_grid.png", "rejected_subs.csv", "zemosaic.log"]
    assert all((tmp_path / "out" / name).exists() for name in names)
    log = (tmp_path / "out" / "zemosaic.log").read_text()
    assert "Peak memory" in log.splitlines()[-2]
    report = json.loads((tmp_path / "out" / "run_report.json").read_text())
    advice = Advice.of_facts(report["advice"])
    assert sum(panel.subs for panel in advice.panels) == len(report["subs_used"])
    assert str(advice_lines(advice)[0]) in log
    assert (tmp_path / "out" / "advice.csv").read_text(encoding="utf-8").count("\n") == 1 + len(advice.panels)
    assert report["files"]["advice"].endswith("advice.csv")


@pytest.mark.slow
def test_a_run_that_leaves_a_sub_out_ends_with_code_3(survey, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for path in survey.glob("sub_*.fits"):
        (folder / path.name).symlink_to(path)
    (folder / "sub_broken.fits").write_bytes(next(survey.glob("sub_*.fits")).read_bytes()[:5000])
    done = zemosaic("grid", folder, tmp_path / "out")
    assert done.returncode == 3, done.stderr
    assert "sub_broken.fits" in (tmp_path / "out" / "rejected_subs.csv").read_text()


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_ctrl_c_stops_a_run_with_code_130_and_leaves_no_half_files(survey, tmp_path):
    command = [sys.executable, "-m", "zemosaic_app.cli", "grid", str(survey), str(tmp_path / "out")]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("--- GRID: tile stacking"):
                break
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Stopping" in errors
    assert "The same command goes on where it was." in errors
    assert "Traceback" not in errors
    assert "stopped" in (tmp_path / "out" / "zemosaic.log").read_text().splitlines()[-1]
    assert not (tmp_path / "out" / "mosaic_grid.fits").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="limits of address space as Linux has them")
def test_too_little_address_space_is_said_before_libraries_hang(tmp_path):
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_AS, (400_000_000,) * 2)\n"
        "from zemosaic_app.cli import main\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "grid", tmp_path, tmp_path / "out"],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2
    assert "may use 0.40 GB of address space, but needs at least 0.8 GB" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unknown_option_names_the_help_of_its_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["grid", "--no-such-thing", "a", "b"])
    assert "(see zemosaic grid --help)" in capsys.readouterr().err


@pytest.mark.real
def test_plan_of_real_subs(tmp_path):
    if "ZEMOSAIC_DATA" not in os.environ:
        pytest.skip("ZEMOSAIC_DATA names no folder of real subs")
    done = zemosaic("plan", Path(os.environ["ZEMOSAIC_DATA"]) / "seestar_m94", "--output", tmp_path / "plan.csv")
    assert done.returncode == 0, done.stderr
    rows = (tmp_path / "plan.csv").read_text().splitlines()
    assert len(rows) == 16
    assert all("IRCUT" in row and ",10," in row for row in rows[1:])
