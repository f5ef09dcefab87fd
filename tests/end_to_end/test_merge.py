"""Two sites made parts of one campaign; what they made comes together, and what they disagree in is named."""

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prestow.ingest.merging import merge
from prestow.ingest.rebuilding import rebuild
from prestow.naming.universe import load_universe
from prestow.project import Project
from prestow.registry import Registry
from prestow.registry.records import put_record
from prestow.stores import open_store

spec = importlib.util.spec_from_file_location(
    "ingest_campaign", Path(__file__).parents[1] / "ingest_campaign.py"
)
ingest_campaign = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ingest_campaign)

IDS = {"instrument": "sim", "visit": 1, "detector": 0}


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory, inside: Callable[..., Any], small: Any) -> Path:
    """Two projects with the same frames and pipeline: one ran the g frames, the other the r frames and one of g."""
    base = tmp_path_factory.mktemp("sites")
    inside("init", "a", cwd=base)
    small(base / "a")
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=base / "a")
    shutil.copytree(base / "a", base / "b")
    for site, where in (("a", "band = 'g'"), ("b", "band = 'r'")):
        inside("plan", "--where", where, cwd=base / site)
        inside("run", "--engine", "local", cwd=base / site)
        inside("ingest", cwd=base / site)
    return base


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def test_two_halves_are_one_whole(sites: Path, tmp_path: Path, inside: Any) -> None:
    before = files(sites / "a" / "store"), files(sites / "b" / "store")
    words = ("merge", sites / "a", sites / "b", "--into", tmp_path / "c", "--json")
    would = inside(*words, "-n", cwd=tmp_path).json
    assert not (tmp_path / "c").exists()
    found = inside(*words, cwd=tmp_path).json
    assert found["conflicts"] == []
    assert found["taken"] == would["taken"]
    with Project.open(sites / "a") as a, Project.open(sites / "b") as b, Project.open(tmp_path / "c") as c:
        dumps = [project.registry.dump() for project in (a, b, c)]
    for table in (
        "dataset",
        "artifact",
        "quantum",
        "quantum_input",
        "dimension_exposure",
        "binding",
        "collection",
    ):
        ours, theirs, both = ({tuple(map(str, row)) for row in dump[table]} for dump in dumps)
        assert both == ours | theirs, table
    assert inside("fsck", "--sums", "full", "--json", cwd=tmp_path / "c").json["faults"] == []
    assert (files(sites / "a" / "store"), files(sites / "b" / "store")) == before
    again = inside(*words, cwd=tmp_path).json
    assert (again["taken"], again["known"]["quanta"]) == ({}, len(dumps[2]["quantum"]))
    inside("plan", cwd=tmp_path / "c")
    run = inside("run", "--engine", "local", "--json", cwd=tmp_path / "c").json
    assert set(run["counts"]) == {"made"}


def store_at(path: Path) -> Any:
    path.mkdir(parents=True)
    return open_store(f"file://{path}")


def disagreeing(base: Path) -> tuple[Any, Any]:
    """Two stores: an isr of both is the same, another has other bytes, and something was made of that."""
    a, b = store_at(base / "a"), store_at(base / "b")
    for store, value in ((a, 1), (b, 2)):
        ingest_campaign.make(store, "isr", {**IDS, "visit": 7}, ["isr"], value=1)
        isr = ingest_campaign.make(store, "isr", IDS, ["isr", "isr_log"], value=value, attempt=f"x{value}")
        if store is b:
            ingest_campaign.make(store, "align", IDS, ["aligned"], inputs=[isr])
            ingest_campaign.make(store, "align", {**IDS, "visit": 7}, ["aligned"])
    return a, b


