"""The Tk window, on a screen of its own, with the real worker behind it."""

import json
import os
import shutil
import signal
import subprocess
import sys
from functools import partial

import numpy as np
import pytest

tkinter = pytest.importorskip("tkinter", reason="this Python has no Tk")

from tkinter import font  # noqa: E402

from zemosaic_app.presenter.appearance import DARK, LIGHT  # noqa: E402
from zemosaic_app.tk import dropping, widgets  # noqa: E402
from zemosaic_app.tk.appearance import per_pixel  # noqa: E402
from zemosaic_app.tk.sub_list import Blink  # noqa: E402
from zemosaic_app.tk.views import PictureView  # noqa: E402
from zemosaic_app.tk.window import TkWindow  # noqa: E402
from zemosaic_engine.settings import GridSettings  # noqa: E402

pytestmark = [pytest.mark.gui, pytest.mark.slow]


@pytest.fixture
def make_root(screen, monkeypatch):
    monkeypatch.setenv("DISPLAY", screen)
    roots = []

    def make():
        roots.append(tkinter.Tk())
        roots[-1].geometry("+0+0")
        return roots[-1]

    yield make
    for root in roots:
        try:
            root.destroy()
        except tkinter.TclError:
            continue  # the test closed it


@pytest.fixture
def open_window(make_root, make_presenter):
    def make(language="en", prepare=lambda presenter: None):
        presenter = make_presenter(language)
        prepare(presenter)
        window = TkWindow(make_root(), presenter)
        window.root.update()
        return window

    return make


def texts_of(widget):
    """Every text that a window shows: of widgets, hints, tabs, choices, tables, menus, drawings, titles."""
    if "text" in widget.keys():  # noqa: SIM118 - keys of a widget
        yield str(widget.cget("text"))
    match widget:
        case tkinter.ttk.Combobox():
            yield from (str(value) for value in widget.cget("values"))
        case tkinter.ttk.Notebook():
            yield from (widget.tab(tab, "text") for tab in widget.tabs())
        case tkinter.Text():
            yield widget.get("1.0", "end")
        case tkinter.ttk.Treeview():
            yield from (widget.heading(column, "text") for column in widget.cget("columns"))
            yield from (str(value) for row in widget.get_children() for value in widget.item(row, "values"))
        case tkinter.Menu():
            entries = range(0 if widget.index("end") is None else widget.index("end") + 1)
            named = (number for number in entries if widget.type(number) != "separator")
            yield from (widget.entrycget(number, "label") for number in named)
        case tkinter.Canvas():
            items = (item for item in widget.find_all() if widget.type(item) == "text")
            yield from (widget.itemcget(item, "text") for item in items)
        case tkinter.Tk() | tkinter.Toplevel():
            yield widget.title()
    yield from (hint.text for hint in getattr(widget, "hints", ()))
    for child in widget.winfo_children():
        yield from texts_of(child)


def texts_of_window(window):
    """Those, with the hints that the window itself holds."""
    return [*texts_of(window.root), *(hint.text for hint in window.hints)]


def choose(window, survey, output):
    window.take_input(survey)
    choose_output(window, output)


def choose_output(window, output):
    window.paths["output"].set(str(output))
    window.folder_entered("output")


def wait_until_looked(window, wait_for):
    view = window.presenter.view
    wait_for(window.root.update, lambda: view.contents is not None and view.doing == "nothing")


def images_of(view):
    return [item for item in view.find_all() if view.type(item) == "image"]


def colour_at(view, x, y):
    """The colour that a picture view shows at a place of its widget."""
    left, top = view.coords(images_of(view)[-1])
    return view.image.get(int(x - left), int(y - top))


def press(window, widget, *events):
    """Keys on a widget, as if it had the focus."""
    widget.focus_force()
    window.root.update()
    for event in events:
        widget.event_generate(event)
    window.root.update()


def test_a_run_to_its_end(open_window, damaged_survey, tmp_path, wait_for):
    window = open_window()
    choose(window, damaged_survey, tmp_path / "out")
    wait_until_looked(window, wait_for)
    window.root.update()
    assert "14 subs" in window.folder.text.cget("text")
    sky, contents = window.folder.map, window.presenter.view.contents
    on_sky = set(sky.find_all()) - set(sky.find_withtag("overlay"))
    assert len(on_sky) == 14 + 2 * 4 + 2 * len(contents.names) + len(contents.sky_lines)
    damaged = [path.name for path in sorted(damaged_survey.glob("*.fit*"))[:2]]
    assert sorted(row[0] for row in window.folder.aside.rows) == damaged
    assert all(row[1] for row in window.folder.aside.rows)
    assert window.folder.aside.winfo_ismapped()
    window.start_button.invoke()
    wait_for(window.root.update, lambda: not window.presenter.is_running)
    window.root.update()
    assert window.presenter.view.ending == "incomplete"
    assert window.tabs.index("current") == 4
    assert "left out" in window.headline.cget("text")
    assert [row[0] for row in window.summary.seams.rows] == ["R", "G", "B"]
    assert "Files set aside: 2" in window.summary.facts.cget("text")
    assert str(window.summary.buttons["mosaic"].cget("state")) == "normal"
    metrics = window.metrics.table.rows
    assert len(metrics) == len(window.presenter.view.metrics) > 10
    assert ["Seam step", "R", "after"] in [row[:3] for row in metrics]
    assert "Seam step" in window.log.text.get("1.0", "end")
    window.log.search.insert(0, "reference tile")
    assert window.log.text.get("1.0", "end").strip().count("\n") == 0
    assert "Reference tile" in window.log.text.get("1.0", "end")


