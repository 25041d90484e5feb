"""Light and dark, also where the system has no say, and the icon."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QGuiApplication,
    QIcon,
    QPainter,
    QPainterPath,
    QPalette,
    QPixmap,
    QRadialGradient,
)
from PySide6.QtWidgets import QApplication, QWidget

from zemosaic_app.presenter.appearance import DARK, LIGHT, PICTURE_GROUND, palette_of
from zemosaic_app.presenter.icons import icon_png

from .style import style_sheet

_ICON_PX, _GAP_PX = 14, 4  # of an icon on a button, and between it and the text, for which Qt leaves too little
#: How large the icons of buttons are, with the gap.
BUTTON_ICON = QSize(_ICON_PX + _GAP_PX, _ICON_PX)
_ICON_SIZES = (16, 24, 32, 48, 64, 128, 256)
_ROLES = QPalette.ColorRole


def is_dark(scheme: str) -> bool:
    """True if a window of one of `SCHEMES` is dark; the system is asked through Qt where that knows it."""
    hints = QGuiApplication.styleHints()
    if scheme == "system" and hasattr(hints, "colorScheme") and hints.colorScheme() != Qt.ColorScheme.Unknown:
        return bool(hints.colorScheme() == Qt.ColorScheme.Dark)
    return palette_of(scheme) is DARK


def use_palette(scheme: str) -> None:
    """Draw all widgets in the colours of one of `SCHEMES`, alike on every system."""
    colours = DARK if is_dark(scheme) else LIGHT
    if QApplication.style().objectName() != "fusion":
        QApplication.setStyle("Fusion")
    palette = QPalette(QColor(colours.button), QColor(colours.window))
    for role, colour in {
        _ROLES.Window: colours.window,
        _ROLES.WindowText: colours.text,
        _ROLES.Base: colours.base,
        _ROLES.AlternateBase: colours.alternate,
        _ROLES.Text: colours.text,
        _ROLES.Button: colours.button,
        _ROLES.ButtonText: colours.text,
        _ROLES.BrightText: "#ffffff",
        _ROLES.ToolTipBase: colours.tip,
        _ROLES.ToolTipText: colours.tip_text,
        _ROLES.PlaceholderText: colours.placeholder,
        _ROLES.Highlight: colours.highlight,
        _ROLES.HighlightedText: colours.highlighted_text,
        _ROLES.Link: colours.link,
        _ROLES.Dark: colours.border,
        _ROLES.Shadow: "#000000",
    }.items():
        palette.setColor(role, QColor(colour))
    for role in (_ROLES.WindowText, _ROLES.Text, _ROLES.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(colours.faint))
    QApplication.setPalette(palette)
    app = QApplication.instance()
    if isinstance(app, QApplication):
        app.setStyleSheet(style_sheet(colours))


def icon_of(name: str, widget: QWidget) -> QIcon:
    """Return an icon in the colour of a widget's text, sharp at every scale of a desktop, fainter where it is off."""
    icon = QIcon()
    for mode, group in (
        (QIcon.Mode.Normal, QPalette.ColorGroup.Active),
        (QIcon.Mode.Disabled, QPalette.ColorGroup.Disabled),
    ):
        colour = widget.palette().color(group, _ROLES.ButtonText).name()
        for size in (_ICON_PX, 3 * _ICON_PX // 2, 2 * _ICON_PX):
            drawn = QPixmap()
            drawn.loadFromData(icon_png(name, size, colour))
            pixmap = QPixmap(size + size * _GAP_PX // _ICON_PX, size)
            pixmap.fill(Qt.GlobalColor.transparent)
            painter = QPainter(pixmap)
            painter.drawPixmap(0, 0, drawn)
            painter.end()
            icon.addPixmap(pixmap, mode)
    return icon


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
