"""The settings as a form: groups of fields with labels, units, ranges and a sentence each, made from the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zemosaic_engine.errors import SettingsError
from zemosaic_engine.settings import GridSettings, SettingField, build_settings, setting_fields

from .texts import Texts

#: Settings that name a folder or a file, which a dropped one replaces.
PATHS = ("darks", "flats", "biases", "dark_flats", "calibration_dir", "star_catalogue_dir", "reference_catalogue")


@dataclass(frozen=True)
class FormField:
    """One setting as a window shows it.

    Attributes
    ----------
    setting : SettingField
        What the model says of it.
    label, help, unit, limits : str
        In the language of the window; the last two are empty where there are none.
    choices : tuple of (value, label)
        Of a choice; empty for all else.
    """

    setting: SettingField
    label: str
    help: str
    unit: str
    limits: str
    choices: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """Key in settings files."""
        return self.setting.name

    @property
    def tooltip(self) -> str:
        """The sentence, with the range behind it."""
        return f"{self.help} ({self.limits})" if self.limits else self.help

    def holds(self, text: str) -> bool:
        """True if a text is in the label, the name or the sentence, capitals or not; an empty one always is."""
        return text.strip().casefold() in f"{self.label} {self.name} {self.help}".casefold()


@dataclass(frozen=True)
class FormGroup:
    """Fields under one heading; the advanced ones are folded away at first. The name is of no language."""

    name: str
    title: str
    basic: tuple[FormField, ...]
    advanced: tuple[FormField, ...]


def form_groups(texts: Texts, mode: str = "") -> list[FormGroup]:
    """Every setting in the order of the model; in Grid Mode without those of the classic flow."""
    by_group: dict[str, list[FormField]] = {}
    for setting in setting_fields():
        if not (mode == "grid" and setting.group == "classic"):
            by_group.setdefault(setting.group, []).append(_field(setting, texts))
    return [
        FormGroup(
            group,
            texts(f"group.{group}"),
            tuple(field for field in fields if not field.setting.advanced),
            tuple(field for field in fields if field.setting.advanced),
        )
        for group, fields in by_group.items()
    ]


def _field(setting: SettingField, texts: Texts) -> FormField:
    return FormField(
        setting,
        texts(f"label.{setting.name}"),
        texts.help_of(setting),
        texts.name_of("unit", setting.unit),
        _limits(setting, texts),
        tuple((choice, texts.name_of("choice", choice)) for choice in setting.choices),
    )


def _limits(setting: SettingField, texts: Texts) -> str:
    bounds = (
        ("at_least", setting.at_least),
        ("above", setting.above),
        ("at_most", setting.at_most),
        ("below", setting.below),
    )
    return ", ".join(texts(f"limit.{name}", n=f"{limit:g}") for name, limit in bounds if limit is not None)


def shown(value: Any) -> str:
    """A value as it stands in an input field."""
    if isinstance(value, tuple | list):
        return " ".join(f"{number:g}" for number in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


class Form:
    """The values entered so far, checked as they are entered.

    Attributes
    ----------
    problems : dict of str to str
        A sentence for each field whose text cannot be used.
    """

    def __init__(self, texts: Texts) -> None:
        self.problems: dict[str, str] = {}
        self._wrong: dict[str, str | bool] = {}
        self._texts = texts
        self._fields = {setting.name: _field(setting, texts) for setting in setting_fields()}
        self._values: dict[str, Any] = {name: field.setting.default for name, field in self._fields.items()}

    def use(self, texts: Texts) -> None:
        """Speak another language from now on."""
        self._texts = texts
        self._fields = {setting.name: _field(setting, texts) for setting in setting_fields()}
        for name, entered in [*self._wrong.items()]:
            self.enter(name, entered)

    def text(self, name: str) -> str:
        """Return the text in the field of a setting, even if it is not valid."""
        return str(self._wrong.get(name, shown(self._values[name])))

    def value(self, name: str) -> Any:
        """The last good value of a setting."""
        return self._values[name]

    def enter(self, name: str, entered: str | bool) -> str:
        """Take what was entered for a setting; empty, or a sentence that says what it must be."""
        field = self._fields[name]
        value: Any = entered
        if field.setting.kind == "pair" and isinstance(entered, str):
            value = entered.replace(",", " ").split()
        elif field.setting.kind in ("int", "float") and isinstance(entered, str):
            value = entered.strip().replace(",", ".")
        try:
            self._values[name] = getattr(build_settings({name: value}), name)
        except SettingsError:
            limits = field.limits or self._texts(f"kind.{field.setting.kind}")
            self._wrong[name] = entered
            self.problems[name] = self._texts("form.wrong", label=field.label, value=entered, limits=limits)
            return self.problems[name]
        self.problems.pop(name, None)
        self._wrong.pop(name, None)
        return ""

    def changed(self) -> dict[str, Any]:
        """The settings that differ from their defaults: what a preset holds and a run is given."""
        return {name: value for name, value in self._values.items() if value != self._fields[name].setting.default}

    def settings(self) -> GridSettings:
        """The settings of a run; `SettingsError` while a field holds what cannot be used."""
        if self.problems:
            raise SettingsError(next(iter(self.problems.values())))
        return build_settings(self.changed())

    def fill(self, values: Mapping[str, Any]) -> None:
        """Take these settings, and the defaults for all others; `SettingsError` if one cannot be used."""
        settings = build_settings(values, file_name=self._texts("form.preset"))
        self._values = {name: getattr(settings, name) for name in self._fields}
        self.problems.clear()
        self._wrong.clear()
