"""A job whose node does not see the store: products, claims and tombstones are left in its directory."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from prestow.manifest import Manifest, Receipt
from prestow.node import run_manifest
from prestow.node.packed import in_layout
from prestow.node.reporting import MOST, block, reports_in
from prestow.testing.carrier import Carrier
from prestow.testing.jobs import Jobs
from prestow.tombstone import read_tombstone

TASKS = """
import os
from prestow.tasks import NothingToDo

def part(quantum, config):
    if config.get("what") == "fail":
        print("the last words")
        raise ValueError("no stars above 5 sigma")
    if config.get("what") == "decline":
        raise NothingToDo("no_stars")
    quantum.put("y", {"v": 2 * quantum.get("x")["v"]})
    if config.get("what") != "no mask":
        quantum.put("z", {"v": "side"})

def total(quantum):
    quantum.put("y", {"n": len(quantum.inputs["x"])})
"""


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


def campaign(
    jobs: Jobs, do: dict[int, str] | None = None, minimum: str | int = "all", **more: object
) -> list[Manifest]:
    """Give a job for each of three visits, and one that gathers them."""
    jobs.code(tasks=TASKS)
    made = []
    for visit in (1, 2, 3):
        raw = jobs.existing("raw", {"visit": visit}, {"v": visit})
        made.append(
            jobs.quantum(
                "part", {"visit": visit}, entry="tasks:part", inputs={"x": [raw]}, outputs={"y": "json", "z": "json"},
                optional=["z"], config={"what": (do or {}).get(visit, "")}, **more,
            )["y"]
        )  # fmt: skip
    jobs.quantum(
        "total", {"band": "g"}, entry="tasks:total", inputs={"x": (made, minimum)}, outputs={"y": "json"}
    )
    parts = jobs.manifest("part").quanta
    every = [of_quanta(jobs, [q.id], f"part-{n}") for n, q in enumerate(parts, 1)]
    return [*every, jobs.manifest("total", job="total")]


def of_quanta(jobs: Jobs, ids: list[str], job: str) -> Manifest:
    kept, jobs.quanta = jobs.quanta, [q for q in jobs.quanta if q[0].id in ids]
    try:
        return jobs.manifest(job=job)
    finally:
        jobs.quanta = kept


def files(top: Path) -> dict[str, bytes]:
    return {str(p.relative_to(top)): p.read_bytes() for p in sorted(top.rglob("*")) if p.is_file()}


def claims(found: dict[str, bytes]) -> list[Receipt]:
    return [Receipt.from_json(data.decode()) for name, data in found.items() if name.startswith("_receipts")]


def test_products_are_those_of_a_node_that_sees_the_store(jobs: Jobs, tmp_path: Path) -> None:
    manifests = campaign(jobs)
    carrier = Carrier(manifests, tmp_path / "carried")
    assert carrier.run(), carrier.logs
    landed = files(tmp_path / "carried/made")
    assert not jobs.store.size(manifests[0].quanta[0].receipt)
    for manifest in manifests:
        assert run_manifest(manifest, scratch=jobs.scratch).settled
    archive = files(jobs.directory / "store")
    products = {n: data for n, data in archive.items() if not n.startswith("_")}
    assert {n: data for n, data in landed.items() if not n.startswith("_")} == products
    assert len(products) == 7
    for claim in claims(landed):
        name = next(n for n in archive if n.endswith(f"{claim.quantum}.json"))
        receipt = Receipt.from_json(archive[name].decode())
        bare = [
            replace(r, attempt=None, outputs=tuple(replace(o, aside=None) for o in r.outputs))
            for r in (claim, receipt)
        ]
        assert bare[0] == bare[1]
        assert claim.attempt
        assert all(o.aside is None for o in claim.outputs)


def test_what_it_leaves_is_what_was_declared_and_can_be_written_over(jobs: Jobs, tmp_path: Path) -> None:
    manifests = campaign(jobs, {2: "no mask"})
    carrier = Carrier(manifests, tmp_path / "carried")
    assert carrier.run(), carrier.logs
    for manifest in manifests:
        directory = tmp_path / "carried/jobs" / f"{manifest.job}-0"
        outputs = {o.path for o in manifest.outputs} | {q.receipt for q in manifest.quanta}
        names = set(files(directory))
        own = {n for n in names if n.partition("/")[0] in ("_aside", "_attempts", "_differences")}
        assert outputs <= names
        assert not own
        assert all(stat.S_IMODE(os.stat(directory / n).st_mode) & 0o200 for n in outputs)
    stone = read_tombstone((tmp_path / "carried/made" / manifests[1].outputs[1].path).read_bytes())
    assert stone is not None
    assert (stone.state, stone.code, stone.dataset) == ("declined", "not_made", manifests[1].outputs[1].id)


def test_declined_lost_and_blocked_travel_as_tombstones(jobs: Jobs, tmp_path: Path) -> None:
    manifests = campaign(jobs, {1: "decline", 2: "fail"}, 2, tolerate=True)
    carrier = Carrier(manifests, tmp_path / "carried", words=["--tries", "2", "--final"])
    assert carrier.run(), carrier.logs
    landed = files(tmp_path / "carried/made")
    stones = [s for data in landed.values() if (s := read_tombstone(data))]
    assert sorted((s.type, s.state, s.code) for s in stones) == [
        ("part_y", "declined", "no_stars"), ("part_y", "lost", "failed"), ("part_z", "declined", "no_stars"),
        ("part_z", "lost", "failed"), ("total_y", "blocked", None),
    ]  # fmt: skip
    states = {c.task + str(c.data_id.get("visit", "")): c.state for c in claims(landed)}
    assert states == {"part1": "declined", "part2": "lost", "part3": "made", "total": "blocked"}
    reports = list(reports_in(carrier.logs["part-2"]))
    assert len(reports) == 2
    assert reports[0]["attempt"] != reports[1]["attempt"]


def test_a_failure_that_is_not_tolerated_leaves_nothing_and_its_report_ends_the_output(
    jobs: Jobs, tmp_path: Path
) -> None:
    manifests = campaign(jobs, {2: "fail"})
    carrier = Carrier(manifests, tmp_path / "carried")
    assert not carrier.run(2)
    assert carrier.failed == {"part-2": 1, "total": -1}
    directory = tmp_path / "carried/jobs/part-2-1"
    assert not [n for n in files(directory) if n.startswith(("demo/", "_receipts/", "_a", "_d"))]
    (report,) = reports_in(carrier.logs["part-2"])
    failure = report["quanta"][0]["failures"][0]
    assert failure["message"].startswith("ValueError: no stars above 5 sigma")
    assert "the last words" in failure["log_tail"]


def test_what_an_earlier_execution_left_in_the_directory_is_not_taken_for_this_ones(
    jobs: Jobs, tmp_path: Path
) -> None:
    manifest = campaign(jobs, {1: "no mask"})[0]
    directory = tmp_path / "carried/jobs/part-1"
    for name in (manifest.quanta[0].receipt, *(o.path for o in manifest.outputs)):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text("half of it")
    (directory / manifest.outputs[0].path).chmod(0o444)
    carrier = Carrier([manifest], tmp_path / "carried", in_place=True)
    assert carrier.run(), carrier.logs
    assert json.loads((directory / manifest.outputs[0].path).read_bytes())["v"] == 2
    assert read_tombstone((directory / manifest.outputs[1].path).read_bytes())


def test_quanta_of_one_job_read_each_other_by_claim(jobs: Jobs, tmp_path: Path) -> None:
    campaign(jobs)
    whole = jobs.manifest(job="all")
    carrier = Carrier([whole], tmp_path / "carried")
    assert carrier.run(), carrier.logs
    landed = files(tmp_path / "carried/made")
    (total,) = [c for c in claims(landed) if c.task == "total"]
    parts = {o.id: o.sha256 for c in claims(landed) if c.task == "part" for o in c.outputs}
    assert [i.sha256 for i in total.inputs] == [parts[i.id] for i in total.inputs]


def test_an_input_without_a_claim_is_not_settled_yet(jobs: Jobs, tmp_path: Path) -> None:
    carrier = Carrier(campaign(jobs)[-1:], tmp_path / "carried")
    assert not carrier.run()
    assert carrier.failed == {"total": 75}


@pytest.mark.parametrize("what", ["other bytes", "a tombstone"])
def test_an_input_that_is_not_what_its_claim_says_is_found(jobs: Jobs, tmp_path: Path, what: str) -> None:
    manifests = campaign(jobs)
    carrier = Carrier(manifests[:3], tmp_path / "carried")
    assert carrier.run(), carrier.logs
    path = tmp_path / "carried/made" / manifests[0].outputs[0].path
    path.write_bytes(
        path.read_bytes().replace(b"2", b"3")
        if what == "other bytes"
        else b'{"schema":"prestow.tombstone/1"}'
    )
    carrier.manifests = manifests
    assert not carrier.run()
    assert carrier.failed == {"total": 1}
    assert "PST-N006" in carrier.logs["total"]


def test_flat_names_are_those_of_one_directory(jobs: Jobs, tmp_path: Path) -> None:
    manifests = [replace(m, layout="flat") for m in campaign(jobs, {2: "decline"}, 1)]
    carrier = Carrier(manifests, tmp_path / "carried")
    assert carrier.run(), carrier.logs
    landed = files(tmp_path / "carried/made")
    assert not any("/" in name for name in landed)
    assert in_layout(manifests[0], manifests[0].quanta[0].receipt) in landed
    claim = Receipt.from_json(landed[in_layout(manifests[0], manifests[0].quanta[0].receipt)].decode())
    assert claim.outputs[0].path == manifests[0].outputs[0].path


def test_a_report_is_cut_to_what_an_engine_brings_home() -> None:
    failure = {"code": "PST-N007", "message": "x" * 5000, "log_tail": ["y" * 4000] * 20}
    report = {
        "job": "j",
        "quanta": [{"quantum": str(n), "failures": [failure], "reads": {}} for n in range(200)],
    }
    text = block(report)
    (cut,) = reports_in(text)
    assert len(text) <= MOST
    assert cut["cut"] is True
    assert cut["job"] == "j"
    assert cut["quanta"][0]["failures"][0]["code"] == "PST-N007"
    assert list(reports_in(f"    {text}".replace("\n", "\n    "))) == [cut]
    assert list(reports_in(text.replace('{"', "{", 1))) == []
