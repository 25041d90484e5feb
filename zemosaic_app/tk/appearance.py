"""Light and dark: the styles of ttk, and the options of Tk's plain widgets."""

from __future__ import annotations

import tkinter as tk
from tkinter import font, ttk

from zemosaic_app.presenter.appearance import DARK, LOG_COLOURS, Palette, palette_of


def use_scheme(root: tk.Tk, scheme: str) -> Palette:
    """Dress all widgets that are made from now on in one of `SCHEMES`; the colours that were chosen."""
    palette = palette_of(scheme)
    style = ttk.Style(root)
    style.theme_use("clam")  # drawn alike everywhere, and all its colours can be set
    _style_everything(style, palette)
    _style_parts(style, palette)
    _style_sizes(style, root)
    _set_options(root, palette)
    root.configure(background=palette.window)
    return palette


def log_colours(palette: Palette) -> dict[str, str]:
    """Colours of the levels of the log on this ground."""
    return LOG_COLOURS[palette is DARK]


def title_font(root: tk.Misc) -> tuple[str, int]:
    """Family and size of headings: those of all texts, larger."""
    usual = font.nametofont("TkDefaultFont", root)
    return usual.actual("family"), round(1.3 * usual.actual("size"))


def _style_everything(style: ttk.Style, palette: Palette) -> None:
    style.configure(
        ".",
        background=palette.window,
        foreground=palette.text,
        fieldbackground=palette.base,
        troughcolor=palette.base,
        bordercolor=palette.border,
        lightcolor=palette.button,
        darkcolor=palette.button,
        selectbackground=palette.highlight,
        selectforeground=palette.highlighted_text,
        insertcolor=palette.text,
        arrowcolor=palette.text,
        focuscolor=palette.highlight,
    )
    style.map(".", background=[], foreground=[("disabled", palette.faint)], arrowcolor=[("disabled", palette.faint)])


def _style_parts(style: ttk.Style, palette: Palette) -> None:
    """Set the styles that differ between widgets; the first matching state applies."""
    pressed = [("disabled", palette.window), ("active", palette.light)]
    edges = [("focus", palette.highlight)]
    style.configure("TButton", background=palette.button, padding=(8, 3))
    style.map("TButton", background=pressed, bordercolor=edges)
    style.configure("Narrow.TButton", padding=(2, 3))
    style.configure("TCheckbutton", indicatorbackground=palette.base, indicatorforeground=palette.text)
    style.map("TCheckbutton", background=[("active", palette.window)], indicatorbackground=[])
    for entry in ("TEntry", "TCombobox"):
        style.configure(entry, padding=2)
        style.map(
            entry,
            fieldbackground=[("disabled", palette.window), ("readonly", palette.button)],
            background=[("active", palette.light)],
            bordercolor=edges,
            lightcolor=edges,
            foreground=[("disabled", palette.faint), ("readonly", palette.text)],
            selectbackground=[("readonly", palette.button)],
            selectforeground=[("readonly", palette.text)],
        )
    style.configure("TCombobox", background=palette.button)
    style.configure("Start.TButton", background=palette.highlight, foreground=palette.highlighted_text)
    style.map(
        "Start.TButton",
        background=[("disabled", palette.window), ("active", palette.link)],
        foreground=[("disabled", palette.faint)],
    )
    style.configure("Invitation.TLabel", background=palette.base, foreground=palette.placeholder)
    style.configure("Changed.TLabel", foreground=palette.link)
    style.configure("Switch.Toolbutton", padding=(8, 3))
    style.map(
        "Switch.Toolbutton",
        background=[("selected", palette.highlight), ("active", palette.light)],
        foreground=[("selected", palette.highlighted_text)],
    )
    style.configure("Good.TLabel", foreground=LOG_COLOURS[palette is DARK]["SUCCESS"])
    style.configure("Poor.TLabel", foreground=LOG_COLOURS[palette is DARK]["WARN"])
    style.configure("Heading.TLabel", foreground=palette.link)
    style.configure("Wrong.TEntry", foreground=LOG_COLOURS[palette is DARK]["ERROR"])
    style.configure("TLabelframe.Label", foreground=palette.link)
    style.configure("TNotebook", background=palette.window)
    style.configure("TNotebook.Tab", background=palette.button, padding=(10, 4))
    style.map(
        "TNotebook.Tab",
        background=[("selected", palette.window), ("active", palette.light)],
        lightcolor=[("selected", palette.window)],
        padding=[],
        expand=[],
    )
    for bar in ("TScrollbar", "TScale"):
        style.configure(bar, background=palette.button)
        style.map(bar, background=pressed)
    style.configure("TProgressbar", background=palette.highlight, lightcolor=palette.highlight)
    style.configure("TProgressbar", darkcolor=palette.highlight)
    style.configure("Treeview", background=palette.base)
    style.map(
        "Treeview",
        background=[("selected", palette.highlight)],
        foreground=[("selected", palette.highlighted_text)],
    )
    style.configure("Treeview.Heading", background=palette.button, padding=3)
    style.map("Treeview.Heading", background=[("active", palette.light)])
    style.configure("Sash", gripcount=8)


