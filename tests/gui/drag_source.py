"""A window from which folders can be dragged: ``python drag_source.py X,Y FOLDER ...``; says what became of them."""

import sys

from PySide6.QtCore import QMimeData, Qt, QUrl
from PySide6.QtGui import QDrag
from PySide6.QtWidgets import QApplication, QLabel


class Source(QLabel):
    def mousePressEvent(self, event):  # noqa: N802 - of Qt
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(folder) for folder in sys.argv[2:]])
        drag = QDrag(self)
        drag.setMimeData(data)
        print("dragging", flush=True)
        print(drag.exec(Qt.DropAction.CopyAction).name, flush=True)


app = QApplication(sys.argv[:1])
source = Source("drag me")
source.setWindowFlags(Qt.WindowType.X11BypassWindowManagerHint | Qt.WindowType.FramelessWindowHint)
source.setGeometry(*map(int, sys.argv[1].split(",")), 80, 40)
source.show()
app.processEvents()
print("ready", flush=True)
app.exec()
