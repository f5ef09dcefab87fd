"""The line on the toy survey: raw frames in, plan, run, ingest, and all of it twice."""

import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prestow as face


@pytest.fixture(scope="module")
def done(
    tmp_path_factory: pytest.TempPathFactory, prestow: Any, inside: Any, small: Callable[[Path], Path]
) -> dict[str, Any]:
    """One project taken along the whole line, with a copy from before its outputs were taken in."""
    base = tmp_path_factory.mktemp("line")
    inside("init", "demo", cwd=base)
    root = small(base / "demo")
    answers = {
        "raw": prestow("ingest", "--raw", "raw", "--instrument", "simcam", "--json", cwd=root).json,
        "plan": prestow("plan", "--json", cwd=root).json,
        "files": inside("show", "--files", cwd=root).out.split(),
        "run": prestow("run", "--engine", "local", "--json", cwd=root).json,
    }
    shutil.copytree(root, base / "copy", symlinks=True)
    answers["ingest"] = prestow("ingest", "--json", cwd=root).json
    return {"root": root, "copy": base / "copy", **answers}


def dump(root: Path) -> dict[str, Any]:
    with face.open(root) as project:
        result = project.registry.dump()
    result["store"] = [[str(value).replace(str(root), "ROOT") for value in row] for row in result["store"]]
    return result


def test_the_line_makes_every_planned_file_and_no_other(done: dict[str, Any]) -> None:
    store = done["root"] / "store"
    found = {str(p.relative_to(store)) for p in (store / "demo").rglob("*") if p.is_file()}
    assert found == set(done["files"])
    assert done["raw"]["added"] == 4
    assert done["run"]["counts"] == {"made": 10}
    assert done["ingest"]["added"] == len(done["files"]) == done["plan"]["total"]["outputs"]


def test_every_product_can_be_read_and_tells_its_story(done: dict[str, Any]) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    path = done["root"] / "store" / "demo/coadd/coadd-simcam-g-00.fits"
    with fits.open(path, checksum=True) as hdus:
        assert hdus[0].header["PSTTYPE"] == "coadd"
        assert (hdus[0].header["PSTNPLAN"], hdus[0].header["PSTNUSED"]) == (2, 2)


def test_the_plan_is_the_same_after_its_run(done: dict[str, Any], inside: Any) -> None:
    again = inside("plan", "--json", cwd=done["root"]).json
    assert (again["plan"], again["new"]) == (done["plan"]["plan"], False)
    assert again["exist"] == len(done["files"])
    assert "same plan as before" in inside("plan", cwd=done["root"]).out


def test_the_plan_is_the_same_elsewhere_with_files_taken_in_otherwise(
    done: dict[str, Any],
    prestow: Any,
    inside: Any,
    small: Callable[[Path], Path],
    other_locale: str,
    tmp_path: Path,
) -> None:
    inside("init", "elsewhere", cwd=tmp_path)
    root = small(tmp_path / "elsewhere")
    files = sorted((root / "raw").iterdir(), reverse=True)
    inside("ingest", "--raw", files[0], "--instrument", "simcam", cwd=root)
    inside("register", "--raw", *files, "--instrument", "simcam", "--transfer", "in-place", cwd=root)
    env = {"POLARS_MAX_THREADS": "1", "PYTHONHASHSEED": "7", "TZ": "Asia/Kathmandu", "LC_ALL": other_locale}
    made = prestow("plan", "--json", "-C", root, cwd=tmp_path, env=env).json
    assert made["plan"] == done["plan"]["plan"]


def test_a_second_run_has_nothing_to_do(done: dict[str, Any], prestow: Any) -> None:
    again = prestow("run", "--json", cwd=done["root"]).json
    assert (again["jobs"], again["counts"]) == (0, {"made": 10})


def test_a_site_file_says_where_jobs_run(
    done: dict[str, Any], prestow: Any, inside: Any, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(done["root"], tmp_path / "there"))
    inside("plan", "--run", "elsewhere", cwd=root)
    scratch = tmp_path / "scratch"
    site = tmp_path / "site.yaml"
    site.write_text(f"schema: prestow.site/1\nname: here\nengine: local\nscratch: {scratch}\n")
    assert prestow("run", "--site", site, "--json", cwd=root).json["counts"] == {"made": 10}
    assert scratch.is_dir()
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("schema: prestow.site/1\nname: here\nengine: condor\n")
    answer = inside("run", "--site", wrong, "--json", cwd=root, ok=False)
    assert (answer.code, answer.codes) == (3, ["PST-C013"])


def test_taking_in_twice_is_taking_in_once(done: dict[str, Any], inside: Any) -> None:
    before = dump(done["root"])
    outputs = inside("ingest", "--json", "--level", "full", cwd=done["root"]).json
    raws = inside("ingest", "--raw", "raw", "--instrument", "simcam", "--json", cwd=done["root"]).json
    assert (outputs["added"], raws["added"], raws["known"]) == (0, 0, 4)
    assert dump(done["root"]) == before


