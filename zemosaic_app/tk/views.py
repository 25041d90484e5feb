"""Views that are zoomed and moved: by the wheel, by dragging, by the keys."""

from __future__ import annotations

import math
import tkinter as tk
from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from zemosaic_app.presenter.appearance import NAME_COLOUR, PICTURE_GROUND, SUB_COLOUR
from zemosaic_app.presenter.mosaic_detail import Detail, Part
from zemosaic_app.presenter.named_places import NamedPlace
from zemosaic_app.presenter.viewport import ZOOM_STEP, Viewport, drawn_part

from .appearance import line_height
from .widgets import bind_wheel, without_event

_ARROWS = {"Left": (1, 0), "Right": (-1, 0), "Up": (0, 1), "Down": (0, -1)}
_ARROW_PX = 40
_TEXT = "#c8ccd4"


class ZoomView(tk.Canvas):
    """A view that is fitted to its area until the user zooms; `draw` follows `viewport`."""

    def __init__(self, parent: tk.Misc) -> None:
        super().__init__(parent, background=PICTURE_GROUND, takefocus=True, width=100, height=100)
        # An edge that tells who has the keys.
        self.configure(highlightthickness=1, highlightbackground=PICTURE_GROUND, highlightcolor=SUB_COLOUR)
        self.viewport = Viewport()
        self._dragged_from: tuple[int, int] | None = None
        self._waiting = ""
        self.bind("<Configure>", lambda event: self.show(self.viewport.with_room(event.width, event.height)))
        self.bind("<Destroy>", self._forget)
        self.bind("<ButtonPress-1>", self._press)
        self.bind("<B1-Motion>", self._drag)
        self.bind("<ButtonRelease-1>", lambda _: self.configure(cursor=""))
        self.bind("<Double-Button-1>", lambda _: self.fit())
        bind_wheel(self, self._on_wheel)
        for names, act in (
            (("plus", "equal", "KP_Add"), partial(self.zoom, ZOOM_STEP)),
            (("minus", "KP_Subtract"), partial(self.zoom, 1.0 / ZOOM_STEP)),
            (("Key-0", "KP_0"), self.fit),
        ):
            for name in names:
                self.bind(f"<{name}>", without_event(act))
        for name, (right, down) in _ARROWS.items():
            self.bind(f"<{name}>", partial(self._on_arrow, right * _ARROW_PX, down * _ARROW_PX))

    def fit(self) -> None:
        """Show all of it, and go on doing so when the place changes."""
        self.show(self.viewport.fitted())

    def full_size(self) -> None:
        """Show one pixel of the mosaic on one pixel of the screen."""
        self.show(self.viewport.at_full_size())

    def zoom(self, factor: float) -> None:
        """Larger or smaller, about the middle."""
        self.show(self.viewport.zoomed(factor))

    def show(self, viewport: Viewport) -> None:
        """Draw it there as soon as there is nothing else to do."""
        if viewport != self.viewport:
            self.viewport = viewport
            self.draw_soon()

    def draw_soon(self) -> None:
        """Draw once, however often this is called until then."""
        if not self._waiting:
            self._waiting = self.after_idle(self._draw_now)

    def draw(self) -> None:
        """Put what is shown where the viewport says."""
        raise NotImplementedError

    def _draw_now(self) -> None:
        self._waiting = ""
        self.draw()

    def _forget(self, _: object) -> None:
        if self._waiting:
            self.after_cancel(self._waiting)
            self._waiting = ""

    def _press(self, event: tk.Event) -> None:
        self.focus_set()
        self.configure(cursor="fleur")
        self._dragged_from = (event.x, event.y)

    def _drag(self, event: tk.Event) -> None:
        if self._dragged_from is not None:
            x, y = self._dragged_from
            self.show(self.viewport.moved(event.x - x, event.y - y))
        self._dragged_from = (event.x, event.y)

    def _on_wheel(self, event: tk.Event, notches: float) -> None:
        self.show(self.viewport.zoomed(ZOOM_STEP**notches, event.x, event.y))

    def _on_arrow(self, right: int, down: int, _: object) -> None:
        self.show(self.viewport.moved(right, down))


