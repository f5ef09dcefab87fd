"""What only a server does: refuse, be elsewhere, be used by many at once. And what both refuse: writing by a reader."""

import contextlib
import io
import json
import os
import stat
import subprocess
import sys
import threading
import time
from contextlib import closing
from pathlib import Path

import pyarrow as pa
import pytest

from prestow.cli import main
from prestow.errors import Exit, PrestowError, ProjectError
from prestow.model import DataId, Dataset, DatasetType
from prestow.naming.universe import load_universe
from prestow.registry import DatasetBatch, Registry
from prestow.registry.columns import uuid_bytes
from prestow.registry.database import GivenUp, Mode, connect, whole
from prestow.registry.postgres import passwords, without_password
from prestow.testing.databases import POSTGRES, fresh

UNIVERSE = load_universe()
BIAS = DatasetType("bias", ("detector", "instrument"), "fits")
SECRET = "s3cr3t%2Fword"
PLAIN = "s3cr3t/word"


def batch(run, detectors):
    ids = uuid_bytes(Dataset("bias", DataId({"instrument": "sim", "detector": d}), run).id for d in detectors)
    n = len(detectors)
    datasets = pa.table(
        {
            "id": ids,
            "run": [run] * n,
            "instrument": ["sim"] * n,
            "detector": list(detectors),
            "recipe": pa.array([b"r" * 16] * n, pa.binary(16)),
        }
    )
    artifacts = pa.table(
        {
            "dataset": ids,
            "store": ["archive"] * n,
            "path": [f"{run}/{d}.fits" for d in detectors],
            "size": [1] * n,
            "sha256": ["11" * 32] * n,
            "content": ["22" * 32] * n,
            "format": ["fits"] * n,
        }
    )
    return DatasetBatch({"bias": datasets}, artifacts)


def filled(url):
    registry = Registry.open(url, UNIVERSE, create=True)
    registry.register_dataset_type(BIAS)
    registry.register_store("archive", "file:///archive")
    registry.register_run("a")
    return registry


# ---- reading


def test_a_registry_opened_for_reading_cannot_be_written(registry_url, dialect):
    with filled(registry_url) as registry:
        registry.insert_datasets(batch("a", [1]))
        before = registry.dump()
    if dialect == "sqlite":  # also where the file itself may be written
        path = registry_url.removeprefix("sqlite:///")
        os.chmod(path, 0o666)
        assert os.stat(path).st_mode & stat.S_IWUSR
    with Registry.open(registry_url, UNIVERSE, read_only=True) as reader:
        for write in (
            lambda: reader._db.execute("INSERT INTO collection (name, kind) VALUES ('x', 'run')"),
            lambda: reader._db.execute("INSERT INTO collection (name, kind) VALUES (?, ?)", "x", "run"),
            lambda: reader._db.execute("DROP TABLE artifact"),
            lambda: reader.register_run("x"),
            lambda: reader.insert_datasets(batch("a", [2])),
            lambda: reader.delete_datasets([b"x" * 16]),
        ):
            with pytest.raises(ProjectError) as caught:
                write()
            assert caught.value.problems[0].fix == "open it for writing"
        assert reader.known([b"x" * 16]) == {}  # what stages can be asked
        assert reader.dump() == before
    with Registry.open(registry_url, UNIVERSE) as registry:
        assert registry.dump() == before


# ---- many at once


INSERT = """
import json, sys
sys.path.insert(0, sys.argv[3])
from test_postgres_helper import batch, UNIVERSE
from prestow.registry import Registry
from prestow.testing.databases import fresh
with Registry.open(sys.argv[1], UNIVERSE) as registry:
    start = int(sys.argv[2])
    for n in range(4):
        mine = [start * 1000 + n * 10 + i for i in range(10)]
        registry.insert_datasets(batch("a", [*mine, *range(n * 5, n * 5 + 5)]))
"""