def test_the_mosaic_grows_and_is_zoomed_moved_and_stretched(open_window, survey, tmp_path, wait_for, hold):
    window = open_window()
    choose(window, survey, tmp_path / "out")
    wait_until_looked(window, wait_for)
    hold.at("tile_0001.fits")
    window.start_button.invoke()
    presenter, view = window.presenter, window.mosaic.view
    busiest_s = wait_for(window.root.update, lambda: view.image is not None)
    assert presenter.is_running, "nothing was to be seen before the end"
    view.zoom(2.0)
    zoomed = view.viewport
    hold.let_go()
    busier_s = wait_for(window.root.update, lambda: not presenter.is_running)
    assert max(busiest_s, busier_s) < 0.5, "the window waited for something"
    assert view.viewport.scale == zoomed.scale, "tiles that came moved what was looked at"
    wait_for(window.root.update, lambda: not presenter.is_drawing)
    window.turn_to(1)
    window.root.update()
    assert view.viewport.scale == zoomed.scale, "the finished mosaic moved what was looked at"
    view.fit()
    window.root.update()
    whole = view.viewport
    assert whole.is_fitted
    view.zoom(2.0)
    x, y = (round(0.5 * size + off) for size, off in zip(view.viewport.room, (60, 40), strict=True))
    view.event_generate("<Motion>", x=x, y=y)
    assert "ADU" in window.mosaic.spot.cget("text")
    assert "+44°" in window.mosaic.spot.cget("text")
    at_cursor = view.viewport.to_content(x, y)
    for _ in range(6):
        view.event_generate("<Button-4>", x=x, y=y)
    window.root.update()
    assert view.viewport.scale > 3 * whole.scale
    assert view.viewport.to_content(x, y) == pytest.approx(at_cursor, abs=0.6)
    column, row = (int(place) for place in view.viewport.to_content(x + 0.5, y + 0.5))
    assert np.abs(np.subtract(colour_at(view, x, y), presenter.picture[row, column])).max() <= 90
    before = view.viewport
    view.event_generate("<ButtonPress-1>", x=200, y=150)
    view.event_generate("<B1-Motion>", x=230, y=140)
    view.event_generate("<ButtonRelease-1>", x=230, y=140)
    window.root.update()
    assert view.viewport.to_room(*before.to_content(200, 150)) == pytest.approx((230, 140), abs=1e-6)
    press(window, view, "<plus>")
    assert view.viewport.scale == pytest.approx(before.scale * 1.25)
    press(window, view, "<minus>", "<Left>")
    assert view.viewport.scale == pytest.approx(before.scale)
    press(window, view, "<Key-0>")
    assert view.viewport == whole
    for act in (
        lambda: window.mosaic.sliders["brighter"].set(60),
        window.mosaic._automatic,
        lambda: choose_layer(window, 1),
        lambda: choose_layer(window, 2),
    ):
        shown = presenter.picture
        act()
        wait_for(window.root.update, lambda shown=shown: not np.array_equal(presenter.picture, shown))
    assert window.mosaic.sliders["harder"].instate(["disabled"])
    zoomed = whole.zoomed(2.0)
    view.show(zoomed)
    window.choose_language("fr")  # what was chosen stays
    window.root.update()
    assert window.mosaic.view.viewport.scale == zoomed.scale
    assert window.mosaic.layer.current() == 2
    assert window.tabs.index("current") == 1


def choose_layer(window, number):
    window.mosaic.layer.current(number)
    window.mosaic.layer.event_generate("<<ComboboxSelected>>")


def test_what_is_drawn_is_the_picture(make_root):
    """Each pixel of the screen shows the pixel of the picture that lies under it."""
    root = make_root()
    told = []
    view = PictureView(root, "nothing yet", lambda *place: told.append(place))
    view.pack(fill="both", expand=True)
    root.geometry("320x240+0+0")
    root.update()
    assert [view.itemcget(item, "text") for item in view.find_all()] == ["nothing yet"]
    picture = np.random.default_rng(1).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    view.show_picture(picture)
    root.update()
    for viewport in (view.viewport, view.viewport.zoomed(2.0, 300, 20), view.viewport.at_full_size()):
        view.show(viewport)
        root.update()
        for x, y in ((161, 121), (190, 100), (150, 140)):
            view.event_generate("<Motion>", x=x, y=y)
            column, row = viewport.to_content(x + 0.5, y + 0.5)
            assert told[-1] == pytest.approx((column, row), abs=0.5 / viewport.scale + 1e-9)
            assert colour_at(view, x, y) == tuple(picture[int(row), int(column)])
    view.fit()
    view.show_names([("M 1", 40.0, 2.0, 20.0), ("M 2", 40.0, -90.0, 1.0)])
    root.update()
    tops = {view.itemcget(item, "text"): view.bbox(item)[1] for item in view.find_all() if view.type(item) == "text"}
    assert tops["M 1"] >= 0 > tops["M 2"]  # of what is in view
    view.show_picture(None)
    root.update()
    assert view.image is None


