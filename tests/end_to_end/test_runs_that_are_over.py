"""What is done with runs when they are over, as typed: closed, frozen, told, adopted, looked at."""

import json
import os
import shutil
import stat
from pathlib import Path

import pytest

from prestow.engines.calling import call_node
from prestow.ingest.packing import close_run
from prestow.manifest import Receipt
from prestow.plan.manifests import manifests
from prestow.project import Project
from prestow.testing.pegasus_shim import Shim

NOISY = '    quantum.put("summary", {"sky": round(sky, 3), "noise": round(noise, 3)})'


@pytest.fixture(scope="module")
def made(inside, small, tmp_path_factory) -> Path:
    """A small project whose run is made and not taken in; one product of each quantum has a random number in it."""
    root = tmp_path_factory.mktemp("over") / "survey"
    inside("init", root, cwd=root.parent)
    small(root)
    task = root / "tasks" / "calibrate.py"
    text = task.read_text().replace(
        NOISY, NOISY.replace("noise, 3)}", 'noise, 3), "chance": os.urandom(8).hex()}')
    )
    task.write_text(text.replace("import numpy", "import os\n\nimport numpy"))
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    inside("run", "--engine", "local", cwd=root)
    return root


@pytest.fixture(scope="module")
def taken(inside, made, tmp_path_factory) -> Path:
    """The same, taken in."""
    root = Path(shutil.copytree(made, tmp_path_factory.mktemp("taken") / "survey", symlinks=True))
    inside("ingest", cwd=root)
    return root


@pytest.fixture
def project(taken, tmp_path) -> Path:
    return Path(shutil.copytree(taken, tmp_path / "survey", symlinks=True))


def files(root: Path, below: str) -> list[str]:
    top = root / "store" / below
    return sorted(str(path.relative_to(top)) for path in top.rglob("*") if path.is_file())


# -- closed ---------------------------------------------------------------------------------------


def test_a_run_is_closed_when_all_of_it_is_settled_and_taken_in(inside, made, tmp_path):
    root = Path(shutil.copytree(made, tmp_path / "survey"))

    refused = inside("close", "demo", "--now", "--json", cwd=root, ok=False)

    assert (refused.code, refused.codes) == (4, ["PST-I032"])
    assert len(files(root, "_receipts/demo")) == 10
    assert inside("close", "dmeo", "--json", cwd=root, ok=False).codes == ["PST-G003"]


def test_what_is_asked_of_a_closed_run_is_answered_as_before(inside, project):
    asked = [
        ("status", "--json"),
        ("find", "coadd", "--json"),
        ("ingest", "--json"),
        ("trace", "coadd", "detector=0", "band=g", "--json"),
    ]
    before = [inside(*words, cwd=project).json for words in asked]

    assert inside("close", "demo", "-n", "--json", cwd=project).json["receipts"] == 10
    closed = inside("close", "demo", "--now", "--json", cwd=project).json

    assert (closed["receipts"], closed["removed"], closed["packs"]) == (10, 10, 1)
    assert len(files(project, "_receipts/demo")) == 2
    assert [inside(*words, cwd=project).json for words in asked] == before
    again = inside("close", "demo", "--now", "--json", cwd=project).json
    assert (again["known"], again["removed"]) == (True, 0)
    nothing = inside("run", "--engine", "local", cwd=project)
    assert "nothing to do" in nothing.out


def test_nothing_is_planned_into_a_closed_run_and_a_child_reads_its_packed_receipts(inside, project):
    inside("close", "demo", "--now", cwd=project)

    refused = inside("plan", "--json", cwd=project, ok=False)
    assert (refused.code, refused.codes) == (4, ["PST-I031"])

    inside("plan", "--child-of", "demo", "--set", "coadd.clip=3", "--want", "coadd", cwd=project)
    inside("run", "--engine", "local", cwd=project)
    told = inside("ingest", "--level", "full", "--json", cwd=project).json

    assert told["problems"] == []
    assert told["added"] == 2
    (name, *_) = [name for name in files(project, "_receipts/demo+1") if name.startswith("coadd")]
    receipt = Receipt.from_json((project / "store/_receipts/demo+1" / name).read_text())
    assert {root.type for root in receipt.roots} == {"raw"}  # which only the packed receipts say


