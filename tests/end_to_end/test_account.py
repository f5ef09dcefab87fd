"""The account as people type it: strays named and never taken in, policies, exit codes, levels, what may go."""

import json
import shutil
from pathlib import Path

import pytest


@pytest.fixture(scope="module")
def ran(tmp_path_factory, inside, small) -> Path:
    top = tmp_path_factory.mktemp("account")
    inside("init", "demo", cwd=top)
    root = small(top / "demo")
    pipeline = root / "pipeline.yaml"
    text = pipeline.read_text()
    assert "outputs: {isr: isr}" in text
    pipeline.write_text(
        text.replace("outputs: {isr: isr}", "outputs: {isr: {type: isr, retain: until_consumed}}")
    )
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", "-q", cwd=root)
    before = inside("account", cwd=root, ok=False)
    assert (before.code, "pending" in before.out) == (9, True)
    inside("run", "-q", cwd=root)
    return root


@pytest.fixture
def demo(ran: Path, tmp_path: Path) -> Path:
    shutil.copytree(ran, tmp_path / "demo", symlinks=True)
    return tmp_path / "demo"


def test_a_stray_is_named_never_ingested_and_put_away(demo: Path, inside) -> None:
    clean = inside("account", "--level", "full", "--json", cwd=demo).json
    assert (clean["closes"], clean["planned"], clean["exit"]) == (True, clean["found"], 0)
    stray = demo / "store/demo/coadd/deeper/coadd-simcam-g-00.fits"
    stray.parent.mkdir()
    stray.write_bytes(b"the last part of its name is known")
    told = inside("account", cwd=demo, ok=False)
    assert (told.code, "UNEXPECTED demo/coadd/deeper/coadd-simcam-g-00.fits" in told.out) == (9, True)
    assert "next: prestow account --unexpected tar" in told.out
    assert inside("ingest", "--json", cwd=demo).json["unexpected"] == [
        "demo/coadd/deeper/coadd-simcam-g-00.fits"
    ]
    assert not json.loads(inside("find", "coadd", "detector=1", "--json", cwd=demo, ok=False).out).get("rows")
    refused = inside("account", "--unexpected", "fail", cwd=demo, ok=False)
    assert (refused.code, "PST-A010" in refused.err) == (9, True)
    inside("account", "--unexpected", "drop", "-n", cwd=demo, ok=False)
    assert stray.exists()
    kept = inside("account", "--unexpected", "tar", "--json", cwd=demo).json
    assert (kept["unexpected"]["taken"][0]["size"], stray.exists()) == (34, False)
    assert (demo / "store" / kept["unexpected"]["tar"]).exists()
    assert inside("account", "--level", "full", cwd=demo).out.count("the account closes") == 1


def test_the_policy_of_the_project_is_checked_and_kept_to(demo: Path, inside) -> None:
    configuration = demo / "prestow.yaml"
    text = configuration.read_text()
    configuration.write_text(f"{text}unexpected: burn\n")
    wrong = inside("check", "--json", cwd=demo, ok=False)
    assert (wrong.code, wrong.codes) == (3, ["PST-C013"])
    configuration.write_text(f"{text}unexpected: drop\n")
    (demo / "store/demo/core.123").write_bytes(b"dumped")
    assert "dropped: 1 unexpected file" in inside("account", cwd=demo).out
    assert not (demo / "store/demo/core.123").exists()


def test_same_name_with_other_content_is_caught_at_every_level(demo: Path, inside) -> None:
    found = sorted((demo / "store/demo/calexp").rglob("*.fits"))
    found[0].chmod(0o644)
    shutil.copy(found[1], found[0])
    name = str(found[0].relative_to(demo / "store"))
    for level in ("receipt", "sample:5%", "full"):
        told = inside("account", "--level", level, "--json", cwd=demo, ok=False)
        assert (told.code, [(f["class"], f["why"], f["path"]) for f in told.json["files"]]) == (
            9, [("faulty", "wrong name", name)],
        )  # fmt: skip
    assert f"next: prestow why {name}" in inside("account", cwd=demo, ok=False).out
    assert inside("account", "--level", "sample:0%", cwd=demo, ok=False).code == 2


