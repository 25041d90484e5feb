"""The progress of a run: steps add up, whoever counts them."""

from __future__ import annotations

from zemosaic_engine.events import Progress, Reporter


def test_the_share_of_a_task_counts_for_its_steps():
    events = []
    reporter = Reporter(events.append, [("a", 1.0)])
    reporter.phase(0)
    reporter.expect(12)
    tell = reporter.part(10)
    for share in (0.25, 0.2, 0.04, 0.55, 1.0, 1.0):
        tell(share)
    reporter.step(2)
    done = [event.done for event in events if isinstance(event, Progress)]
    assert done == [2, 5, 10, 12], "a share that is told late takes nothing away"