def test_packed_receipts_travel_with_a_plan_for_pegasus(inside, project, site_file, tmp_path):
    inside("close", "demo", "--now", cwd=project)
    inside("plan", "--child-of", "demo", "--set", "coadd.clip=3", "--want", "coadd", cwd=project)

    inside("emit", "pegasus", "--site", site_file(project), "--into", tmp_path / "out", cwd=project)

    carried = list((tmp_path / "out" / "inputs" / "_receipts").rglob("*.json"))
    assert {Receipt.from_json(path.read_text()).task for path in carried} == {"calibrate"}
    shim = Shim(tmp_path / "out", tmp_path / "work")
    assert shim.run(), {name: shim.logs[name] for name in shim.failed}
    assert inside("ingest", "--level", "full", "--json", cwd=project).json["problems"] == []


def test_single_files_go_only_after_every_node_has_come_to_see_the_packs(project):
    seen = []
    with Project.open(project) as opened:

        def sleep(seconds):
            seen.append((seconds, len(files(project, "_receipts/demo"))))

        close_run(opened.registry, opened.store, "demo", sleep=sleep)

    assert seen == [(60.0, 12)]
    assert len(files(project, "_receipts/demo")) == 2


# -- frozen ---------------------------------------------------------------------------------------


def test_a_frozen_collection_is_changed_by_nobody(inside, project):
    (project / "store" / "demo" / "stray.txt").write_text("x")
    would = inside("freeze", "demo.all", "-n", "--json", cwd=project).json
    frozen = inside("freeze", "demo.all", "--json", cwd=project).json
    before = files(project, "demo")

    assert would["frozen"] == frozen["frozen"] == ["demo", "demo.all"]
    refusals = {
        ("ingest",), ("ingest", "--run", "demo"), ("ingest", "--adopt", "demo"), ("plan",), ("plan", "--child-of", "demo"),
        ("plan", "-n"), ("remove", "--run", "demo", "--yes"), ("remove", "--run", "demo", "--yes", "--even-so"),
    }  # fmt: skip
    for words in sorted(refusals):
        answer = inside(*words, "--json", cwd=project, ok=False)
        assert (answer.code, answer.codes) == (4, ["PST-I030"]), words
    assert files(project, "demo") == before
    assert inside("freeze", "demo", "--json", cwd=project).json["frozen"] == []
    assert inside("freeze", "dmeo", "--json", cwd=project, ok=False).codes == ["PST-G003"]
    inside("plan", "--run", "another", cwd=project)


def test_what_is_frozen_stays_so_in_a_registry_that_is_made_again(inside, project, tmp_path):
    inside("freeze", "demo", cwd=project)
    with Project.open(project) as opened:
        before = opened.registry.dump()
        opened.rebuild(into=str(tmp_path / "again.db"))

        again = type(opened.registry).open(f"sqlite:///{tmp_path}/again.db", opened.universe)
        try:
            assert again.frozen.names() == ("demo",)
            assert again.dump()["frozen"] == before["frozen"]
        finally:
            again.close()


def test_every_transaction_that_would_change_what_is_frozen_is_refused_by_the_registry_itself(made, tmp_path):
    from prestow.errors import ProjectError
    from prestow.ingest import ingest_outputs

    root = Path(shutil.copytree(made, tmp_path / "survey"))
    with Project.open(root) as opened:
        registry = opened.registry
        registry.register_run("other")
        registry.frozen.freeze(opened.store, ["demo", "demo.all"])
        before = registry.dump()
        acts = (
            lambda: ingest_outputs(registry, opened.store, runs=["demo"]),
            lambda: registry.register_chain("demo.all", ["other"]),
            lambda: registry.add_parent("demo", "other"),
        )
        for act in acts:
            with pytest.raises(ProjectError) as caught:
                act()
            assert caught.value.problems[0].code == "PST-I030"
        after = registry.dump()
        for table in (
            "quantum",
            "quantum_input",
            "collection_chain",
            "run_parent",
            "frozen",
            "artifact",
            "metric",
        ):
            assert after[table] == before[table], table
        registry.register_chain("demo.all", ["demo"])  # as it is