class PictureView(ZoomView):
    """A picture, and a finer one of what is in view upon it.

    Tells the place under the cursor, in pixels of the picture from its upper left corner.
    """

    def __init__(self, parent: tk.Misc, nothing: str, on_pointed: Callable[[float, float], None]) -> None:
        super().__init__(parent)
        self._nothing = nothing
        self._picture: NDArray[np.uint8] | None = None
        self._detail: Detail | None = None
        self._names: Sequence[NamedPlace] = ()
        self._images: list[tk.PhotoImage] = []  # Tk forgets images that nobody holds
        self.bind("<Motion>", lambda event: on_pointed(*self.viewport.to_content(event.x, event.y)), add=True)

    @property
    def image(self) -> tk.PhotoImage | None:
        """The uppermost image that is drawn now; None while there is no picture."""
        return self._images[-1] if self._images else None

    @property
    def part_in_view(self) -> Part:
        """Return the visible part in pixels of the picture."""
        return Part(*self.viewport.visible, self.viewport.scale)

    def show_picture(self, picture: NDArray[np.uint8] | None, block: int = 1) -> None:
        """Show (h, w, 3), keeping zoom and place unless the size is another one; without a picture what is missing.

        A pixel of it is a mean over `block` x `block` pixels of the mosaic.
        """
        self._picture = picture
        height, width = (0, 0) if picture is None else picture.shape[:2]
        if self.viewport.content != (width, height):
            self._detail = None
        self.viewport = self.viewport.with_content(width, height, block)
        self.draw_soon()

    def show_detail(self, detail: Detail | None) -> None:
        """Show a finer picture of a part in its place, or none."""
        self._detail = detail
        self.draw_soon()

    def show_names(self, names: Sequence[NamedPlace]) -> None:
        """Write names of objects on the picture; places are those of the picture."""
        if names != self._names:
            self._names = names
            self.draw_soon()

    def draw(self) -> None:
        """The part that is seen; a text while there is nothing."""
        self.delete("all")
        self._images.clear()
        if self._picture is None or self.viewport.is_empty:
            middle = (self.viewport.room[0] / 2, self.viewport.room[1] / 2)
            self.create_text(*middle, text=self._nothing, fill=_TEXT)
            return
        self._draw_part(self._picture, self.viewport)
        if self._detail is not None:
            height, width = self._detail.picture.shape[:2]
            place = self.viewport.of_part(self._detail.left, self._detail.top, width, height, self._detail.scale)
            self._draw_part(self._detail.picture, place)
        line = line_height(self)
        for name, x, y, radius in self._names:
            across, down = self.viewport.to_room(x, y)
            highest = line if down >= 0 else -math.inf  # of one in view the name is in view
            draw_name(self, name, across, down, radius * self.viewport.scale, highest)

    def _draw_part(self, picture: NDArray[np.uint8], viewport: Viewport) -> None:
        part, left, top = drawn_part(picture, viewport)
        if part.size:
            header = f"P6 {part.shape[1]} {part.shape[0]} 255\n".encode("ascii")
            self._images.append(tk.PhotoImage(master=self, data=header + part.tobytes(), format="PPM"))
            self.create_image(left, top, anchor="nw", image=self._images[-1])


def draw_name(canvas: tk.Canvas, name: str, x: float, y: float, radius: float, highest: float = -math.inf) -> None:
    """A ring as large as an object, or a dot, and its name above, whose foot stands no higher than at `highest`."""
    size = max(radius, 2.0)
    canvas.create_oval(x - size, y - size, x + size, y + size, outline=NAME_COLOUR)
    canvas.create_text(x, max(y - size - 2, highest), text=name, fill=NAME_COLOUR, anchor="s")
