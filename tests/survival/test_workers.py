"""Workers of a Dask cluster: the same bytes whoever does the work, and whoever dies on the way; real processes."""

from __future__ import annotations

import json
import operator
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.survival import science
from zemosaic_engine.errors import Cancelled, RunError, SettingsError
from zemosaic_engine.events import CancelToken, LogLine, Reporter
from zemosaic_engine.executors import worker
from zemosaic_engine.executors.cluster import Cluster as ClusterExecutor
from zemosaic_engine.executors.cluster import _local_cluster, open_executor
from zemosaic_engine.executors.executor import Witness
from zemosaic_engine.executors.kernel_check import kernel_fingerprint
from zemosaic_engine.fits.headers import celestial_wcs
from zemosaic_engine.resume.fingerprints import engine_fingerprint, fingerprint
from zemosaic_engine.settings import GridSettings
from zemosaic_engine.simulate.survey import PRESETS, simulate_survey
from zemosaic_worker import RunOrder, run

ROOT = Path(__file__).resolve().parents[2]


# --- a cluster of processes


class Cluster:
    """A scheduler and workers, each a process of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.workers = folder, []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        self.scheduler = self._start("scheduler", "--host", self.address, "--dashboard-address", "127.0.0.1:0")

    def add(self, *prefix: str) -> None:
        """Start a worker of one thread, without a nanny that would start it again; `prefix` runs its command."""
        worker = self._start(
            "worker", self.address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--memory-limit", "2GB",
            "--local-directory", str(self.folder / "scratch"), prefix=prefix,
        )  # fmt: skip
        self.workers.append(worker)

    def wait_for(self, count: int) -> None:
        """Wait until `count` workers have joined."""
        from distributed import Client

        with Client(self.address, timeout=60, set_as_default=False) as client:
            client.wait_for_workers(count, timeout=120)

    def close(self) -> None:
        for process in [*self.workers, self.scheduler]:
            with suppress(ProcessLookupError):
                process.kill()
            process.wait()

    def _start(self, *words: str, prefix: tuple[str, ...] = ()) -> subprocess.Popen:
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [*prefix, sys.executable, "-m", "dask", *words], cwd=ROOT, stdout=log, stderr=log,
                env={**os.environ, "OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "20"},
            )  # fmt: skip


@contextmanager
def cluster(folder, workers=2):
    made = Cluster(folder)
    try:
        for _ in range(workers):
            made.add()
        made.wait_for(workers)
        yield made
    finally:
        made.close()


# --- what a worker must prove


@pytest.fixture
def proof(tmp_path):
    sub = tmp_path / "light.fits"
    sub.write_bytes(b"a sub")
    path = tmp_path / "out" / ".zemosaic" / "workers.record"
    return path, worker.Proof(tmp_path.name, [Witness.of(sub)], engine_fingerprint(), kernel_fingerprint())


def why(path, proof):
    worker._unfit.clear()
    return worker.why_unfit(path, proof.name)


def test_a_worker_that_sees_what_the_run_sees_is_fit(proof):
    worker.write_proof(*proof)
    assert why(*proof) == ""


def test_a_worker_says_what_it_does_not_see_or_have(proof):
    from dataclasses import replace

    path, whole = proof
    assert "does not see the output folder" in why(path, whole)
    worker.write_proof(path, replace(whole, name="another run"))
    assert "does not see the output folder" in why(path, whole)
    for changed, told in (
        ({"engine": "0"}, "other versions"),
        ({"kernels": "0"}, "last digits"),
        ({"inputs": [Witness("/nowhere/light.fits", 5, 5)]}, "does not see the sub /nowhere/light.fits"),
        ({"inputs": [Witness(whole.inputs[0].path, 6, whole.inputs[0].mtime_ns)]}, "does not see the sub"),
    ):
        worker.write_proof(path, replace(whole, **changed))
        assert told in why(path, whole)


def test_an_order_that_fails_is_left_to_the_run(proof):
    worker.write_proof(*proof)
    why(*proof)

    def task(order, seat):
        seat.reporter.log("begun")
        if order == "broken":
            raise RunError("the disk is full")
        return None if order == "refused" else order

    key = proof[0], proof[1].name
    assert worker.perform(key, task, "whole", 1, 0.0).result == "whole"
    assert [event.text for event in worker.perform(key, task, "whole", 1, 0.0).events] == ["begun"]
    for order in ("broken", "refused"):
        performed = worker.perform(key, task, order, 1, 0.0)
        assert performed.result is None
        assert not performed.events, "the run does the work, and says so itself"
    worker.steer(proof[1].name, "cancel")
    assert worker.perform(key, task, "whole", 1, 0.0).result is None


@pytest.mark.parametrize("scheduler", ["local:", "local:0", "local:many"])
def test_a_number_of_processes_that_is_none_is_refused(scheduler, tmp_path):
    pytest.importorskip("distributed")
    with pytest.raises(SettingsError, match="local:4"), open_executor(scheduler, tmp_path, [], None, None):
        pass


@pytest.mark.slow
def test_no_process_of_a_local_cluster_outlives_it(tmp_path):
    distributed = pytest.importorskip("distributed")
    with _local_cluster("local:2") as cluster:
        with distributed.Client(cluster, set_as_default=False) as client:
            processes = list(client.run(os.getpid).values())
        os.kill(processes[0], signal.SIGSTOP)  # it cannot answer, and has to be killed
    assert cluster.status == distributed.Status.closed
    for process in processes:
        with pytest.raises(ProcessLookupError):
            os.kill(process, 0)


# --- a WCS travels without loss

_VALUES = st.floats(-1.0, 1.0)


@given(st.lists(_VALUES, min_size=12, max_size=12), st.booleans(), st.booleans())
def test_a_wcs_is_the_same_in_another_process(values, has_sip, has_cd):
    cards = {
        "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 180.0 + 170.0 * values[0], "CRVAL2": 80.0 * values[1],
        "CRPIX1": 200.0 + values[2], "CRPIX2": 100.0 + values[3],
    }  # fmt: skip
    scale = 1e-3 * (1.5 + values[4])
    if has_cd:
        cards |= {"CD1_1": -scale, "CD1_2": 1e-4 * values[5], "CD2_1": 1e-4 * values[6], "CD2_2": scale}
    else:
        cards |= {"CDELT1": -scale, "CDELT2": scale, "CROTA2": 90.0 * values[5]}
    if has_sip:
        cards |= {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "A_ORDER": 2, "B_ORDER": 2}
        cards |= {"A_2_0": 1e-7 * values[7], "B_1_1": 1e-7 * values[8]}
    wcs = celestial_wcs(cards, (200, 400))
    other = pickle.loads(pickle.dumps(wcs))
    assert fingerprint(other) == fingerprint(wcs)
    assert other.array_shape == wcs.array_shape
    x, y = np.linspace(0.0, 399.0, 23), np.linspace(0.0, 199.0, 23)
    assert (np.array(other.all_pix2world(x.copy(), y.copy(), 0)) == wcs.all_pix2world(x.copy(), y.copy(), 0)).all()


# --- whole runs


@pytest.mark.slow
def test_workers_make_the_same_bytes(survey, tmp_path, runs, reference):
    pytest.importorskip("distributed")
    assert runs(tmp_path / "out", scheduler="local:2") == science(reference)
    text = "\n".join(runs.texts)
    assert "Workers measured 16 of 16 subs" in text
    assert "Workers stacked 4 of 4 tiles" in text
    assert "dashboard http://" in text
    assert "by an earlier run" not in text
    assert not list((tmp_path / "out" / "tiles").glob(".*"))


@pytest.mark.slow
@pytest.mark.parametrize("kernel", ["lanczos3", "drizzle"])
def test_workers_name_the_same_subs_where_footprints_only_touch_a_tile(tmp_path, runs, kernel):
    pytest.importorskip("distributed")
    turned = PRESETS["tiny"].but(panels=(2, 1), rotation_deg=25.0, dither_px=30.0)
    simulate_survey(tmp_path / "survey", turned, seed=1)
    settings = {"survey": tmp_path / "survey", "grid_size_factor": 0.5, "resample_kernel": kernel}
    wanted = runs(tmp_path / "here", **settings)
    assert len(wanted) > 15  # with many small tiles, which share their pixels with others
    assert runs(tmp_path / "out", scheduler="local:2", **settings) == wanted


@pytest.mark.slow
def test_a_run_waits_for_a_slow_worker(survey, tmp_path, runs, reference):
    pytest.importorskip("distributed")
    with cluster(tmp_path) as workers:
        slow = workers.workers[0]

        def hold(event):
            if isinstance(event, LogLine) and "hot pixels" in event.text:
                slow.send_signal(signal.SIGSTOP)
                threading.Timer(5.0, slow.send_signal, [signal.SIGCONT]).start()

        assert runs(tmp_path / "out", sink=hold, scheduler=workers.address) == science(reference)
        assert "Workers measured 16 of 16 subs" in "\n".join(runs.texts)


@pytest.mark.slow
def test_workers_make_masters_and_the_same_bytes_with_them(tmp_path, runs):
    pytest.importorskip("distributed")
    frames = {"biases": 4, "darks": 4, "flats": 4, "dark_flats": 4}
    uncalibrated = PRESETS["uncalibrated"].but(
        shape=(240, 320), panels=(1, 2), subs_per_panel=4, nights=1, calibration=frames
    )
    simulate_survey(tmp_path / "survey", uncalibrated, seed=1)
    settings = {"survey": tmp_path / "survey", "photometry": "tiles"}
    wanted = runs(tmp_path / "here", **settings)
    assert runs(tmp_path / "out", scheduler="local:2", **settings) == wanted
    text = "\n".join(runs.texts)
    assert "Workers made 3 of 3 masters" in text
    assert "Workers measured 8 of 8 subs" in text


@pytest.mark.slow
def test_workers_reproject_tiles_with_grids_of_their_own(survey, tmp_path, runs):
    pytest.importorskip("distributed")
    outputs = [tmp_path / name for name in ("here", "out")]
    made = []
    for output, scheduler in zip(outputs, ("", "local:2"), strict=True):
        order = RunOrder(survey, output, GridSettings(scheduler=scheduler), "classic")
        texts = []
        run(order, lambda event, texts=texts: texts.append(getattr(event, "text", "")), CancelToken())
        made.append(science(output))
    assert made[0] == made[1]
    total = len(list((outputs[1] / "tiles").glob("tile_*.fits")))
    assert f"Workers reprojected {total} of {total} tiles" in texts
    assert not list((outputs[1] / ".zemosaic").glob("landed/*.record"))


@pytest.mark.slow
def test_a_run_goes_on_when_its_workers_die_and_when_they_cannot_write(survey, tmp_path, runs, reference):
    pytest.importorskip("distributed")
    with cluster(tmp_path) as workers:
        workers.add("bash", "-c", 'ulimit -f 4; exec "$@"', "-")  # it can write no record
        workers.wait_for(3)

        def kill(event):
            if isinstance(event, LogLine) and "hot pixels" in event.text:
                workers.workers[0].kill()
            elif isinstance(event, LogLine) and "subs on one scale" in event.text:
                for process in workers.workers:
                    process.kill()

        assert runs(tmp_path / "out", sink=kill, scheduler=workers.address) == science(reference)
        text = "\n".join(runs.texts)
        assert "All workers are gone" in text
        assert "Workers stacked 0 of 4 tiles" in text


@pytest.mark.slow
def test_a_run_whose_scheduler_dies_says_so_and_goes_on_later(survey, tmp_path, runs, reference):
    pytest.importorskip("distributed")
    with cluster(tmp_path) as workers:

        def kill_scheduler(event):
            if isinstance(event, LogLine) and "hot pixels" in event.text:
                workers.scheduler.kill()

        with pytest.raises(RunError, match="scheduler is gone"):
            runs(tmp_path / "out", sink=kill_scheduler, scheduler=workers.address)
    with pytest.raises(SettingsError, match="no Dask scheduler at"):
        runs(tmp_path / "out", scheduler=workers.address)
    assert runs(tmp_path / "out") == science(reference)


@pytest.mark.slow
def test_a_client_that_closes_by_itself_says_that_the_scheduler_is_gone(tmp_path, proof):
    """A slow machine: the client gives up its scheduler before the run notices."""
    distributed = pytest.importorskip("distributed")
    worker.write_proof(*proof)
    with (
        _local_cluster("local:1") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        executor = ClusterExecutor(client, (proof[0], proof[1].name), Reporter(lambda event: None), CancelToken())

        def close(number, result):
            client.close()

        with pytest.raises(RunError, match="scheduler is gone"):
            executor.ahead(operator.is_, list(range(20)), close)


@pytest.mark.slow
def test_a_run_that_is_killed_or_stopped_goes_on_later(survey, tmp_path, runs, reference):
    pytest.importorskip("distributed")
    out = tmp_path / "out"
    with cluster(tmp_path) as workers:
        command = [
            sys.executable,
            "-m",
            "zemosaic_app.cli",
            "grid",
            "--scheduler",
            workers.address,
            str(survey),
            str(out),
        ]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as run:
            deadline = time.monotonic() + 240
            while not list(out.glob(".zemosaic/measurements/*.record")):
                assert run.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.05)
            run.send_signal(signal.SIGKILL)
        cancel = CancelToken()

        def stop(event):
            if isinstance(event, LogLine) and "hot pixels" in event.text:
                cancel.cancel()

        with pytest.raises(Cancelled):
            runs(out, sink=stop, cancel=cancel, scheduler=workers.address)
        assert runs(out, scheduler=workers.address) == science(reference)
    assert json.loads((out / "run_report.json").read_text())["outcome"] == "done"