# -- events ---------------------------------------------------------------------------------------


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_each_committed_dataset_is_told_once_in_order_and_after_any_interruption(inside, project, tmp_path):
    file = tmp_path / "events.jsonl"
    first = inside("events", "--into", file, "--json", cwd=project).json
    told = lines(file)

    assert first["written"] == len(told) == len(inside("events", cwd=project).out.splitlines())
    assert [one["sequence"] for one in told] == sorted({one["sequence"] for one in told})
    assert {one["schema"] for one in told} == {"prestow.event/1"}
    one = told[-1]
    path = project / "store" / one["path"]
    assert (path.stat().st_size, one["run"], one["data_id"]["instrument"]) == (one["size"], "demo", "simcam")
    whole = file.read_bytes()
    for keep in (0, 1, 700, len(whole) - 1, whole.rindex(b"\n", 0, -1) + 5, whole.rindex(b"\n", 0, -1) + 1):
        file.write_bytes(whole[:keep])  # killed there
        inside("events", "--into", file, cwd=project)
        assert file.read_bytes() == whole
    inside("events", "--into", file, cwd=project)
    assert file.read_bytes() == whole
    after = inside("events", "--after", told[-3]["sequence"], "--json", cwd=project).json["events"]
    assert after == told[-2:]


def test_ingest_appends_what_it_took_in(inside, made, tmp_path):
    root = Path(shutil.copytree(made, tmp_path / "survey"))
    file = tmp_path / "events.jsonl"
    inside("events", "--into", file, cwd=root)
    raws = len(lines(file))

    inside("ingest", "--events", file, cwd=root)

    assert {one["run"] for one in lines(file)[raws:]} == {"demo"}
    assert len(lines(file)) == raws + len(files(root, "demo"))


def test_a_file_of_something_else_is_left_as_it_is(inside, project, tmp_path):
    file = tmp_path / "notes"
    for text in (
        "my notes",
        "my notes\n",
        '{"sequence": 1}\n',
        '{"id": "18cd0727-1406-5385-a8a0-a52e73f1ff75"',
    ):
        file.write_text(text)
        answer = inside("events", "--into", file, "--json", cwd=project, ok=False)
        assert (answer.code, answer.codes) == (2, ["PST-I036"]), text
        assert file.read_text() == text
    inside("events", "--into", tmp_path / "good", cwd=project)
    last = lines(tmp_path / "good")[-1]
    last["sequence"] += 5
    file.write_text(json.dumps(last) + "\n")
    assert inside("events", "--into", file, "--json", cwd=project, ok=False).codes == ["PST-I036"]


# -- findings -------------------------------------------------------------------------------------


def made_again(root: Path, path: str) -> None:
    """A late attempt of the job that made a product whose bytes are gone: it makes others."""
    with Project.open(root) as opened:
        plan = opened.find_plan()
        for manifest in manifests(plan, store="archive", stores=opened.stores()):
            if any(output.path == path for output in manifest.outputs):
                assert call_node(manifest.to_json(), (), ())["failures"]


def test_other_content_of_a_later_attempt_is_a_finding_that_a_person_settles(inside, project):
    name = next(name for name in files(project, "demo") if name.startswith("summary"))
    path = project / "store" / "demo" / name
    path.unlink()

    made_again(project, f"demo/{name}")
    told = inside("ingest", "--json", cwd=project, ok=False).json
    assert told["findings"] == {"irreproducible": 1, "contradictory": 0}
    inside("ingest", cwd=project, ok=False)  # found again, it is the same one

    listed = inside("findings", "demo", "--json", cwd=project, ok=False)
    assert (listed.code, listed.json["open"]) == (9, 1)
    (one,) = listed.json["findings"]
    (output,) = one["facts"]["outputs"]
    assert output["path"] == f"demo/{name}"
    assert output["committed"]["sha256"] != output["attempt"]["sha256"]
    text = inside("findings", cwd=project, ok=False).out
    assert output["committed"]["sha256"][:12] in text
    assert output["attempt"]["sha256"][:12] in text
    wrong = inside(
        "findings", "--settle", "irreproducible.ffff", "--because", "x", "--json", cwd=project, ok=False
    )
    assert wrong.codes == ["PST-I035"]

    inside("findings", "--settle", one["key"], "--because", "a random number, on purpose", cwd=project)

    assert inside("findings", cwd=project).code == 0
    assert (
        inside("findings", "--all", "--json", cwd=project).json["findings"][0]["because"]
        == "a random number, on purpose"
    )
    assert inside("ingest", "--json", cwd=project, ok=False).json["findings"]["irreproducible"] == 0
    with Project.open(project) as opened:
        assert len(opened.registry.dump()["finding"]) == 2


