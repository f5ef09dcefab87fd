"""Registries of old schemas, as they were made then, become today's; or stay what they were."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from prestow.errors import ProjectError
from prestow.model.universe import Dimension, Relation, Universe
from prestow.registry import Registry
from prestow.registry.database import Mode, connect
from prestow.registry.opening import facts_of
from prestow.registry.schema import SCHEMA_VERSION
from prestow.registry.upgrading import upgrade
from prestow.testing.databases import fresh

DIMENSIONS = {
    "instrument": Dimension("instrument", "str"),
    "visit": Dimension("visit", "int", ("instrument",), metadata={"begin": "time"}),
    "exposure": Dimension("exposure", "int", ("instrument",)),
}
OLD = Universe("toy", 1, DIMENSIONS, {"visits": Relation("visits", (("visit",), ("exposure",)))})
GROWN = Universe(
    "toy",
    2,
    {
        **DIMENSIONS,
        "visit": Dimension("visit", "int", ("instrument",), metadata={"begin": "time", "seeing": "float"}),
        "tract": Dimension("tract", "int"),
    },
    {
        **OLD.relations,
        "lies_on": Relation("lies_on", (("visit",), ("tract",)), metadata={"separation": "float"}),
    },
)

# As version 1 made them; on PostgreSQL, where there was none yet, with the types that it has.
FIRST = """
CREATE TABLE collection (id {serial}, name {text} NOT NULL, kind {text} NOT NULL, PRIMARY KEY (id), UNIQUE (name));
CREATE TABLE dataset_type (id {serial}, name {text} NOT NULL, dimensions {text} NOT NULL, format {text} NOT NULL, PRIMARY KEY (id), UNIQUE (name));
CREATE TABLE deleted (id {binary} NOT NULL, PRIMARY KEY (id));
CREATE TABLE dimension_exposure (exposure BIGINT NOT NULL, instrument {text} NOT NULL, PRIMARY KEY (exposure, instrument));
CREATE TABLE dimension_group (id {serial}, dimensions {text} NOT NULL, PRIMARY KEY (id), UNIQUE (dimensions));
CREATE TABLE dimension_instrument (instrument {text} NOT NULL, PRIMARY KEY (instrument));
CREATE TABLE dimension_visit (instrument {text} NOT NULL, visit BIGINT NOT NULL, begin BIGINT, PRIMARY KEY (instrument, visit));
CREATE TABLE meta (key {text} NOT NULL, value {text} NOT NULL, PRIMARY KEY (key));
CREATE TABLE relation_visits (exposure BIGINT NOT NULL, instrument {text} NOT NULL, visit BIGINT NOT NULL, PRIMARY KEY (exposure, instrument, visit));
CREATE TABLE store (id {serial}, name {text} NOT NULL, uri {text} NOT NULL, kind {text} NOT NULL, PRIMARY KEY (id), UNIQUE (name));
CREATE TABLE binding (run BIGINT NOT NULL, facts {text} NOT NULL, PRIMARY KEY (run), FOREIGN KEY(run) REFERENCES collection (id));
CREATE TABLE collection_chain (chain BIGINT NOT NULL, position BIGINT NOT NULL, member BIGINT NOT NULL, PRIMARY KEY (chain, position), FOREIGN KEY(chain) REFERENCES collection (id), FOREIGN KEY(member) REFERENCES collection (id));
CREATE TABLE quantum (id {binary} NOT NULL, run BIGINT NOT NULL, task {text} NOT NULL, data_id {text} NOT NULL, job {text} NOT NULL, state {text} NOT NULL, code {text}, planned_recipe {binary} NOT NULL, actual_recipe {binary}, attempt {text}, sealer {text}, version {text}, receipt {text} NOT NULL, PRIMARY KEY (id), FOREIGN KEY(run) REFERENCES collection (id));
CREATE INDEX ix_quantum_run ON quantum (run);
CREATE TABLE run_parent (child BIGINT NOT NULL, parent BIGINT NOT NULL, PRIMARY KEY (child, parent), FOREIGN KEY(child) REFERENCES collection (id), FOREIGN KEY(parent) REFERENCES collection (id));
CREATE TABLE dataset (id {binary} NOT NULL, type BIGINT NOT NULL, run BIGINT NOT NULL, data_id BIGINT NOT NULL, recipe {binary}, planned_recipe {binary}, quantum {binary}, sequence BIGINT NOT NULL, PRIMARY KEY (id), UNIQUE (type, run, data_id), FOREIGN KEY(type) REFERENCES dataset_type (id), FOREIGN KEY(run) REFERENCES collection (id), FOREIGN KEY(quantum) REFERENCES quantum (id), UNIQUE (sequence));
CREATE INDEX dataset_recipe ON dataset (recipe);
CREATE TABLE quantum_input (quantum {binary} NOT NULL, connection {text} NOT NULL, input {binary} NOT NULL, state {text} NOT NULL, code {text}, sha256 {binary}, planned_recipe {binary} NOT NULL, actual_recipe {binary}, PRIMARY KEY (quantum, connection, input), FOREIGN KEY(quantum) REFERENCES quantum (id));
CREATE TABLE artifact (dataset {binary} NOT NULL, store BIGINT NOT NULL, path {text} NOT NULL, member {text} NOT NULL, size BIGINT NOT NULL, sha256 {binary} NOT NULL, content {binary} NOT NULL, format {text} NOT NULL, PRIMARY KEY (dataset, store), UNIQUE (store, path, member), FOREIGN KEY(dataset) REFERENCES dataset (id), FOREIGN KEY(store) REFERENCES store (id));
CREATE TABLE calibration (dataset {binary} NOT NULL, collection BIGINT NOT NULL, valid_begin BIGINT NOT NULL, valid_end BIGINT NOT NULL, known_begin BIGINT NOT NULL, known_end BIGINT, PRIMARY KEY (dataset, collection, valid_begin, known_begin), FOREIGN KEY(dataset) REFERENCES dataset (id), FOREIGN KEY(collection) REFERENCES collection (id));
CREATE TABLE data_id_1 (id {serial}, exposure BIGINT NOT NULL, instrument {text} NOT NULL, PRIMARY KEY (id), UNIQUE (exposure, instrument));
INSERT INTO meta VALUES ('schema', '1'), ('sequence', '1');
INSERT INTO collection (name, kind) VALUES ('raw', 'run'), ('best', 'chain');
INSERT INTO collection_chain VALUES (2, 0, 1);
INSERT INTO store (name, uri, kind) VALUES ('archive', 'file:///archive', 'output');
INSERT INTO dataset_type (name, dimensions, format) VALUES ('raw', '["exposure","instrument"]', 'fits');
INSERT INTO dimension_group (dimensions) VALUES ('["exposure","instrument"]');
INSERT INTO dimension_instrument VALUES ('sim');
INSERT INTO dimension_exposure VALUES (7, 'sim');
INSERT INTO dimension_visit VALUES ('sim', 7, 1000);
INSERT INTO relation_visits VALUES (7, 'sim', 7);
INSERT INTO data_id_1 (exposure, instrument) VALUES (7, 'sim');
INSERT INTO dataset VALUES ({id}, 1, 1, 1, {id}, NULL, NULL, 1);
INSERT INTO artifact VALUES ({id}, 1, 'raw/7.fits', '', 10, {digest}, {digest}, 'fits');
"""
SECOND = """
CREATE TABLE metric (dataset {binary} NOT NULL, name {text} NOT NULL, value {float} NOT NULL, PRIMARY KEY (dataset, name), FOREIGN KEY(dataset) REFERENCES dataset (id));
UPDATE meta SET value = '2' WHERE key = 'schema';
INSERT INTO metric VALUES ({id}, 'noise', 1.5);
"""
SECOND_LATER = """
CREATE INDEX ix_quantum_input_input ON quantum_input (input);
CREATE INDEX ix_dataset_quantum ON dataset (quantum);
"""
THIRD = """
CREATE TABLE footprint (instrument {text} NOT NULL, exposure BIGINT NOT NULL, detector BIGINT NOT NULL, ra0 {float} NOT NULL, dec0 {float} NOT NULL, ra1 {float} NOT NULL, dec1 {float} NOT NULL, ra2 {float} NOT NULL, dec2 {float} NOT NULL, ra3 {float} NOT NULL, dec3 {float} NOT NULL, origin {text} NOT NULL, PRIMARY KEY (instrument, exposure, detector));
CREATE TABLE skymap (name {text} NOT NULL, text {text} NOT NULL, PRIMARY KEY (name));
CREATE TABLE related (target {text} NOT NULL, instrument {text} NOT NULL, visit BIGINT NOT NULL, detector BIGINT NOT NULL, digest {binary} NOT NULL, PRIMARY KEY (target, instrument, visit, detector));
UPDATE meta SET value = '3' WHERE key = 'schema';
INSERT INTO skymap VALUES ('sky', 'text');
"""
VERSIONS = {
    "1": (FIRST,),
    "2": (FIRST, SECOND),
    "2, later": (FIRST, SECOND, SECOND_LATER),
    "3": (FIRST, SECOND, SECOND_LATER, THIRD),
}
WORDS = {
    "sqlite": {
        "serial": "INTEGER NOT NULL", "text": "TEXT", "binary": "BLOB", "float": "DOUBLE",
        "id": f"x'{'61' * 16}'", "digest": f"x'{'62' * 32}'",
    },
    "postgresql": {
        "serial": "BIGSERIAL NOT NULL", "text": 'TEXT COLLATE "C"', "binary": "BYTEA", "float": "DOUBLE PRECISION",
        "id": f"'\\x{'61' * 16}'::bytea", "digest": f"'\\x{'62' * 32}'::bytea",
    },
}  # fmt: skip


def statements(url, text):
    if url.startswith("sqlite"):
        with contextlib.closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as database:
            database.executescript(text)
        return
    with contextlib.closing(connect(url, Mode.WRITE)) as database, database.transaction():
        for statement in text.split(";\n"):
            if statement.strip():
                database.execute(statement)


def old_registry(url, dialect, version):
    text = "".join(VERSIONS[version]).format(**WORDS[dialect])
    statements(url, text + f"INSERT INTO meta VALUES ('universe', '{OLD.canonical_text()}');\n")
    return url


@pytest.fixture
def url(dialect, tmp_path):
    with fresh(dialect, tmp_path) as url:
        yield url


def shape(url):
    """Columns with types, keys and indexes of all tables, whatever their order."""
    import psycopg
    import sqlalchemy as sa

    creator = None if url.startswith("sqlite") else lambda: psycopg.connect(url)
    engine = sa.create_engine(
        url if creator is None else "postgresql+psycopg://", **({"creator": creator} if creator else {})
    )
    found = sa.inspect(engine)
    result = {
        table: {
            "columns": {
                c["name"]: (
                    str(c["type"]),
                    getattr(c["type"], "collation", None),
                    c["nullable"],
                    c["default"],
                )
                for c in found.get_columns(table)
            },
            "key": found.get_pk_constraint(table)["constrained_columns"],
            "foreign": sorted(
                (f["constrained_columns"], f["referred_table"]) for f in found.get_foreign_keys(table)
            ),
            "unique": sorted(u["column_names"] for u in found.get_unique_constraints(table)),
            "indexes": {
                i["name"]: i["column_names"]
                for i in found.get_indexes(table)
                if not i.get("duplicates_constraint")
            },
        }
        for table in found.get_table_names()
    }
    engine.dispose()
    return result


def rows(url):
    """All that the tables of version 1 hold, but for the versions of schema and universe."""
    with contextlib.closing(connect(url, Mode.READ)) as database:
        known = {
            table: sorted(map(repr, database.rows(f"SELECT * FROM {table}")))
            for table in sorted(database.tables())
            if table not in ("meta", "alembic_version", "dimension_visit")
        }
        known["dimension_visit"] = database.rows("SELECT instrument, visit, begin FROM dimension_visit")
        return {table: held for table, held in known.items() if held}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("universe", [OLD, GROWN], ids=["same", "grown"])
def test_an_old_registry_becomes_what_a_new_one_is(url, dialect, tmp_path, version, universe):
    old_registry(url, dialect, version)
    before = rows(url)
    done = upgrade(url, universe)
    assert (done.before, done.after, done.dialect) == (version[0], SCHEMA_VERSION, dialect)
    assert len(done.steps) == int(SCHEMA_VERSION) - int(version[0])
    assert bool(done.universe) is (universe is GROWN)
    (tmp_path / "new").mkdir()
    with fresh(dialect, tmp_path / "new") as other:
        with Registry.open(other, universe, create=True) as new:
            new._db.execute("DELETE FROM meta")
        if dialect == "sqlite":  # the one data-ID table that the old one has
            statements(
                other,
                "CREATE TABLE data_id_1 (id INTEGER NOT NULL, exposure BIGINT NOT NULL, instrument TEXT NOT NULL, PRIMARY KEY (id), UNIQUE (exposure, instrument));\n",
            )
            assert shape(url) == shape(other)
        else:
            mine = shape(url)
            mine.pop("data_id_1")
            assert serials(mine) == serials(shape(other))
    assert rows(url) == before
    with Registry.open(url, universe) as registry:
        assert registry.datasets(["raw"], ["best"])["path"].to_pylist() == ["raw/7.fits"]
        assert registry._db.rows("SELECT version_num FROM alembic_version") == [("0004",)]
        assert registry.dump()["metric"] == ([] if version == "1" else [["61" * 16, "noise", 1.5]])
        registry.register_run("more")
    assert not upgrade(url, universe).needed


def serials(tables):
    """Give the same without the schemas in the names of sequences."""
    for table in tables.values():
        for name, (kind, collation, nullable, default) in table["columns"].items():
            bare = default and default.replace("::regclass", "").rpartition(".")[2].strip("'()")
            table["columns"][name] = (kind, collation, nullable, bare and bare.rpartition("'")[2])
    return tables


def test_a_dry_run_says_what_would_be_and_does_nothing(url, dialect):
    old_registry(url, dialect, "2")
    before = shape(url)
    told = upgrade(url, GROWN, dry_run=True)
    assert told.needed
    assert [step[:9] for step in told.steps] == ["schema 3:", "schema 4:"]
    assert "dimension 'visit' has a new column 'seeing', which is empty for what is there" in told.universe
    assert shape(url) == before


def refusal(call, *values, **how):
    with pytest.raises(ProjectError) as caught:
        call(*values, **how)
    return str(caught.value)


def test_no_command_upgrades_without_being_told(url, dialect):
    old_registry(url, dialect, "3")
    for how in ({}, {"create": True}, {"read_only": True}):
        text = refusal(Registry.open, url, OLD, **how)
        assert "schema version 3, this prestow reads 4" in text
        assert "help: prestow registry upgrade" in text
    statements(url, "UPDATE meta SET value = '99' WHERE key = 'schema';\n")
    for text in (refusal(Registry.open, url, OLD), refusal(upgrade, url, OLD)):
        assert "schema version 99" in text
        assert "use a newer prestow" in text


def test_a_universe_that_lost_something_is_refused_with_all_reasons(url, dialect):
    old_registry(url, dialect, "3")
    dimensions = {
        "instrument": Dimension("instrument", "int"),
        "visit": Dimension("visit", "int", ("instrument",), metadata={"begin": "float"}),
    }
    text = refusal(upgrade, url, Universe("toy", 2, dimensions, {}))
    for reason in (
        "dimension 'exposure' is gone",
        "dimension 'instrument' has another type",
        "dimension 'visit': the column 'begin' is float now, and was time",
        "relation 'visits' is gone",
    ):
        assert reason in text
    assert "not 'toy'" in refusal(upgrade, url, Universe("other", 1, DIMENSIONS, OLD.relations))
    with contextlib.closing(connect(url, Mode.READ)) as database:
        assert facts_of(database)["schema"] == "3"


# One process imports all, and forks an upgrade for each number that it is told: it dies before that statement.
KILLED = """
import os, signal, sys
import alembic.command, psycopg, sqlalchemy.dialects.postgresql.psycopg, sqlalchemy.dialects.sqlite
from alembic import op
from sqlalchemy.engine import Connection
from tests_universe import GROWN
from prestow.registry.upgrading import upgrade
execute = Connection._execute_context
def counted(*given, **named):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return execute(*given, **named)
Connection._execute_context = counted
for line in sys.stdin:
    left = int(line)
    child = os.fork()
    if not child:
        code = 1
        try:
            upgrade(sys.argv[1], GROWN)
            code = 0
        finally:
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