def test_the_plan_and_the_registry_may_be_gone(demo: Path, inside) -> None:
    inside("ingest", cwd=demo)
    shutil.rmtree(demo / "plans")
    (demo / "store/demo/stray").write_bytes(b"x")
    told = inside("account", "--run", "demo", cwd=demo, ok=False)
    assert (
        told.code,
        "there is no plan of run demo here" in told.out,
        "UNEXPECTED demo/stray" in told.out,
    ) == (9, True, True)
    refused = inside("account", "--run", "demo", "--unexpected", "tar", cwd=demo, ok=False)
    assert (refused.code, "PST-A004" in refused.err) == (9, True)
    (demo / "store/demo/stray").unlink()
    for path in demo.glob("registry.db*"):
        path.unlink()
    told = inside("account", "--run", "demo", cwd=demo)
    assert "the registry cannot be asked" in told.out
    assert inside("account", "--run", "nothing", cwd=demo, ok=False).code == 2


def test_intermediates_go_by_list_and_the_account_still_closes(demo: Path, inside) -> None:
    assert inside("retire", "--json", cwd=demo).json["datasets"] == 0
    inside("ingest", cwd=demo)
    looked = inside("retire", "-n", "--json", cwd=demo).json
    assert looked["datasets"] == looked["types"]["isr"]["datasets"] > 0
    assert list((demo / "store/demo/isr").rglob("*.fits"))
    assert f"gone: {looked['datasets']} datasets" in inside("retire", cwd=demo).out
    assert not (demo / "store/demo/isr").exists()
    account = inside("account", "--level", "full", "--json", cwd=demo).json
    assert (account["closes"], account["deleted"]) == (True, looked["datasets"])
    assert "nothing to do" in inside("run", "-q", cwd=demo).out
    assert f"{looked['datasets']} deleted on purpose" in inside("ingest", cwd=demo).out


def test_by_run_it_is_not_said_that_there_is_no_plan_where_there_is_one(demo: Path, inside) -> None:
    inside("ingest", cwd=demo)
    told = inside("account", "--run", "demo", cwd=demo).out
    plan = inside("account", "--json", cwd=demo).json["plan"]
    assert "there is no plan" not in told
    assert f"by plan, prestow account {plan[:8]}" in told
    assert told.endswith(f"next: prestow show {plan[:8]} --files\n")


def test_what_was_staged_in_vain(demo: Path, inside) -> None:
    told = inside("account", "--unread", cwd=demo).out
    assert "calibrate" in told
    one = inside("account", "--unread", "--task", "coadd", "--json", cwd=demo).json["unread"]
    assert [(t["task"], t["unread"], t["share"]) for t in one["tasks"]] == [("coadd", 0, 0.0)]
    assert inside("account", "--task", "coadd", cwd=demo, ok=False).code == 2
    assert told.endswith("next: prestow account\n")
    by_run = inside("account", "--unread", "--run", "demo", cwd=demo).out
    assert by_run.endswith("next: prestow account --run demo\n")


def test_what_was_staged_in_vain_is_never_told_by_the_same_command_again(demo: Path, inside) -> None:
    task = demo / "tasks" / "coadd.py"
    text = task.read_text()
    every = 'in quantum.inputs["calexp"]'
    assert text.count(every) == 1
    task.write_text(text.replace(every, f"{every}[:1]"))
    for words in (("plan", "--run", "vain"), ("run", "--engine", "local"), ("ingest",)):
        inside(*words, cwd=demo)
    told = inside("account", "--unread", cwd=demo).out
    assert told.endswith("next: prestow account --unread --task coadd\n")
    told = inside("account", "--unread", "--task", "coadd", cwd=demo).out
    assert told.endswith("next: prestow account --unread\n")
