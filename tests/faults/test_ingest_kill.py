"""Killed at any moment, the same ingest again ends where an undisturbed one does."""

import importlib.util
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from prestow.ingest import ingest_outputs
from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.stores import open_store

spec = importlib.util.spec_from_file_location(
    "ingest_campaign", Path(__file__).parents[1] / "ingest_campaign.py"
)
ingest_campaign = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ingest_campaign)

UNIVERSE = load_universe()

INGEST = """
import sys
from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.stores import open_store
from prestow.ingest import ingest_outputs, outputs
import pyarrow, sqlalchemy, adbc_driver_sqlite
outputs.BATCH = 5
sys.stdout.write("begin"); sys.stdout.flush()
with Registry.open(sys.argv[1], load_universe(), create=True) as registry:
    ingest_outputs(registry, open_store(sys.argv[2]))
"""

RAW = """
import sys
from prestow.naming.universe import load_universe
from prestow.instruments import load_instrument
from prestow.registry import Registry
from prestow.stores import open_store
from prestow.ingest import ingest_raw
import pyarrow, sqlalchemy, adbc_driver_sqlite
camera = load_instrument("simcam")
sys.stdout.write("begin"); sys.stdout.flush()
with Registry.open(sys.argv[1], load_universe(), create=True) as registry:
    ingest_raw([sys.argv[3]], camera, registry, open_store(sys.argv[2]))
"""


def started(code, *words):
    process = subprocess.Popen([sys.executable, "-c", code, *words], stdout=subprocess.PIPE)
    assert process.stdout.read(5) == b"begin"
    return process, time.monotonic()


def whole(code, *words):
    """Run undisturbed; give how many seconds it took after its imports."""
    process, begin = started(code, *words)
    process.communicate()
    assert process.returncode == 0
    return time.monotonic() - begin


def kill_often(code, times, seconds, *words):
    """Kill at moments spread over what it takes; never more than one at a time."""
    killed = 0
    for number in range(times):
        process, _ = started(code, *words)
        time.sleep(seconds * (number + random.random()) / times)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        killed += process.returncode == -signal.SIGKILL
    return killed


def test_output_ingest_killed_at_random_moments(tmp_path):
    pristine = tmp_path / "pristine"
    receipts = ingest_campaign.campaign(open_store(f"file://{pristine}"), visits=3, home=lambda n: n % 4 == 0)
    shutil.copytree(pristine, tmp_path / "once")
    seconds = whole(INGEST, f"sqlite:///{tmp_path}/once.db", f"file://{tmp_path}/once")
    with Registry.open(f"sqlite:///{tmp_path}/once.db", UNIVERSE, read_only=True) as once:
        expected = ingest_campaign.comparable(once)
    killed = 0
    for trial in range(2):
        store = tmp_path / f"store-{trial}"
        shutil.copytree(pristine, store)
        url, uri = f"sqlite:///{tmp_path}/{trial}.db", f"file://{store}"
        killed += kill_often(INGEST, 5, seconds, url, uri)
        assert whole(INGEST, url, uri) > 0
        with Registry.open(url, UNIVERSE) as registry:
            assert ingest_campaign.comparable(registry) == expected
            sequence = registry.committed()["sequence"].to_pylist()
            assert sequence == list(range(1, len(sequence) + 1))
            assert ingest_outputs(registry, open_store(uri)).unexpected == ()
        for output in (o for r in receipts for o in r.outputs if o.state == "made"):
            assert open_store(uri).digest(output.path) == (output.size, output.sha256)
    assert killed >= 4


def raw_frame(path, obsid, detector):
    cards = {
        "SIMPLE": "T",
        "BITPIX": 8,
        "NAXIS": 1,
        "NAXIS1": 4,
        "INSTRUME": "'SIMCAM'",
        "OBSID": obsid,
        "DETECTOR": detector,
        "FILTER": "'sim-g'",
        "IMGTYPE": "'OBJECT'",
        "DATE-OBS": "'2025-01-02T03:04:05'",
        "EXPTIME": 30.0,
    }
    header = "".join(f"{k:<8}= {v!s:>20}".ljust(80) for k, v in cards.items()) + "END".ljust(80)
    path.write_bytes(header.ljust(2880).encode() + bytes([obsid % 250, detector, 0, 0]) + bytes(2876))


def test_raw_ingest_killed_at_random_moments(tmp_path):
    files = tmp_path / "in"
    files.mkdir()
    for n in range(24):
        raw_frame(files / f"f{n}.fits", 202501010000 + n // 4, n % 4)
    seconds = whole(RAW, f"sqlite:///{tmp_path}/once.db", f"file://{tmp_path}/once", os.fspath(files))
    with Registry.open(f"sqlite:///{tmp_path}/once.db", UNIVERSE, read_only=True) as once:
        expected = ingest_campaign.comparable(once)
    url, uri = f"sqlite:///{tmp_path}/r.db", f"file://{tmp_path}/store"
    killed = kill_often(RAW, 8, seconds, url, uri, os.fspath(files))
    whole(RAW, url, uri, os.fspath(files))
    with Registry.open(url, UNIVERSE, read_only=True) as registry:
        assert ingest_campaign.comparable(registry) == expected
    assert [n for n, _ in open_store(uri).walk()] == [
        n for n, _ in open_store(f"file://{tmp_path}/once").walk()
    ]
    assert killed >= 3