def test_contradictory_facts_are_kept_aside_for_a_person_once(inside, project):
    name = "_receipts/demo/isr/00/00torn.json"
    path = project / "store" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text('{"schema":')

    for _ in range(2):
        told = inside("ingest", "--json", cwd=project, ok=False)
        assert told.code == 9
        assert told.json["findings"]["contradictory"] == 1

    (one,) = inside("findings", "--json", cwd=project, ok=False).json["findings"]
    assert (one["kind"], one["facts"]["run"], one["facts"]["where"]) == ("contradictory", "demo", name)


# -- adopted --------------------------------------------------------------------------------------


def without_receipts(made: Path, root: Path) -> Path:
    shutil.copytree(made, root)
    shutil.rmtree(root / "store" / "_receipts")
    shutil.rmtree(root / "store" / "_attempts")
    return root


def test_files_whose_receipts_are_gone_are_adopted_whole(inside, made, tmp_path):
    root = without_receipts(made, tmp_path / "survey")
    would = inside("ingest", "--adopt", "demo", "-n", "--json", cwd=root).json
    assert not (root / "store" / "_receipts").exists()

    told = inside("ingest", "--adopt", "demo", "--json", cwd=root).json

    assert told["adopted"] == would["adopted"]
    assert (len(told["adopted"]), told["ingested"][0]["added"]) == (10, len(files(root, "demo")))
    receipts = [
        Receipt.from_json((root / "store/_receipts/demo" / n).read_text())
        for n in files(root, "_receipts/demo")
    ]
    assert all(one.adopted for one in receipts)
    assert inside("status", "--json", cwd=root).json["counts"]["made"] == 10
    again = inside("ingest", "--adopt", "demo", "--json", cwd=root).json
    assert (again["adopted"], again["known"]) == ([], 10)
    # with the facts that the nodes' own receipts have, but for attempts and measures
    for one in receipts:
        name = f"{one.task}/{one.quantum[:2]}/{one.quantum}.json"
        theirs = Receipt.from_json((made / "store/_receipts/demo" / name).read_text())
        for fact in (
            "data_id",
            "job",
            "state",
            "planned_recipe",
            "actual_recipe",
            "version",
            "inputs",
            "roots",
        ):
            assert getattr(one, fact) == getattr(theirs, fact), fact
        assert [(o.id, o.path, o.sha256, o.content) for o in one.outputs] == [
            (o.id, o.path, o.sha256, o.content) for o in theirs.outputs
        ]


def test_files_from_elsewhere_are_copied_in_also_where_the_plan_is_gone(inside, made, tmp_path):
    root = without_receipts(made, tmp_path / "survey")
    landed = tmp_path / "stage-out"
    shutil.move(root / "store" / "demo", landed)
    shutil.rmtree(root / "plans")
    shutil.rmtree(root / "store" / "_reservations", ignore_errors=True)

    told = inside("ingest", "--from-files", landed, "--json", cwd=root).json

    assert (len(told["adopted"]), told["refused"]) == (10, [])
    assert files(root, "demo") == files(made, "demo")
    assert files(root, "_aside") == []
    assert sorted(p.name for p in landed.rglob("*") if p.is_file())  # they stay


