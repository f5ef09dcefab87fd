"""Inputs that are promised, and pipelines with barriers: one run in several plans, from the command line."""

import json
from pathlib import Path

import polars as pl
import pytest

from prestow.project import Project

LAST = "202611010004"
TOLD = (
    f"instrument=simcam exposure={LAST} visit={LAST} detector=0 physical_filter=sim-r band=r day_obs=20261101"
)
COADD = "    inputs: {calexp: {type: calexp, minimum: 2}}"


@pytest.fixture
def night(tmp_path, inside, small):
    """Give a project of four frames, the last of which is not there yet but in ``late``."""
    inside("init", tmp_path / "demo", cwd=tmp_path)
    root = small(tmp_path / "demo")
    (root / "late").mkdir()
    for path in (root / "raw").glob("*-0004-*"):
        path.rename(root / "late" / path.name)
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    return root


def with_barrier(root: Path) -> None:
    path = root / "pipeline.yaml"
    text = path.read_text()
    assert text.count(COADD) == 1
    path.write_text(text.replace(COADD, f"{COADD}\n    barrier: true"))


def recipes(root: Path, plan: str, task: str) -> dict[str, bytes]:
    with Project.open(root) as project:
        quanta = project.find_plan(plan).tables["quanta"].filter(pl.col("task") == task)
        return dict(quanta.select("data_id", "recipe").iter_rows())


class TestPromised:
    def test_what_reads_them_waits_and_the_rest_runs_and_after_they_came_the_run_is_completed(
        self, night, inside
    ):
        inside("promise", "raw", *TOLD.split(), "--by", "2100-01-01", cwd=night)
        first = inside("plan", "--promised", "--json", cwd=night).json
        assert first["promised"] == {"datasets": 1, "first_by": "2100-01-01"}
        assert first["inputs"]["found"] == 3
        with Project.open(night) as project:
            plan = project.find_plan()
            assert plan.path_of("calexp", visit=int(LAST), detector=0).endswith(f"calexp-{LAST}-00.fits")
            table = pl.read_parquet(plan.directory / "promised.parquet")
            assert json.loads(table["data_id"][0])["exposure"] == int(LAST)
            place = plan.tables["locations"].filter(pl.col("path").is_null())
            assert place.height == 1 and place["sha256"].null_count() == 1
        inside("verify", cwd=night)

        ran = inside("run", "--engine", "local", "--json", "-q", cwd=night, ok=False)
        assert ran.code == 6
        assert ran.json["counts"] == {"made": 7, "pending": 3}
        assert ran.json["awaited"] == 3
        assert "2100-01-01" in ran.json["notes"][-1]
        inside("ingest", cwd=night)

        inside("ingest", "--raw", "late", "--instrument", "simcam", cwd=night)
        second = inside("plan", "--promised", "--json", cwd=night).json
        assert second["promised"] is None
        assert second["run"] == first["run"]
        plain = inside("plan", "--json", cwd=night).json
        assert plain["plan"] == second["plan"] != first["plan"]
        inside("verify", cwd=night)
        again = inside("run", "--engine", "local", "--json", "-q", cwd=night)
        assert again.json["counts"] == {"made": 10}
        assert again.json["jobs"] == 3  # what was made before is not made again

    def test_the_manifest_of_a_job_that_waits_is_refused_with_the_way_out(self, night, inside):
        inside("promise", "raw", *TOLD.split(), "--by", "2100-01-01", cwd=night)
        inside("plan", "--promised", cwd=night)
        with Project.open(night) as project:
            plan = project.find_plan()
            late = plan.tables["quanta"].filter(pl.col("data_id").str.contains(LAST))["job"][0]
            name = plan.tables["jobs"]["name"][late]
        answer = inside("debug", name, "--json", cwd=night, ok=False)
        assert answer.code == 4
        assert answer.codes == ["PST-P056"]

    def test_what_did_not_come_by_its_deadline_is_left_out_only_if_that_is_waived(
        self, night, inside, monkeypatch
    ):
        inside("promise", "raw", *TOLD.split(), "--by", "2100-01-01", cwd=night)
        monkeypatch.setattr("prestow.results.promising.now", lambda: 2**62)
        refused = inside("plan", "--promised", "--json", cwd=night, ok=False)
        assert refused.code == 4
        assert refused.codes == ["PST-P020"]
        assert "promised_late:raw" in refused.out
        inside("plan", "--promised", "--waive", "promised_late:raw", cwd=night)
        late = inside("plan", "--promised", "--waive", "promised_late:*@isr", "--json", cwd=night).json
        assert late["promised"] is None
        assert late["inputs"]["found"] == 3
        inside("verify", cwd=night)

    def test_a_table_promises_many_and_the_latest_deadline_counts(self, night, inside):
        names, values = zip(*(word.split("=") for word in TOLD.split()), strict=True)
        (night / "tonight.csv").write_text(f"{','.join(names)}\n{','.join(values)}\n")
        inside("promise", "raw", "--data-ids", "tonight.csv", "--by", "2100-01-01", cwd=night)
        inside("promise", "raw", "--data-ids", "tonight.csv", "--by", "2101-01-01", cwd=night)
        assert [p["by"] for p in inside("promise", "--json", cwd=night).json["promises"]] == [
            "2100-01-01",
            "2101-01-01",
        ]
        assert inside("plan", "--promised", "--json", cwd=night).json["promised"] == {
            "datasets": 1,
            "first_by": "2101-01-01",
        }
        assert inside("plan", "--json", "-n", cwd=night).json["promised"] is None  # only who asks gets them

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("raw instrument=simcam exposure=7 detector=0 --by 2100-01-01", "visit"),
            ("raw instrument=simcam exposure=7 --by 2100-01-01", "detector"),
            (f"raw {TOLD} --by 2001-01-01", "past"),
            (f"calexp {TOLD} --by 2100-01-01", "raw"),
            ("raw --by 2100-01-01", "--data-ids"),
            (f"raw {TOLD} --by 2100-01-01 --begin 2099-01-02 --end 2099-01-01", "before it begins"),
        ],
    )
    def test_a_promise_that_cannot_be_is_refused_and_nothing_is_kept(self, night, inside, words, said):
        answer = inside("promise", *words.split(), "--json", cwd=night, ok=False)
        assert answer.code == 3
        assert set(answer.codes) == {"PST-P055"}
        assert said in answer.out
        assert inside("promise", "--json", cwd=night).json["promises"] == []