def test_killed_half_way_the_old_one_is_there(url, dialect, tmp_path):
    old_registry(url, dialect, "1")
    before, held = shape(url), rows(url)
    source = Path(__file__).read_text(encoding="utf-8")
    universe = source[source.index("DIMENSIONS = {") : source.index("# As version 1")]
    (tmp_path / "tests_universe.py").write_text(
        f"from prestow.model.universe import Dimension, Relation, Universe\n{universe}"
    )
    codes = []
    command = [sys.executable, "-c", KILLED, url]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        for left in (6, 18, 100):
            process.stdin.write(f"{left}\n")
            process.stdin.flush()
            codes.append(int(process.stdout.readline()))
            if codes[-1] == -signal.SIGKILL:
                assert (shape(url), rows(url)) == (before, held)
    assert codes[0] == -signal.SIGKILL
    assert codes[-1] == 0
    assert codes.count(-signal.SIGKILL) >= 2
    with Registry.open(url, GROWN, read_only=True) as registry:
        assert registry.counts()["dataset"] == 1


def test_only_the_upgrade_loads_alembic(url, dialect):
    code = (
        "import sys\nfrom prestow.registry import Registry\nfrom prestow.naming.universe import load_universe\n"
        "Registry.open(sys.argv[1], load_universe(), create=True).close()\n"
        "print([m for m in sys.modules if m.partition('.')[0] in ('alembic', 'psycopg', 'mako')])"
    )
    done = subprocess.run([sys.executable, "-c", code, url], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
