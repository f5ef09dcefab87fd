"""Killed at any moment, over and over on the same store, the same ingest ends where an undisturbed one does."""

import importlib.util
import os
import random
import shutil
import signal
from pathlib import Path

import pytest

from prestow.ingest import ingest_outputs
from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.stores import open_store

spec = importlib.util.spec_from_file_location("killing", Path(__file__).with_name("killing.py"))
killing = importlib.util.module_from_spec(spec)
spec.loader.exec_module(killing)

UNIVERSE = load_universe()
SEED = 20251122


@pytest.fixture(scope="module")
def children():
    with killing.Children() as children:
        yield children


def whole(children, url, root, **how):
    """Ingest undisturbed; give of how many steps it was."""
    done = children.ingest(url, root, **how)
    assert (done["code"], done.get("problems")) == (0, []), done
    return done["steps"]


def kill_often(children, chance, times, steps, url, root, **how):
    """Kill at moments anywhere in what is left of its steps, one after the other; never more than one at a time. Give how many died."""
    killed = 0
    for number in range(times):
        step = int(steps * chance.random() / (1 + number / 2))  # the further it has come, the fewer are left
        moment = {"step": step, "after": None if number % 2 else chance.random() * 0.003}
        done = children.ingest(url, root, **moment, **how)
        assert done["code"] in (0, -signal.SIGKILL), done
        killed += done["code"] != 0
    return killed


def test_output_ingest_killed_over_and_over(children, tmp_path):
    chance = random.Random(SEED)
    pristine = tmp_path / "pristine"
    receipts = killing.ingest_campaign.campaign(
        open_store(f"file://{pristine}"), visits=3, home=lambda n: n % 4 == 0
    )
    shutil.copytree(pristine, tmp_path / "once")
    steps = whole(children, f"sqlite:///{tmp_path}/once.db", tmp_path / "once", level="receipt", batch=5)
    with Registry.open(f"sqlite:///{tmp_path}/once.db", UNIVERSE, read_only=True) as once:
        expected = killing.comparable(once)
    killed = 0
    for trial in range(2):
        store = tmp_path / f"store-{trial}"
        shutil.copytree(pristine, store)
        url, uri = f"sqlite:///{tmp_path}/{trial}.db", f"file://{store}"
        killed += kill_often(children, chance, 5, steps, url, store, level="receipt", batch=5)
        whole(children, url, store, level="receipt", batch=5)
        with Registry.open(url, UNIVERSE) as registry:
            assert killing.comparable(registry) == expected
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


def test_raw_ingest_killed_over_and_over(children, tmp_path):
    chance = random.Random(SEED + 1)
    files = tmp_path / "in"
    files.mkdir()
    for n in range(24):
        raw_frame(files / f"f{n}.fits", 202501010000 + n // 4, n % 4)
    raw = os.fspath(files)
    steps = whole(children, f"sqlite:///{tmp_path}/once.db", tmp_path / "once", raw=raw)
    with Registry.open(f"sqlite:///{tmp_path}/once.db", UNIVERSE, read_only=True) as once:
        expected = killing.comparable(once)
    url, store = f"sqlite:///{tmp_path}/r.db", tmp_path / "store"
    killed = kill_often(children, chance, 8, steps, url, store, raw=raw)
    whole(children, url, store, raw=raw)
    with Registry.open(url, UNIVERSE, read_only=True) as registry:
        assert killing.comparable(registry) == expected
    assert [n for n, _ in open_store(f"file://{store}").walk()] == [
        n for n, _ in open_store(f"file://{tmp_path}/once").walk()
    ]
    assert killed >= 3
