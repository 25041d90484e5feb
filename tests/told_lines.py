"""What a function says of a run, for tests of its sentences."""

from zemosaic_engine.events import LogLine, Reporter


def told_by(report):
    """Lines of the log that a function writes to a reporter."""
    events = []
    report(Reporter(events.append))
    return [event.line for event in events if isinstance(event, LogLine)]
