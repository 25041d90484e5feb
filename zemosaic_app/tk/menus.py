"""The menus of the Tk window, from those that both windows have, and their keys."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from zemosaic_app.presenter.appearance import SCHEMES
from zemosaic_app.presenter.menus import MENUS, Item, is_enabled, keys_text, text_of
from zemosaic_app.presenter.presenter import Presenter
from zemosaic_app.presenter.texts import LANGUAGES

from .appearance import line_height, per_pixel
from .widgets import without_event

_BESIDE_PX, _AROUND_PX = 8, 8  # of a line of a menu


class Menus:
    """The bar of menus of a window.

    Parameters
    ----------
    root : Tk
    presenter : Presenter
    acts : mapping of str to callable
        What each line does, by its `Item.act`; ``recent``, ``theme`` and ``language`` take what was chosen.
    can_start : callable
        True if a run can start.
    """

    def __init__(
        self,
        root: tk.Tk,
        presenter: Presenter,
        acts: Mapping[str, Callable[..., object]],
        can_start: Callable[[], bool],
    ) -> None:
        self._presenter, self._acts, self._can_start = presenter, acts, can_start
        self.bar = tk.Menu(root, tearoff=False)
        self._room = self._make_room(root)
        self.menus: dict[str, tk.Menu] = {}
        for key, items in MENUS.items():
            text = presenter.texts(key)
            menu = self.menus[key] = tk.Menu(self.bar, tearoff=False)
            menu.configure(postcommand=partial(self._look, menu, items))
            self.bar.add_cascade(label=text.replace("&", ""), underline=text.find("&"), menu=menu)
            for item in items:
                self._add(menu, item)
        root.configure(menu=self.bar)

    @staticmethod
    def _make_room(root: tk.Tk) -> dict[str, Any]:
        """Options that give the lines of a menu room around their texts, which Tk's own menus have not.

        Those of Windows and macOS are the system's.
        """
        if root.tk.call("tk", "windowingsystem") != "x11":
            return {}
        larger = per_pixel(root)
        width, height = round(_BESIDE_PX * larger), line_height(root) + round(_AROUND_PX * larger)
        return {"image": tk.PhotoImage(master=root, width=width, height=height), "compound": "left"}

    def _add(self, menu: tk.Menu, item: Item) -> None:
        texts = self._presenter.texts
        if not item.key:
            menu.add_separator()
        elif item.submenu:
            menu.add_cascade(label=texts(item.key), menu=self._submenu(menu, item.submenu), **self._room)
        else:
            act, keys = self._acts[item.act], keys_text(item.keys, texts)
            menu.add_command(label=texts(item.key), command=act, accelerator=keys and f"  {keys}  ", **self._room)

    def _submenu(self, menu: tk.Menu, name: str) -> tk.Menu:
        presenter, texts = self._presenter, self._presenter.texts
        inner = tk.Menu(menu, tearoff=False)
        if name == "recent":
            self.recent = inner
            inner.configure(postcommand=self._list_recent)
        elif name == "themes":
            names = {scheme: texts(f"window.theme_{scheme}") for scheme in SCHEMES}
            _add_choices(inner, names, presenter.scheme, self._acts["theme"], self._room)
        else:
            _add_choices(inner, LANGUAGES, texts.language, self._acts["language"], self._room)
        return inner

    def _list_recent(self) -> None:
        self.recent.delete(0, "end")
        for folder in self._presenter.recent:
            self.recent.add_command(label=str(folder), command=partial(self._acts["recent"], folder), **self._room)

    def _look(self, menu: tk.Menu, items: tuple[Item, ...]) -> None:
        """Show what can be done now, and by its name."""
        can_start = self._can_start()
        for number, item in enumerate(items):
            if item.key:
                can_act = is_enabled(self._presenter, item.act or item.submenu, can_start=can_start)
                menu.entryconfigure(
                    number, state="normal" if can_act else "disabled", label=text_of(item, self._presenter)
                )


def _add_choices(
    menu: tk.Menu, names: Mapping[str, str], chosen: str, act: Callable[[str], object], room: Mapping[str, Any]
) -> None:
    value = tk.StringVar(menu, chosen)
    menu.value = value  # type: ignore[attr-defined]  # Tk forgets variables that nobody holds
    for code, name in names.items():
        menu.add_radiobutton(label=name, value=code, variable=value, command=partial(act, code), **room)


def bind_keys(root: tk.Tk, acts: Mapping[str, Callable[..., object]]) -> None:
    """Let the keys of the menus do what their lines do."""
    for items in MENUS.values():
        for item in items:
            if item.keys:
                root.bind(_event(item.keys), without_event(partial(_act, acts, item.act)))
    root.bind("<Control-y>", without_event(partial(_act, acts, "redo")))


def _act(acts: Mapping[str, Callable[..., object]], name: str) -> None:
    acts[name]()


def _event(keys: str) -> str:
    """Return keys as Tk calls them: ``<Control-O>`` for Ctrl+Shift+O."""
    *held, key = keys.split("+")
    key = {".": "period", "/": "slash"}.get(key, key)
    if len(key) == 1 and key.isalpha():
        key = key if "Shift" in held else key.lower()
    elif key.isdigit():
        key = f"Key-{key}"
    return f"<{'Control-' if 'Ctrl' in held else ''}{key}>"