def test_a_large_mosaic_is_sharp_where_it_is_zoomed(open_window, striped_preview, wait_for):
    window = open_window()
    presenter, view = window.presenter, window.mosaic.view
    window.turn_to(1)
    presenter.preview = striped_preview
    wait_for(window.root.update, lambda: presenter.picture is not None and not presenter.is_drawing)
    window.root.update()

    def stripes():
        greys = [colour_at(view, x, view.winfo_height() // 2)[0] for x in range(100, 200)]
        return np.abs(np.diff(greys)).mean()

    assert stripes() < 25
    view.event_generate("<Motion>", x=view.winfo_width() // 2, y=view.winfo_height() // 2)
    assert "mean" in window.mosaic.spot.cget("text")
    view.full_size()
    busiest_s = wait_for(window.root.update, lambda: presenter.detail is not None)
    window.root.update()
    assert busiest_s < 0.5
    assert stripes() > 60
    assert "mean" not in window.mosaic.spot.cget("text")
    for _ in range(8):  # the window goes on while parts are read
        view.show(view.viewport.moved(-150, 20))
        drawn = wait_for(window.root.update, lambda: presenter.part == view.part_in_view and not presenter.is_drawing)
        assert drawn < 0.5
    view.fit()
    wait_for(window.root.update, lambda: presenter.detail is None)
    window.root.update()
    assert len(images_of(view)) == 1


def test_names_of_objects_can_be_hidden(open_window, survey, tmp_path, wait_for):
    window = open_window()
    choose(window, survey, tmp_path / "out")
    wait_until_looked(window, wait_for)
    sky = window.folder.map
    assert "IC 5070" in [sky.itemcget(item, "text") for item in sky.find_all() if sky.type(item) == "text"]
    view = window.mosaic.view
    window.turn_to(1)
    view.show_picture(np.zeros((40, 50, 3), dtype=np.uint8))
    view.show_names([("M 94", 20.0, 10.0, 5.0)])
    window.root.update()
    assert [view.itemcget(item, "text") for item in view.find_all() if view.type(item) == "text"] == ["M 94"]
    window.mosaic.names.invoke()
    window.root.update()
    assert not window.presenter.shows_names
    assert not [item for item in view.find_all() if view.type(item) == "oval"]


def test_a_table_takes_more_rows_and_others(make_root):
    table = widgets.Table(make_root(), ["one", "two"])
    odd = ["{a} $b [c]", 'd "e" 007']
    for rows in ([odd], [odd, ["f", "g"]], [odd, ["f", "g"], ["", "h"]], [["i", "j"]], [], [odd]):
        table.fill(rows)
        assert table.rows == rows


def test_the_map_is_zoomed(open_window, survey, wait_for):
    window = open_window()
    window.take_input(survey)
    wait_until_looked(window, wait_for)
    window.root.update()
    sky = window.folder.map
    overlay = sky.find_withtag("overlay")
    tiles = [item for item in sky.find_all() if sky.type(item) == "rectangle" and item not in overlay]
    fitted = sky.coords(tiles[0])
    for _ in range(4):
        sky.event_generate("<MouseWheel>" if window.root.tk.call("tk", "windowingsystem") != "x11" else "<Button-4>")
    sky.event_generate("<Button-4>", x=30, y=40)
    window.root.update()
    height = window.presenter.view.contents.canvas_shape[0]
    margin = 0.03 * max(window.presenter.view.contents.canvas_shape)
    y0, y1, x0, x1 = window.presenter.view.contents.tiles[0][1]
    above = margin + 0.1 * height  # the legend lies there
    corners = (margin + x0, above + height - y1), (margin + x1, above + height - y0)
    expected = [value for corner in corners for value in sky.viewport.to_room(*corner)]
    assert sky.coords(tiles[0]) == pytest.approx(expected, abs=1e-3)
    assert sky.coords(tiles[0]) != pytest.approx(fitted, abs=5)
    sky.fit()
    window.root.update()
    assert sky.coords(tiles[0]) == pytest.approx(fitted, abs=1e-3)


def test_a_run_is_paused_cancelled_and_goes_on(open_window, survey, tmp_path, wait_for, monkeypatch, hold):
    window = open_window()
    choose(window, survey, tmp_path / "out")
    window.fresh.set(True)
    window.choose_fresh()
    hold.at("tile_0001.fits")
    window.start_button.invoke()
    assert not window.fresh.get(), "what this run does would be thrown away"
    wait_for(window.root.update, lambda: window.presenter.view.tiles == (1, 4))
    window.pause_button.invoke()
    assert window.pause_button.cget("text") == "Resume"
    answers = iter([False, True])
    monkeypatch.setattr("zemosaic_app.tk.window.ask", lambda *_, **__: next(answers))
    window.cancel_button.invoke()
    assert window.presenter.view.doing == "paused"
    window.cancel_button.invoke()
    wait_for(window.root.update, lambda: not window.presenter.is_running)
    window.root.update()
    assert window.presenter.view.ending == "cancelled"
    assert window.start_button.cget("text") == "Resume"
    hold.let_go()
    window.start_button.invoke()
    wait_for(window.root.update, lambda: not window.presenter.is_running)
    window.root.update()
    assert window.presenter.view.ending == "done"
    assert outcome(tmp_path / "out") == "done"
    log = window.log.text.get("1.0", "end")
    assert "16 of 16 subs were measured by an earlier run" in log
    assert window.start_button.cget("text") == "Start"


def test_a_failing_run_and_a_crash_are_shown(open_window, survey, tmp_path, wait_for):
    window = open_window()
    (tmp_path / "a file").write_text("not a folder")
    choose(window, survey, tmp_path / "a file")
    window.start_button.invoke()
    wait_for(window.root.update, lambda: not window.presenter.is_running)
    window.root.update()
    assert "it is a file" in window.headline.cget("text")
    choose(window, survey, tmp_path / "out")
    window.start_button.invoke()
    os.kill(window.presenter.engine_pid, signal.SIGSEGV)
    wait_for(window.root.update, lambda: not window.presenter.is_running)
    window.root.update()
    assert "SIGSEGV" in window.summary.title.cget("text")
    assert "SIGSEGV" in window.log.text.get("1.0", "end")


def test_a_run_that_ended_before_is_looked_at_again(open_window, finished, tmp_path, pseudo, wait_for):
    window = open_window()
    presenter = window.presenter
    choose_output(window, finished)
    wait_for(window.root.update, lambda: presenter.picture is not None and not presenter.is_drawing)
    wait_for(window.root.update, lambda: not presenter.view.is_recalling)
    assert window.headline.cget("text").startswith("Earlier run of 20")
    assert window.headline.cget("text").endswith(": Done")
    assert window.tabs.index("current") == 4
    assert window.summary.title.cget("text") == window.headline.cget("text")
    assert "Subs in the mosaic: 16" in window.summary.facts.cget("text")
    assert [row[0] for row in window.summary.seams.rows] == ["R", "G", "B"]
    assert all(str(button.cget("state")) == "normal" for button in window.summary.buttons.values())
    assert len(window.metrics.table.rows) > 10
    assert "Seam step" in window.log.text.get("1.0", "end")
    assert window.start_button.cget("text") == "Start"
    assert window.mosaic.view.viewport.content == presenter.picture.shape[1::-1]
    pseudo.use_in(presenter)
    window.build()
    window.root.update()
    window.log.text.configure(state="normal")
    window.log.text.delete("1.0", "end")  # lines of the log stay as they are
    names = [
        *(f"sub_{number:04d}.fits" for number in range(16)),
        "night1",
        "night2",
        "night3",
        "IC 5070 (Pelican Nebula)",
        *("IC 5070 (Pelican", "Nebula)"),  # a long value goes on in the next line
        "IC 5070",
    ]
    assert [text for text in texts_of_window(window) if not pseudo.is_translated(text, names)] == []
    choose_output(window, tmp_path / "empty")
    assert window.summary.seams.rows == window.metrics.table.rows == []
    assert all(str(button.cget("state")) == "disabled" for button in window.summary.buttons.values())
    assert window.log.text.get("1.0", "end").strip() == ""
    assert window.mosaic.view.viewport.is_empty
    wait_for(window.root.update, lambda: not presenter.is_drawing)
    assert window.headline.cget("text") == presenter.texts("problem.no_input")


def test_a_look_that_fails_is_followed_by_the_next(open_window, monkeypatch, wait_for):
    window, told = open_window(), []
    window.root.report_callback_exception = lambda kind, error, at: told.append(error)
    monkeypatch.setattr(window.presenter, "poll", lambda: 1 // 0)
    wait_for(window.root.update, lambda: len(told) >= 2)


def test_what_goes_on_is_told_in_one_line_beside_the_counters_of_a_watch(open_window):
    window = open_window("fr")
    window.root.geometry("1240x604")
    for button in window._watch_buttons:
        button.pack(side="left", after=window.cancel_button)
    window.headline.configure(text="Tuiles des nouvelles brutes")
    told = "14 brutes dans la mosaïque   2 en attente   1 en cours d'écriture   Tuiles 3/5   Mémoire 0,6 Go"
    window.counters.configure(text=told)
    window.root.update()
    assert window.headline.winfo_reqheight() < 2 * font.nametofont("TkDefaultFont", window.root).metrics("linespace")
    assert window.counters.winfo_width() >= window.counters.winfo_reqwidth()
    assert window.bar.winfo_width() > 200


def test_closing_while_running_asks(open_window, survey, tmp_path, monkeypatch):
    window = open_window()
    choose(window, survey, tmp_path / "out")
    window.start_button.invoke()
    answers = iter([False, True])
    monkeypatch.setattr("zemosaic_app.tk.window.ask", lambda *_, **__: next(answers))
    window.close()
    assert window.root.winfo_exists()
    window.close()
    with pytest.raises(tkinter.TclError):
        window.root.winfo_exists()


def test_the_size_of_the_window_is_remembered_and_damage_is_not(open_window):
    window = open_window()
    window.root.geometry("1010x700")
    window.root.update()
    window.close()
    assert open_window().root.winfo_height() == 700
    assert open_window(prepare=lambda p: p.remembered.keep(tk_geometry="nonsense")).root.winfo_height() == 820


def with_next_box(window, act):
    """Do something with the box that is about to open, as soon as it has the keys."""

    def look():
        box = next((child for child in window.root.winfo_children() if isinstance(child, tkinter.Toplevel)), None)
        if box is None or box.grab_current() is not box or box.focus_get() is None:
            window.root.after(50, look)
            return
        box.after(60_000, box.destroy)  # a test waits for nothing without an end
        act(box)

    window.root.after(50, look)


def test_a_question_is_answered_by_keys(open_window):
    window = open_window()

    for key, answer in (("<Escape>", False), ("<Return>", False)):
        with_next_box(window, lambda box, key=key: box.event_generate(key))
        assert widgets.ask(window.root, "title", "text", "yes", "no") is answer


def test_a_text_is_asked_for(open_window):
    window = open_window()

    def answer_with(box, key, text):
        entry = box.focus_get()
        assert isinstance(entry, tkinter.ttk.Entry)
        entry.insert("end", text)
        box.event_generate(key)

    for key, typed, given in (("<Return>", " now", "old now"), ("<Escape>", "x", None)):
        with_next_box(window, partial(answer_with, key=key, text=typed))
        assert widgets.ask_text(window.root, "title", "text", "yes", "no", "old") == given


def test_a_question_that_settles_itself_goes_away(open_window):
    window = open_window()
    open_for = iter([True, True, False])
    window.root.after(120_000, window.root.destroy)  # a test waits for nothing without an end
    assert widgets.ask(window.root, "title", "text", "yes", "no", is_open=lambda: next(open_for)) is False


def test_tabs_give_the_keys_to_what_they_show(open_window):
    window = open_window()
    shown = (window.folder.welcome.choose, window.mosaic.view, window.log.text, window.metrics.table.tree)
    for number, widget in enumerate(shown):
        window.turn_to(number)
        window.root.update()
        assert first_with_focus(window.root, window.tabs.select()) == str(widget)


def first_with_focus(root, place):
    """Where a click on a tab puts the focus."""
    return str(root.tk.call("ttk::focusFirst", place))


def test_keys_start_a_run_and_turn_to_tabs(open_window, survey, tmp_path, hold):
    window = open_window()
    choose(window, survey, tmp_path / "out")
    hold.at("tile_0001.fits")
    window.choose_language("fr")  # built again: each key still does one thing
    press(window, window.root, "<Control-r>")
    assert window.presenter.is_running
    press(window, window.root, "<Control-p>")
    assert window.presenter.view.doing == "paused"
    press(window, window.root, "<Control-Key-4>")
    assert window.tabs.index("current") == 3


def test_no_text_is_untranslated(open_window, pseudo):
    window = open_window(prepare=pseudo.use_in)
    texts = texts_of_window(window)
    assert len(texts) > 200
    assert [text for text in texts if not pseudo.is_translated(text)] == []


def test_no_text_is_untranslated_after_a_run(open_window, damaged_survey, tmp_path, pseudo, wait_for):
    """Reasons of files set aside, the table of metrics, the place under the cursor, the summary."""
    window = open_window(prepare=pseudo.use_in)
    choose(window, damaged_survey, tmp_path / "out")
    wait_until_looked(window, wait_for)
    view, presenter = window.presenter.view, window.presenter
    names = ["LP", "night1", "night2", *view.contents.filters, *view.contents.cameras, str(tmp_path)]
    names += [path.name for path in damaged_survey.iterdir()]
    names += ["IC 5070", "Pelican", "Nebula", *(name for name, *_ in window.presenter.view.contents.names)]
    window.start_button.invoke()
    wait_for(window.root.update, lambda: not presenter.is_running)
    wait_for(window.root.update, lambda: presenter.picture is not None and not presenter.is_drawing)
    window.turn_to(1)
    window.root.update()
    window.mosaic.view.event_generate("<Motion>", x=250, y=200)
    assert window.mosaic.spot.cget("text") != presenter.texts("mosaic.hint")
    assert len(window.folder.aside.rows) == 2
    assert len(window.metrics.table.rows) > 10
    assert len(window.summary.seams.rows) == 3
    window.log.text.configure(state="normal")
    window.log.text.delete("1.0", "end")  # lines of the log stay as they are
    assert [text for text in texts_of_window(window) if not pseudo.is_translated(text, names)] == []


def texts_of_box(window, act):
    """Every text of the box that something opens; it is closed."""
    found = []

    def look(box):
        found.extend(texts_of(box))
        box.destroy()

    with_next_box(window, look)
    act()
    return [text for text in found if text]


def test_no_text_of_a_box_is_untranslated(open_window, survey, tmp_path, pseudo, hold):
    window = open_window(prepare=pseudo.use_in)
    window.presenter.presets.save("mine", {"no_such": 1})
    window.presets.name.set("mine")
    names = ("mine", "no_such", str(tmp_path), "json", "config", "presets", *GridSettings.model_fields)
    for act in (window.start, window.about, window.delete_preset, window.load_preset, window.save_preset):
        assert len(found := texts_of_box(window, act)) >= 3
        assert [text for text in found if not pseudo.is_translated(text, names)] == []
    choose(window, survey, tmp_path / "out")
    hold.at("tile_0001.fits")
    window.start()
    for act in (window.cancel, window.close):
        assert len(found := texts_of_box(window, act)) >= 4
        assert [text for text in found if not pseudo.is_translated(text)] == []


def test_an_untranslated_text_would_be_found(open_window, pseudo):
    wrong = {text for text in texts_of_window(open_window()) if not pseudo.is_translated(text)}
    assert {"Start", "File", "Appearance", "Reason", "Value", "The mosaic grows here, tile by tile."} <= wrong


def test_what_cannot_be_entered_is_told_and_settings_are_found(open_window):
    window = open_window()
    entry = window.form.widgets["batch_overlap_pct"]
    entry.delete(0, "end")
    entry.insert(0, "95")
    assert "at most 90" in window.headline.cget("text")
    assert entry.cget("style") == "Wrong.TEntry"
    window.form.search.insert(0, "drizzle")
    window.root.update()
    seen = {name for name, widget in window.form.widgets.items() if widget.winfo_ismapped()}
    assert {"drizzle_pixfrac", "resample_kernel"} <= seen
    assert "threads" not in seen
    window.form.search.delete(0, "end")
    window.form.levels["simple"].invoke()
    window.root.update()
    assert window.form.widgets["batch_overlap_pct"].winfo_ismapped()  # what is changed is shown in the simple form too
    assert not window.form.widgets["drizzle_pixfrac"].winfo_ismapped()
    window.form.search.insert(0, "zebra")
    window.root.update()
    assert window.form.nothing.winfo_ismapped()
    assert not any(group.box.winfo_ismapped() for group in window.form._groups)


def test_settings_are_reset_and_taken_back(open_window):
    window = open_window()
    entry = window.form.widgets["pixel_scale_arcsec"]
    (row,) = (row for group in window.form._groups for row in group.rows if row.widget is entry)
    assert entry.invitation == "automatic"
    entry.insert(0, "3.1")
    window.root.update()
    assert (row.reset.winfo_ismapped(), window.presets.reset_all.cget("text")) == (1, "Reset all (1)")
    row.reset.invoke()
    window.root.update()
    assert (entry.get(), row.reset.winfo_ismapped()) == ("", 0)
    press(window, entry, "<Control-z>")
    assert entry.get() == "3.1"
    press(window, entry, "<Control-z>")
    assert entry.get() == ""
    press(window, entry, "<Control-y>")
    assert entry.get() == "3.1"
    window.presets.reset_all.invoke()
    assert window.presenter.form.changed() == {}
    assert str(window.presets.reset_all.cget("state")) == "disabled"


@pytest.mark.parametrize("language", ["en", "de", "es", "fr"])
def test_no_setting_is_narrower_than_what_stands_in_it(open_window, language):
    window = open_window(language)
    window.root.geometry("1240x1600")
    window.root.update()
    measure, presenter = font.nametofont("TkDefaultFont", window.root).measure, window.presenter
    narrow, most = [], max(widget.winfo_width() for widget in window.form.widgets.values())
    for name, widget in window.form.widgets.items():
        if isinstance(widget, tkinter.ttk.Combobox):
            texts = widget.cget("values")
        elif isinstance(widget, widgets.LiveEntry):
            texts = [widget.get(), presenter.placeholder(name)]
        else:
            continue
        if widget.winfo_width() < min(max(map(measure, texts)) + 6, most):
            narrow.append((name, widget.winfo_width(), max(texts, key=len)))
    assert narrow == []


def test_the_wheel_scrolls_the_settings_and_changes_none(open_window):
    window = open_window()
    choice = window.form.widgets["stack_norm_method"]
    before, top = choice.get(), choice.winfo_rooty()
    for _ in range(3):
        choice.event_generate("<Button-5>")
    window.root.update()
    assert choice.get() == before
    assert choice.winfo_rooty() < top
    window.choose_language("fr")
    window.root.update()
    window.form.widgets["stack_norm_method"].event_generate("<Button-5>")
    window.root.update()


def test_the_wheel_changes_neither_the_mode_nor_the_preset(open_window):
    window = open_window()
    window.presenter.presets.save("mine", {"threads": 3})
    window.choose_language("en")  # built again, with the preset
    for choice in (window.mode, window.presets.name):
        before = choice.get()
        for event in ("<Button-5>", "<Button-4>"):
            choice.event_generate(event)
            window.root.update()
            assert choice.get() == before
    assert window.presenter.form.value("threads") == 0


def test_a_setting_that_takes_the_focus_is_scrolled_into_view(open_window):
    window = open_window()
    last = window.form.widgets["memory_gb"]
    bottom = window.form.winfo_rooty() + window.form.winfo_height()
    window.form.find("memory")
    window.form.find("")
    window.root.update()
    assert last.winfo_rooty() > bottom
    press(window, last)
    assert last.winfo_rooty() + last.winfo_height() <= bottom


def test_light_and_dark(open_window, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # no system that could be asked
    window = open_window()
    style = tkinter.ttk.Style(window.root)
    for scheme, palette in (("dark", DARK), ("light", LIGHT), ("system", LIGHT)):
        window.choose_scheme(scheme)
        window.root.update()
        assert style.lookup("TFrame", "background") == palette.window
        assert style.lookup("Treeview", "background") == palette.base
        assert window.log.text.cget("background") == palette.base
        assert window.log.text.cget("foreground") == palette.text
        assert window.root.cget("background") == palette.window
        assert window.presenter.remembered.get("scheme") == scheme


def test_a_finer_screen_has_larger_parts(make_root, make_presenter):
    root = make_root()
    usual = root.tk.call("tk", "scaling")
    root.tk.call("tk", "scaling", 192 / 72)
    assert per_pixel(root) == 2.0
    window = TkWindow(root, make_presenter())
    root.update()
    style = tkinter.ttk.Style(root)
    assert int(style.lookup("Treeview", "rowheight")) > font.nametofont("TkDefaultFont", root).metrics("linespace")
    assert int(style.lookup("TScrollbar", "arrowsize")) == 28
    assert int(style.lookup("Subs.Treeview", "rowheight")) == 72  # this one is low for its letters
    assert root.winfo_width() == min(2480, root.winfo_screenwidth())
    assert window.form.winfo_width() > 2 * 360
    root.tk.call("tk", "scaling", usual)  # the other windows of this process share it


def test_settings_presets_and_languages(open_window, monkeypatch):
    window = open_window()
    window.presenter.enter("threads", "3")
    monkeypatch.setattr("zemosaic_app.tk.window.ask_text", lambda *_: "mine ")
    window.save_preset()
    assert window.presets.name.get() == "mine"
    window.use_settings({})
    assert window.form.widgets["threads"].get() == ""
    assert window.form.widgets["threads"].invitation.startswith("automatic (")
    window.presets.name.set("mine")
    window.load_preset()
    assert window.form.widgets["threads"].get() == "3"
    window.choose_language("fr")
    assert window.start_button.cget("text") == "Démarrer"
    monkeypatch.setattr("zemosaic_app.tk.window.ask", lambda *_: True)
    window.presets.name.set("mine")
    window.delete_preset()
    assert window.presenter.presets.names() == []


def test_an_empty_window_invites_and_start_waits_for_what_it_needs(open_window, survey, tmp_path):
    def remember(presenter):
        presenter.remembered.keep(recent=f"{survey}\n{tmp_path / 'gone'}")

    window = open_window(prepare=remember)
    welcome = window.folder.welcome
    assert (welcome.winfo_ismapped(), window.folder.map.winfo_ismapped()) == (1, 0)
    assert [button.cget("text") for button in welcome.recent] == [str(survey)]  # the other one is gone

    def offered():
        return str(window.start_button.cget("state")), window.headline.cget("text")

    assert offered() == ("disabled", "Choose the folder with the subs first.")
    window.paths["input"].set(str(tmp_path / "gon"))
    press(window, window.path_entries["input"], "<End>", "<KeyPress-e>", "<KeyRelease-e>")
    assert offered() == ("disabled", f"{tmp_path / 'gone'} does not exist.")
    window.paths["input"].set(str(survey))
    press(window, window.path_entries["input"], "<KeyRelease-End>")
    assert offered()[0] == "normal"
    welcome.recent[0].invoke()
    window.root.update()
    assert window.presenter.input == survey
    assert (window.folder.welcome, window.folder.map.winfo_ismapped()) == (None, 1)
    assert offered()[0] == "normal"


def test_a_window_in_another_language_is_arranged_as_it_was(open_window, survey, wait_for):
    window = open_window()
    presenter = window.presenter
    window.take_input(survey)
    wait_until_looked(window, wait_for)
    window.root.update()
    presenter.presets.save("mine", {})
    window.presets.name.set("mine")
    window.load_preset()
    window.root.update()
    overlap = window.form.widgets["batch_overlap_pct"]
    overlap.delete(0, "end")
    overlap.insert(0, "95")
    window.mosaic.sliders["harder"].set(40)
    window.log.level.current(3)
    window.log.level.event_generate("<<ComboboxSelected>>")
    window.log.search.insert(0, "seam")
    window.folder.map.zoom(2.0)
    window.turn_to(2)
    parts = window.form.nametowidget(window.form.winfo_parent()).master
    parts.sashpos(0, parts.sashpos(0) + 60)
    parts.event_generate("<ButtonRelease-1>")
    window.form.column._canvas.yview_scroll(3, "units")
    window.root.update()
    scrolled, sash, seen = window.form.column.scrolled, parts.sashpos(0), window.folder.map.viewport
    assert scrolled > 0
    for act in (lambda: window.choose_language("fr"), lambda: window.choose_scheme("dark")):
        act()
        window.root.update()
        assert window.tabs.index("current") == 2
        assert window.presets.name.get() == "mine"
        assert window.form.widgets["saturation_adu"].winfo_ismapped()
        assert window.form.widgets["batch_overlap_pct"].get() == "95"
        assert window.form.widgets["batch_overlap_pct"].cget("style") == "Wrong.TEntry"
        assert window.form.column.scrolled == pytest.approx(scrolled, abs=2)
        assert window.mosaic.sliders["harder"].get() == 40
        assert (window.log.level.current(), window.log.search.get()) == (3, "seam")
        parts = window.form.nametowidget(window.form.winfo_parent()).master
        assert parts.sashpos(0) == sash
        assert window.folder.map.viewport.scale == seen.scale
    assert presenter.form.problems["batch_overlap_pct"].startswith("Recouvrement")
    assert "Recouvrement" in window.headline.cget("text")
    window.form.search.insert(0, "memory")
    window.paths["output"].set(str(survey.parent / "typed"))
    window.choose_language("en")
    window.root.update()
    assert window.paths["output"].get() == str(presenter.output) == str(survey.parent / "typed")
    assert window.form.search.get() == "memory"
    assert window.form.widgets["memory_gb"].winfo_ismapped()
    assert not window.form.widgets["batch_overlap_pct"].winfo_ismapped()
    window.form.search.delete(0, "end")
    window.root.update()
    assert window.form.widgets["saturation_adu"].winfo_ismapped()


def test_the_command_is_used_by_keys_alone(screen, survey, tmp_path, wait_for):
    """``zemosaic gui --tk`` with keys that a person presses: a run to its end, and the end of the program."""
    if shutil.which("xdotool") is None:
        pytest.skip("xdotool is not installed (Debian package xdotool)")
    environment = {**os.environ, "DISPLAY": screen, "ZEMOSAIC_CONFIG": str(tmp_path / "config")}
    output = tmp_path / "out"

    def press_key(name):  # over the window, which opens in the middle of the screen
        subprocess.run(["xdotool", "mousemove", "1300", "850", "key", name], env=environment, check=True)

    command = [sys.executable, "-m", "zemosaic_app.cli", "gui", "--tk", str(survey), str(output)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as program:
        subprocess.run(["xdotool", "search", "--sync", "--name", "ZeMosaic"], env=environment, check=True, timeout=300)
        try:
            wait_for(lambda: press_key("ctrl+r"), (output / "zemosaic.log").exists)
            wait_for(lambda: None, lambda: outcome(output) == "done")
            wait_for(lambda: press_key("ctrl+q"), lambda: program.poll() is not None)
        finally:
            program.kill()
        assert program.stderr.read() == ""
    assert program.returncode == 0


def outcome(output):
    try:
        return json.loads((output / "run_report.json").read_text())["outcome"]
    except FileNotFoundError:
        return ""


def test_a_hint_is_shown_where_the_cursor_rests(open_window, wait_for):
    window = open_window()
    widget = window.form.widgets["batch_overlap_pct"]

    def boxes():
        return [child for child in widget.winfo_children() if isinstance(child, tkinter.Toplevel)]

    widget.event_generate("<Enter>")
    wait_for(window.root.update, boxes)
    assert "at most 90" in boxes()[0].winfo_children()[0].cget("text")
    widget.event_generate("<Leave>")
    window.root.update()
    assert boxes() == []


def test_the_list_of_subs_and_the_map_choose_together_and_a_sub_is_left_out(open_window, survey, wait_for):
    window = open_window()
    window.take_input(survey)
    wait_until_looked(window, wait_for)
    presenter, panel = window.presenter, window.folder
    tree, names = panel.subs.tree, [row.name for row in presenter.subs.rows]
    wait_for(window.root.update, lambda: tree.get_children() == tuple(names))
    x, y, _, height = tree.bbox(names[1], "time")
    press_and_release(window, tree, x + 5, y + height // 2)
    assert presenter.subs.chosen == [names[1]]
    corners = presenter.subs.footprints_of([names[2]])[0]
    place = panel.map._place(*np.mean(corners, axis=0))
    press_and_release(window, panel.map, *map(round, place))
    assert list(tree.selection()) == presenter.subs.chosen
    assert len(presenter.subs.chosen) == 1
    panel.map.event_generate("<Motion>", x=round(place[0]), y=round(place[1]))
    window.root.update()
    assert "\u00b0" in panel.spot.cget("text")
    panel.subs._sort("name")
    panel.subs._sort("name")
    wait_for(window.root.update, lambda: tree.get_children() == tuple(sorted(names, reverse=True)))
    first = tree.get_children()[0]
    tree.see(first)
    window.root.update()
    x, y, _, height = tree.bbox(first, "#0")
    image = panel.subs._images.get(first)
    press_and_release(window, tree, x + 25 + (image.width() if image is not None else 0), y + height // 2)
    assert presenter.subs.unticked == {first}
    told = []

    def is_known():
        told.append(panel.text.cget("text"))
        return presenter.view.contents.subs == 15 and presenter.view.doing == "nothing"

    wait_for(window.root.update, is_known)
    assert {text.split(",")[0] for text in told} <= {"16 subs", "15 subs"}  # the list does not jump meanwhile
    assert "1 left out" in panel.subs.count.cget("text")
    panel.subs.search.insert(0, "sub_0003")
    window.root.update()
    assert tree.get_children() == ("sub_0003.fits",)


def test_the_list_of_subs_wastes_no_room(open_window, survey, wait_for):
    """Short names make a narrow column, and the count is read in every language on the smallest screen."""
    for language in ("de", "es", "fr"):
        window = open_window(language)
        window.root.geometry("1240x604")
        window.take_input(survey)
        wait_until_looked(window, wait_for)
        window.root.update()
        subs = window.folder.subs
        assert subs.tree.column("#0", "width") < 200
        measure = font.nametofont("TkHeadingFont", window.root).measure
        for column in ("#0", *subs.tree.cget("columns")):
            assert subs.tree.column(column, "width") > measure(subs.tree.heading(column, "text"))
        assert subs.count.winfo_width() >= subs.count.winfo_reqwidth()
        window.close()


def test_rows_are_lower_on_a_low_screen(open_window, monkeypatch):
    heights = []
    for height in (768, 1700):
        monkeypatch.setattr(tkinter.Misc, "winfo_screenheight", lambda _, height=height: height)
        window = open_window()
        heights.append(int(tkinter.ttk.Style(window.root).lookup("Subs.Treeview", "rowheight")))
        window.close()
    assert heights == [36, 52]


def test_where_nothing_can_be_dropped_a_person_is_asked_to_choose(open_window, monkeypatch):
    monkeypatch.setattr(dropping, "load_tkdnd", lambda root: False)
    texts = list(texts_of(open_window().folder.welcome))
    assert "Choose the folder of your subs" in texts
    assert not any("Drop" in text or "stack_plan" in text for text in texts)


def test_lines_of_menus_have_room_around_their_texts(open_window):
    window = open_window()
    menu = window.menus.menus["window.run"]
    line = font.nametofont("TkMenuFont", window.root).metrics("linespace")
    window.root.update()
    assert menu.yposition(1) - menu.yposition(0) >= line + 8


def test_two_subs_blink_and_rows_get_their_pictures(open_window, survey, wait_for):
    window = open_window()
    window.take_input(survey)
    wait_until_looked(window, wait_for)
    presenter, panel = window.presenter, window.folder
    names = [row.name for row in presenter.subs.rows[:2]]
    panel.subs.select(names)
    window.root.update()
    assert presenter.subs.chosen == names
    panel.subs.buttons["blink"].invoke()
    (box,) = [one for one in panel.subs.winfo_children() if isinstance(one, Blink)]
    shown = []
    wait_for(window.root.update, lambda: shown.append(str(box.name.cget("text"))) or set(names) <= set(shown))
    box.destroy()
    wait_for(window.root.update, lambda: len(presenter.subs.pictures) > 3)
    assert panel.subs.tree.item(panel.subs.tree.get_children()[0], "image")


def press_and_release(window, widget, x, y):
    for event in ("<Motion>", "<ButtonPress-1>", "<ButtonRelease-1>"):
        widget.event_generate(event, x=x, y=y)
    window.root.update()
