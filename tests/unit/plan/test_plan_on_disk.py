"""A plan is written whole or not at all, opens lazily, and is found again by what people type."""

import errno
import subprocess
import sys
from dataclasses import replace

import polars as pl
import pyarrow.parquet as pq
import pytest

from prestow.errors import ProjectError, StoreError
from prestow.plan import Request, build_plan, open_plan, summary, write_plan
from prestow.plan.spool import ROWS as CHUNK
from prestow.plan.tables import LOGICAL, TABLES
from prestow.plan.writing import _refusal
from prestow.testing.surveys import UNIVERSE, Survey, reduction


@pytest.fixture(scope="module")
def plan():
    return build_plan(
        Request("demo", reduction(sigma=3.0), UNIVERSE, ("raw",), where="visit < 9"), Survey.make(4, 2)
    )


def test_a_plan_reads_as_it_was_written(plan, tmp_path):
    path = write_plan(plan, tmp_path / "plans")
    again = open_plan(path)
    assert path == tmp_path / "plans" / plan.id
    assert (again.id, again.run, again.document) == (plan.id, plan.run, plan.document)
    assert again.definition == plan.definition
    assert again.universe.canonical_text() == UNIVERSE.canonical_text()
    assert again.universe.canonical("ccd") == "detector"
    for name in TABLES:
        assert again.tables[name].equals(plan.tables[name]), name
        assert again.tables[name].schema == plan.tables[name].schema, name
    assert again.code.data == b"code"
    assert (path / "journal.jsonl").read_bytes() == b""
    assert sorted(p.name for p in (tmp_path / "plans").iterdir()) == [plan.id]


def test_writing_twice_is_writing_once(plan, tmp_path):
    path = write_plan(plan, tmp_path)
    (path / "journal.jsonl").write_text("a line\n")
    before = {p.name: (p.stat().st_ino, p.read_bytes()) for p in path.iterdir()}
    assert write_plan(plan, tmp_path) == path
    assert {p.name: (p.stat().st_ino, p.read_bytes()) for p in path.iterdir()} == before


def test_what_the_id_does_not_cover_is_brought_up_to_date(plan, tmp_path):
    plans = tmp_path / "[x]* é#%20"
    path = write_plan(plan, plans)
    (path / "journal.jsonl").write_text("a line\n")
    pipeline = reduction(sigma=3.0)
    tasks = tuple(replace(t, hints={"cpu_seconds": 7.0}) for t in pipeline.tasks)
    survey = Survey.make(4, 2)
    moved = replace(
        survey,
        existing={
            name: f.with_columns(path=pl.lit("new/") + pl.col("path")) for name, f in survey.existing.items()
        },
    )
    other = build_plan(
        Request("demo", replace(pipeline, tasks=tasks), UNIVERSE, ("raw",), where="visit < 9"), moved
    )
    assert other.id == plan.id
    assert write_plan(other, plans) == path
    again = open_plan(path)
    assert summary(again).total.cpu_seconds == 7.0 * summary(again).total.quanta
    assert again.tables["locations"]["path"].str.starts_with("new/").all()
    assert (path / "journal.jsonl").read_text() == "a line\n"
    assert sorted(p.name for p in path.iterdir() if p.name.startswith(".")) == []


def test_other_tools_read_the_tables(plan, tmp_path):
    path = write_plan(plan, tmp_path)
    for name in TABLES:
        file = pq.ParquetFile(path / f"{name}.parquet")
        assert file.metadata.num_rows == plan.tables[name].height
        assert all(file.metadata.row_group(i).num_rows <= CHUNK for i in range(file.metadata.num_row_groups))
    assert pq.read_table(path / "jobs.parquet")["name"].to_pylist() == plan.tables["jobs"]["name"].to_list()


@pytest.mark.parametrize("name", ["with blank", "[x]*?", "é#%20"])
def test_odd_directories_work(plan, tmp_path, name):
    path = write_plan(plan, tmp_path / name)
    assert open_plan(path).tables["jobs"].height == plan.tables["jobs"].height


def test_a_write_that_fails_leaves_nothing(tmp_path):
    script = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from prestow.errors import StoreError\n"
        "from prestow.plan import write_plan\n"
        "from prestow.testing.surveys import *\n"
        "plan = build_plan(Request('demo', reduction(), UNIVERSE, ('raw',)), Survey.make(30, 20))\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "try:\n"
        "    write_plan(plan, Path(sys.argv[1]) / 'plans')\n"
        "except StoreError as error:\n"
        "    print(error.problems[0].code, sorted((Path(sys.argv[1]) / 'plans').iterdir()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "PST-R001 []\n"


