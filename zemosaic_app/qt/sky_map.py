"""The map of an input folder: depth, footprints, planned tiles, the sky's grid, and what panels need."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from PySide6.QtCore import QPointF, QRect, QRectF, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QImage, QMouseEvent, QPainter, QPainterPath, QPen, QPixmap, QPolygonF
from PySide6.QtWidgets import QGraphicsItem, QGraphicsPathItem, QGraphicsSimpleTextItem, QWidget

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
from zemosaic_app.presenter.viewport import is_like

from .picture_view import ZoomView, add_name, thin_pen

_MARGIN, _PAD = 12, 5
# Above, below and beside the canvas, as shares of its longer side: the legend of a narrow map lies there.
_MARGINS = (0.09, 0.13, 0.03)
_BAR_SHARE = 0.22  # of the width of the map
_DRAG_PX = 4  # a press that moves less is a click


class SkyMap(ZoomView):
    """Footprints of the subs and planned tiles on the sky, north up, east left."""

    pointed = Signal(str)
    picked = Signal(float, float)

    def __init__(self, texts: Texts, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._texts = texts
        self._contents: FolderContents | None = None
        self._wcs: WCS | None = None
        self._chosen: QGraphicsPathItem | None = None
        self._pressed: QPointF | None = None
        # What lies on the view and not on the sky is drawn anew whenever the sky moves under it.
        self.setViewportUpdateMode(SkyMap.ViewportUpdateMode.FullViewportUpdate)

    def show_contents(self, contents: FolderContents | None) -> None:
        """Draw what was found, or nothing, keeping zoom and place on a canvas of the same size."""
        scene = self.scene()
        before = scene.sceneRect().size().toTuple()
        scene.clear()
        self._chosen, self.named, self._named_for = None, [], None
        self._sky_labels: list[QGraphicsItem] = []
        self._contents = contents if contents is not None and contents.canvas_shape else None
        if self._contents is None:
            scene.setSceneRect(QRectF())
            return
        contents = self._contents
        self._wcs = WCS(fits.Header.fromstring(contents.canvas_header)) if contents.canvas_header else None
        height, width = contents.canvas_shape
        self._add_depth(contents)
        self._add_grid(contents)
        self._add_footprints(contents, height)
        for x, y, text in sky_map.needs(contents):
            self._add_need(x, height - y, text)
        self.named += [add_name(scene, name, x, height - y, radius)[1] for name, x, y, radius in contents.names]
        self.named += self._sky_labels
        self._add_tiles(contents, height)
        above, below, aside = (share * max(width, height) for share in _MARGINS)
        place = QRectF(-aside, -above, width + 2 * aside, height + above + below)
        scene.setSceneRect(place)
        if self.is_fitted or not is_like(before, place.size().toTuple()):
            self.fit()

    def show_chosen(self, footprints: Sequence[Sequence[Sequence[float]]]) -> None:
        """Outline the footprints of the subs that are chosen in the list."""
        if self._chosen is not None:
            self.scene().removeItem(self._chosen)
            self._chosen = None
        if self._contents is None or not footprints:
            return
        path, height = QPainterPath(), self._contents.canvas_shape[0]
        for corners in footprints:
            path.addPolygon(QPolygonF([QPointF(x, height - y) for x, y in corners]))
            path.closeSubpath()
        self._chosen = self.scene().addPath(path, thin_pen(QColor(CHOSEN_COLOUR), 3))
        self._chosen.setZValue(2.0)

    def _add_depth(self, contents: FolderContents) -> None:
        if not contents.depth:
            return
        picture = np.ascontiguousarray(sky_map.depth_picture(contents))
        rows, columns = picture.shape[:2]
        image = QImage(picture.tobytes(), columns, rows, 4 * columns, QImage.Format.Format_RGBA8888)
        item = self.scene().addPixmap(QPixmap.fromImage(image))
        item.setTransformationMode(Qt.TransformationMode.SmoothTransformation)
        item.setScale(contents.depth_cell_px)
        item.setPos(0.0, contents.canvas_shape[0] - rows * contents.depth_cell_px)

    def _add_grid(self, contents: FolderContents) -> None:
        """Lines of right ascension and declination, and what each of them is at its lower or left end."""
        for text, points in contents.sky_lines:
            places = sky_map.points_of(points, contents.canvas_shape[0])
            path = QPainterPath(QPointF(*places[0]))
            for x, y in places[1:]:
                path.lineTo(x, y)
            self.scene().addPath(path, thin_pen(QColor(GRID_COLOUR), 1))
            label = self._add_label(*places[0], text, QColor(GRID_COLOUR).lighter(170), QPointF(3, -16))
            self._sky_labels.append(label.parentItem())

    def _add_footprints(self, contents: FolderContents, height: int) -> None:
        """Outlines of the subs; of very many some outlines alone, or drawing would take seconds."""
        self.setRenderHint(QPainter.RenderHint.Antialiasing, len(contents.footprints) <= wording.MOST_SMOOTH)
        solved = len(contents.footprints) - contents.roughly
        for part, name in ((contents.footprints[:solved], SUB_COLOUR), (contents.footprints[solved:], ROUGH_COLOUR)):
            colour = QColor(name)
            colour.setAlpha(max(60, min(255, 6000 // max(len(part), 1))))
            for corners in wording.some_of(part):
                self.scene().addPolygon(QPolygonF([QPointF(x, height - y) for x, y in corners]), thin_pen(colour, 1))

    def _add_tiles(self, contents: FolderContents, height: int) -> None:
        colour = QColor(TILE_COLOUR)
        for name, (y0, y1, x0, x1), _ in contents.tiles:
            self.scene().addRect(QRectF(x0, height - y1, x1 - x0, y1 - y0), thin_pen(colour, 1))
            label = self._add_label(x0, height - y1, name.removeprefix("tile_"), colour, QPointF(4, 2))
            font = label.font()
            font.setPointSizeF(0.8 * self.font().pointSizeF())
            label.setFont(font)
            self.named.append(label.parentItem())

    def _add_need(self, x: float, y: float, text: str) -> None:
        """How many subs a panel needs, on a ground of its own, as large at every zoom."""
        label = self._add_label(x, y, text, QColor(PICTURE_GROUND), QPointF())
        font = label.font()
        font.setBold(True)
        label.setFont(font)
        size = label.boundingRect()
        label.setPos(-size.width() / 2, -size.height() / 2)
        ground = self.scene().addRect(size.adjusted(-_PAD, -1, _PAD, 1), QPen(Qt.PenStyle.NoPen), QColor(NEED_COLOUR))
        ground.setParentItem(label.parentItem())
        ground.setPos(label.pos())
        ground.setFlag(QGraphicsItem.GraphicsItemFlag.ItemStacksBehindParent, False)
        label.setZValue(1.0)
        label.parentItem().setZValue(3.0)

    def _add_label(self, x: float, y: float, text: str, colour: QColor, offset: QPointF) -> QGraphicsSimpleTextItem:
        """A text at a place of the sky that is as large at every zoom."""
        anchor = self.scene().addRect(QRectF(), QPen(Qt.PenStyle.NoPen))
        anchor.setPos(x, y)
        anchor.setZValue(1.0)
        anchor.setFlag(QGraphicsItem.GraphicsItemFlag.ItemIgnoresTransformations)
        label = QGraphicsSimpleTextItem(text, anchor)
        label.setBrush(QBrush(colour))
        label.setPos(offset)
        return label

    # --- what lies on the view

    def drawForeground(self, painter: QPainter, rect: QRectF | QRect) -> None:  # noqa: D102, N802 - of Qt
        if self._contents is None:
            return
        painter.save()
        painter.resetTransform()
        room = QRectF(self.viewport().rect())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        self._draw_compass(painter, QPointF(room.right() - 3 * _MARGIN, 4.5 * _MARGIN))
        self._draw_bar(painter, room, self._contents)
        self._draw_legend(painter, room, self._contents)
        painter.restore()

    def _lay_ground(self, painter: QPainter, place: QRectF) -> None:
        """A ground on which a text can be read, whatever of the sky lies under it."""
        ground = QColor(PICTURE_GROUND)
        ground.setAlpha(215)
        painter.fillRect(place, ground)

    def _draw_compass(self, painter: QPainter, foot: QPointF) -> None:
        """Arrows to the north and to the east."""
        length = 2.2 * _MARGIN
        self._lay_ground(painter, QRectF(foot.x() - 3.4 * _MARGIN, foot.y() - 3.6 * _MARGIN, 50, 52))
        painter.setPen(QPen(QColor(LEGEND_COLOUR), 1.5))
        for end, text in ((QPointF(0, -length), "map.north"), (QPointF(-length, 0), "map.east")):
            tip, along = foot + end, end / length
            aside = QPointF(-along.y(), along.x())
            painter.drawLine(foot, tip)
            for side in (-1, 1):
                painter.drawLine(tip, tip - along * 6.0 + aside * (4.0 * side))
            place = QRectF(0, 0, 20, 16)
            place.moveCenter(tip + along * 9.0)
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, self._texts(text))

    def _draw_bar(self, painter: QPainter, room: QRectF, contents: FolderContents) -> None:
        """The scale bar."""
        arcsec = contents.pixel_scale_arcsec / max(self.transform().m11(), 1e-9)
        bar = sky_map.scale_bar(arcsec, _BAR_SHARE * room.width())
        right, y = room.right() - _MARGIN, room.bottom() - _MARGIN
        ground = QRectF(right - bar.length_px - 6, y - 24, bar.length_px + 12, 32)
        self._lay_ground(painter, ground)
        painter.setPen(QPen(QColor(LEGEND_COLOUR), 2))
        painter.drawLine(QPointF(right - bar.length_px, y), QPointF(right, y))
        for x in (right - bar.length_px, right):
            painter.drawLine(QPointF(x, y - 4), QPointF(x, y + 4))
        middle = QRectF(right - 0.5 * bar.length_px - 100, y - 23, 200, 18)
        painter.drawText(middle, Qt.AlignmentFlag.AlignHCenter | Qt.AlignmentFlag.AlignVCenter, bar.text)

    def _draw_legend(self, painter: QPainter, room: QRectF, contents: FolderContents) -> None:
        """What the colours mean, in the lower left corner."""
        steps, keys = sky_map.depth_legend(contents), sky_map.legend(contents, self._texts)
        line = painter.fontMetrics().height() + 3
        heads = [self._texts("map.depth")] if steps else []
        names = [*(text for _, text in steps), *heads, *(text for _, text in keys)]
        wide = 30 + max(map(painter.fontMetrics().horizontalAdvance, names), default=0)
        if not sky_map.is_roomy(self.mapFromScene(0.0, 0.0).x(), wide + 2 * _MARGIN):
            self._draw_keys_in_line(painter, room, keys)
            self._draw_line_of_depth(painter, room, steps)
            return
        if not names:
            return
        high = line * len(names) + 2 * _PAD
        place = QRectF(_MARGIN, room.bottom() - _MARGIN - high, wide, high)
        self._lay_ground(painter, place)
        painter.setPen(QColor(LEGEND_COLOUR))
        y = place.top() + _PAD
        rows = [(colour, text, False) for colour, text in keys]
        rows += [("", text, False) for text in heads] + [(colour, text, True) for colour, text in reversed(steps)]
        for colour, text, is_filled in rows:
            if colour:
                box = QRectF(place.left() + _PAD, y + 3, 12, line - 6)
                if is_filled:
                    painter.fillRect(box.adjusted(0, -3, 0, 3), QColor(colour))
                else:
                    painter.setPen(QPen(QColor(colour), 2))
                    painter.drawRect(box)
            painter.setPen(QColor(LEGEND_COLOUR))
            left = place.left() + (24 if colour else _PAD)
            painter.drawText(QRectF(left, y, wide, line), Qt.AlignmentFlag.AlignVCenter, text)
            y += line

    def _draw_keys_in_line(self, painter: QPainter, room: QRectF, keys: Sequence[tuple[str, str]]) -> None:
        """What the outlines mean, along the upper edge."""
        x, line = room.left() + _MARGIN, painter.fontMetrics().height()
        wide = sum(painter.fontMetrics().horizontalAdvance(text) + 30 for _, text in keys)
        self._lay_ground(painter, QRectF(x - 4, room.top() + 4, wide, line + 4))
        for colour, text in keys:
            painter.setPen(QPen(QColor(colour), 2))
            painter.drawRect(QRectF(x, room.top() + 9, 10, line - 6))
            painter.setPen(QColor(LEGEND_COLOUR))
            painter.drawText(QRectF(x + 15, room.top() + 6, wide, line), Qt.AlignmentFlag.AlignVCenter, text)
            x += painter.fontMetrics().horizontalAdvance(text) + 30

    def _draw_line_of_depth(self, painter: QPainter, room: QRectF, steps: Sequence[tuple[str, str]]) -> None:
        """The colours of the depth in one line, with the least and the greatest one."""
        if not steps:
            return
        x, y, side = room.left() + _MARGIN, room.bottom() - _MARGIN - 10, 22.0
        told = f"{steps[0][1]} \u2013 {steps[-1][1]}"
        wide = max(side * len(steps), painter.fontMetrics().horizontalAdvance(told))
        self._lay_ground(painter, QRectF(x - 4, y - 22, wide + 8, 36))
        for colour, _ in steps:
            painter.fillRect(QRectF(x, y, side, 10.0), QColor(colour))
            x += side
        painter.setPen(QColor(LEGEND_COLOUR))
        place = QRectF(room.left() + _MARGIN, y - 20, room.width(), 18)
        painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, told)

    # --- what a person does

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102, N802 - of Qt
        super().mouseMoveEvent(event)
        if self._contents is not None and self._wcs is not None:
            place = self.mapToScene(event.position().toPoint())
            y = self._contents.canvas_shape[0] - place.y()
            self.pointed.emit(sky_map.place_under_cursor(self._contents, self._wcs, place.x() - 0.5, y - 0.5))

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: D102, N802 - of Qt
        super().mousePressEvent(event)
        self._pressed = event.position()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: D102, N802 - of Qt
        super().mouseReleaseEvent(event)
        pressed, self._pressed = self._pressed, None
        if self._contents is None or pressed is None:
            return
        if (event.position() - pressed).manhattanLength() < _DRAG_PX:
            place = self.mapToScene(event.position().toPoint())
            self.picked.emit(place.x(), self._contents.canvas_shape[0] - place.y())
