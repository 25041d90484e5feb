"""Light and dark, also where the system has no say."""

from __future__ import annotations

from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication

_ROLES = QPalette.ColorRole
_DARK = {
    _ROLES.Window: "#2f333a",
    _ROLES.WindowText: "#e6e8eb",
    _ROLES.Base: "#17191d",
    _ROLES.AlternateBase: "#1f2227",
    _ROLES.Text: "#e6e8eb",
    _ROLES.Button: "#3a3f48",
    _ROLES.ButtonText: "#e6e8eb",
    _ROLES.BrightText: "#ffffff",
    _ROLES.ToolTipBase: "#32363d",
    _ROLES.ToolTipText: "#e6e8eb",
    _ROLES.PlaceholderText: "#8b929c",
    _ROLES.Highlight: "#3d7fd6",
    _ROLES.HighlightedText: "#ffffff",
    _ROLES.Link: "#7ab0f5",
    _ROLES.Light: "#4a505a",
    _ROLES.Midlight: "#393e46",
    _ROLES.Mid: "#1d2024",
    _ROLES.Dark: "#15171a",
    _ROLES.Shadow: "#000000",
}
_FAINT = "#6c737d"


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
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(_FAINT))
    QApplication.setPalette(palette)
