"""All the bad input there is at once among good files, by the command: one reason each, and the rest goes in."""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from prestow.formats.png_chunks import Chunk, chunks_of, encoded, joined
from prestow.manifest import ReceiptInput
from prestow.model.hashing import dataset_id
from prestow.naming.universe import load_universe
from prestow.registry import Registry

spec = importlib.util.spec_from_file_location(
    "bad_outputs", Path(__file__).parents[1] / "unit" / "ingest" / "test_ingest_bad_outputs.py"
)
bad_outputs = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bad_outputs)
RUN, Place = bad_outputs.RUN, bad_outputs.Place

ROOM = 192 << 20  # readers of all formats are loaded, and one text of a picture may have 64 MiB
"""Memory that all the bad files may take beside what the good ones take: less than any of the bombs."""

CARDS = b"".join(b"HISTORY and so on".ljust(80) for _ in range(100_000))
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
PARENT = ReceiptInput(
    "in", dataset_id("raw", "raw", {}), "raw", {}, "raw", "made", None, "0" * 64, "1" * 32, "1" * 32
)


def huge_text(data):
    text = b"prestow\0\1\0\0\0" + zlib.compress(b" " * (300 << 20), 9)
    kept = [chunk for chunk in chunks_of(data) if chunk.kind not in (b"IEND", b"iTXt")]
    return joined([*kept, Chunk(b"iTXt", text), Chunk(b"IEND", b"")])


PEAK = """
import atexit, sys
from pathlib import Path
from prestow.cli import command
atexit.register(lambda: Path("peak").write_text(Path("/proc/self/status").read_text()))
command()
"""


def prestow(*words, cwd):
    """Run the command. Gives its exit code, its answer, and how much memory it took at most."""
    done = subprocess.run(
        [sys.executable, "-c", PEAK, *words, "--json"], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr, done.stderr
    # What the kernel tells a parent would be of the test's own process, from which this one was forked.
    peak = re.search(r"VmHWM:\s*(\d+) kB", (cwd / "peak").read_text())
    return done.returncode, json.loads(done.stdout), int(peak[1]) << 10


def begin(root):
    """Make a project with one good product."""
    root.mkdir()
    place = Place(root)
    (root / "prestow.yaml").write_text(
        "schema: prestow.project/1\nregistry: sqlite:///r.db\nstore: store\npipeline: none.yaml\n"
    )
    return place


def spoil(place):
    """Add all that is bad. Gives what is said of each, by where."""
    said = {}

    def bad(number, reason, *, where=None, **how):
        receipt = place.add(number, **how)
        said[where or receipt.outputs[0].path] = reason
        return receipt

    def receipt_of(number):
        data_id = {"instrument": "sim", "visit": 1, "detector": number}
        return bad_outputs.receipt_name(RUN, "isr", bad_outputs.quantum_id("isr", RUN, data_id))

    bad(1, "its story says id", story={"id": dataset_id("postisr", RUN, {"detector": 77})})
    bad(2, "PSTINPUT", change=bad_outputs.without_table)
    bad(3, "twice", change=bad_outputs.twice)
    bad(4, "role is 'cousin'", inputs=[PARENT], change=lambda data: data.replace(b"parentin", b"cousinin"))
    bad(5, "more than 72,000 cards", change=lambda data: data[:400] + CARDS + data[400:])
    bad(6, "values", format_="yaml", source=b"a: 1\n", change=lambda data: data + BOMB.encode())
    bad(7, "larger than", format_="png", source=encoded((2, 2), bytes(4)), change=huge_text)
    linked = place.store.local_path(bad(8, "a link leads out of the store").outputs[0].path)
    outside = place.root / "outside.fits"
    linked.rename(outside)
    linked.symlink_to(outside)
    bad(9, "not a name in a store", path="../outside.fits", where=receipt_of(9))
    bad(
        10,
        "its task, run and data ID",
        run="of-another-plan",
        path=f"{RUN}/postisr/10.fits",
        where=receipt_of(10),
    )
    return said


@pytest.mark.parametrize("level", ["receipt", "full"])
def test_one_reason_each_and_the_rest_goes_in(tmp_path, level):
    alone, among = begin(tmp_path / "alone"), begin(tmp_path / "among")
    said = spoil(among)
    for place in (alone, among):
        for number in range(20, 40):
            place.add(number)
        place.registry.close()
    good, _, least = prestow("ingest", "--run", RUN, "--level", level, cwd=alone.root)
    code, answer, most = prestow("ingest", "--run", RUN, "--level", level, cwd=among.root)

    assert good == 0
    assert code == 8
    told = {problem["where"]: problem for problem in answer["problems"]}
    assert told.keys() == said.keys()
    assert all(reason in told[where]["what"] for where, reason in said.items())
    assert all(problem["fix"] for problem in told.values())
    assert most < least + ROOM
    with Registry.open(f"sqlite:///{among.root}/r.db", load_universe(), read_only=True) as registry:
        assert registry.counts()["dataset"] == 21
    again, answer, _ = prestow("ingest", "--run", RUN, "--level", level, cwd=among.root)
    assert again == 8
    assert {problem["where"] for problem in answer["problems"]} == said.keys()


def test_adopting_one_reason_each_and_the_rest_goes_in(tmp_path):
    source, target = begin(tmp_path / "source"), begin(tmp_path / "target")
    said = {
        os.path.basename(where): reason for where, reason in spoil(source).items() if where.startswith(RUN)
    }
    for number in range(20, 30):
        source.add(number)
    for place in (source, target):
        place.registry.close()
    given = target.root / "given"
    shutil.copytree(source.root / "store" / RUN, given, symlinks=True)
    (given / "no-story.fits").write_bytes(bad_outputs.FRAME)
    said["no-story.fits"] = ""
    code, answer, most = prestow("ingest", "--adopt", str(given), cwd=target.root)

    assert code == 8
    told = {os.path.basename(problem["where"]): problem for problem in answer["refused"]}
    assert told.keys() == said.keys(), told
    assert all(problem["what"] for problem in told.values())
    assert sum(one["added"] for one in answer["ingested"]) == 10 + 1  # one was there by its receipt
    assert most < 512 << 20


@pytest.mark.parametrize(
    ("spoiled", "said"),
    [
        ("CREATE TABLE theirs (x)", "PST-G00"),
        (None, "PST-G002"),
    ],
)
def test_a_database_that_is_none_of_ours_is_refused_and_stays_as_it_is(tmp_path, spoiled, said):
    import sqlite3

    place = begin(tmp_path / "project")
    place.registry.close()
    path = place.root / "r.db"
    for name in place.root.glob("r.db*"):
        name.unlink()
    if spoiled:
        with sqlite3.connect(path) as database:
            database.execute(spoiled)
        database.close()
    else:
        path.write_bytes(b"no database at all" * 1000)
    before = path.read_bytes()
    code, answer, _ = prestow("ingest", "--run", RUN, cwd=place.root)
    assert code != 0
    (problem,) = answer["problems"]
    assert problem["code"].startswith(said)
    assert problem["fix"]
    assert path.read_bytes() == before


def test_a_registry_of_an_old_schema_is_refused_and_stays_as_it_is(tmp_path):
    import sqlite3

    place = begin(tmp_path / "project")
    place.registry.close()
    with sqlite3.connect(place.root / "r.db") as database:
        database.execute("UPDATE meta SET value = '3' WHERE key = 'schema'")
    database.close()
    code, answer, _ = prestow("ingest", "--run", RUN, cwd=place.root)
    assert code != 0
    (problem,) = answer["problems"]
    assert "schema version 3" in problem["what"]
    assert "prestow registry" in problem["fix"]
