"""How the Qt window looks: texts that do not cover each other, rows and columns that can be read, both schemes."""

import os

import pytest

pytest.importorskip("PySide6", reason="PySide6 is not installed (the extra qt)")
os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
QtWidgets = pytest.importorskip(
    "PySide6.QtWidgets", reason="a library of the system that Qt needs is missing", exc_type=ImportError
)

import re  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

from zemosaic_app.presenter.appearance import DARK, LIGHT  # noqa: E402
from zemosaic_app.presenter.texts import LANGUAGES  # noqa: E402
from zemosaic_app.qt.panels import FolderPanel  # noqa: E402
from zemosaic_app.qt.picture_view import PictureView  # noqa: E402
from zemosaic_app.qt.settings_panel import SettingsPanel  # noqa: E402
from zemosaic_app.qt.style import style_sheet  # noqa: E402

pytestmark = [pytest.mark.gui, pytest.mark.slow]


@pytest.fixture(scope="module")
def app():
    return QtWidgets.QApplication.instance() or QtWidgets.QApplication([])


def shown_names(view):
    labels = [label for anchor in view.named for label in anchor.childItems()]
    return [label.text() for label in labels if label.isVisible()]


def test_names_do_not_cover_each_other_and_come_with_the_zoom(app):
    view = PictureView()
    view.resize(400, 400)
    view.show()
    view.show_picture(np.zeros((400, 400, 3), np.uint8), 1)
    view.show_names([("M 94", 100.0, 200.0, 5.0), ("IC 3808", 300.0, 200.0, 5.0), ("IC 3783", 312.0, 204.0, 5.0)])
    view.grab()
    assert shown_names(view) == ["M 94", "IC 3808"]  # the first ones are the most prominent
    view.zoom(8.0)
    view.grab()
    assert shown_names(view) == ["M 94", "IC 3808", "IC 3783"]
    view.fit()
    view.grab()
    assert shown_names(view) == ["M 94", "IC 3808"]
    view.close()


@pytest.mark.parametrize("colours", [DARK, LIGHT], ids=["dark", "light"])
def test_a_style_sheet_names_drawings_that_are_there(app, colours, capfd):
    sheet = style_sheet(colours)
    drawings = re.findall(r'url\("(.+?)"\)', sheet)
    assert len(drawings) >= 2
    assert all(Path(one).is_file() for one in drawings)
    widget = QtWidgets.QComboBox()
    widget.setStyleSheet(sheet)
    widget.show()
    app.processEvents()
    assert "Could not parse" not in capfd.readouterr().err
    widget.close()


def contrast(one, other):
    """Of two colours ``#rrggbb``, as the guidelines for accessible pages define it."""

    def light(colour):
        parts = [int(colour[at : at + 2], 16) / 255.0 for at in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    bright, dark = sorted((light(one), light(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colours", [DARK, LIGHT], ids=["dark", "light"])
def test_texts_stand_out_from_their_ground(colours):
    for ground in (colours.window, colours.base, colours.alternate):
        assert contrast(colours.text, ground) > 7.0
        assert contrast(colours.placeholder, ground) > 4.5
    assert contrast(colours.link, colours.window) > 4.5
    assert contrast(colours.highlighted_text, colours.highlight) > 4.5


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_name_of_a_setting_is_cut(app, make_presenter, language):
    panel = SettingsPanel(make_presenter(language))
    panel.resize(340, 600)
    panel.levels["expert"].click()
    panel.show()
    app.processEvents()
    left = set()
    for row in panel._rows.values():
        words = row.field.label.split()
        assert row.label.width() >= max(map(row.label.fontMetrics().horizontalAdvance, words))
        assert row.label.height() >= row.label.heightForWidth(row.label.width())
        left.add(row.label.mapTo(panel, row.label.rect().topLeft()).x())
    assert len(left) == 1  # one column of names in all groups
    panel.close()


def test_a_folder_without_subs_shows_the_invitation_again(app, make_presenter, survey, tmp_path, wait_for):
    presenter = make_presenter()
    panel = FolderPanel(presenter)
    panel.resize(900, 600)
    panel.show()

    def look_at(folder):
        presenter.choose_input(folder)
        wait_for(presenter.poll, lambda: presenter.view.contents is not None and presenter.view.doing == "nothing")
        panel.show_contents()
        app.processEvents()

    look_at(tmp_path)
    assert (panel.welcome.isVisible(), panel.both.isVisible()) == (True, False)
    assert panel.welcome.height() > 0.5 * panel.height()
    panel.moveSplitter(200, 1)
    assert len(presenter.arrangement.panes["folder"]) == panel.count()
    assert "is it the right one?" in panel.text.text()
    look_at(survey)
    assert (panel.welcome.isVisible(), panel.both.isVisible()) == (False, True)
    assert panel.heading.text() == presenter.view.contents.object_name
    assert panel.found.height() >= panel.text.height()
    panel.close()
