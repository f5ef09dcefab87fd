"""What Pegasus recorded of files: in its database, and in files beside it where it checked them itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from prestow.engines.pegasus.crossing import recorded_files

TABLES = """
CREATE TABLE rc_lfn (lfn_id INTEGER PRIMARY KEY, lfn TEXT);
CREATE TABLE rc_meta (lfn_id INTEGER, key TEXT, value TEXT, PRIMARY KEY (lfn_id, key));
"""


def database(submit: Path, files: dict[str, dict[str, str]]) -> None:
    with closing(sqlite3.connect(submit / "w-0.stampede.db")) as connection, connection:
        connection.executescript(TABLES)
        for number, (lfn, facts) in enumerate(files.items()):
            connection.execute("INSERT INTO rc_lfn VALUES (?, ?)", (number, lfn))
            connection.executemany(
                "INSERT INTO rc_meta VALUES (?, ?, ?)", [(number, *one) for one in facts.items()]
            )


def test_the_database_says_what_was_measured_and_files_beside_it_add_to_that(tmp_path: Path) -> None:
    database(
        tmp_path,
        {
            "run/a b.fits": {
                "size": "12",
                "checksum.type": "sha256",
                "checksum.value": "a" * 64,
                "user": "x",
            },
            "run/planned.fits": {"datasetType": "isr"},
            "run/odd.fits": {"size": "many"},
        },
    )
    assert recorded_files(tmp_path).rows() == [("run/a b.fits", 12, "a" * 64), ("run/odd.fits", None, None)]
    line = '{} @@PFN@@ user="x" size="{}" checksum.type="sha256" checksum.value="{}"\n'
    same, other = line.format('"run/a b.fits"', 12, "a" * 64), line.format("run/c.fits", 3, "c" * 64)
    (tmp_path / "w-0.cache.meta").write_text(same + other)
    assert recorded_files(tmp_path).rows() == [
        ("run/a b.fits", 12, "a" * 64), ("run/odd.fits", None, None), ("run/c.fits", 3, "c" * 64),
    ]  # fmt: skip


def test_no_database_or_one_without_these_tables_is_no_record(tmp_path: Path) -> None:
    assert recorded_files(tmp_path).is_empty()
    sqlite3.connect(tmp_path / "w-0.stampede.db").close()
    assert recorded_files(tmp_path).is_empty()
