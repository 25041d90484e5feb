"""The map of an input folder: depth, footprints, planned tiles, the sky's grid, and what panels need."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from numpy.typing import NDArray

from zemosaic_app.presenter import sky_map, wording
from zemosaic_app.presenter.appearance import (
    CHOSEN_COLOUR,
    GRID_COLOUR,
    LEGEND_COLOUR,
    NEED_COLOUR,
    PICTURE_GROUND,
    ROUGH_COLOUR,
    SUB_COLOUR,
    TILE_COLOUR,
)
from zemosaic_app.presenter.messages import FolderContents
from zemosaic_app.presenter.texts import Texts
from zemosaic_app.presenter.viewport import Viewport, drawn_part

from .appearance import line_height, per_pixel
from .views import ZoomView, draw_name

# A tile that is narrower than this on the screen is drawn without its name.
_NAMED_PX = 60
_MARGIN, _PAD = 12, 5
_BAR_SHARE = 0.22  # of the width of the map
_DRAG_PX = 4  # a press that moves less is a click
_OVERLAY = "overlay"


def _nothing(*_: object) -> None:
    """Hear nothing."""


class SkyMap(ZoomView):
    """Footprints of the subs and planned tiles on the sky, north up, east left.

    Attributes
    ----------
    on_pointed : callable
        Called with the place under the cursor in words.
    on_picked : callable
        Called with the place of the canvas that was clicked.
    """

    def __init__(self, parent: tk.Misc, texts: Texts) -> None:
        super().__init__(parent)
        self.on_pointed: Callable[[str], object] = _nothing
        self.on_picked: Callable[[float, float], object] = _nothing
        self._texts = texts
        self._larger = per_pixel(self)
        self._gap, self._pad = _MARGIN * self._larger, _PAD * self._larger
        self._contents: FolderContents | None = None
        self._wcs: WCS | None = None
        self._drawn = Viewport()
        self._depth: NDArray[np.uint8] | None = None
        self._image: tk.PhotoImage | None = None  # Tk forgets images that nobody holds
        self._chosen: Sequence[Sequence[Sequence[float]]] = ()
        self._pressed = (0, 0)
        self.bind("<Motion>", self._on_motion, add=True)
        self.bind("<ButtonPress-1>", self._on_press, add=True)
        self.bind("<ButtonRelease-1>", self._on_release, add=True)

    def show_contents(self, contents: FolderContents | None) -> None:
        """Draw what was found, or nothing, keeping zoom and place on a canvas of the same size."""
        self.delete("all")
        self._chosen = ()
        self._contents = contents if contents is not None and contents.canvas_shape else None
        height, width = self._contents.canvas_shape if self._contents is not None else (0, 0)
        margin = self._margin
        size = (width + 2 * margin, height + self._above + margin)
        self.viewport = self.viewport.with_content(*size)
        self._depth = None
        if self._contents is not None:
            header = self._contents.canvas_header
            self._wcs = WCS(fits.Header.fromstring(header)) if header else None
            self._depth = _on_ground(sky_map.depth_picture(self._contents)) if self._contents.depth else None
            self._add(self._contents, margin, height + self._above)
        self._drawn = Viewport(size, size).fitted()  # the items lie where the content's own pixels are
        self.draw_soon()

    def show_chosen(self, footprints: Sequence[Sequence[Sequence[float]]]) -> None:
        """Outline the footprints of the subs that are chosen in the list."""
        self._chosen = footprints
        self.draw_soon()

    @property
    def _above(self) -> float:
        """Room above the sky, where the legend may lie."""
        return self._margin + (0.1 * self._contents.canvas_shape[0] if self._contents is not None else 0.0)

    @property
    def _margin(self) -> float:
        return 0.03 * max(self._contents.canvas_shape) if self._contents is not None else 0.0

    def _add(self, contents: FolderContents, left: float, bottom: float) -> None:
        """All that moves and grows with the sky."""
        for _, points in contents.sky_lines:
            self.create_line(*[(left + x, bottom - y) for x, y in points], fill=GRID_COLOUR)
        solved = len(contents.footprints) - contents.roughly
        for part, colour in ((contents.footprints[:solved], SUB_COLOUR), (contents.footprints[solved:], ROUGH_COLOUR)):
            for corners in wording.some_of(part):
                if corners:
                    outline = [(left + x, bottom - y) for x, y in corners]
                    self.create_polygon(*outline, fill="", outline=colour)
        for name, (y0, y1, x0, x1), _ in contents.tiles:
            self.create_rectangle(left + x0, bottom - y0, left + x1, bottom - y1, outline=TILE_COLOUR)
            corner = (left + x0 + 0.02 * (x1 - x0), bottom - y1 + 0.02 * (y1 - y0))
            self.create_text(*corner, text=name.removeprefix("tile_"), fill=TILE_COLOUR, anchor="nw", tags="name")
        for name, x, y, radius in contents.names:
            draw_name(self, name, left + x, bottom - y, radius)

    def draw(self) -> None:
        """Move all items from where they were drawn to where they belong: Tk does that for thousands at once."""
        self.delete(_OVERLAY)
        if self._contents is None:
            return
        before, origin = self._drawn.to_room(0, 0), self.viewport.to_room(0, 0)
        larger = self.viewport.scale / self._drawn.scale
        self.scale("all", *before, larger, larger)
        self.move("all", origin[0] - before[0], origin[1] - before[1])
        self._drawn = self.viewport
        narrowest = min((x1 - x0 for _, (_, _, x0, x1), _ in self._contents.tiles), default=0)
        has_room = narrowest * self.viewport.scale > _NAMED_PX
        self.itemconfigure("name", state="normal" if has_room else "hidden")
        self._draw_depth(self._contents)
        self._draw_labels(self._contents)
        self._draw_compass()
        self._draw_bar(self._contents)
        self._draw_legend(self._contents)

    # --- what is drawn anew whenever the sky moves under it

    def _place(self, x: float, y: float) -> tuple[float, float]:
        """Where a place of the canvas is seen."""
        assert self._contents is not None
        return self.viewport.to_room(self._margin + x, self._above + self._contents.canvas_shape[0] - y)

    def _draw_depth(self, contents: FolderContents) -> None:
        if self._depth is None:
            return
        rows, columns = self._depth.shape[:2]
        top = self._above + contents.canvas_shape[0] - rows * contents.depth_cell_px
        place = self.viewport.of_part(self._margin, top, columns, rows, contents.depth_cell_px)
        part, left, upper = drawn_part(self._depth, place)
        if part.size:
            header = f"P6 {part.shape[1]} {part.shape[0]} 255\n".encode("ascii")
            self._image = tk.PhotoImage(master=self, data=header + part.tobytes(), format="PPM")
            self.create_image(left, upper, anchor="nw", image=self._image, tags=_OVERLAY)
            self.tag_lower(_OVERLAY)

    def _draw_labels(self, contents: FolderContents) -> None:
        """Values of the sky's lines, what panels need, and the footprints that are chosen."""
        for text, points in contents.sky_lines:
            x, y = self._place(*points[0])
            self.create_text(x + 3, y - 2, text=text, fill=LEGEND_COLOUR, anchor="sw", tags=_OVERLAY)
        for x, y, text in sky_map.needs(contents):
            label = self.create_text(*self._place(x, y), text=text, font="TkHeadingFont", tags=_OVERLAY)
            left, top, right, bottom = self.bbox(label)
            ground = self.create_rectangle(left - self._pad, top - 1, right + self._pad, bottom + 1, tags=_OVERLAY)
            self.itemconfigure(ground, fill=NEED_COLOUR, outline="")
            self.itemconfigure(label, fill=PICTURE_GROUND)
            self.tag_raise(label, ground)
        for corners in self._chosen:
            outline = [self._place(x, y) for x, y in corners]
            self.create_polygon(*outline, fill="", outline=CHOSEN_COLOUR, width=3, tags=_OVERLAY)

    def _draw_compass(self) -> None:
        """Arrows to the north and to the east."""
        x, y, length = self.viewport.room[0] - 3 * self._gap, 6.5 * self._gap, 2.2 * self._gap  # below a line of legend
        for across, up, text in ((0, 1, "map.north"), (-1, 0, "map.east")):
            tip = (x + across * length, y - up * length)
            self.create_line((x, y), tip, fill=LEGEND_COLOUR, arrow="last", width=1.5 * self._larger, tags=_OVERLAY)
            away = 9 * self._larger
            beyond = (tip[0] + across * away, tip[1] - up * away)
            self.create_text(*beyond, text=self._texts(text), fill=LEGEND_COLOUR, tags=_OVERLAY)

    def _draw_bar(self, contents: FolderContents) -> None:
        """The scale bar."""
        width, height = self.viewport.room
        bar = sky_map.scale_bar(contents.pixel_scale_arcsec / max(self.viewport.scale, 1e-9), _BAR_SHARE * width)
        right, y = width - self._gap, height - self._gap
        left = right - bar.length_px
        tick, line = 4 * self._larger, 2 * self._larger
        corners = [(left, y - tick), (left, y), (right, y), (right, y - tick)]
        self.create_line(*corners, fill=LEGEND_COLOUR, width=line, tags=_OVERLAY)
        self.create_text(right, y - tick - 2, text=bar.text, fill=LEGEND_COLOUR, anchor="se", tags=_OVERLAY)

    def _draw_legend(self, contents: FolderContents) -> None:
        """What the colours mean, in the lower left corner."""
        steps, keys = sky_map.depth_legend(contents), sky_map.legend(contents, self._texts)
        if not sky_map.is_roomy(self._place(0.0, 0.0)[0]):
            self._draw_keys_in_line(keys)
            self._draw_line_of_depth(steps)
            return
        rows = [(colour, text, False) for colour, text in keys]
        if steps:
            rows += [("", self._texts("map.depth"), False)]
            rows += [(colour, text, True) for colour, text in reversed(steps)]
        line, key = line_height(self) + 2, 12 * self._larger
        x, y = self._gap + self._pad, self.viewport.room[1] - self._gap - self._pad - line * len(rows)
        items = []
        for colour, text, is_filled in rows:
            if colour:
                box = (x, y, x + key, y + line) if is_filled else (x, y + 3, x + key, y + line - 3)
                item = self.create_rectangle(*box, tags=_OVERLAY, outline="" if is_filled else colour, width=2)
                self.itemconfigure(item, fill=colour if is_filled else "")
                items.append(item)
            left = x + (key + 8 if colour else 0)
            place = (left, y + line / 2)
            items.append(self.create_text(*place, text=text, fill=LEGEND_COLOUR, anchor="w", tags=_OVERLAY))
            y += line
        if items:
            left, top, right, bottom = self.bbox(*items)
            around = (left - self._pad, top - self._pad, right + self._pad, bottom + self._pad)
            ground = self.create_rectangle(*around, fill=PICTURE_GROUND, outline="", tags=_OVERLAY)
            self.tag_lower(ground, items[0])

    def _draw_keys_in_line(self, keys: Sequence[tuple[str, str]]) -> None:
        """What the outlines mean, along the upper edge."""
        x, y, items, key = self._gap, 6.0, [], 10 * self._larger
        for colour, text in keys:
            top = y + 1 + (line_height(self) - key) / 2
            items.append(self.create_rectangle(x, top, x + key, top + key, outline=colour, width=2, tags=_OVERLAY))
            items.append(
                self.create_text(x + key + 5, y + 1, text=text, fill=LEGEND_COLOUR, anchor="nw", tags=_OVERLAY)
            )
            x = self.bbox(items[-1])[2] + 15
        if items:
            left, top, right, bottom = self.bbox(*items)
            around = (left - 4, top - 2, right + 4, bottom + 2)
            ground = self.create_rectangle(*around, fill=PICTURE_GROUND, outline="", tags=_OVERLAY)
            self.tag_lower(ground, items[0])

    def _draw_line_of_depth(self, steps: Sequence[tuple[str, str]]) -> None:
        """The colours of the depth in one line, with the least and the greatest one."""
        if not steps:
            return
        key = 12 * self._larger
        x, y = self._gap, self.viewport.room[1] - self._gap - key
        for number, (colour, _) in enumerate(steps):
            left = x + key * number
            self.create_rectangle(left, y, left + key, y + key, fill=colour, outline="", tags=_OVERLAY)
        text = f"{steps[0][1]} \u2013 {steps[-1][1]}"
        self.create_text(x, y - 2, text=text, fill=LEGEND_COLOUR, anchor="sw", tags=_OVERLAY)

    # --- what a person does

    def _canvas_place(self, event: tk.Event) -> tuple[float, float]:
        """The place of the canvas under the cursor."""
        assert self._contents is not None
        x, y = self.viewport.to_content(event.x, event.y)
        return x - self._margin, self._contents.canvas_shape[0] + self._above - y

    def _on_motion(self, event: tk.Event) -> None:
        if self._contents is not None and self._wcs is not None:
            x, y = self._canvas_place(event)
            self.on_pointed(sky_map.place_under_cursor(self._contents, self._wcs, x - 0.5, y - 0.5))

    def _on_press(self, event: tk.Event) -> None:
        self._pressed = (event.x, event.y)

    def _on_release(self, event: tk.Event) -> None:
        x, y = self._pressed
        if self._contents is not None and abs(event.x - x) + abs(event.y - y) < _DRAG_PX:
            self.on_picked(*self._canvas_place(event))


def _on_ground(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture in RGBA over the ground of the map, in RGB."""
    ground = np.array([int(PICTURE_GROUND[at : at + 2], 16) for at in (1, 3, 5)])
    share = picture[..., 3:] / 255.0
    return np.rint(picture[..., :3] * share + ground * (1.0 - share)).astype(np.uint8)
