"""The Tk window, on a screen of its own, with the real worker behind it."""

import os
import signal

import pytest

tkinter = pytest.importorskip("tkinter", reason="this Python has no Tk")

from zemosaic_app.tk import widgets  # noqa: E402
from zemosaic_app.tk.window import TkWindow  # noqa: E402

pytestmark = [pytest.mark.gui, pytest.mark.slow]


@pytest.fixture
def open_window(screen, make_presenter, monkeypatch):
    monkeypatch.setenv("DISPLAY", screen)
    roots = []

    def make(language="en", prepare=lambda presenter: None):
        presenter = make_presenter(language)
        prepare(presenter)
        roots.append(tkinter.Tk())
        window = TkWindow(roots[-1], presenter)
        window.root.update()
        return window

    yield make
    for root in roots:
        try:
            root.destroy()
        except tkinter.TclError:
            continue  # the test closed it


def texts_of(widget):
    """Every text that a window shows."""
    if "text" in widget.keys():  # noqa: SIM118 - keys of a widget
        yield str(widget.cget("text"))
    if isinstance(widget, tkinter.ttk.Combobox):
        yield from (str(value) for value in widget.cget("values"))
    if isinstance(widget, tkinter.ttk.Notebook):
        yield from (widget.tab(tab, "text") for tab in widget.tabs())
    if isinstance(widget, tkinter.Text):
        yield widget.get("1.0", "end")
    for child in widget.winfo_children():
        yield from texts_of(child)


def choose(window, survey, output):
    window.folders["input"].set(str(survey))
    window._folder_entered("input")
    window.folders["output"].set(str(output))
    window._folder_entered("output")


def test_a_run_to_its_end(open_window, survey, tmp_path, wait_for):
    window = open_window()
    choose(window, survey, tmp_path / "out")
    view = window.presenter.view
    wait_for(window.root.update, lambda: view.contents is not None and view.doing == "nothing")
    assert "16 subs" in window.found.cget("text")
    assert len(window.map.find_all()) >= 20
    window.start_button.invoke()
    wait_for(window.root.update, lambda: not window.presenter.is_running, 400.0)
    window.root.update()
    assert window.presenter.view.ending == "done"
    assert window.headline.cget("text") == "Done"
    assert "Phase" not in window.search.get()
    assert "Seam step" in window.log.get("1.0", "end")
    assert "sigma" in window.summary.get("1.0", "end")
    assert str(window.openers["mosaic"].cget("state")) == "normal"
    window.tabs.select(1)
    wait_for(window.root.update, lambda: window._picture is not None)


def test_a_run_is_cancelled_and_offered_again(open_window, survey, tmp_path, wait_for, monkeypatch):
    window = open_window()
    choose(window, survey, tmp_path / "out")
    window.start_button.invoke()
    wait_for(window.root.update, lambda: window.presenter.view.phase == "GRID: tile stacking", 200.0)
    answers = iter([False, True])
    monkeypatch.setattr("zemosaic_app.tk.window.ask", lambda *_: next(answers))
    window.cancel_button.invoke()
    assert window.presenter.view.doing == "running"
    window.cancel_button.invoke()
    wait_for(window.root.update, lambda: not window.presenter.is_running)
    window.root.update()
    assert window.presenter.view.ending == "cancelled"
    assert window.start_button.cget("text") == "Resume"


def test_a_failing_run_and_a_crash_are_shown(open_window, survey, tmp_path, wait_for):
    window = open_window()
    choose(window, survey, survey / "inside")
    window.start_button.invoke()
    wait_for(window.root.update, lambda: not window.presenter.is_running)
    window.root.update()
    assert "must lie outside" in window.headline.cget("text")
    choose(window, survey, tmp_path / "out")
    window.start_button.invoke()
    os.kill(window.presenter.engine_pid, signal.SIGSEGV)
    wait_for(window.root.update, lambda: not window.presenter.is_running)
    window.root.update()
    assert "SIGSEGV" in window.log.get("1.0", "end")


def test_closing_while_running_asks(open_window, survey, tmp_path, wait_for, monkeypatch):
    window = open_window()
    choose(window, survey, tmp_path / "out")
    window.start_button.invoke()
    answers = iter([False, True])
    monkeypatch.setattr("zemosaic_app.tk.window.ask", lambda *_: next(answers))
    window.close()
    assert window.root.winfo_exists()
    window.close()
    with pytest.raises(tkinter.TclError):
        window.root.winfo_exists()


def test_a_question_is_answered_by_keys(open_window):
    window = open_window()

    def press(key):
        box = next(child for child in window.root.winfo_children() if isinstance(child, tkinter.Toplevel))
        box.after(5000, box.destroy)  # a test waits for nothing without an end
        box.update()
        box.event_generate(key)

    for key, answer in (("<Escape>", False), ("<Return>", False)):
        window.root.after(300, press, key)
        assert widgets.ask(window.root, "title", "text", "yes", "no") is answer


def test_no_text_is_untranslated(open_window, pseudo):
    window = open_window(prepare=pseudo.use_in)
    wrong = [text for text in texts_of(window.root) if not pseudo.is_translated(text)]
    assert not wrong


def test_no_text_is_untranslated_after_a_run(open_window, damaged_survey, tmp_path, pseudo, wait_for):
    window = open_window(prepare=pseudo.use_in)
    choose(window, damaged_survey, tmp_path / "out")
    view = window.presenter.view
    wait_for(window.root.update, lambda: view.contents is not None and view.doing == "nothing")
    names = ["LP", "night1", "night2", "  R  ", "  G  ", "  B  ", *view.contents.cameras, str(tmp_path)]
    window.start_button.invoke()
    wait_for(window.root.update, lambda: not window.presenter.is_running, 400.0)
    window.root.update()
    window.log.configure(state="normal")
    window.log.delete("1.0", "end")  # lines of the log stay as they are
    wrong = [text for text in texts_of(window.root) if not pseudo.is_translated(text, names)]
    assert wrong == []
    assert len(window.summary.get("1.0", "end").splitlines()) > 9


def test_no_text_of_a_box_is_untranslated(open_window, survey, tmp_path, pseudo):
    window = open_window(prepare=pseudo.use_in)

    def texts_of_box(act):
        found = []

        def look():
            box = next(child for child in window.root.winfo_children() if isinstance(child, tkinter.Toplevel))
            found.extend([box.title(), *texts_of(box)])
            box.destroy()

        window.root.after(400, look)
        act()
        return [text for text in found if text]

    assert len(nothing_chosen := texts_of_box(window.start)) >= 3
    choose(window, survey, survey / "inside")
    window.start()
    assert len(cancelled := texts_of_box(window.cancel)) >= 4
    assert [text for text in [*nothing_chosen, *cancelled] if not pseudo.is_translated(text)] == []


def test_an_untranslated_text_would_be_found(open_window, pseudo):
    window = open_window()
    assert [text for text in texts_of(window.root) if not pseudo.is_translated(text)]


def test_settings_presets_and_languages(open_window):
    window = open_window()
    window.presenter.enter("threads", "3")
    window.preset.set("mine")
    window._save_preset()
    window._use({})
    assert window.presenter.form.value("threads") == 0
    window.preset.set("mine")
    window._load_preset()
    assert window.presenter.form.value("threads") == 3
    window.language.current(1)
    window._choose_language()
    assert window.start_button.cget("text") == "Démarrer"
