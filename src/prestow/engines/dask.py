"""The engine on Dask: jobs as futures with dependencies, on workers of our own or somebody else's.

Manifests travel as values and receipts come back, so a worker starts the next job without asking
this process, and needs no shared file system beyond its stores.
"""

from __future__ import annotations

import importlib.machinery
import logging
import math
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Self

import dask
import distributed
from distributed.scheduler import KilledWorker

from prestow.engines import Ended, JobSpec
from prestow.engines.calling import Result, call_node
from prestow.errors import PrestowError, Problem
from prestow.node.execute import FIXED
from prestow.node.outcome import host_name

_PRELOAD = "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
"""Ctrl-C goes to all processes of a terminal; a worker must live to end its job when it drains."""

_CONFIG: dict[str, Any] = {  # Any: Dask's own values
    "distributed.scheduler.allowed-failures": 0,  # the loop counts, and knows innocents from culprits
    "distributed.worker.daemon": False,  # a task may start processes of its own
    "distributed.worker.use-file-locking": False,
    "distributed.admin.tick.limit": "60s",
    "distributed.comm.timeouts.connect": "60s",
    "distributed.deploy.lost-worker-timeout": "1s",
}

BUSY = 8
"""Jobs a worker has in store, above which results are fetched in batches."""

NAP = 0.05

RETURN = 30.0
"""Seconds in which a worker that died may come back, where nobody else may run a job."""

LOOK = 2.0
"""Seconds between looks whether chosen workers are still there."""

STARTS = 3
"""How often starting the workers is tried."""

SHORT = 0.25
"""Seconds of work that go into one future: what Dask does for each future costs a few milliseconds."""

MOST = 32
"""Jobs in one future."""

_drained: set[str] = set()  # at a worker: submissions of which nothing more may begin


def _work(
    submission: str,
    label: str,
    jobs: list[tuple[str, tuple[str, ...]]],
    parents: list[list[Result]],
    picks: list[int],
) -> list[Result]:
    """Run jobs of a label one after the other; a parent's result is the one picked of those that came with it."""
    given = [results[pick] for results, pick in zip(parents, picks, strict=True)]
    over = (submission, f"{submission} {label}")
    return [
        {"drained": True} if not _drained.isdisjoint(over) else call_node(manifest, receipts, given)
        for manifest, receipts in jobs
    ]


def _drain(submission: str) -> None:
    _drained.add(submission)


def _place(dask_worker: Any) -> tuple[str, int]:  # Dask's own
    """Give the host of a worker, and the bytes that it may use; 0 if nothing limits it."""
    return host_name(), int(dask_worker.memory_manager.memory_limit or 0)


def _environment() -> dict[str, str | None]:
    return {name: os.environ.get(name) for name in FIXED}


