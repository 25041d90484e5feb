"""The page of settings is that of the model, and README promises what the command line has."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from zemosaic_app.cli import main
from zemosaic_engine.settings import setting_fields

ROOT = Path(__file__).resolve().parents[2]


def settings_page():
    spec = importlib.util.spec_from_file_location("settings_page", ROOT / "tools" / "settings_page.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_settings_is_what_its_command_makes():
    made = settings_page()
    assert made.PAGE.read_text(encoding="utf-8") == made.page(), "run: python tools/settings_page.py"
    for field in setting_fields():
        assert made.page().count(f"**`{field.name}`**") == 1


@pytest.mark.parametrize(("command", "without"), [("grid", "classic"), ("classic", "")])
def test_every_setting_is_an_option_of_the_commands_that_the_page_names(command, without, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    told = capsys.readouterr().out
    words = {word.strip("[],") for word in told.replace("=", " ").split()}
    assert {field.option for field in setting_fields() if field.group != without} <= words
    assert not {field.option for field in setting_fields() if field.group == without} & words
