"""Light and dark, also where the system has no say."""

from __future__ import annotations

from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication

from zemosaic_app.presenter.appearance import DARK

_ROLES = QPalette.ColorRole
_DARK = {
    _ROLES.Window: DARK.window,
    _ROLES.WindowText: DARK.text,
    _ROLES.Base: DARK.base,
    _ROLES.AlternateBase: DARK.alternate,
    _ROLES.Text: DARK.text,
    _ROLES.Button: DARK.button,
    _ROLES.ButtonText: DARK.text,
    _ROLES.BrightText: "#ffffff",
    _ROLES.ToolTipBase: DARK.tip,
    _ROLES.ToolTipText: DARK.tip_text,
    _ROLES.PlaceholderText: DARK.placeholder,
    _ROLES.Highlight: DARK.highlight,
    _ROLES.HighlightedText: DARK.highlighted_text,
    _ROLES.Link: DARK.link,
    _ROLES.Light: DARK.light,
    _ROLES.Midlight: "#393e46",
    _ROLES.Mid: "#1d2024",
    _ROLES.Dark: DARK.border,
    _ROLES.Shadow: "#000000",
}


def use_palette(scheme: str) -> None:
    """Dark colours where ``"dark"`` is wanted and the system did not bring them; else those of the style."""
    plain = QApplication.style().standardPalette()
    is_dark_already = plain.color(_ROLES.Window).lightness() < 128
    if scheme != "dark" or is_dark_already:
        QApplication.setPalette(plain)
        return
    palette = QPalette(plain)
    for role, colour in _DARK.items():
        palette.setColor(role, QColor(colour))
    for role in (_ROLES.WindowText, _ROLES.Text, _ROLES.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(DARK.faint))
    QApplication.setPalette(palette)