class _Nanny(distributed.Nanny):  # type: ignore[misc]  # distributed is not typed
    """A nanny that sets exactly our environment; Dask's own replaces hash seed 0 by another."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.pre_spawn_env.update(FIXED)
        self.env.update(FIXED)


@dataclass(slots=True, eq=False)
class _Handle:
    """A job and, while it is under way, the future it is in and its place there."""

    spec: JobSpec
    future: Any = None  # distributed is not typed
    place: int = 0


class DaskEngine:
    """Carries jobs to Dask workers; used as a context, it keeps its workers from run to run.

    Parameters
    ----------
    workers : int
        How many processes to start here, one thread each; not used with an address.
    address : str or None
        A scheduler that runs already, ``tcp://host:port``. Its workers must be able to import
        prestow; their environment is looked at and told where it differs (see ``notes``).
    dashboard : bool
        Show Dask's web page, on the loopback address only.
    window : int
        How many jobs are with the scheduler at once, so that its memory does not grow with the plan.
    """

    name = "dask"

    def __init__(
        self, workers: int = 2, *, address: str | None = None, dashboard: bool = False, window: int = 2000
    ) -> None:
        self.workers = workers
        self.address = address
        self.dashboard = dashboard
        self._window = window
        self._waiting: dict[tuple[str, int, tuple[str, ...]], list[_Handle]] = {}
        self._sent: dict[Any, list[_Handle]] = {}
        self._seconds: dict[str, float] = {}  # how long a job takes, by label
        self.notes: tuple[str, ...] = ()
        self._standing: tuple[str, ...] = ()  # what is to be said of every run
        self._client: Any = None  # distributed is not typed
        self._cluster: Any = None
        self._done: Any = None
        self._scratch: str | None = None
        self._saved: dict[str, str | None] = {}
        self._main_spec: Any = None
        self._submission = ""
        self._held = False
        self._places: dict[str, tuple[str, int]] = {}  # worker -> its host and memory, once that matters
        self._hosts: set[str] = set()  # all that were ever seen
        self._avoided: set[str] = set()
        self._chosen: dict[Any, list[str]] = {}  # workers of futures that may not run everywhere
        self._looked = self._seen = 0.0

    def __enter__(self) -> Self:
        self._held = True
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._held = False
        self.close()

    def start(self) -> None:
        """Start the workers, or join the scheduler; nothing if that is done already."""
        self._submission = os.urandom(8).hex()
        self._places, self._hosts, self._avoided = {}, set(), set()
        self.notes = self._standing
        if self._client is not None:
            return
        if self.address is None:
            self._start_cluster()
        self._client = distributed.Client(
            self.address or self._cluster, set_as_default=False, direct_to_workers=True
        )
        self._done = distributed.as_completed(
            [], with_results=True, raise_errors=False, loop=self._client.loop
        )
        if self.address is not None:
            self._look_at_workers()

    def _look_at_workers(self) -> None:
        """See what somebody else's workers are like.

        Raises
        ------
        PrestowError
            If one has several threads (PST-R006): a task has the process's directory and streams.
        """
        threads = self._client.nthreads()
        wide = sorted(worker for worker, count in threads.items() if count > 1)
        if wide:
            self.close()
            raise PrestowError(
                Problem(
                    "PST-R006",
                    f"{len(wide)} workers have more than one thread",
                    wide[0],
                    "start them with --nthreads 1",
                )
            )
        self.workers = max(1, len(threads))
        self.notes = self._standing = tuple(
            f"worker {worker}: {name} is {value!r}, not {FIXED[name]!r}; products may differ in their bytes"
            for worker, found in sorted(self._client.run(_environment).items())
            for name, value in found.items()
            if value != FIXED[name]
        )

    def _forget(self) -> None:
        self._done.clear()
        self._sent.clear()
        self._chosen.clear()
        self._waiting.clear()

    def _start_cluster(self) -> None:
        """Start workers of our own.

        Raises
        ------
        PrestowError
            If they cannot be (PST-R010).
        """
        try:
            multiprocessing.get_context("spawn").Lock()
        except OSError as error:
            raise _no_workers(error) from error
        for name in ("distributed", "distributed.nanny", "distributed.worker", "distributed.scheduler"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._scratch = tempfile.mkdtemp(prefix="prestow-dask-")
        self._saved = _environment()
        self._hide_main()
        with dask.config.set(_CONFIG):
            for left in reversed(range(STARTS)):
                try:
                    self._cluster = self._make_cluster()
                except (RuntimeError, OSError) as error:  # a worker that dies while it starts takes all along
                    if not left:
                        self._put_back()
                        raise _no_workers(error) from error
                else:
                    break

    def _make_cluster(self) -> Any:  # distributed is not typed
        return distributed.LocalCluster(
            n_workers=self.workers,
            threads_per_worker=1,
            processes=True,
            worker_class=_Nanny,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0" if self.dashboard else None,
            # without a page the scheduler would still serve HTTP, on one fixed port and to everybody
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            local_directory=self._scratch,
            silence_logs=logging.CRITICAL,
            preload=[_PRELOAD],
        )

    def _hide_main(self) -> None:
        """Keep workers from running the user's script again, guarded or not: nothing of it is sent.

        A process that is spawned imports the main module of its parent, unless that is a package's
        ``__main__``; so for as long as workers may be started it calls itself one.
        """
        main = sys.modules["__main__"]
        if getattr(main, "__spec__", None) is None and hasattr(main, "__file__"):
            main.__spec__ = importlib.machinery.ModuleSpec("prestow.__main__", None)
            self._main_spec = main.__spec__

    @property
    def client(self) -> Any:
        """Dask's own client while the engine is started."""
        return self._client

    @property
    def link(self) -> str:
        """The address of the dashboard, or empty."""
        return str(self._cluster.dashboard_link) if self.dashboard and self._cluster is not None else ""

    @property
    def window(self) -> int:
        """How many jobs to have at once: few, until it is known how long one takes."""
        return self._window if self._seconds else min(self._window, BUSY * self.workers)

    def submit(self, spec: JobSpec, parents: Sequence[object]) -> object:
        """Make the job a future that depends on its parents' futures.

        Short jobs that wait for nothing go together, some in one future; not those that were tried
        before, so that one that kills its worker takes no other along twice.
        """
        handle = _Handle(spec)
        if parents or spec.again:
            self._flush()
            self._send([handle], [p for p in parents if isinstance(p, _Handle)])
        else:
            self._waiting.setdefault((spec.label, spec.memory, spec.avoid), []).append(handle)
        return handle

    def _flush(self) -> None:
        for (label, _, _), handles in self._waiting.items():
            seconds = self._seconds.get(label)
            fair = math.ceil(len(handles) / (4 * self.workers))  # so that all have work to the end
            size = max(1, min(MOST, fair, int(SHORT / seconds))) if seconds else 1
            for first in range(0, len(handles), size):
                self._send(handles[first : first + size], ())
        self._waiting.clear()

    def _send(self, handles: list[_Handle], parents: Sequence[_Handle]) -> None:
        first = handles[0].spec
        workers = self._fit(first)
        future = self._client.submit(
            _work,
            self._submission,
            first.label,
            [(h.spec.manifest, h.spec.receipts) for h in handles],
            [p.future for p in parents],
            [p.place for p in parents],
            key=first.key if len(handles) == 1 else f"{first.key}+{len(handles) - 1}",
            pure=False,
            priority=first.priority,
            workers=workers,
        )
        if workers is not None:
            self._chosen[future] = workers
        for place, handle in enumerate(handles):
            handle.future, handle.place = future, place
        self._sent[future] = handles
        self._done.add(future)

    def _fit(self, spec: JobSpec) -> list[str] | None:
        """Give the workers on which a job may run; None if on all.

        Raises
        ------
        PrestowError
            If none is left (PST-E047).
        """
        if not (spec.memory or spec.avoid or self._avoided):
            return None
        allowed = self._allowed(spec)
        if not allowed:
            hosts = ", ".join(sorted({host for host, _ in self._places.values()}))
            raise PrestowError(
                Problem(
                    "PST-E047",
                    "all workers are on hosts that are to be avoided",
                    hosts,
                    "give a site with other hosts (--site), or remove them from retry.json beside the plan",
                )
            )
        wide = [w for w, limit in allowed.items() if not limit or limit >= spec.memory]
        if not wide:
            most = max(allowed.values())
            wide = [w for w, limit in allowed.items() if limit == most]
            self._say(
                f"no worker may use {spec.memory:,} bytes, the largest {most:,}: jobs put back are tried there"
            )
        return None if len(wide) == len(self._places) else sorted(wide)

    def _allowed(self, spec: JobSpec) -> dict[str, int]:
        """Give the workers on hosts that a job may run on, with their memory; one that died is waited for."""
        shunned = {*spec.avoid, *self._avoided}
        end = time.monotonic() + RETURN
        while True:
            allowed = {w: limit for w, (host, limit) in self._places.items() if host not in shunned}
            if time.monotonic() - self._seen > LOOK or not allowed:
                there, self._seen = set(self._client.nthreads()), time.monotonic()
            else:
                there = set(self._places)
            if there == set(self._places) and (
                allowed or not self._hosts - shunned or time.monotonic() > end
            ):
                return allowed
            time.sleep(NAP)
            with suppress(OSError):  # a worker may die at this very moment
                self._places = self._client.run(_place)
                self._hosts |= {host for host, _ in self._places.values()}

    def _say(self, text: str) -> None:
        self.notes = tuple(dict.fromkeys((*self.notes, text)))

    def _take_back(self) -> None:
        """Give up futures of which every worker is gone: nobody else may run them."""
        if not self._chosen or time.monotonic() - self._looked < LOOK:
            return
        self._looked = time.monotonic()
        there = set(self._client.nthreads())
        gone = [future for future, workers in self._chosen.items() if there.isdisjoint(workers)]
        if gone:
            self._places = {}
            self._client.cancel(gone, force=True)

    def wait(self, seconds: float) -> list[Ended]:
        """Give what has ended."""
        self._flush()
        self._take_back()
        if self._done.count() > BUSY * self.workers:
            time.sleep(NAP)  # nobody waits for us: to wake for each future would cost more than the job
        elif not self._done.has_ready():
            with self._done.thread_condition:
                self._done.thread_condition.wait(seconds)
        return [
            ended
            for future, result in self._done.next_batch(block=False)
            for ended in self._ended(future, result)
        ]

    def _ended(self, future: Any, result: Any) -> list[Ended]:  # Dask's own
        handles = self._sent.pop(future)
        self._chosen.pop(future, None)
        for handle in handles:
            handle.future = None
        if future.status != "finished":
            return [_failed(handle, future.key, result) for handle in handles]
        ended = []
        for handle, one in zip(handles, result, strict=True):
            if one.get("drained"):
                ended.append(Ended(handle, not_run=True))
            elif "error" in one:
                ended.append(Ended(handle, error=one["error"]))
            else:
                label, took = handle.spec.label, max(one.get("seconds", 0.0), 1e-4)
                self._seconds[label] = 0.8 * self._seconds.get(label, took) + 0.2 * took
                ended.append(Ended(handle, result=one))
        return ended

    def drain(self) -> None:
        """Tell every worker to begin nothing more of this submission."""
        self._client.run(_drain, self._submission)

    def hold(self, label: str) -> None:
        """Tell every worker to begin no more jobs of a label."""
        self._client.run(_drain, f"{self._submission} {label}")

    def avoid(self, host: str) -> bool:
        """Give the workers of a host nothing more; False, and nothing done, if there are no others."""
        self._places = self._client.run(_place)
        bad = [worker for worker, (where, _) in self._places.items() if where == host]
        if not bad or all(where in {host, *self._avoided} for where, _ in self._places.values()):
            return False
        self._avoided.add(host)
        self._client.run(_drain, self._submission, workers=bad)
        return True

    def close(self, *, cancel: bool = False) -> None:
        """Stop the workers that are ours; with ``cancel`` at once, whatever they do."""
        if self._client is None:
            return
        if self._held and not cancel:
            self._forget()
            return
        if cancel and self._cluster is not None:
            for nanny in self._cluster.workers.values():  # asked to close, a worker would end its job first
                nanny.auto_restart = False
                with suppress(ProcessLookupError, TypeError):
                    os.kill(nanny.pid, signal.SIGKILL)
        elif cancel:
            self._client.cancel(list(self._sent), force=True)
        self._forget()
        self._client.close(timeout=5)
        if self._cluster is not None:
            with suppress(TimeoutError):
                self._cluster.close(timeout=1 if cancel else 20)
        self._put_back()

    def _put_back(self) -> None:
        """Leave this process and the disk as they were before the workers."""
        for name, value in self._saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        main = sys.modules["__main__"]
        if self._main_spec is not None and main.__spec__ is self._main_spec:
            main.__spec__ = None
        if self._scratch is not None:
            shutil.rmtree(self._scratch, ignore_errors=True)
        self._client = self._cluster = self._done = self._scratch = None


