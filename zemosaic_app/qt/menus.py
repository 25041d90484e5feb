"""The menus of the Qt window, from those that both windows have."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMenu, QMenuBar

from zemosaic_app.presenter.appearance import SCHEMES
from zemosaic_app.presenter.menus import MENUS, Item, is_enabled, text_of
from zemosaic_app.presenter.presenter import Presenter
from zemosaic_app.presenter.texts import LANGUAGES


class Menus(QMenuBar):
    """The bar of menus.

    Parameters
    ----------
    presenter : Presenter
    acts : mapping of str to callable
        What each line does, by its `Item.act`; ``recent``, ``theme`` and ``language`` take what was chosen.
    can_start : callable
        True if a run can start.
    """

    def __init__(
        self, presenter: Presenter, acts: Mapping[str, Callable[..., object]], can_start: Callable[[], bool]
    ) -> None:
        super().__init__()
        self._presenter, self._acts, self._can_start = presenter, acts, can_start
        self.actions_by_name: dict[str, QAction] = {}
        self._texts: dict[str, Item] = {}
        for key, items in MENUS.items():
            menu = self.addMenu(presenter.texts(key))
            for item in items:
                self._add(menu, item)
            menu.aboutToShow.connect(self._look)
            menu.aboutToHide.connect(self._enable_all)

    def _add(self, menu: QMenu, item: Item) -> None:
        if not item.key:
            menu.addSeparator()
        elif item.submenu:
            self._add_submenu(menu, item)
        else:
            action = QAction(self._presenter.texts(item.key), menu)
            if item.keys:
                action.setShortcuts([QKeySequence(keys) for keys in (item.keys, *_ALSO.get(item.act, ()))])
            action.triggered.connect(lambda _=False: self._acts[item.act]())
            menu.addAction(action)
            self.actions_by_name[item.act] = action
            self._texts[item.act] = item

    def _add_submenu(self, menu: QMenu, item: Item) -> None:
        presenter, texts = self._presenter, self._presenter.texts
        inner = menu.addMenu(texts(item.key))
        if item.submenu == "recent":
            self.recent = inner
            self.actions_by_name["recent"] = inner.menuAction()
            inner.aboutToShow.connect(self._list_recent)
        elif item.submenu == "themes":
            names = {name: texts(f"window.theme_{name}") for name in SCHEMES}
            self._add_choices(inner, names, presenter.scheme, self._acts["theme"])
        else:
            self._add_choices(inner, LANGUAGES, texts.language, self._acts["language"])

    def _list_recent(self) -> None:
        self.recent.clear()
        for folder in self._presenter.recent:
            action = self.recent.addAction(str(folder).replace("&", "&&"))
            action.triggered.connect(partial(self._take_recent, folder))

    def _take_recent(self, folder: Path, _: bool = False) -> None:
        self._acts["recent"](folder)

    def _add_choices(self, menu: QMenu, names: Mapping[str, str], chosen: str, act: Callable[..., object]) -> None:
        group = QActionGroup(menu)
        for code, name in names.items():
            action = QAction(name, menu)
            action.setCheckable(True)
            action.setChecked(code == chosen)
            action.triggered.connect(lambda _=False, code=code: act(code))
            group.addAction(action)
            menu.addAction(action)

    def _look(self) -> None:
        """Show what can be done now, and by its name."""
        can_start = self._can_start()
        for name, action in self.actions_by_name.items():
            action.setEnabled(is_enabled(self._presenter, name, can_start=can_start))
            if name in self._texts:
                action.setText(text_of(self._texts[name], self._presenter))

    def _enable_all(self) -> None:
        """Let the keys work: what they do looks for itself whether it can be done."""
        for action in self.actions_by_name.values():
            action.setEnabled(True)


_ALSO = {"redo": ("Ctrl+Y",)}