class TestStages:
    def test_each_stage_is_a_plan_of_the_run_when_the_one_before_is_there(self, night, inside):
        inside("ingest", "--raw", "late", "--instrument", "simcam", cwd=night)
        whole = inside("plan", "--run", "whole", "--json", cwd=night).json["plan"]
        with_barrier(night)
        first = inside("plan", "--json", cwd=night).json
        assert first["stage"] == {"number": 1, "of": 2, "later": ["coadd"]}
        assert [row["task"] for row in first["tasks"]] == ["isr", "calibrate"]
        inside("verify", cwd=night)
        inside("run", "--engine", "local", "-q", cwd=night)
        assert inside("plan", "--json", cwd=night).json["plan"] == first["plan"]  # not taken in yet

        inside("ingest", cwd=night)
        second = inside("plan", "--json", cwd=night).json
        assert second["stage"] == {"number": 2, "of": 2, "later": []}
        assert second["run"] == first["run"]
        inside("verify", cwd=night)
        assert recipes(night, second["plan"], "coadd") == recipes(night, whole, "coadd") != {}
        inside("run", "--engine", "local", "-q", cwd=night)
        inside("ingest", cwd=night)
        assert inside("plan", "--json", cwd=night).json["plan"] == second["plan"]
        child = inside("plan", "--child-of", "demo", "--json", cwd=night).json  # nothing to make good
        assert (child["stage"]["number"], child["reused"]) == (2, 2)

    def test_what_comes_later_is_of_the_first_stage_again(self, night, inside):
        with_barrier(night)
        inside("plan", cwd=night)
        inside("run", "--engine", "local", "-q", cwd=night)
        inside("ingest", cwd=night)
        assert inside("plan", "--json", "-n", cwd=night).json["stage"]["number"] == 2
        inside("ingest", "--raw", "late", "--instrument", "simcam", cwd=night)
        assert inside("plan", "--json", cwd=night).json["stage"]["number"] == 1

    def test_a_barrier_with_nothing_before_it_is_refused_where_it_stands(self, night, inside):
        path = night / "pipeline.yaml"
        text = path.read_text().replace("    inputs: {raw: raw}", "    inputs: {raw: raw}\n    barrier: true")
        path.write_text(text)
        line = text.splitlines().index("    barrier: true") + 1
        answer = inside("plan", "--json", cwd=night, ok=False)
        assert (answer.code, answer.codes) == (3, ["PST-C013"])
        assert f"pipeline.yaml:{line}:" in answer.json["problems"][0]["where"]

    def test_a_cluster_on_both_sides_of_a_barrier_is_refused(self, night, inside):
        with_barrier(night)
        path = night / "pipeline.yaml"
        path.write_text(
            f"{path.read_text()}\nclusters:\n  all: {{tasks: [calibrate, coadd], dimensions: [instrument, detector, band]}}\n"
        )
        answer = inside("check", "--json", cwd=night, ok=False)
        assert (answer.code, answer.codes) == (3, ["PST-C013"])
        assert "stages 1, 2" in answer.out
