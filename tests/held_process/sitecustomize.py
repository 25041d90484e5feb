"""Python loads this at the start of every process whose test holds it (`hold`, in the conftest of all tests).

The process waits where it opens a file of some name, or gives one that name, until another file is there. Nothing of
the program is changed: the interpreter itself tells of both (PEP 578).
"""

import os
import sys
import time

_MOST_S = 300.0  # a test that fails leaves no process behind


def _wait(event, arguments):
    if event not in ("open", "os.rename"):
        return
    path = arguments[event == "os.rename"]
    if isinstance(path, int) or os.path.basename(os.fsdecode(path)) != os.environ.get("HELD_AT"):
        return
    end = time.monotonic() + _MOST_S
    while not os.path.exists(os.environ["HELD_UNTIL"]) and time.monotonic() < end:
        time.sleep(0.01)


sys.addaudithook(_wait)
