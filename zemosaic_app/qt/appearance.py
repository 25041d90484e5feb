"""Light and dark, also where the system has no say, and the icon."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPainterPath, QPalette, QPixmap, QRadialGradient
from PySide6.QtWidgets import QApplication

from zemosaic_app.presenter.appearance import DARK, PICTURE_GROUND

_ICON_SIZES = (16, 24, 32, 48, 64, 128, 256)
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


def make_icon() -> QIcon:
    """Four tiles that share one sky, drawn for each size, so that it is sharp at every scale of a desktop."""
    icon = QIcon()
    for size in _ICON_SIZES:
        pixmap = QPixmap(size, size)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.scale(size / 64.0, size / 64.0)
        tiles = QPainterPath()
        for x, y in ((2, 2), (33, 2), (2, 33), (33, 33)):
            tiles.addRoundedRect(QRectF(x, y, 29, 29), 4, 4)
        nebula = QRadialGradient(QPointF(36, 36), 36)
        for place, colour in ((0.0, "#e06a5f"), (0.45, "#7d3b66"), (1.0, PICTURE_GROUND)):
            nebula.setColorAt(place, QColor(colour))
        painter.fillPath(tiles, nebula)
        painter.setClipPath(tiles)
        for x, y, radius in ((15, 14, 3.2), (47, 12, 1.8), (12, 46, 2.0), (50, 50, 2.6), (25, 27, 1.5)):
            painter.setBrush(QColor("#fff6e0"))
            painter.setPen(Qt.PenStyle.NoPen)
            painter.drawEllipse(QPointF(x, y), radius, radius)
        painter.end()
        icon.addPixmap(pixmap)
    return icon
