from __future__ import annotations

import json

import pytest

from zemosaic_engine.errors import SettingsError
from zemosaic_engine.settings import GridSettings, build_settings, load_settings_file, setting_fields


def write(tmp_path, name, text, encoding="utf-8"):
    path = tmp_path / name
    path.write_text(text, encoding=encoding)
    return path


def test_toml_and_json_give_the_same_settings(tmp_path):
    values = {"batch_overlap_pct": 30, "stack_final_combine": "median", "winsor_limits": [0.1, 0.2]}
    toml = write(
        tmp_path,
        "a.toml",
        'batch_overlap_pct = 30\nstack_final_combine = "median"\nwinsor_limits = [0.1, 0.2]\n',
        "utf-8-sig",
    )
    settings = build_settings(load_settings_file(toml))
    assert settings == build_settings(load_settings_file(write(tmp_path, "a.json", json.dumps(values))))
    assert settings.batch_overlap_pct == 30.0
    assert settings.winsor_limits == (0.1, 0.2)


def test_options_win_over_the_file_and_both_over_the_default():
    settings = build_settings({"threads": 3, "batch_overlap_pct": 30}, {"threads": "5"})
    assert (settings.threads, settings.batch_overlap_pct) == (5, 30.0)
    assert settings.stack_kappa_low == GridSettings().stack_kappa_low


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("batch_overlap", "batch_overlap_pct"), ("Stack-Kappa-Lo", "stack_kappa_low"), ("threds", "threads")],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(key, nearest):
    with pytest.raises(SettingsError, match=f"m.toml has the unknown key '{key}'.*{nearest}"):
        build_settings({key: 1}, file_name="m.toml")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("batch_overlap_pct", 200, "at least 1 and at most 90 (%)"),
        ("batch_overlap_pct", float("nan"), "a number"),
        ("grid_size_factor", 0, "at least 0.1"),
        ("threads", "two", "a whole number"),
        ("threads", 2.5, "a whole number"),
        ("grid_rgb_equalize", "perhaps", "true or false"),
        ("stack_reject_algo", "kappa", "did you mean kappa_sigma?"),
        ("photometry", "x", "one of survey, tiles, none"),
        ("winsor_limits", [0.1], "two numbers"),
        ("filter", 3, "text"),
    ],
)
def test_a_wrong_value_is_one_sentence_with_key_value_and_range(key, value, words):
    with pytest.raises(SettingsError) as caught:
        build_settings({key: value}, file_name="m.toml")
    message = str(caught.value)
    assert message.startswith(f"{key} in m.toml is ")
    assert words in message
    assert repr(value) in message or isinstance(value, list)
    assert message.endswith(".")
    assert "\n" not in message
    with pytest.raises(SettingsError, match=f"^--{key.replace('_', '-')} is "):
        build_settings({}, {key: value})


def test_a_rule_between_numbers_is_told_in_its_own_words():
    with pytest.raises(SettingsError, match=r"^winsor_limits are two fractions.*\.$"):
        build_settings({"winsor_limits": [0.6, 0.1]})


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.toml", "threads = = 3", "not valid TOML"),
        ("a.json", "{", "not valid JSON"),
        ("a.json", "[1]", "object of keys"),
        ("a.ini", "", "must end in .toml or .json"),
    ],
)
def test_a_broken_settings_file_is_named(tmp_path, name, text, words):
    path = write(tmp_path, name, text)
    with pytest.raises(SettingsError, match=words) as caught:
        load_settings_file(path)
    assert str(path) in str(caught.value)


def test_a_missing_or_undecodable_file_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.toml cannot be read"):
        load_settings_file(tmp_path / "none.toml")
    (tmp_path / "b.toml").write_bytes(b'filter = "\xff"')
    with pytest.raises(SettingsError, match="not valid TOML"):
        load_settings_file(tmp_path / "b.toml")


def test_every_field_is_described_for_people():
    for field in setting_fields():
        assert field.help.endswith("."), field.name
        assert field.group in {
            "input",
            "calibration",
            "canvas",
            "stacking",
            "photometry",
            "classic",
            "output",
            "machine",
        }
        assert (field.kind == "choice") == bool(field.choices)
        assert getattr(GridSettings(), field.name) == field.default


def test_limits_reach_the_field_list():
    fields = {field.name: field for field in setting_fields()}
    assert (fields["batch_overlap_pct"].at_least, fields["batch_overlap_pct"].at_most) == (1.0, 90.0)
    assert fields["grid_size_factor"].at_least == 0.1
    assert fields["max_canvas_mpx"].above == 0.0
    assert fields["grid_rgb_equalize"].kind == "bool"
    assert fields["winsor_limits"].kind == "pair"


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.toml", 'filter = "x"\n"" = 1\n', r"a\.toml, line 2 has the unknown key ''"),
        ("a.json", '{\n"": 1}', r"a\.json, line 2 has the unknown key ''"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.toml", "a = " + "[" * 100_000, "nested too deeply"),
        ("a.toml", "\nmax_canvas_mpx = 1e999\n", r"max_canvas_mpx in .*a\.toml, line 2 is inf but must be"),
        ("a.json", '{"max_canvas_mpx": "N/A"}', r"max_canvas_mpx in .*a\.json, line 1 is 'N/A' but must be"),
        ("a.toml", 'device = "' + "x" * 131_072 + '"\n', r"device in .*a\.toml, line 1 is 'x+\.\.\. but must be"),
        ("a.toml", "x" * 131_072 + " = 1\n", r"line 1 has the unknown key 'x{60}'"),
        ("a.toml", "threads = " + "9" * 4000 + "\n", r"threads in .*a\.toml, line 1 is 9+\.\.\. but must be"),
        (
            "a.json",
            '{"threads": ' + '{"a":' * 900 + "1" + "}" * 901,
            r"threads in .*a\.json, line 1 is .*\.\.\. but must",
        ),
    ],
)
def test_what_makes_no_sense_is_named_with_its_line(tmp_path, name, text, reason):
    (tmp_path / name).write_text(text)
    with pytest.raises(SettingsError, match=reason) as caught:
        build_settings(load_settings_file(tmp_path / name), file_name=str(tmp_path / name))
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


def test_defaults_are_values_that_may_be_given():
    defaults = GridSettings()
    assert GridSettings(**defaults.model_dump()) == defaults


def test_the_first_window_asks_for_these():
    assert [field.name for field in setting_fields() if field.simple] == [
        "filter", "plate_solve", "calibration", "calibration_dir", "pixel_scale_arcsec", "stack_weight_method",
        "stack_reject_algo", "colour", "outputs", "crop", "preview_max_px", "device", "memory_gb",
    ]  # fmt: skip