def test_other_bytes_are_refused_with_what_was_made_of_them(tmp_path: Path, inside: Any) -> None:
    a, b = disagreeing(tmp_path)
    answer = inside("merge", "a", "b", "--into", "c", "--json", cwd=tmp_path, ok=False)
    assert answer.code == 8
    found = answer.json
    assert [conflict["kind"] for conflict in found["conflicts"]] == ["quantum", "input"]
    first = found["conflicts"][0]
    assert first["what"].count("isr") == 2
    assert (a.uri in first["a"], b.uri in first["b"]) == (True, True)
    assert (found["taken"]["quanta"], found["known"]["quanta"]) == (3, 1)
    assert not (tmp_path / "c/demo/aligned/aligned-0-sim-1.json").exists()
    assert (tmp_path / "c/demo/aligned/aligned-0-sim-7.json").exists()
    kept = (tmp_path / "c/demo/isr/isr-0-sim-1.json").read_bytes()
    assert kept == (tmp_path / "a/demo/isr/isr-0-sim-1.json").read_bytes()
    assert "taken" in inside("merge", "a", "b", "--into", "d", "-n", "--json", cwd=tmp_path, ok=False).json
    assert not (tmp_path / "d").exists()
    again = inside("merge", "a", "b", "--into", "c", "--json", cwd=tmp_path, ok=False).json
    assert again["conflicts"] == found["conflicts"] or len(again["conflicts"]) == 2
    other = inside("merge", "b", "a", "--into", "e", "--json", cwd=tmp_path, ok=False).json
    assert [conflict["kind"] for conflict in other["conflicts"]] == ["quantum"]


def test_records_that_differ_are_named_and_the_first_stands(tmp_path: Path) -> None:
    a, b, c = (store_at(tmp_path / name) for name in "abc")
    for store, uri in ((a, "file:///here"), (b, "file:///there")):
        put_record(store, "store", "elsewhere", {"name": "elsewhere", "uri": uri, "kind": "readonly"})
        put_record(store, "run", "demo", {"run": "demo"})
        put_record(store, "bound", "demo", {"pipeline": uri, "parents": []})
        ingest_campaign.make(store, "isr", {**IDS, "visit": 7 if store is a else 8}, ["isr"])
    found = merge([a, b], c)
    assert [conflict.kind for conflict in found.conflicts] == ["store", "run"]
    assert (found.taken["quanta"], found.taken["records"]) == (1, 3)
    assert (tmp_path / "c/_records").exists()
    with Registry.open(f"sqlite:///{tmp_path}/c.db", load_universe(), create=True) as registry:
        rebuild(registry, c)
        assert registry.binding("demo") == {"pipeline": "file:///here", "parents": []}
        assert registry.stores()["elsewhere"] == ("file:///here", "readonly")


def test_bytes_that_are_gone_are_told_and_links_are_links(tmp_path: Path) -> None:
    a, c = store_at(tmp_path / "a"), store_at(tmp_path / "c")
    ingest_campaign.make(a, "isr", IDS, ["isr"])
    ingest_campaign.make(a, "isr", {**IDS, "visit": 2}, ["isr"])
    ingest_campaign.make(a, "isr", {**IDS, "visit": 3}, ["isr"], home=False)
    (tmp_path / "a/demo/isr/isr-0-sim-2.json").unlink()
    (tmp_path / "a/demo/isr/isr-0-sim-1.json").chmod(0o444)
    found = merge([a], c, link=True)
    assert [conflict.kind for conflict in found.conflicts] == ["bytes"]
    assert found.taken["quanta"] == 2
    assert (tmp_path / "c/demo/isr/isr-0-sim-1.json").samefile(tmp_path / "a/demo/isr/isr-0-sim-1.json")
    assert (tmp_path / "c/demo/isr/isr-0-sim-3.json").is_file()


class Killed(BaseException):
    """What ends a merge here."""


@pytest.mark.parametrize("seed", range(3))
def test_killed_anywhere_the_same_again_ends_where_one_merge_does(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = disagreeing(tmp_path)
    put_record(a, "run", "demo", {"run": "demo"})
    whole = store_at(tmp_path / "whole")
    expected = merge([a, b], whole)
    steps = 0
    for last in range(seed, 60, 3):
        into = store_at(tmp_path / f"c{last}")
        steps = 0

        def counted(original: Callable[..., Any], last: int = last) -> Callable[..., Any]:
            def call(*words: Any, **named: Any) -> Any:
                nonlocal steps
                if steps == last:
                    raise Killed
                steps += 1
                return original(*words, **named)

            return call

        with monkeypatch.context() as patch:
            for name in ("link", "replace", "rename"):
                patch.setattr(os, name, counted(getattr(os, name)))
            try:
                merge([a, b], into)
            except Killed:
                pass
            else:
                break
        again = merge([a, b], into)
        assert {c.kind for c in again.conflicts} == {c.kind for c in expected.conflicts}
        there = {n: d for n, d in files(tmp_path / f"c{last}").items() if not n.startswith("_aside")}
        assert there == {n: d for n, d in files(tmp_path / "whole").items() if not n.startswith("_aside")}
    assert steps > 5
