"""Directories of plans in the making: gone when the maker fails or is killed, never while somebody is at it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from prestow.commit import receipt_name
from prestow.plan import building, making, receipts
from prestow.plan.receipts import worth_a_look
from prestow.stores import open_store
from prestow.testing.surveys import UNIVERSE, Request, Survey, build_plan, reduction

KILLED = """
import os, pathlib, signal, sys
from prestow.plan.making import make_directory
path, remove = make_directory(pathlib.Path(sys.argv[1]))
(path / "quanta.parquet").touch()
print(path.name, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_and_what_is_held_or_no_plan_stays(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True, text=True, check=False
    )
    left = tmp_path / child.stdout.strip()
    assert left.is_dir()
    held, remove = making.make_directory(tmp_path)
    others = [tmp_path / name for name in (".latest-12", "0123456789abcdef0123456789abcdef", ".planned")]
    for path in others:
        path.mkdir()
    assert making.sweep(tmp_path) == ()  # all are new
    assert making.sweep(tmp_path, young=0) == (left,)
    assert held.is_dir()
    assert all(path.is_dir() for path in others)
    remove()
    remove()
    assert not held.exists()
    assert making.sweep(tmp_path / "absent") == ()


def test_stopped_by_the_keyboard_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "IN_MEMORY", 10)
    told: list[str] = []

    def tell(text: str) -> None:
        told.append(text)
        if text.startswith("tables of"):
            raise KeyboardInterrupt

    request = Request("demo", reduction(), UNIVERSE, ("raw",), tell=tell)
    with pytest.raises(KeyboardInterrupt):
        build_plan(request, Survey.make(visits=40, detectors=4), beside=tmp_path)
    assert told[0] == "select"
    assert list(tmp_path.iterdir()) == []


def test_a_listing_of_receipts_names_those_that_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receipts, "FEW", 10)
    plan = build_plan(Request("demo", reduction(), UNIVERSE, ("raw",)), Survey.make(visits=10, detectors=4))
    store = open_store(f"file://{tmp_path}")
    every = np.arange(plan.document["totals"]["quanta"])
    assert worth_a_look(plan, store, every, 0).tolist() == []
    quanta = plan.tables["quanta"]
    for row in (3, 17, 30):
        key = quanta["id"][row].hex()
        key = "-".join((key[:8], key[8:12], key[12:16], key[16:20], key[20:]))
        store.put_if_absent(receipt_name("demo", quanta["task"][row], key), b"{}")
        store.put_if_absent(receipt_name("another", quanta["task"][row + 1], key), b"{}")
    store.put_if_absent("_receipts/demo/readme.json", b"{}")
    assert worth_a_look(plan, store, every, 0).tolist() == [3, 17, 30]
    assert worth_a_look(plan, store, every[4:], 0).tolist() == [17, 30]
    assert worth_a_look(plan, store, every, 10**6).tolist() == every.tolist()  # one by one is cheaper
