"""A dataset and its ancestors in a sandbox, what is absent made again there, and production as it was."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from prestow.errors import IngestError, ProjectError, StoreError
from prestow.project import Project
from prestow.registry import Registry, put_record

Call = Callable[..., Any]
COADD = "coadd{band=g,detector=0,instrument=simcam}"
DRIFT = '    drift = float(__import__("os").environ.get("SIMCAM_DRIFT", "0"))\n'


def put_out(root: Path, dataset_type: str, visit: int, because: str = "") -> str:
    """Delete a product on purpose: by record, row and file; give its name."""
    with Project.open(root) as project:
        (row,) = project.registry.datasets([dataset_type], ["demo"], equal={"visit": visit}).to_pylist()
        key = str(uuid.UUID(bytes=row["id"]))
        facts = {"dataset": key, **({"because": because} if because else {})}
        put_record(project.store, "deleted", key, facts)
        project.store.delete(row["path"])
        project.registry.delete_datasets([row["id"]])
    return str(row["path"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, inside: Call) -> Path:
    """Three visits of one band, run and taken in; isr is not retained, and what it adds hangs on the environment."""
    base = tmp_path_factory.mktemp("whole")
    inside("init", "demo", cwd=base)
    root = base / "demo"
    for path in (root / "raw").iterdir():
        number, detector = path.stem.split("-")[2:]
        if int(number) not in (1, 3, 5) or detector != "0":
            path.unlink()
    pipeline = root / "pipeline.yaml"
    text = pipeline.read_text()
    kept = "    outputs: {isr: isr}\n"
    assert text.count(kept) == 1
    pipeline.write_text(text.replace(kept, "    outputs: {isr: {type: isr, retained: false}}\n"))
    task = root / "tasks" / "isr.py"
    head = "    counts = np.asarray(quantum.get("
    text = task.read_text()
    assert text.count(head) == 1
    level = "np.float32(config.bias_level)"
    assert text.count(level) == 1
    task.write_text(text.replace(head, DRIFT + head).replace(level, "np.float32(config.bias_level + drift)"))
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    inside("run", "--engine", "local", cwd=root)
    inside("ingest", cwd=root)
    return root


@pytest.fixture
def demo(whole: Path, tmp_path: Path) -> Path:
    """A copy of it, of which isr of two visits and one calexp are gone."""
    root = tmp_path / "demo"
    shutil.copytree(whole, root)
    put_out(root, "isr", 202611010001)
    put_out(root, "isr", 202611010003)
    put_out(root, "calexp", 202611010003, "its sky is bad")
    with Project.open(root) as project:
        project.registry.counts()
    return root


def dump(root: Path) -> Any:
    with Project.open(root) as project:
        return project.registry.dump()


@pytest.fixture
def untouched(demo: Path, tree: Callable[[Path], dict[str, bytes]]) -> Iterator[None]:
    """Prove that a test changed nothing in production: no file, no time of a file, and nothing in the registry."""
    files, database = tree(demo), (demo / "registry.db").read_bytes()
    times = {
        p: p.stat().st_mtime_ns
        for p in demo.rglob("*")
        if p.is_file() and not p.name.startswith("registry.db")
    }
    yield
    assert tree(demo) == files
    assert {p: p.stat().st_mtime_ns for p in times} == times
    assert (demo / "registry.db").read_bytes() == database


@pytest.mark.usefixtures("untouched")
def test_the_whole_way_from_production_to_what_was_not_kept(
    demo: Path, tmp_path: Path, inside: Call, tree: Callable[[Path], dict[str, bytes]], whole: Path
) -> None:
    into = tmp_path / "sandbox"
    before = dump(demo)
    told = inside("fetch", "coadd", "band=g", "--into", into, "-n", "--json", cwd=demo).json
    assert not into.exists()
    assert (told["files"], told["brought"], told["dry_run"]) == (10, 10, True)
    fetched = inside("fetch", "coadd", "band=g", "--into", into, "--json", cwd=demo).json
    assert (fetched["files"], fetched["brought"]) == (10, 10)
    assert fetched["names"] == told["names"]
    for name in fetched["names"]:
        assert (into / "store" / name).read_bytes() == (demo / "store" / name).read_bytes()
    absent = {
        (a["type"], a["data_id"]["visit"] % 10): (a["why"], a["regenerable"], a["cost"]["quanta"])
        for a in fetched["absent"]
    }
    assert absent == {
        ("isr", 1): ("not kept (retained: false)", True, 1),
        ("isr", 3): ("not kept (retained: false)", True, 1),
        ("calexp", 3): ("deleted: its sky is bad", True, 2),
    }
    assert fetched["regenerate"]["quanta"] == 3
    assert fetched["regenerate"]["cpu_seconds"] > 0
    sizes = {path: path.stat().st_size for path in (whole / "store/demo").rglob("*") if path.is_file()}
    gone = [p for p in sizes if not (demo / "store/demo" / p.relative_to(whole / "store/demo")).exists()]
    beside = [p for p in sizes if p.name == "summary-202611010003-00.json"]
    assert fetched["regenerate"]["size"] == sum(sizes[p] for p in gone + beside)
    assert dump(demo) == before
    # Production is out of reach from here on.
    away = demo.rename(tmp_path / "away")
    try:
        again = inside("regenerate", "-n", "--json", cwd=into).json
        assert {q["task"]: q["quanta"] for q in again["quanta"]} == {"isr": 2, "calibrate": 1}
        assert again["cost"] == fetched["regenerate"]
        made = inside("regenerate", "--json", cwd=into).json
        assert {(d["type"], d["answer"], *d["how"]) for d in made["datasets"]} == {
            (kind, "equal", "to the byte") for kind in ("isr", "calexp", "summary")
        }
        products = {name: data for name, data in tree(whole / "store/demo").items()}
        assert {name: data for name, data in tree(into / "store/demo").items()} == products
        assert "nothing to make again" in inside("regenerate", cwd=into).out
        for words in (
            ("look", "isr", "visit=202611010003"), ("trace", "coadd"), ("find", "calexp"), ("plan", "-n"), ("status",),
            ("debug", "calibrate:visit=202611010003"), ("verify",), ("why", "calexp", "visit=202611010003"), ("ingest",),
        ):  # fmt: skip
            inside(*words, cwd=into)
        shown = inside("find", "isr", "--json", cwd=into).json
        assert [row["state"] for row in shown["datasets"]] == ["made"] * 3
    finally:
        away.rename(demo)


def test_a_sandbox_answers_without_production(demo: Path, tmp_path: Path, inside: Call) -> None:
    """Before anything is made again, too: what is absent is told, and one of its jobs runs under a debugger."""
    into = tmp_path / "sandbox"
    inside("fetch", "coadd", "band=g", "--into", into, cwd=demo)
    shutil.rmtree(demo)
    traced = inside("trace", "coadd", cwd=into).out
    assert "calexp{detector=0,instrument=simcam,visit=202611010003}  pending" in traced
    assert "used 2" not in traced  # the coadd did read it
    assert inside("plan", "-n", "--json", cwd=into).json["run"] == "demo"
    assert "isr-0-202611010001: made" in inside("debug", "isr:visit=202611010001", cwd=into).out
    assert "1 coadd: 1 made" in inside("find", "coadd", cwd=into).out
    inside("look", "coadd", "band=g", cwd=into)
    # What a person changes there goes to another run, with the code of then at hand.
    task = into / "tasks" / "coadd.py"
    task.write_text(task.read_text() + "\n# tried\n")
    assert inside("plan", "--run", "mine", "--json", cwd=into).json["run"] == "mine"


def test_a_greater_depth_brings_only_what_is_missing(demo: Path, tmp_path: Path, inside: Call) -> None:
    into = tmp_path / "sandbox"
    first = inside("fetch", COADD, "--depth", 1, "--into", into, "--json", cwd=demo).json
    assert (first["brought"], [a["type"] for a in first["absent"]]) == (6, ["calexp"])
    answer = inside("regenerate", cwd=into, ok=False)
    assert answer.code == 4
    assert "exists, and was not brought: fetch with a greater --depth" in answer.out
    spoiled = into / "store/demo/summary/simcam/202611010001/summary-202611010001-00.json"
    spoiled.chmod(0o644)
    data = spoiled.read_bytes()
    spoiled.write_bytes(data[:-2] + b"  ")
    second = inside("fetch", COADD, "--into", into, "--json", cwd=demo).json
    assert (second["files"], second["brought"]) == (10, 5)
    assert spoiled.read_bytes() == data
    assert inside("fetch", COADD, "--into", into, "--json", cwd=demo).json["brought"] == 0
    inside("regenerate", cwd=into)
    assert inside("fetch", COADD, "--into", into, "--json", cwd=demo).json["brought"] == 0
    assert inside("status", "--json", cwd=into).json["counts"]["made"] == 7


def test_a_fetch_that_is_killed_goes_on(
    demo: Path, tmp_path: Path, inside: Call, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    into, other = tmp_path / "killed", tmp_path / "undisturbed"

    class KilledError(Exception):
        pass

    for last in (0, 3, 7):

        def stop(done: int, total: int, last: int = last) -> None:  # noqa: ARG001 - as it is called
            if done == last:
                raise KilledError

        with Project.open(demo) as project, pytest.raises(KilledError):
            project.fetch(COADD, into=into, progress=stop)
        (into / "store" / "raw").mkdir(parents=True, exist_ok=True)
        (into / "store" / "raw" / ".prestow-tmp-fetch-1").write_bytes(b"half")
    inside("fetch", COADD, "--into", into, cwd=demo)
    inside("fetch", COADD, "--into", other, cwd=demo)
    mine, theirs = (
        {n: d for n, d in tree(where).items() if not n.startswith(("sandbox/", "store/_records/sandbox/"))}
        for where in (into, other)
    )
    assert mine == theirs
    assert dump(into)["dataset"] == dump(other)["dataset"]
    assert dump(into)["quantum_input"] == dump(other)["quantum_input"]


def test_what_differs_is_told_and_how(
    demo: Path, tmp_path: Path, inside: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "sandbox"
    inside("fetch", COADD, "--into", into, cwd=demo)
    monkeypatch.setenv("SIMCAM_DRIFT", "3")
    words = ("regenerate", "isr{visit=202611010005,detector=0,instrument=simcam}")
    answer = inside(
        *words, "--json", cwd=into, ok=False
    )  # it is there: it is made again all the same, and compared
    assert answer.code == 11
    (told,) = answer.json["datasets"]
    assert told["answer"] == "differs"
    assert any("max |a-b| " in text for text in told["how"])
    monkeypatch.delenv("SIMCAM_DRIFT")
    (told,) = inside(*words, "--json", cwd=into).json["datasets"]
    assert (told["answer"], told["how"]) == ("equal", ["to the byte"])


def test_what_fails_this_time_is_told(
    demo: Path, tmp_path: Path, inside: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    into = tmp_path / "sandbox"
    inside("fetch", COADD, "--into", into, cwd=demo)
    monkeypatch.setenv("SIMCAM_DRIFT", "no number")
    answer = inside("regenerate", "--json", cwd=into, ok=False)
    assert answer.code == 5
    assert answer.json["counts"] == {"failed": 4}
    monkeypatch.delenv("SIMCAM_DRIFT")
    assert inside("regenerate", "--json", cwd=into).json["counts"] == {"equal": 4}


def test_production_takes_nothing_in_from_a_sandbox(demo: Path, tmp_path: Path, inside: Call) -> None:
    into = tmp_path / "sandbox"
    inside("regenerate", COADD, "--into", into, cwd=demo)
    before = dump(demo)
    # Its files under production's nose.
    shutil.copytree(into / "store", demo / "store", dirs_exist_ok=True, copy_function=_over)
    answer = inside("ingest", "--json", cwd=demo, ok=False)
    assert (answer.code, answer.codes) == (8, ["PST-T005"])
    assert dump(demo) == before
    # Its store as that of another project.
    other = tmp_path / "other"
    inside("init", "other", cwd=tmp_path)
    text = (other / "prestow.yaml").read_text()
    (other / "prestow.yaml").write_text(text.replace("store: store ", f"store: {into / 'store'} "))
    answer = inside("ingest", "--run", "demo", "--json", cwd=other, ok=False)
    assert (answer.code, answer.codes) == (8, ["PST-T005"])
    with Project.open(other) as project, pytest.raises(IngestError):
        project.ingest(run="demo")
    # Adopted, rebuilt, merged: neither from where it was copied to, nor from the sandbox itself.
    clean = tmp_path / "clean"
    inside("init", "clean", cwd=tmp_path)
    before = dump(demo)
    for root, words in (
        (demo, ["ingest", "--adopt", "demo"]),
        (demo, ["rebuild", "--into", "new.db"]),
        (demo, ["rebuild", "-n"]),
        (clean, ["ingest", "--adopt", "--from", into]),
        (clean, ["ingest", "--adopt", "--from", into / "store" / "demo"]),
        (clean, ["merge", into, "--into", "."]),
        (clean, ["merge", into / "store", "--into", tmp_path / "another"]),
        (clean, ["merge", clean, "--into", demo]),
    ):
        answer = inside(*words, "--json", cwd=root, ok=False)
        assert answer.code != 0, words
        assert answer.codes[-1:] == ["PST-T005"], words
    assert dump(demo) == before
    assert not [path for path in (clean / "store").rglob("*") if path.is_file()]
    assert not (tmp_path / "another").exists()
    # The sandbox itself may look after its own.
    assert inside("rebuild", "-n", "--json", cwd=into).json["sources"]["records"]["sandbox"] == 1


def _over(source: str, target: str) -> str:
    if os.path.exists(target):
        os.unlink(target)
    return shutil.copy2(source, target)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (
            "raw/simcam/20261101/simcam-20261101-0003-0.fits",
            "raw{detector=0,exposure=202611010003,instrument=simcam} is gone: no file at",
        ),
        ("_code", "run demo: its code "),
    ],
)
def test_what_cannot_be_made_again_is_told(
    demo: Path, tmp_path: Path, inside: Call, spoil: str, why: str
) -> None:
    path = demo / "store" / spoil
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    into = tmp_path / "sandbox"
    told = inside("fetch", COADD, "--into", into, "--json", cwd=demo).json
    stopped = [a for a in told["absent"] if not a["regenerable"]]
    if spoil.startswith("raw"):
        assert {(a["type"], a["data_id"].get("visit")) for a in stopped} == {
            ("raw", None), ("isr", 202611010003), ("calexp", 202611010003),
        }  # fmt: skip
        made = inside("regenerate", "--json", cwd=into).json
        assert made["counts"] == {"equal": 1}
        assert len(made["hindered"]) == 2
    else:
        assert len(stopped) == 3
        answer = inside("regenerate", COADD, "--json", cwd=into, ok=False)
        assert (answer.code, answer.codes) == (4, ["PST-T007"])
    assert all(a["hindrance"].startswith(why) for a in stopped if a["type"] != "raw")


def test_what_a_part_has_no_record_of_is_named_and_nothing_is_touched(
    whole: Path, tmp_path: Path, inside: Call, tree: Callable[[Path], dict[str, bytes]]
) -> None:
    """A subset without intermediates: what is between is on record in the project that made it alone."""
    for types, blind in ((("coadd",), "calexp"), (("coadd", "calexp"), "isr")):
        part, into = tmp_path / blind / "part", tmp_path / blind / "sandbox"
        chosen = (word for name in types for word in ("--type", name))
        inside("subset", "--collection", "demo", *chosen, "--into", part, cwd=whole)
        told = inside("fetch", COADD, "--into", into, "--json", cwd=part).json
        assert {(a["type"], a["regenerable"]) for a in told["absent"]} == {(blind, False)}
        assert any(f"neither here nor in {part}" in note for note in told["notes"])
        before = tree(into / "store")
        answer = inside("regenerate", cwd=into, ok=False)
        assert f"what {blind}{{" in answer.out
        assert f"not on record in {part} either" in answer.out
        answer = inside("regenerate", COADD, "--json", cwd=into, ok=False)
        assert (answer.code, answer.codes) == (4, ["PST-T007"])
        assert tree(into / "store") == before


def test_a_sandbox_of_a_sandbox_has_the_record_of_what_neither_has(
    demo: Path, tmp_path: Path, inside: Call
) -> None:
    inside("fetch", COADD, "--into", tmp_path / "first", cwd=demo)
    inside("fetch", COADD, "--into", tmp_path / "second", cwd=tmp_path / "first")
    made = inside("regenerate", "--json", cwd=tmp_path / "second").json
    assert {d["type"] for d in made["datasets"]} == {"isr", "calexp", "summary"}
    assert set(made["counts"]) == {"equal"}


def test_a_file_that_was_changed_is_not_brought(demo: Path, tmp_path: Path, inside: Call) -> None:
    path = next((demo / "store/demo/coadd").glob("*.fits"))
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    told = inside("fetch", COADD, "--into", tmp_path / "sandbox", "--json", cwd=demo).json
    assert (told["files"], told["brought"]) == (10, 9)
    assert [a["why"] for a in told["absent"] if a["type"] == "coadd"] == [
        "the bytes at archive:demo/coadd/coadd-simcam-g-00.fits are not those that were committed"
    ]
    assert not list((tmp_path / "sandbox/store/demo").rglob("coadd-*"))


def test_links_are_the_files_themselves(demo: Path, tmp_path: Path, inside: Call) -> None:
    inside("fetch", COADD, "--into", tmp_path / "sandbox", "--link", cwd=demo)
    name = "store/demo/coadd/coadd-simcam-g-00.fits"
    assert (tmp_path / "sandbox" / name).samefile(demo / name)


def refused(root: Path, *asked: str, into: Path) -> list[str]:
    with Project.open(root) as project, pytest.raises((ProjectError, StoreError)) as error:
        project.fetch(*asked, into=into)
    return [problem.code for problem in error.value.problems]


@pytest.mark.usefixtures("untouched")
def test_where_a_sandbox_cannot_stand(
    demo: Path, tmp_path: Path, inside: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert refused(demo, COADD, into=demo / "store" / "mine") == ["PST-T001"]
    assert refused(demo, COADD, into=demo) == ["PST-T001"]
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").touch()
    assert refused(demo, COADD, into=tmp_path / "full") == ["PST-T002"]
    assert refused(demo, COADD, into=tmp_path / "full" / "thesis.tex") == ["PST-T002"]
    inside("fetch", COADD, "--into", tmp_path / "mine", "--depth", 0, cwd=demo)
    twin = tmp_path / "twin"
    shutil.copytree(demo, twin)
    assert refused(twin, COADD, into=tmp_path / "mine") == ["PST-T003"]
    assert inside("regenerate", "--json", cwd=demo, ok=False).codes == ["PST-T004"]
    real = os.statvfs("/")
    monkeypatch.setattr(os, "statvfs", lambda _: os.statvfs_result((real.f_bsize, real.f_frsize, *(1,) * 8)))
    assert refused(demo, COADD, into=tmp_path / "small") == ["PST-R002"]
    assert not (tmp_path / "small").exists()


FAILING = """\
    import os

    if os.path.exists({flag!r}) and quantum.data_id["visit"] % 10 == 1:
        raise RuntimeError("the shutter was closed")