def test_what_is_not_whole_or_not_true_is_refused_by_name_and_the_rest_goes_on(inside, made, tmp_path):
    root = without_receipts(made, tmp_path / "survey")
    landed = tmp_path / "stage-out"
    shutil.move(root / "store" / "demo", landed)
    first, second, third, fourth = (
        landed / n for n in sorted(str(p.relative_to(landed)) for p in landed.rglob("isr*.fits"))
    )
    (landed / "evil.json").symlink_to("/etc/passwd")
    (landed / "plain.json").write_text("{}")
    (landed / "notes.txt").write_text("x")
    story = json.loads(next(landed.rglob("summary*.json")).read_text())
    story["prestow"]["run"] = "../../up"
    (landed / "climbs.json").write_text(json.dumps(story))
    torn = second.read_bytes()
    second.chmod(0o644)
    second.write_bytes(torn[: len(torn) // 2])
    names = third.name, fourth.name
    third.rename(third.with_name("x"))
    fourth.rename(third.with_name(names[0]))  # another's name
    third.with_name("x").rename(fourth.with_name(names[1]))
    lacking = next(landed.rglob("calexp*.fits"))
    lacking.unlink()

    answer = inside("ingest", "demo", "--from", landed, "--json", cwd=root, ok=False)

    assert answer.code == 8
    told = answer.json
    why = {Path(p["where"].split(", ")[0]).name: p["what"] for p in told["refused"]}
    assert "a link leads out" in why["evil.json"]
    assert "no story" in why["plain.json"]
    assert "format" in why["notes.txt"]
    assert "cannot be a directory's name" in why["climbs.json"]
    assert second.name in why
    assert "planned for another dataset" in why[names[0]]
    assert "planned for another dataset" in why[names[1]]
    assert "calexp" in why[lacking.name.replace("calexp", "summary").replace("fits", "json")]
    assert {p["code"] for p in told["refused"]} == {"PST-I034"}
    assert first.name in {Path(name).name for one in told["adopted"] for name in one["files"]}
    assert not (tmp_path / "up").exists()
    assert all(name.startswith(("demo/", "_", "raw/", "external/")) for name in files(root, ""))


# -- modes and group ------------------------------------------------------------------------------


def modes(root: Path, kind: str) -> set[int]:
    found = (root / "store" / "demo").rglob("*")
    return {
        stat.S_IMODE(p.stat().st_mode) for p in found if (p.is_dir() if kind == "directory" else p.is_file())
    }


def test_archived_files_are_not_writable_and_what_was_changed_is_mended(inside, project):
    assert modes(project, "file") == {0o444}
    name = files(project, "demo")[0]
    os.chmod(project / "store" / "demo" / name, 0o664)

    assert inside("ingest", "--json", cwd=project).json["mended"] == 1
    assert modes(project, "file") == {0o444}
    assert inside("ingest", "--json", cwd=project).json["mended"] == 0


def test_modes_and_group_of_the_project_hold_and_its_files_can_still_be_removed(inside, project):
    import grp

    group = grp.getgrgid(os.getgid()).gr_name
    with (project / "prestow.yaml").open("a") as file:
        file.write(f'\narchive: {{mode: "0440", directory_mode: "0750", group: {group}}}\n')

    told = inside("ingest", "--json", cwd=project).json

    assert told["mended"] >= len(files(project, "demo"))
    assert (modes(project, "file"), modes(project, "directory")) == ({0o440}, {0o750})
    assert inside("ingest", "--level", "full", "--json", cwd=project).json["mended"] == 0
    inside("plan", "--run", "second", "--set", "coadd.clip=3", cwd=project)
    inside("run", "--engine", "local", cwd=project)  # reads them as inputs of another run
    inside("remove", "--run", "demo", "--yes", "--even-so", cwd=project)
    assert files(project, "demo") == []


def test_a_mode_that_cannot_be_is_refused_at_its_place(inside, project):
    with (project / "prestow.yaml").open("a") as file:
        file.write('\narchive: {mode: "0644", directory_mode: 755, group: 7, colour: red}\n')
    line = (project / "prestow.yaml").read_text().splitlines().index(
        'archive: {mode: "0644", directory_mode: 755, group: 7, colour: red}'
    ) + 1

    answer = inside("check", "--json", cwd=project, ok=False)

    places = {p["where"]: p["code"] for p in answer.json["problems"]}
    assert answer.code == 3
    assert len(places) == 4
    assert all(where.startswith(f"prestow.yaml:{line}:") for where in places)
    with (project / "prestow.yaml").open("a") as file:
        file.write("")
    text = (project / "prestow.yaml").read_text().splitlines()[:-1]
    (project / "prestow.yaml").write_text("\n".join([*text, "archive: {group: no-such-group-here}"]) + "\n")
    assert inside("ingest", "--json", cwd=project, ok=False).codes == ["PST-I037"]