def test_who_reads_the_events_of_many_writers_misses_none(registry_url, tmp_path):
    (tmp_path / "test_postgres_helper.py").write_bytes(Path(__file__).read_bytes())
    filled(registry_url).close()
    command = [sys.executable, "-c", INSERT, registry_url]
    writers = [subprocess.Popen([*command, str(n), str(tmp_path)]) for n in (1, 2)]
    seen, last = [], 0
    with Registry.open(registry_url, UNIVERSE, read_only=True) as reader:
        running = True
        while running:
            running = any(process.poll() is None for process in writers)
            found = reader.committed(last)["sequence"].to_pylist()
            seen += found
            time.sleep(0.02)
            last = max([last, *found])
        assert [process.returncode for process in writers] == [0, 0]
        assert seen == list(range(1, 2 * 40 + 20 + 1))
        assert len(set(reader.committed()["id"].to_pylist())) == len(seen)


def test_the_turn_is_taken_after_staging_and_kept_until_the_commit(postgres_url):
    """A writer that has only staged holds nobody up; one that has asked something does."""
    filled(postgres_url).close()
    with closing(connect(postgres_url, Mode.WRITE)) as one, closing(connect(postgres_url, Mode.WRITE)) as two:
        two.execute("SET lock_timeout = '300ms'")
        with one.transaction():
            one.stage("s_x", pa.table({"x": [1]}))
            with two.transaction():
                two.execute("UPDATE meta SET value = value WHERE key = 'sequence'")
            assert one.rows("SELECT x FROM s_x") == [(1,)]
            with pytest.raises(ProjectError, match="lock timeout") as caught, two.transaction():
                two.rows("SELECT 1")
            assert "another command is writing" in caught.value.problems[0].fix
        with two.transaction():
            two.rows("SELECT 1")


def test_a_deadlock_with_a_stranger_is_begun_again(postgres_url):
    """Somebody's own session locks tables the other way round; the server gives up on us, and we begin again."""
    import psycopg

    with filled(postgres_url) as registry:
        tries = []
        registry._db.execute("SET deadlock_timeout = '100ms'")
        stranger = psycopg.connect(postgres_url)
        stranger.execute("SET deadlock_timeout = '30s'")
        stranger.execute("LOCK TABLE artifact")
        waiting = threading.Thread(target=lambda: stranger.execute("LOCK TABLE dataset"))

        def work():
            tries.append(len(tries))
            if len(tries) > 1:
                waiting.join(30)
                stranger.rollback()
            registry._db.execute("LOCK TABLE dataset IN ROW EXCLUSIVE MODE")
            if len(tries) == 1:
                waiting.start()
                time.sleep(0.5)  # the stranger waits for us by now
            registry._db.execute("LOCK TABLE artifact IN ROW EXCLUSIVE MODE")
            return "done"

        assert whole(registry._db, work) == "done"
        assert tries == [0, 1]
        stranger.close()
        registry.insert_datasets(batch("a", [1]))
        assert registry.counts()["dataset"] == 1


def test_what_is_given_up_again_and_again_is_told(registry_url):
    with filled(registry_url) as registry:
        tries = []

        def work():
            tries.append(1)
            raise GivenUp

        with pytest.raises(GivenUp):
            whole(registry._db, work)
        assert 2 < len(tries) < 10


def test_a_connection_that_is_lost_is_told_and_leaves_nothing_half_done(postgres_url):
    import psycopg

    with filled(postgres_url) as registry:
        number = registry._db.rows("SELECT pg_backend_pid()")[0][0]
        insert = registry._db.stage

        def cut(name, table):
            insert(name, table)
            if name == "s_artifact":
                with psycopg.connect(postgres_url, autocommit=True) as other:
                    other.execute("SELECT pg_terminate_backend(%s)", [number])
                time.sleep(0.2)

        registry._db.stage = cut
        with pytest.raises(ProjectError) as caught:
            registry.insert_datasets(batch("a", [1, 2]))
        assert "do the same again" in caught.value.problems[0].fix
    with Registry.open(postgres_url, UNIVERSE) as registry:
        assert registry.counts()["dataset"] == 0
        assert registry.insert_datasets(batch("a", [1, 2])).datasets == 2


# ---- what is refused


def problem(url, **how):
    with pytest.raises(PrestowError) as caught:
        Registry.open(url, UNIVERSE, **how)
    assert caught.value.exit_code is Exit.ENVIRONMENT
    found = caught.value.problems[0]
    assert found.code == "PST-G002"
    assert found.fix
    assert PLAIN not in repr(caught.value) + str(caught.value) + repr(caught.value.__cause__)
    return f"{found.what} | {found.where} | {found.fix}"