"""


def test_a_child_run_and_what_it_took_from_its_parent(tmp_path: Path, inside: Call) -> None:
    """A coadd that was repaired goes back to two runs; what is absent of both is made again in each."""
    inside("init", "demo", cwd=tmp_path)
    root, flag = tmp_path / "demo", tmp_path / "flag"
    for path in (root / "raw").iterdir():
        number, detector = path.stem.split("-")[2:]
        if int(number) not in (1, 3, 5) or detector != "0":
            path.unlink()
    task = root / "tasks" / "calibrate.py"
    text = task.read_text()
    head = next(line for line in text.splitlines() if "quantum.get(" in line)
    task.write_text(text.replace(head, FAILING.format(flag=str(flag)) + head, 1))
    flag.touch()
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    assert inside("run", "--engine", "local", cwd=root, ok=False).code == 10
    inside("ingest", cwd=root)
    flag.unlink()
    inside("plan", "--child-of", "demo", cwd=root)
    inside("run", "--engine", "local", cwd=root)
    inside("ingest", cwd=root)
    put_out(root, "calexp", 202611010003)
    put_out(root, "isr", 202611010001)
    with Project.open(root) as project:
        coadd = project.registry.datasets(["coadd"], ["demo+1"]).to_pylist()
        wanted = str(uuid.UUID(bytes=coadd[0]["id"]))
        (lost,) = project.registry.datasets(["coadd"], ["demo"]).to_pylist()
    repaired, short = tmp_path / "repaired", tmp_path / "short"
    told = inside("fetch", wanted, "--into", repaired, "--json", cwd=root).json
    assert {(a["type"], a["why"]) for a in told["absent"]} == {
        ("isr", "deleted on purpose"),
        ("calexp", "deleted on purpose"),
    }
    assert inside("regenerate", "--json", cwd=repaired).json["counts"] == {"equal": 3}
    again = inside("regenerate", wanted, "--json", cwd=repaired).json
    assert [(d["run"], d["answer"], d["how"]) for d in again["datasets"]] == [
        ("demo+1", "equal", ["to the byte"])
    ]
    # The parent's own coadd, made without what was lost, is made so again.
    told = inside("fetch", str(uuid.UUID(bytes=lost["id"])), "--into", short, "--json", cwd=root).json
    assert [
        (a["type"], a["state"]) for a in told["absent"] if a["type"] == "calexp" and a["state"] == "lost"
    ] == [("calexp", "lost")]
    again = inside("regenerate", str(uuid.UUID(bytes=lost["id"])), "--json", cwd=short).json
    assert {(d["type"], d["answer"], *d["how"]) for d in again["datasets"]} == {
        (kind, "equal", "to the byte") for kind in ("coadd", "calexp", "summary")
    }


def test_trace_knows_components_and_can_be_drawn(whole: Path, inside: Call) -> None:
    up = inside("trace", "coadd", "--depth", "1", "--with-components", "summary", "--json", cwd=whole).json[
        "up"
    ]
    types = {point["id"]: point["type"] for point in up["points"]}
    parts = [s for s in up["steps"] if s["connection"] == "component"]
    assert {(types[s["reader"]], types[s["input"]]) for s in parts} == {("calexp", "summary")}
    assert len(parts) == 3
    hit = inside(
        "trace",
        "summary",
        "visit=202611010003",
        "--down",
        "--with-components",
        "summary",
        "--json",
        cwd=whole,
    ).json["down"]
    assert [p["type"] for p in hit["points"]] == ["summary", "calexp", "coadd"]
    alone = inside("trace", "summary", "visit=202611010003", "--down", "--json", cwd=whole).json["down"]
    assert [p["type"] for p in alone["points"]] == ["summary"]
    assert inside("trace", "coadd", "--with-components", "psf", "--json", cwd=whole, ok=False).codes == [
        "PST-G007"
    ]
    chart = inside("trace", "coadd", "--mermaid", cwd=whole).out.splitlines()
    assert chart[0] == "flowchart RL"
    assert sum("-->" in line for line in chart) == 9
    shown = inside("trace", "coadd", "--lines", "4", cwd=whole).out.splitlines()
    assert shown[4] == "and 6 more lines: --lines 10 shows them, --json has all"
    assert inside("trace", "coadd", "--depth", "all", "--json", cwd=whole).json["up"]["cut"] == 0
    assert inside("trace", "coadd", "--depth", "some", cwd=whole, ok=False).code == 2


def test_a_damaged_paper_of_a_sandbox_is_told(demo: Path, tmp_path: Path, inside: Call) -> None:
    into = tmp_path / "sandbox"
    inside("fetch", COADD, "--depth", 0, "--into", into, cwd=demo)
    (into / "sandbox/ancestry.json").write_text("{")
    assert inside("regenerate", "--json", cwd=into, ok=False).codes == ["PST-T002"]
    plain = json.loads((into / "sandbox/sandbox.json").read_text())
    (into / "sandbox/ancestry.json").write_text("{}")
    (into / "sandbox/sandbox.json").write_text(json.dumps({**plain, "schema": "prestow.sandbox/9"}))
    assert inside("regenerate", "--json", cwd=into, ok=False).codes == ["PST-T002"]


def test_a_registry_that_is_read_is_not_written(demo: Path) -> None:
    with Project.open(demo) as project:
        registry = Registry.open(project.configuration.registry, project.universe, read_only=True)
        with registry, pytest.raises(ProjectError):
            registry.register_run("other")


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory, inside: Call) -> Path:
    """A run in two stages that reads calibrations, writes prototypes, and has a value that was set for it."""
    base = tmp_path_factory.mktemp("staged")
    inside("init", "demo", cwd=base)
    root = base / "demo"
    for path in (root / "raw").iterdir():
        number, detector = path.stem.split("-")[2:]
        if int(number) not in (1, 3) or detector != "0":
            path.unlink()
    pipeline = root / "pipeline.yaml"
    text = pipeline.read_text().replace(
        "dataset_types:\n",
        "dataset_types:\n  camera:  {dimensions: [instrument, day_obs], format: yaml, calibration: true}\n",
        1,
    )
    text = text.replace("inputs: {raw: raw}", "inputs: {raw: raw, camera: camera}")
    coadd = "    outputs: {coadd: coadd}\n"
    assert text.count(coadd) == 1
    more = "    barrier: true\n    prototypes: {config: each, environment: once}\n"
    pipeline.write_text(text.replace(coadd, coadd + more))
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    for night in (20261001, 20261010):
        (root / "camera.yaml").write_text(f"radius: {night}\n")
        inside("ingest", "--as", "camera", "camera.yaml", "instrument=simcam", f"night={night}", cwd=root)
    inside(
        "calib",
        "certify",
        "calib",
        "camera",
        "night=20261001",
        "--begin",
        "2026-10-01",
        "--end",
        "2027-01-01",
        cwd=root,
    )
    for _ in range(2):
        inside("plan", "--set", "coadd.clip=3.5", cwd=root)
        inside("run", "--engine", "local", cwd=root)
        inside("ingest", cwd=root)
    # What is certified since, and a file that has changed since, are no matter.
    inside(
        "calib",
        "certify",
        "calib",
        "camera",
        "night=20261010",
        "--begin",
        "2026-11-01",
        "--end",
        "2026-12-01",
        cwd=root,
    )
    task = root / "tasks" / "isr.py"
    task.write_text(task.read_text() + "\n# changed since\n")
    return root


def test_stages_calibrations_and_what_was_set_are_as_they_were(
    staged: Path, tmp_path: Path, inside: Call
) -> None:
    for path in [
        *(staged / "store/demo/calexp").rglob("*-202611010001-*"),
        *(staged / "store/demo/coadd").iterdir(),
    ]:
        path.unlink()
    into = tmp_path / "sandbox"
    told = inside("fetch", COADD, "--into", into, "--json", cwd=staged).json
    assert told["notes"] == []
    assert [name for name in told["names"] if "camera" in name]
    assert {a["type"] for a in told["absent"]} == {"coadd", "calexp"}
    made = inside("regenerate", "--json", cwd=into).json
    assert {q["task"]: q["quanta"] for q in made["quanta"]} == {"calibrate": 1, "coadd": 1}
    assert {(d["answer"], *d["how"]) for d in made["datasets"]} == {("equal", "to the byte")}
    assert {d["type"] for d in made["datasets"]} == {"calexp", "summary", "coadd", "coadd_config"}
    # The file that a person reads there is the pipeline that the run is bound to.
    again = inside("plan", "-n", "--json", cwd=into).json
    assert again["run"] == "demo"
    assert "20261001" in inside("calib", "list", cwd=into).out
