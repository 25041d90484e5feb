"""The settings as a form: groups of fields with labels, units, ranges and a sentence each, made from the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from zemosaic_engine.errors import SettingsError
from zemosaic_engine.settings import GridSettings, SettingField, build_settings, setting_fields

from .texts import Texts

#: Settings that name a folder or a file, which a dropped one replaces.
PATHS = ("darks", "flats", "biases", "dark_flats", "calibration_dir", "star_catalogue_dir", "reference_catalogue")


#: Settings with a value that lets the program choose; their fields are empty then and say so.
AUTOMATIC: Mapping[str, Any] = {
    "pixel_scale_arcsec": 0.0,
    "saturation_adu": 0.0,
    "threads": 0,
    "memory_gb": 0.0,
    "pedestal": "auto",
}
#: How much of the settings is shown: a few, or all of them.
LEVELS = ("simple", "expert")


@dataclass(frozen=True)
class FormField:
    """One setting as a window shows it.

    Attributes
    ----------
    setting : SettingField
        What the model says of it.
    label, help, unit, limits : str
        In the language of the window; the last two are empty where there are none.
    when : str
        When to change it.
    words : str
        Other words by which people look for it.
    usual : str
        Its default, as the window shows it.
    choices : tuple of (value, label)
        Of a choice; empty for all else.
    """

    setting: SettingField
    label: str
    help: str
    unit: str
    limits: str
    when: str
    words: str
    usual: str
    choices: tuple[tuple[str, str], ...]

    @property
    def name(self) -> str:
        """Key in settings files."""
        return self.setting.name

    @property
    def tooltip(self) -> str:
        """The sentence with the range behind it, when to change it, and what it is by itself."""
        told = f"{self.help} ({self.limits})" if self.limits else self.help
        return "\n\n".join(part for part in (told, self.when, self.usual) if part)

    def holds(self, text: str) -> bool:
        """True if each word of a text is in the label, the name, the sentence or the other words for it."""
        told = f"{self.label} {self.name} {self.help} {self.words}".casefold()
        return all(word in told for word in text.casefold().split())


@dataclass(frozen=True)
class FormGroup:
    """Fields under one heading. The name is of no language."""

    name: str
    title: str
    fields: tuple[FormField, ...]


def form_groups(texts: Texts, mode: str = "") -> list[FormGroup]:
    """Every setting in the order of the model; in Grid Mode without those of the classic flow."""
    by_group: dict[str, list[FormField]] = {}
    for setting in setting_fields():
        if not (mode == "grid" and setting.group == "classic"):
            by_group.setdefault(setting.group, []).append(_field(setting, texts))
    return [FormGroup(group, texts(f"group.{group}"), tuple(fields)) for group, fields in by_group.items()]


def _field(setting: SettingField, texts: Texts) -> FormField:
    choices = tuple((choice, texts.name_of("choice", choice)) for choice in setting.choices)
    field = FormField(
        setting,
        texts(f"label.{setting.name}"),
        texts.help_of(setting),
        texts.name_of("unit", setting.unit),
        _limits(setting, texts),
        texts(f"when.{setting.name}"),
        texts(f"words.{setting.name}"),
        "",
        choices,
    )
    return replace(field, usual=texts("form.usual", value=_usual(field, texts)))


def _usual(field: FormField, texts: Texts) -> str:
    """The default of a setting in words."""
    value = field.setting.default
    if field.name in AUTOMATIC:
        return texts("form.automatic")
    if field.setting.kind == "bool":
        return texts("form.on" if value else "form.off")
    if field.choices:
        return dict(field.choices)[value]
    text = texts.decimal(shown(value)) or texts(f"empty.{field.name}")
    return f"{text} {field.unit}" if field.unit else text


def _limits(setting: SettingField, texts: Texts) -> str:
    bounds = (
        ("at_least", setting.at_least),
        ("above", setting.above),
        ("at_most", setting.at_most),
        ("below", setting.below),
    )
    return ", ".join(
        texts(f"limit.{name}", n=texts.decimal(f"{limit:g}")) for name, limit in bounds if limit is not None
    )


def shown(value: Any) -> str:
    """A value as it stands in an input field."""
    if isinstance(value, tuple | list):
        return " ".join(f"{number:g}" for number in value)
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class _State:
    """What was entered at one moment."""

    values: Mapping[str, Any]
    wrong: Mapping[str, str | bool]


class Form:
    """The values entered so far, checked as they are entered, with a way back.

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
        self._before: list[_State] = []
        self._behind: list[_State] = []
        self._typed = ""  # the field whose letters are one step back together

    def use(self, texts: Texts) -> None:
        """Speak another language from now on."""
        self._texts = texts
        self._fields = {setting.name: _field(setting, texts) for setting in setting_fields()}
        self._check_wrong()

    def text(self, name: str) -> str:
        """Return the text in the field of a setting, even if it is not valid; empty if the program chooses."""
        if name in self._wrong:
            return str(self._wrong[name])
        value = self._values[name]
        if name in AUTOMATIC and value == AUTOMATIC[name]:
            return ""
        return (
            self._texts.decimal(shown(value)) if self._fields[name].setting.kind in ("float", "pair") else shown(value)
        )

    def placeholder(self, name: str, known: str = "") -> str:
        """Return what an empty field of a setting means; `known` is the value that the program will take."""
        if name in AUTOMATIC:
            return self._texts("form.automatic_value", value=known) if known else self._texts("form.automatic")
        return self._texts.name_of("empty", name) if self._fields[name].setting.default == "" else ""

    def value(self, name: str) -> Any:
        """The last good value of a setting."""
        return self._values[name]

    def is_changed(self, name: str) -> bool:
        """True if a field holds something other than the default."""
        return name in self._wrong or self._values[name] != self._fields[name].setting.default

    @property
    def changes(self) -> int:
        """How many fields hold something other than their default."""
        return sum(self.is_changed(name) for name in self._fields)

    def enter(self, name: str, entered: str | bool) -> str:
        """Take what was entered for a setting; empty, or a sentence that says what it must be."""
        field, before = self._fields[name], self._state
        value: Any = entered
        if isinstance(entered, str) and not entered.strip() and name in AUTOMATIC:
            value = AUTOMATIC[name]
        elif field.setting.kind == "pair" and isinstance(entered, str):
            value = _two_numbers(entered)
        elif field.setting.kind in ("int", "float") and isinstance(entered, str):
            value = entered.strip().replace(",", ".")
        try:
            self._values[name] = getattr(build_settings({name: value}), name)
        except SettingsError:
            self._wrong[name] = entered
        else:
            self._wrong.pop(name, None)
        self._check_wrong()
        is_typed = isinstance(entered, str) and not field.choices
        self._note(before, name if is_typed else "")
        return self.problems.get(name, "")

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
        before = self._state
        self._values = {name: getattr(settings, name) for name in self._fields}
        self.problems.clear()
        self._wrong.clear()
        self._note(before)

    def recall(self, values: Mapping[str, Any]) -> list[str]:
        """Take settings of an earlier start; the names of those that this version cannot use."""
        lost = []
        for name, value in values.items():
            try:
                self._values[name] = getattr(build_settings({name: value}), name)
            except SettingsError:
                lost.append(name)
        return lost

    def reset(self, name: str) -> None:
        """Go back to the default of one setting."""
        before = self._state
        self._values[name] = self._fields[name].setting.default
        self.problems.pop(name, None)
        self._wrong.pop(name, None)
        self._note(before)

    # --- the way back

    @property
    def _state(self) -> _State:
        return _State(dict(self._values), dict(self._wrong))

    def _note(self, before: _State, typed: str = "") -> None:
        """Keep what was there before a change; letters typed into one field are one change."""
        if before == self._state:
            return
        if not typed or typed != self._typed:
            self._before.append(before)
        self._behind.clear()
        self._typed = typed

    def undo(self) -> bool:
        """Take the last change back; False if there is none."""
        return self._go(self._before, self._behind)

    def redo(self) -> bool:
        """Do again what was taken back last; False if there is nothing."""
        return self._go(self._behind, self._before)

    @property
    def can_undo(self) -> bool:
        """True if there is a change to take back."""
        return bool(self._before)

    @property
    def can_redo(self) -> bool:
        """True if something was taken back."""
        return bool(self._behind)

    def _go(self, there: list[_State], back: list[_State]) -> bool:
        self._typed = ""
        if not there:
            return False
        back.append(self._state)
        state = there.pop()
        self._values, self._wrong = dict(state.values), dict(state.wrong)
        self._check_wrong()
        return True

    def _check_wrong(self) -> None:
        """Say of each wrong field again what is wrong with it."""
        self.problems.clear()
        for name in self._wrong:
            field = self._fields[name]
            limits = field.limits or self._texts(f"kind.{field.setting.kind}")
            self.problems[name] = self._texts("form.wrong", label=field.label, value=self._wrong[name], limits=limits)


def _two_numbers(entered: str) -> list[str]:
    """Two numbers, separated by a blank or a semicolon, with a decimal point or comma."""
    parts = entered.replace(";", " ").split()
    if len(parts) == 2:
        return [part.strip(",").replace(",", ".") for part in parts]
    return entered.replace(",", " ").split()
