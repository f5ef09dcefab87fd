"""A process that has imported all and opened nothing, and forks one ingest after another; see `killing.py`.

Each line of its input is a task, each line of its output what became of it. A child counts its steps, which
are its calls of the store, what these do to the disk, and its statements to the database, and kills itself
before the one it is told.
"""

import contextlib
import json
import os
import re
import signal
import sys
import threading
import time
import zlib

import adbc_driver_manager  # noqa: F401 - imported before the forks
import adbc_driver_sqlite.dbapi  # noqa: F401
import pyarrow as pa  # noqa: F401
import sqlalchemy  # noqa: F401

import prestow.formats.fits
import prestow.formats.json
import prestow.registry.upgrading  # noqa: F401
from prestow.ingest import ingest_raw, outputs
from prestow.instruments import load_instrument
from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.registry.database import SQLite
from prestow.stores import file
from prestow.stores.file import FileStore

with contextlib.suppress(ImportError):
    import adbc_driver_postgresql.dbapi  # noqa: F401

CALLS = ("read", "size", "digest", "fetch", "create", "put_if_absent", "move", "delete", "walk", "walk_names")
ACTS = ("rename", "link", "unlink", "mkdir", "rmdir", "chmod", "fsync", "fchmod", "write")
UNIVERSE = load_universe()
CAMERA = load_instrument("simcam")


class Steps:
    """Counts, over all threads, and dies before one step, or some time after it was reached."""

    def __init__(self, last, after=None):
        self.last, self.after, self.seen, self.lock = last, after, 0, threading.Lock()
        self.kinds = []

    def step(self, kind="between"):
        with self.lock:
            self.kinds.append(kind)
            if self.seen == self.last and self.after is not None:
                timer = threading.Timer(self.after, os.kill, (os.getpid(), signal.SIGKILL))
                timer.daemon = True
                timer.start()
            elif self.seen == self.last:
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(60)
            self.seen += 1

    def before(self, function):
        def counted(*arguments, **more):
            self.step(function.__name__)
            return function(*arguments, **more)

        return counted

    def before_statement(self, cursor):
        def counted(database):
            caller = sys._getframe(1)
            said = caller.f_locals.get("sql") or f"{caller.f_code.co_name} {caller.f_locals.get('name', '')}"
            said = re.sub("[0-9a-f]*[0-9][0-9a-f]*", "#", said)
            self.step(f"{said[:20]} {zlib.crc32(said.encode()):x}")
            return cursor(database)

        return counted


class Acts:
    """The module ``os`` as the store sees it, each change of the disk a step."""

    def __init__(self, steps):
        for name in ACTS:
            setattr(self, name, steps.before(getattr(os, name)))

    def __getattr__(self, name):
        return getattr(os, name)


def watch(steps):
    """Count what is done from here on in this process."""
    for name in CALLS:
        setattr(FileStore, name, steps.before(getattr(FileStore, name)))
    file.os = Acts(steps)
    databases = [SQLite]
    with contextlib.suppress(ImportError):
        from prestow.registry.postgres import Postgres

        databases.append(Postgres)
    for database in databases:
        database._cursor = steps.before_statement(database._cursor)


def ingest_frames(task, steps):
    with Registry.open(task["url"], UNIVERSE, create=True) as registry:
        steps.step()
        report = ingest_raw([task["raw"]], CAMERA, registry, FileStore(task["uri"]))
    steps.step()
    return {"added": report.added, "problems": []}


def ingest(task, steps):
    if task["raw"] is not None:
        return ingest_frames(task, steps)
    outputs.BATCH, outputs.PORTION = task["batch"], max(task["batch"] // 3, 1)
    with Registry.open(task["url"], UNIVERSE, create=True) as registry:
        steps.step()
        report = outputs.ingest_outputs(
            registry, FileStore(task["uri"]), level=task["level"], processes=task["processes"]
        )
    steps.step()
    return {"added": report.added, "problems": [str(problem) for problem in report.problems]}


def child(task, answer):
    steps = Steps(task["step"], task["after"])
    watch(steps)
    try:
        told = ingest(task, steps)
    except Exception as error:  # noqa: BLE001 - told at the other end
        told = {"error": f"{type(error).__name__}: {error}"}
    os.write(
        answer,
        json.dumps({**told, "steps": steps.seen, "kinds": steps.kinds if task["kinds"] else None}).encode(),
    )


def main():
    for line in sys.stdin:
        task = json.loads(line)
        reading, writing = os.pipe()
        begin = time.monotonic()
        pid = os.fork()
        if not pid:
            os.close(reading)
            try:
                child(task, writing)
            finally:
                os._exit(0)
        os.close(writing)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with os.fdopen(reading, "rb") as answers:
            data = answers.read() if code == 0 else b""
        print(
            json.dumps({"code": code, "seconds": time.monotonic() - begin, **json.loads(data or "{}")}),
            flush=True,
        )


if __name__ == "__main__":
    main()
