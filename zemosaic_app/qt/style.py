"""The style sheet of the Qt window: spacing, sizes of letters, rounded edges and accents."""

from __future__ import annotations

from pathlib import Path

from zemosaic_app.presenter.appearance import DARK, LOG_COLOURS, Palette

_DRAWINGS = Path(__file__).parent / "drawings"


def style_sheet(colours: Palette) -> str:
    """Return the style sheet in these colours."""
    parts = (_buttons, _fields, _choices, _boxes, _tabs, _tables, _bars, _texts)
    return "\n".join(part(colours) for part in parts)


def _drawing(name: str) -> str:
    return f'url("{(_DRAWINGS / name).as_posix()}.svg")'


def _buttons(colours: Palette) -> str:
    return f"""
QPushButton {{ padding: 5px 12px; border: 1px solid {colours.border}; border-radius: 5px; }}
QPushButton {{ background: {colours.button}; }}
QPushButton:hover {{ background: {colours.light}; }}
QPushButton:pressed {{ background: {colours.base}; }}
QPushButton:focus {{ border-color: {colours.highlight}; }}
QPushButton:disabled {{ color: {colours.faint}; background: transparent; }}
QPushButton:checked, QPushButton#start:enabled {{ background: {colours.highlight}; border-color: {colours.highlight}; }}
QPushButton:checked, QPushButton#start:enabled {{ color: {colours.highlighted_text}; }}
QPushButton#start:enabled:hover, QPushButton#start:enabled:focus {{ border-color: {colours.text}; }}
QPushButton#start {{ font-weight: 600; padding: 5px 20px; }}
QPushButton[side="left"] {{ border-top-right-radius: 0; border-bottom-right-radius: 0; }}
QPushButton[side="right"] {{ border-top-left-radius: 0; border-bottom-left-radius: 0; border-left: none; }}
QPushButton:flat {{ border: 1px solid transparent; background: transparent; color: {colours.link}; }}
QPushButton:flat:hover {{ background: {colours.button}; }}
QPushButton:flat:disabled {{ color: {colours.faint}; }}
QPushButton:flat:focus {{ border-color: {colours.highlight}; }}
QToolButton {{ border: none; border-radius: 4px; padding: 2px; }}
QToolButton:hover {{ background: {colours.light}; }}"""


def _fields(colours: Palette) -> str:
    return f"""
QLineEdit {{ padding: 4px 6px; border: 1px solid {colours.border}; border-radius: 5px; background: {colours.base}; }}
QLineEdit {{ selection-background-color: {colours.highlight}; selection-color: {colours.highlighted_text}; }}
QLineEdit:focus {{ border-color: {colours.highlight}; }}
QLineEdit:disabled {{ color: {colours.faint}; background: transparent; }}
QPlainTextEdit {{ border: 1px solid {colours.border}; border-radius: 5px; padding: 4px; }}
QPlainTextEdit {{ background: {colours.base}; }}"""


def _choices(colours: Palette) -> str:
    return f"""
QComboBox {{ combobox-popup: 0; padding: 4px 6px 4px 8px; border: 1px solid {colours.border}; border-radius: 5px; }}
QComboBox {{ background: {colours.button}; }}
QComboBox:hover {{ background: {colours.light}; }}
QComboBox:focus, QComboBox:on {{ border-color: {colours.highlight}; }}
QComboBox:disabled {{ color: {colours.faint}; background: transparent; }}
QComboBox::drop-down {{ border: none; width: 20px; }}
QComboBox::down-arrow {{ image: {_drawing("down")}; width: 12px; height: 12px; }}
QComboBox QAbstractItemView {{ border: 1px solid {colours.border}; background: {colours.base}; padding: 2px; }}
QComboBox QAbstractItemView {{ selection-background-color: {colours.highlight}; outline: none; }}
QComboBox QAbstractItemView::item {{ min-height: 24px; padding: 0 6px; border: none; color: {colours.text}; }}
QComboBox QAbstractItemView::item:selected {{ background: {colours.highlight}; color: {colours.highlighted_text}; }}
QCheckBox {{ spacing: 7px; }}
QCheckBox:disabled {{ color: {colours.faint}; }}
QCheckBox::indicator, QTableView::indicator {{ width: 14px; height: 14px; border-radius: 3px; }}
QCheckBox::indicator, QTableView::indicator {{ border: 1px solid {colours.placeholder}; background: {colours.base}; }}
QCheckBox::indicator:hover, QTableView::indicator:hover {{ border-color: {colours.link}; }}
QCheckBox::indicator:focus {{ border-color: {colours.link}; }}
QCheckBox::indicator:checked, QTableView::indicator:checked {{ background: {colours.highlight}; }}
QCheckBox::indicator:checked, QTableView::indicator:checked {{ image: {_drawing("tick")}; }}
QCheckBox::indicator:disabled {{ border-color: {colours.border}; background: transparent; }}"""