def test_a_full_disk_is_called_so(tmp_path):
    error = _refusal(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert isinstance(error, StoreError)
    assert error.problems[0].code == "PST-R002"


def test_a_directory_that_cannot_be_written_is_an_error_of_the_store(plan, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as error:
        write_plan(plan, tmp_path / "file")
    assert error.value.problems[0].code == "PST-R001"


@pytest.mark.parametrize("content", [None, "", "[", "schema: other/1\n"])
def test_what_is_no_plan_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "plan.yaml").write_text(content)
    with pytest.raises(ProjectError) as error:
        open_plan(tmp_path)
    assert error.value.problems[0].code == "PST-P008"


def test_a_job_is_found_by_name_number_beginning_or_data_id(plan):
    jobs = plan.tables["jobs"]["name"].to_list()
    number = jobs.index("coadd-g-1")
    for text in ("coadd-g-1", str(number), "coadd:filter=g,ccd=1", "coadd:band=g,detector=1,instrument=sim"):
        assert plan.find_job(text) == number
    assert plan.find_job("measure-1-4") == len(jobs) - 1


@pytest.mark.parametrize("text", ["", "nothing", "isr-0", "isr:visit=77", "999"])
def test_a_job_that_is_not_there_or_not_one_is_refused(plan, text):
    with pytest.raises(ProjectError) as error:
        plan.find_job(text)
    assert error.value.problems[0].code == "PST-R004"


def test_a_path_is_known_before_anything_runs(plan):
    assert plan.path_of("isr", visit=3, ccd="1") == "demo/isr/000003/isr-sim-000003-001.fits"
    assert plan.files().height == plan.tables["outputs"].height
    assert plan.files()["path"].is_unique().all()


@pytest.mark.parametrize(
    ("kind", "values"),
    [("raw", {"exposure": 1, "detector": 0}), ("nonsense", {}), ("isr", {"visit": 99, "detector": 0})],
)
def test_a_path_that_is_not_planned_is_refused(plan, kind, values):
    with pytest.raises(ProjectError) as error:
        plan.path_of(kind, **values)
    assert error.value.problems[0].code == "PST-G003"


def test_the_summary_counts_and_forecasts(plan):
    found = summary(plan)
    assert [(row.task, row.jobs, row.quanta, row.inputs, row.outputs) for row in found.tasks] == [
        ("isr", 8, 8, 24, 8), ("align", 8, 8, 8, 8), ("coadd", 4, 4, 8, 4), ("measure", 8, 8, 16, 8),
    ]  # fmt: skip
    assert (found.total.quanta, found.total.cpu_seconds) == (28, 8.0)
    assert found.left_out == ()


def test_numbers_are_positions_and_order_is_fixed(plan):
    t = plan.tables
    for table, key in (("datasets", "dataset"), ("quanta", "quantum"), ("jobs", "job")):
        assert t[table][key].to_list() == list(range(t[table].height))
    assert t["quanta"]["job"].is_sorted()
    assert t["inputs"]["quantum"].is_sorted()
    assert t["outputs"]["dataset"].is_sorted()
    assert t["job_edges"].sort("parent", "child").equals(t["job_edges"])
    existing = t["datasets"].filter(~t["datasets"]["planned"])
    assert (
        existing["dataset"].to_list() == t["locations"]["dataset"].to_list() == list(range(existing.height))
    )
    firsts = t["inputs"].group_by("dataset").agg(first=pl.col("quantum").min()).sort("dataset")
    assert firsts.head(existing.height)["first"].is_sorted()


def test_where_inputs_lie_and_forecasts_are_not_in_the_id(plan):
    survey = Survey.make(4, 2)
    moved = {n: f.with_columns(store=pl.lit("mirror")) for n, f in survey.existing.items()}
    moved = {n: f.with_columns(path=f["id"].bin.encode("hex")) for n, f in moved.items()}
    pipeline = reduction(sigma=3.0)
    slower = replace(
        pipeline,
        tasks=tuple(
            replace(t, hints={"cpu_seconds": 99.0}, config_origin={"sigma": "x"}) for t in pipeline.tasks
        ),
    )
    request = Request("demo", slower, UNIVERSE, ("other", "raw"), where="(visit < 9)", store="elsewhere")
    assert build_plan(request, replace(survey, existing=moved)).id == plan.id


@pytest.mark.parametrize("change", ["run", "where", "config", "code", "policy", "input", "child"])
def test_whatever_matters_is_in_the_id(plan, change):
    survey, pipeline = Survey.make(4, 2), reduction(sigma=3.0)
    request = Request("demo", pipeline, UNIVERSE, ("raw",), where="visit < 9")
    match change:
        case "run":
            request = replace(request, run="other")
        case "where":
            request = replace(request, where="visit < 10")
        case "config":
            request = replace(request, pipeline=reduction(sigma=3.5))
        case "code":
            request = replace(request, pipeline=reduction(sigma=3.0, code=b"other"))
        case "policy":
            request = replace(
                request, pipeline=replace(pipeline, tasks=tuple(replace(t, tries=5) for t in pipeline.tasks))
            )
        case "child":
            request = replace(request, child_of="first")
        case "input":
            flat = survey.existing["flat"].with_columns(
                content=survey.existing["flat"]["content"].str.reverse()
            )
            survey = replace(survey, existing={**survey.existing, "flat": flat})
    assert build_plan(request, survey).id != plan.id


def test_every_table_of_the_id_is_a_table_of_the_plan(plan):
    assert set(LOGICAL) - {"names"} < set(TABLES) == set(plan.tables)
    with pytest.raises(KeyError):
        plan.tables["nonsense"]
    with pytest.raises(KeyError):
        plan.explain("nonsense")
