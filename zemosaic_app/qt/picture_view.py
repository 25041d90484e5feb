"""Views that are zoomed and moved: by the wheel, by dragging, by the keys."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QBrush,
    QColor,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
    QShowEvent,
    QTransform,
    QWheelEvent,
)
from PySide6.QtWidgets import (
    QGraphicsItem,
    QGraphicsPixmapItem,
    QGraphicsScene,
    QGraphicsSimpleTextItem,
    QGraphicsView,
    QStyleOptionGraphicsItem,
    QWidget,
)

from zemosaic_app.presenter.appearance import NAME_COLOUR, PICTURE_GROUND
from zemosaic_app.presenter.mosaic_detail import Detail, Part
from zemosaic_app.presenter.named_places import NamedPlace
from zemosaic_app.presenter.viewport import ZOOM_STEP, Viewport, is_like

_BACKGROUND = QColor(PICTURE_GROUND)
_NAME = QColor(NAME_COLOUR)


class ZoomView(QGraphicsView):
    """A scene that is fitted to its view until the user zooms."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setScene(QGraphicsScene(self))
        self.setBackgroundBrush(QBrush(_BACKGROUND))
        self.setRenderHint(QPainter.RenderHint.Antialiasing)
        self.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        self.setDragMode(QGraphicsView.DragMode.ScrollHandDrag)
        # A scene accepts whatever is dragged over it and drops it; the window takes folders instead.
        self.viewport().setAcceptDrops(False)
        self.setTransformationAnchor(QGraphicsView.ViewportAnchor.AnchorUnderMouse)
        self.setResizeAnchor(QGraphicsView.ViewportAnchor.AnchorViewCenter)
        self.setMouseTracking(True)
        self.is_fitted = True
        self._awaited: Viewport | None = None
        # Items at places of the scene that hold a text as their child, the most important ones first.
        self.named: list[QGraphicsItem] = []
        self._named_for: tuple[float, int] | None = None
        self.finest = 1  # the finest that can be shown is so many times smaller than a unit of the scene

    def fit(self) -> None:
        """Show all of it, and go on doing so when the place changes."""
        self.is_fitted, self._awaited = True, None
        rectangle = self.scene().sceneRect()
        if not rectangle.isEmpty():
            self.fitInView(rectangle, Qt.AspectRatioMode.KeepAspectRatio)

    @property
    def seen(self) -> Viewport:
        """Return how the scene lies in its view, now or when it is first shown."""
        if self._awaited is not None:
            return self._awaited
        scene, place = self.scene().sceneRect(), self.viewport().rect()
        middle = self.mapToScene(place).boundingRect().center() - scene.topLeft()
        content, room = (scene.width(), scene.height()), (float(place.width()), float(place.height()))
        return Viewport(content, room, self.transform().m11(), (middle.x(), middle.y()), self.is_fitted, self.finest)

    def show_as(self, seen: Viewport) -> None:
        """Let the same content lie as it did in another view, as soon as this one has its place."""
        if seen.is_fitted:
            self.fit()
            return
        self.is_fitted, self._awaited = False, seen
        if self.isVisible():
            self._take_awaited()

    def _take_awaited(self) -> None:
        if self._awaited is not None:
            seen, self._awaited = self._awaited, None
            self.setTransform(QTransform.fromScale(seen.scale, seen.scale))
            self.centerOn(self.scene().sceneRect().topLeft() + QPointF(*seen.centre))

    def showEvent(self, event: QShowEvent) -> None:  # noqa: D102, N802 - of Qt
        super().showEvent(event)
        self._take_awaited()

    def zoom(self, factor: float) -> None:
        """Larger or smaller, within the limits of a `Viewport`; what lies under the mouse stays there."""
        seen = self.seen
        wanted = seen.zoomed(factor).scale
        if wanted != seen.scale:
            self._take_awaited()
            self.is_fitted = False
            self.scale(wanted / seen.scale, wanted / seen.scale)

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: D102, N802 - of Qt
        drawn_for = (self.transform().m11(), len(self.named))
        if drawn_for != self._named_for:
            self._named_for = drawn_for
            self._separate_names()
        super().paintEvent(event)

    def _separate_names(self) -> None:
        """Hide texts that would cover more important ones; they come when there is room for them."""
        taken: list[QRectF] = []
        for anchor in self.named:
            place = self.transform().map(anchor.pos())
            for label in anchor.childItems():
                rectangle = label.mapRectToParent(label.boundingRect()).translated(place)
                is_free = not any(rectangle.intersects(other) for other in taken)
                label.setVisible(is_free)
                if is_free:
                    taken.append(rectangle)

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: D102, N802 - of Qt
        self.zoom(ZOOM_STEP ** (event.angleDelta().y() / 120.0))

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: D102, N802 - of Qt
        if event.key() in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom(ZOOM_STEP)
        elif event.key() == Qt.Key.Key_Minus:
            self.zoom(1.0 / ZOOM_STEP)
        elif event.key() == Qt.Key.Key_0:
            self.fit()
        else:
            super().keyPressEvent(event)  # the arrows move it

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: D102, N802 - of Qt
        super().resizeEvent(event)
        if self.is_fitted:
            self.fit()