def _boxes(colours: Palette) -> str:
    return f"""
QGroupBox {{ border: none; border-top: 1px solid {colours.border}; margin-top: 2.1em; padding: 6px 0 2px 0; }}
QGroupBox::title {{ subcontrol-origin: margin; left: 0; top: 0.7em; color: {colours.text}; }}
QGroupBox {{ font-weight: 600; }}
QGroupBox > * {{ font-weight: 400; }}
QSplitter::handle {{ background: transparent; }}
QSplitter::handle:hover {{ background: {colours.border}; }}
QFrame#drop {{ border: 2px dashed {colours.border}; border-radius: 12px; }}
QFrame#drop:hover {{ border-color: {colours.highlight}; }}
QToolTip {{ padding: 5px; border: 1px solid {colours.border}; }}
QToolTip {{ background: {colours.tip}; color: {colours.tip_text}; }}"""


def _tabs(colours: Palette) -> str:
    return f"""
QTabWidget::pane {{ border: none; border-top: 1px solid {colours.border}; }}
QTabBar::tab {{ padding: 7px 14px; border: none; border-bottom: 2px solid transparent; color: {colours.placeholder}; }}
QTabBar::tab:selected {{ color: {colours.text}; border-bottom-color: {colours.highlight}; }}
QTabBar::tab:hover {{ color: {colours.text}; }}
QTabBar::tab:focus {{ color: {colours.link}; }}
QMenuBar {{ background: {colours.window}; padding: 2px 4px; }}
QMenuBar::item {{ padding: 4px 9px; border-radius: 4px; }}
QMenuBar::item:selected {{ background: {colours.light}; }}
QMenu {{ border: 1px solid {colours.border}; background: {colours.base}; padding: 4px; }}
QMenu::item {{ padding: 5px 28px 5px 24px; border-radius: 4px; }}
QMenu::item:selected {{ background: {colours.highlight}; color: {colours.highlighted_text}; }}
QMenu::item:disabled {{ color: {colours.faint}; background: transparent; }}
QMenu::separator {{ height: 1px; background: {colours.border}; margin: 4px 8px; }}"""


def _tables(colours: Palette) -> str:
    return f"""
QTableView {{ border: 1px solid {colours.border}; border-radius: 5px; gridline-color: {colours.alternate}; }}
QTableView {{ background: {colours.base}; selection-background-color: {colours.highlight}; }}
QTableView {{ selection-color: {colours.highlighted_text}; outline: none; }}
QTableView::item {{ padding: 3px 6px; border: none; border-bottom: 1px solid {colours.alternate}; }}
QHeaderView {{ background: {colours.base}; border: none; }}
QHeaderView::section {{ background: {colours.base}; color: {colours.placeholder}; border: none; padding: 5px 6px; }}
QHeaderView::section {{ border-bottom: 1px solid {colours.border}; }}
QHeaderView::section:hover {{ color: {colours.text}; }}
QTableCornerButton::section {{ background: {colours.base}; border: none; }}"""


def _bars(colours: Palette) -> str:
    return f"""
QProgressBar {{ border: none; border-radius: 3px; background: {colours.border}; max-height: 6px; }}
QProgressBar::chunk {{ border-radius: 3px; background: {colours.highlight}; }}
QScrollBar:vertical {{ width: 11px; background: transparent; margin: 0; }}
QScrollBar:horizontal {{ height: 11px; background: transparent; margin: 0; }}
QScrollBar::handle {{ background: {colours.border}; border-radius: 4px; margin: 1px; }}
QScrollBar::handle:hover {{ background: {colours.placeholder}; }}
QScrollBar::handle:vertical {{ min-height: 28px; }}
QScrollBar::handle:horizontal {{ min-width: 28px; }}
QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
QSlider::groove:horizontal {{ height: 4px; border-radius: 2px; background: {colours.border}; }}
QSlider::handle:horizontal {{ width: 12px; margin: -5px 0; border-radius: 6px; background: {colours.placeholder}; }}
QSlider::handle:horizontal:hover, QSlider::handle:horizontal:focus {{ background: {colours.link}; }}
QSlider::handle:horizontal:disabled {{ background: {colours.border}; }}"""


def _texts(colours: Palette) -> str:
    log = LOG_COLOURS[colours is DARK]
    return f"""
QLabel[changed="true"] {{ font-weight: 600; color: {colours.link}; }}
QLabel#heading {{ color: {colours.text}; font-weight: 600; padding-top: 6px; }}
QLabel#quiet {{ color: {colours.placeholder}; }}
QLabel#verdict {{ color: {log["WARN"]}; }}
QLabel#verdict[good="true"] {{ color: {log["SUCCESS"]}; }}"""
