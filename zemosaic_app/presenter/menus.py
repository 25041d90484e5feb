"""The menus of both windows: what stands in them, what it does, and by which keys."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from .presenter import TABS, Presenter
from .texts import Texts


@dataclass(frozen=True)
class Item:
    """A line of a menu.

    Attributes
    ----------
    key : str
        Of its text; empty for a line between groups.
    act : str
        The method of the window that it calls, or ``tab:NAME``.
    keys : str
        As ``"Ctrl+Shift+O"``; empty without any.
    submenu : str
        ``"recent"``, ``"themes"`` or ``"languages"`` if it opens another menu.
    """

    key: str = ""
    act: str = ""
    keys: str = ""
    submenu: str = ""


#: Menus by the key of their title.
MENUS: dict[str, tuple[Item, ...]] = {
    "window.file": (
        Item("window.open_input", "choose_input", "Ctrl+O"),
        Item("window.recent", submenu="recent"),
        Item("window.open_output", "choose_output", "Ctrl+Shift+O"),
        Item("window.read_again", "read_again", "F5"),
        Item(),
        Item("window.quit", "close", "Ctrl+Q"),
    ),
    "window.edit": (
        Item("window.undo", "undo", "Ctrl+Z"),
        Item("window.redo", "redo", "Ctrl+Shift+Z"),
        Item(),
        Item("window.find_setting", "find_setting", "Ctrl+F"),
        Item("window.reset_settings", "reset_settings"),
    ),
    "window.run": (
        Item("run.start", "start", "Ctrl+R"),
        Item("run.pause", "pause", "Ctrl+P"),
        Item("run.cancel", "cancel", "Ctrl+."),
        Item(),
        Item("watch.mosaic_now", "make_now", "Ctrl+Shift+M"),
        Item("watch.finish", "finish", "Ctrl+Shift+F"),
    ),
    "window.view": (
        *(Item(f"tab.{name}", f"tab:{name}", f"Ctrl+{number}") for number, name in enumerate(TABS, start=1)),
        Item(),
        Item("window.theme", submenu="themes"),
        Item("window.language", submenu="languages"),
    ),
    "window.help": (
        Item("window.manual", "manual", "F1"),
        Item("window.shortcuts", "shortcuts", "Ctrl+/"),
        Item("welcome.demo", "demo"),
        Item(),
        Item("window.about", "about"),
    ),
}


def is_enabled(presenter: Presenter, act: str, *, can_start: bool) -> bool:
    """True if what a line of a menu does can be done now."""
    at_work = presenter.view.doing in ("running", "paused")
    known = {
        "start": can_start,
        "pause": at_work,
        "cancel": at_work,
        "make_now": presenter.can_ask_mosaic,
        "finish": presenter.can_finish,
        "undo": presenter.form.can_undo and not presenter.is_running,
        "redo": presenter.form.can_redo and not presenter.is_running,
        "reset_settings": presenter.form.changes > 0,
        "demo": not presenter.is_running,
        "read_again": presenter.input is not None and not presenter.is_running,
        "recent": bool(presenter.recent) and not presenter.is_running,
    }
    return known.get(act, True)


def text_of(item: Item, presenter: Presenter) -> str:
    """Return the text of a line as things are now: a paused run is resumed, one that stopped too."""
    if item.act == "pause" and presenter.view.doing == "paused":
        return presenter.texts("run.resume")
    if item.act == "start" and not presenter.is_running and presenter.can_go_on:
        return presenter.texts("run.go_on")
    return presenter.texts(item.key)


def keys_text(keys: str, texts: Texts) -> str:
    """Return keys as they stand on keyboards of the language."""
    parts = keys.split("+") if keys != "+" else [keys]
    return "+".join(texts.name_of("keys", part) for part in parts)


def shortcuts(texts: Texts) -> list[tuple[str, str]]:
    """Keys and what they do, of the menus and of the pictures."""
    rows = [
        (keys_text(item.keys, texts), texts(item.key).replace("&", ""))
        for items in MENUS.values()
        for item in items
        if item.keys
    ]
    return [*rows, *((texts(f"keys.{name}"), texts(f"keys.{name}_help")) for name in ("zoom", "move", "fit", "wheel"))]


def acts_of(window: Any) -> dict[str, Callable[..., object]]:
    """What the lines of the menus do: methods of a window, of either toolkit."""
    presenter: Presenter = window.presenter
    return {
        "choose_input": window.choose_input,
        "demo": window.start_demo,
        "choose_output": window.choose_output,
        "recent": window.take_input,
        "read_again": presenter.look_again,
        "close": window.close,
        "undo": lambda: window.undo(presenter.undo_setting),
        "redo": lambda: window.undo(presenter.redo_setting),
        "find_setting": window.find_setting,
        "reset_settings": lambda: window.use_settings({}),
        "start": window.start,
        "pause": window.pause,
        "cancel": window.cancel,
        "make_now": window.make_now,
        "finish": window.finish,
        **{f"tab:{name}": partial(window.turn_to, number) for number, name in enumerate(TABS)},
        "theme": window.choose_scheme,
        "language": window.choose_language,
        "manual": window.open_manual,
        "shortcuts": window.tell_shortcuts,
        "about": window.about,
    }