class _Picture(QGraphicsPixmapItem):
    """A picture that is averaged where it is shown small: its stars neither vanish nor flicker."""

    def __init__(self) -> None:
        super().__init__()
        self.setTransformationMode(Qt.TransformationMode.SmoothTransformation)
        self._small: tuple[int, int, QPixmap] | None = None

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        """Paint the picture, or means over the pixels that fall on one screen pixel."""
        shrink = int(1.0 / max(option.levelOfDetailFromTransform(painter.worldTransform()), 1e-3))
        if shrink < 2 or self.pixmap().isNull():
            super().paint(painter, option, widget)  # type: ignore[arg-type]  # the scene may give none
            return
        wanted = (shrink, self.pixmap().cacheKey())
        if self._small is None or self._small[:2] != wanted:
            size = self.pixmap().size() / shrink
            modes = Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.SmoothTransformation
            self._small = (*wanted, self.pixmap().scaled(size.expandedTo(QSize(1, 1)), *modes))
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawPixmap(self.boundingRect(), self._small[2], QRectF(self._small[2].rect()))


class PictureView(ZoomView):
    """A picture with a more detailed one of the visible part on top; reports the position under the cursor."""

    pointed = Signal(float, float)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._item, self._fine = _Picture(), _Picture()
        self._names: list[NamedPlace] = []
        self._labels: list[QGraphicsItem] = []
        for item in (self._item, self._fine):
            self.scene().addItem(item)

    def show_picture(self, picture: NDArray[np.uint8], block: int) -> None:
        """Show (h, w, 3), keeping zoom and place unless the size is another one, but for an edge.

        A pixel of it is a mean over `block` x `block` pixels of the mosaic.
        """
        before, size = self._item.pixmap().size().toTuple(), (picture.shape[1], picture.shape[0])
        self._item.setPixmap(_pixmap(picture))
        self.finest = block
        self.scene().setSceneRect(QRectF(0, 0, *size))
        if size != before:
            self.show_detail(None)
        if self.is_fitted or not is_like(before, size):
            self.fit()

    def show_detail(self, detail: Detail | None) -> None:
        """Show a finer picture of a part in its place, or none."""
        self._fine.setVisible(detail is not None)
        if detail is not None:
            self._fine.setPixmap(_pixmap(detail.picture))
            self._fine.setPos(detail.left, detail.top)
            self._fine.setScale(detail.scale)

    def show_names(self, names: Sequence[NamedPlace]) -> None:
        """Write names of objects on the picture; places are those of the picture."""
        if names == self._names:
            return
        self._names = list(names)
        for item in self._labels:
            self.scene().removeItem(item)
        added = [add_name(self.scene(), name, x, y, radius) for name, x, y, radius in names]
        self._labels = [item for items in added for item in items]
        self.named = [anchor for _, anchor in added]
        self._named_for = None

    def part_in_view(self) -> Part:
        """Return the visible part in pixels of the picture."""
        seen = self.mapToScene(self.viewport().rect()).boundingRect().intersected(self.scene().sceneRect())
        scale = self.transform().m11() * self.devicePixelRatioF()
        return Part(seen.left(), seen.top(), seen.right(), seen.bottom(), scale)

    def full_size(self) -> None:
        """Show one pixel of the mosaic on one physical pixel of the screen."""
        self.is_fitted = False
        scale = self.finest / self.devicePixelRatioF()
        self.setTransform(QTransform.fromScale(scale, scale))

    def clear(self) -> None:
        """Show nothing."""
        self._item.setPixmap(QPixmap())
        self.show_detail(None)
        self.show_names([])

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: D102, N802 - of Qt
        super().mouseMoveEvent(event)
        place = self.mapToScene(event.position().toPoint())
        self.pointed.emit(place.x(), place.y())


def add_name(scene: QGraphicsScene, name: str, x: float, y: float, radius: float) -> list[QGraphicsItem]:
    """A ring as large as an object, or a dot, and its name above, as large at every zoom."""
    size = max(radius, 1.0)
    ring = scene.addEllipse(QRectF(x - size, y - size, 2 * size, 2 * size), thin_pen(_NAME, 1))
    anchor = scene.addRect(QRectF(), QPen(Qt.PenStyle.NoPen))
    anchor.setPos(x, y - size)
    anchor.setFlag(QGraphicsItem.GraphicsItemFlag.ItemIgnoresTransformations)
    label = QGraphicsSimpleTextItem(name, anchor)
    label.setBrush(QBrush(_NAME))
    place = label.boundingRect()
    label.setPos(-place.width() / 2, -place.height() - 2)
    for item in (ring, anchor):
        item.setZValue(1.0)
    return [ring, anchor]


def thin_pen(colour: QColor, width: int) -> QPen:
    """A pen that is as wide at every zoom."""
    pen = QPen(colour, width)
    pen.setCosmetic(True)
    return pen


def _pixmap(picture: NDArray[np.uint8]) -> QPixmap:
    height, width = picture.shape[:2]
    return QPixmap.fromImage(QImage(picture.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888))