BLOCK = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("polars", "dask", "distributed") or name.startswith(("prestow.plan", "prestow.engines", "prestow.pipeline")):
            raise ImportError(f"{name} is blocked")
if not any("pytest" in word for word in sys.argv):
    sys.meta_path.insert(0, Blocked())
"""


def test_outputs_go_in_with_the_plan_deleted_and_the_planner_blocked(
    done: dict[str, Any], prestow: Any, tmp_path: Path
) -> None:
    copy = done["copy"]
    shutil.rmtree(copy / "plans")
    (copy / "pipeline.yaml").unlink()
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    import os

    env = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    assert prestow("plan", "--json", cwd=copy, ok=False, env=env).code != 0
    taken = prestow("ingest", "--json", cwd=copy, env=env).json
    assert taken["added"] == len(done["files"])
    assert dump(copy) == dump(done["root"])


def test_the_states_sum_to_the_plan(done: dict[str, Any], inside: Any) -> None:
    standing = inside("status", "--json", "--exit-code", cwd=done["root"]).json
    assert {task: sum(states.values()) for task, states in standing["tasks"].items()} == {
        "isr": 4,
        "calibrate": 4,
        "coadd": 2,
    }
    text = inside("status", cwd=done["root"]).out
    assert [word for word in text.splitlines()[1].split()][:3] == ["task", "made", "declined"]


def test_show_answers_by_task_type_job_file_and_selection(done: dict[str, Any], inside: Any) -> None:
    root = done["root"]

    def files(*words: str) -> set[str]:
        return {file["path"] for file in inside("show", *words, "--files", "--json", cwd=root).json["files"]}

    everything = set(done["files"])
    assert files() == everything
    assert files("calibrate") == files("calexp") | files("summary")
    one = files("visit=202611010001")
    assert len(one) == 3
    assert files("--where", "visit=202611010001") == one
    assert files(done["plan"]["plan"][:8], "coadd") == {p for p in everything if "/coadd/" in p}
    (path, *_) = sorted(files("coadd"))
    assert files(path) == {path}
    card = inside("show", "coadd-g-0", "--json", cwd=root).json
    assert len(card["after"]) == 2
    assert inside("show", "nonsense", cwd=root, ok=False).code == 2


def test_a_job_runs_in_the_sandbox_and_commits_nothing(done: dict[str, Any], inside: Any, tree: Any) -> None:
    before = tree(done["root"])
    answer = inside("debug", "coadd-g-0", "--json", cwd=done["root"]).json
    assert answer["outputs"] == ["demo/coadd/coadd-simcam-g-00.fits"]
    assert tree(done["root"]) == before


def test_a_dry_run_writes_nothing(done: dict[str, Any], inside: Any, tree: Any) -> None:
    before, registry = tree(done["root"]), dump(done["root"])
    request = ("--where", "band = 'r'", "--run", "other", "--set", "isr.gain=1.5", "--sample", "1")
    answer = inside("plan", "--dry-run", *request, cwd=done["root"]).out
    assert answer.splitlines()[-1] == f"next: prestow {shlex.join(('plan', *request))}"
    assert tree(done["root"]) == before
    assert dump(done["root"]) == registry


def test_python_does_what_the_commands_do(done: dict[str, Any]) -> None:
    with face.open(done["root"]) as project:
        plan = project.plan()
        assert plan.id == done["plan"]["plan"]
        assert project.run(plan, engine="local").settled
        assert project.status(plan).counts["made"] == 10
        assert project.find_plan(plan.id[:6]).id == plan.id
        assert project.ingest(plan).added == 0


def test_a_run_bound_to_other_code_is_refused(done: dict[str, Any], inside: Any, tree: Any) -> None:
    before = tree(done["root"])
    answer = inside("plan", "--set", "isr.gain=3", "--json", cwd=done["root"], ok=False)
    assert (answer.code, answer.codes) == (4, ["PST-P006"])
    assert tree(done["root"]) == before


def test_a_child_run_of_a_whole_one_has_nothing_to_make(
    done: dict[str, Any], inside: Any, tmp_path: Path
) -> None:
    root = Path(shutil.copytree(done["root"], tmp_path / "family"))
    child = inside("plan", "--child-of", "demo", "--json", cwd=root).json
    assert (child["run"], child["reused"]) == ("demo+1", 10)
    assert inside("plan", "--run", "demo+1", "--json", cwd=root).json["plan"] == child["plan"]
    assert inside("plan", "--child-of", "demo+1", "--json", cwd=root).json["run"] == "demo+2"
    assert inside("status", child["plan"][:8], "--json", cwd=root).json["counts"]["reused"] == 10
    with face.open(root) as project:
        assert project.registry.chain_members("demo.all") == ("demo+2", "demo+1", "demo")