def test_servers_that_cannot_be_used(postgres_url):
    server = os.environ[POSTGRES]
    head, _, rest = server.partition("://")
    at = rest.rpartition("@")[2]
    base, _, _ = at.partition("/")
    gone = problem(f"postgresql://me:{SECRET}@127.0.0.1:1/x")
    assert "refused" in gone
    assert "start the server" in gone
    assert "me:***@127.0.0.1:1" in gone
    missing = problem(f"{head}://prestow:{SECRET}@{base}/no_such_database")
    assert "createdb" in missing
    nobody = problem(f"{head}://no_such_user:{SECRET}@{base}/prestow")
    assert "check the user" in nobody
    assert "there is no registry" in problem(postgres_url)
    assert "no schema of the search path" in problem(f"{server}?options=-csearch_path%3Dno_such_schema")
    assert "no driver for a registry" in problem(f"mysql://me:{SECRET}@there/x")
    assert SECRET not in gone + missing + nobody


def test_a_foreign_database_is_refused_and_left_alone(registry_url, tmp_path, dialect):
    with fresh(dialect, tmp_path, "foreign") as url:
        if dialect == "sqlite":
            import sqlite3

            other = sqlite3.connect(url.removeprefix("sqlite:///"))
            other.execute("CREATE TABLE stars (x)")
            other.close()
        else:
            with closing(connect(url, Mode.WRITE)) as database:
                database.execute("CREATE TABLE stars (x int)")
        assert "other tables (stars)" in problem(url, create=True)
        assert "not a registry" in problem(url)
        with closing(connect(url, Mode.READ)) as database:
            assert database.tables() == {"stars"}


def test_without_its_driver_it_says_what_to_install():
    code = (
        "import sys\nsys.modules['adbc_driver_postgresql'] = None\n"
        "from prestow.registry import Registry\nfrom prestow.naming.universe import load_universe\n"
        "try:\n    Registry.open('postgresql://me:hush@there/x', load_universe())\n"
        "except Exception as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "the driver of PostgreSQL is not installed" in done.stdout
    assert "pip install 'prestow[postgres]'" in done.stdout
    assert "hush" not in done.stdout


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://a:b@h:1/d", "postgresql://a:***@h:1/d"),
        ("postgresql://a@h/d", "postgresql://a@h/d"),
        ("postgresql:///d?host=/run&password=b", "postgresql:///d?host=/run&password=***"),
        ("postgresql://a:b%40c@[::1]:5/d?sslpassword=b%40c", "postgresql://a:***@[::1]:5/d?sslpassword=***"),
        ("postgresql://[a:b@h/d", "postgresql://…"),
    ],
)
def test_no_password_is_shown(url, shown):
    assert without_password(url) == shown
    assert all(secret not in shown or len(secret) == 1 for secret in passwords(url))


def test_answers_and_errors_of_commands_never_hold_the_password(tmp_path, postgres_url):
    """The password stands in the project file; it is in nothing that any of these commands print or write."""
    head, _, rest = postgres_url.partition("://")
    url = f"{head}://prestow:{SECRET}@{rest.rpartition('@')[2]}"
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said), contextlib.chdir(tmp_path):
        assert main(["init", "demo"]) == 0
        settings = tmp_path / "demo" / "prestow.yaml"
        settings.write_text(settings.read_text().replace("sqlite:///registry.db", url))
        for words in (
            "registry status", "ingest --raw raw --instrument simcam", "registry status --json", "doctor", "doctor --json",
            "registry upgrade", "plan --run one", "find raw --json", "check -v",
        ):  # fmt: skip
            main(["-C", "demo", *words.split()])
        settings.write_text(
            settings.read_text().replace(rest.rpartition("@")[2].partition("/")[0], "127.0.0.1:1")
        )
        for words in ("registry status", "registry status --json", "ingest", "doctor", "find raw"):
            main(["-C", "demo", *words.split()])
    assert "prestow:***@" in said.getvalue()
    assert json.dumps(said.getvalue())
    for secret in (SECRET, PLAIN):
        assert secret not in said.getvalue()
        for path in (tmp_path / "demo").rglob("*"):
            if path.is_file() and path != settings:
                assert secret.encode() not in path.read_bytes(), path