def _no_workers(error: Exception) -> PrestowError:
    what = f"no Dask workers can be started here: {error}"
    fix = "look at the memory, processes and open files that are allowed (ulimit -a)"
    shared = "/dev/shm"  # noqa: S108 - where Linux has locks between processes
    if os.path.isdir(shared) and (not os.access(shared, os.W_OK) or os.statvfs(shared).f_flag & os.ST_RDONLY):
        what = f"no Dask workers can be started here: {shared} cannot be written, and locks between processes lie there"
        fix = "have it mounted for writing (mount -o remount,rw,mode=1777 /dev/shm)"
    fix = f"{fix}, or run in this process alone: prestow run --engine local"
    return PrestowError(Problem("PST-R010", what, "this machine", fix))


def _failed(handle: _Handle, key: str, result: Any) -> Ended:  # Dask's own
    error = result[1] if isinstance(result, tuple) else result
    if isinstance(error, KilledWorker):
        # those that wait for a lost job get its very error
        if error.task == key:
            return Ended(handle, lost=f"its worker {error.last_worker.address} vanished while it ran")
        return Ended(handle, not_run=True)
    if isinstance(error, BaseException) and type(error).__name__.endswith("CancelledError"):
        return Ended(handle, not_run=True)
    return Ended(handle, error=f"{type(error).__name__}: {error}")