def line_height(root: tk.Misc) -> int:
    """Pixels from one line of text to the next."""
    return font.nametofont("TkDefaultFont", root).metrics("linespace")


def per_pixel(root: tk.Misc) -> float:
    """Pixels of this screen for one of a screen of 96 to the inch, in quarters; letters are larger by that too."""
    return max(round(root.winfo_fpixels("1i") / 24.0) / 4.0, 1.0)


def _style_sizes(style: ttk.Style, root: tk.Tk) -> None:
    """Set the sizes that ttk counts in screen pixels."""
    larger = per_pixel(root)
    style.configure("Treeview", rowheight=line_height(root) + round(4 * larger))
    style.configure("TCheckbutton", indicatorsize=round(10 * larger))
    for bar in ("TScrollbar", "TCombobox", "TScale", "TProgressbar"):
        style.configure(bar, arrowsize=round(14 * larger))  # of those without arrows the thickness
    bold = font.nametofont("TkDefaultFont", root).copy()
    bold.configure(weight="bold")
    for name in ("Changed.TLabel", "Key.TLabel", "Heading.TLabel"):
        style.configure(name, font=bold)
    family, size = bold.actual("family"), bold.actual("size")
    style.configure("Object.TLabel", font=(family, round(1.7 * size), "bold"))
    for name in ("Large.TLabel", "Good.TLabel", "Poor.TLabel"):
        style.configure(name, font=(family, round(1.15 * size)))
    root.bold_font = bold  # type: ignore[attr-defined]  # Tk forgets fonts that nobody holds
    style.configure("TScale", sliderlength=round(30 * larger))


def _set_options(root: tk.Tk, palette: Palette) -> None:
    fields: dict[str, str | int] = {
        "background": palette.base,
        "foreground": palette.text,
        "selectBackground": palette.highlight,
        "selectForeground": palette.highlighted_text,
        "highlightThickness": 0,
        "relief": "flat",
    }
    options: dict[str, dict[str, str | int]] = {
        "Text": {**fields, "insertBackground": palette.text, "padX": 6, "padY": 4},
        "TCombobox*Listbox": fields,
        "Menu": {
            "background": palette.window,
            "foreground": palette.text,
            "activeBackground": palette.highlight,
            "activeForeground": palette.highlighted_text,
            "disabledForeground": palette.faint,
            "selectColor": palette.text,
            "relief": "flat",
            "activeBorderWidth": 0,
        },
        "Toplevel": {"background": palette.window},
        "Canvas": {"background": palette.window, "highlightThickness": 0},
        "Hint*Label": {"background": palette.tip, "foreground": palette.tip_text},
    }
    for name, values in options.items():
        for option, value in values.items():
            root.option_add(f"*{name}.{option}", value)
