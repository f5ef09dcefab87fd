"""What Pegasus would refuse, or pass over in silence, is refused before it sees it, each in clear words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl
import pytest

from prestow.engines.pegasus.checking import Checker
from prestow.errors import PlanRefusedError


def check_whole(
    jobs: pl.DataFrame, uses: pl.DataFrame, exists: pl.DataFrame, edges: pl.DataFrame, **how: bool
) -> None:
    """Check a workflow that is in memory whole."""
    checker = Checker(jobs, **how)
    checker.uses(uses)
    checker.exists(exists)
    checker.finish(edges, lambda: ([uses], [exists]))


@dataclass
class Facts:
    """A workflow, job by job."""

    ids: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    jobs: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    outputs: list[bool] = field(default_factory=list)

    def add(self, job: str, words: str, reads: Iterable[str], makes: Iterable[str]) -> None:
        number = len(self.ids)
        self.ids.append(job)
        self.words.append(words)
        for names, output in ((reads, False), (makes, True)):
            for name in names:
                self.jobs.append(number)
                self.names.append(name)
                self.outputs.append(output)

    def uses(self) -> pl.DataFrame:
        schema = {"job": pl.UInt32, "name": pl.String, "output": pl.Boolean}
        return pl.DataFrame([self.jobs, self.names, self.outputs], schema=schema)


EDGES = pl.DataFrame({"parent": ["a"], "child": ["b"]})
THERE = {"raw/1.fits": "file:///store/raw/1.fits"}


def facts(**changes: object) -> Facts:
    """Give job a, which reads a raw file, and b, which reads what a makes."""
    jobs = {"a": (["raw/1.fits"], ["r/a.json"]), "b": (["r/a.json"], ["r/b.json"]), **changes}
    result = Facts()
    for name, (reads, makes) in jobs.items():  # type: ignore[misc]
        result.add(name, name, reads, makes)
    return result


def looked_at(
    found: Facts, *, edges: pl.DataFrame = EDGES, there: dict[str, str] = THERE, flat: bool = False
) -> list[str]:
    exists = pl.DataFrame(
        {"name": list(there), "url": list(there.values())}, schema={"name": pl.String, "url": pl.String}
    )
    numbers = {name: number for number, name in reversed([*enumerate(found.ids)])}
    named = edges.select(
        pl.col("parent", "child").replace_strict(numbers, default=len(numbers), return_dtype=pl.UInt32)
    )
    jobs = pl.DataFrame({"job": range(len(found.ids)), "id": found.ids, "words": found.words})
    try:
        check_whole(jobs, found.uses(), exists, named, condorio=flat)
    except PlanRefusedError as error:
        return [f"{p.code} {p.what} {p.where}" for p in error.problems]
    return []


def test_a_whole_workflow_is_fine() -> None:
    assert looked_at(facts(), flat=True) == []


def test_one_file_of_two_jobs() -> None:
    found = looked_at(
        facts(c=(["raw/1.fits"], ["r/a.json"])),
        edges=pl.DataFrame({"parent": ["a", "c"], "child": ["b", "b"]}),
    )
    assert [line[:8] for line in found] == ["PST-E006", "PST-E006"]
    assert "r/a.json" in found[0]
    assert "job c" in found[1]


def test_a_file_that_is_there_and_is_made() -> None:
    (found,) = looked_at(facts(), there={**THERE, "r/b.json": "file:///store/r/b.json"})
    assert found.startswith("PST-E006")
    assert "r/b.json" in found


def test_an_input_that_nobody_makes() -> None:
    (found,) = looked_at(facts(), there={})
    assert found == "PST-E007 nobody makes raw/1.fits, and it is not there job a"


def test_a_job_waits_for_one_that_is_not_there() -> None:
    edges = pl.DataFrame({"parent": ["a", "zzz"], "child": ["b", "b"]})
    (found,) = looked_at(facts(), edges=edges)
    assert found.startswith("PST-E008 somebody waits for job 2")


def test_jobs_that_wait_for_each_other() -> None:
    (found,) = looked_at(facts(), edges=pl.DataFrame({"parent": ["a", "b"], "child": ["b", "a"]}))
    assert found.startswith("PST-E008 2 jobs wait for each other: a, b")


def test_a_job_that_does_not_wait_for_what_it_reads() -> None:
    (found,) = looked_at(facts(), edges=EDGES.clear())
    assert found.startswith("PST-E008 b reads what a makes, and does not wait for it")


@pytest.mark.parametrize(
    "character", ["'", '"', "`", "$", " ", ",", ";", "=", "%", ":", "\\", "\n", "ä", "*", "&"]
)
def test_names_that_would_not_arrive_as_they_are(character: str) -> None:
    name = f"raw/1{character}.fits"
    found = looked_at(facts(a=([name], ["r/a.json"])), there={name: f"file:///store/{name}"})
    assert [line[:8] for line in found][0] == "PST-E004"
    assert repr(name) in found[0]


@pytest.mark.parametrize("name", ["/etc/passwd", "-rf", "a//b", "a/", ""])
def test_names_that_are_no_relative_paths(name: str) -> None:
    assert looked_at(facts(a=([name], ["r/a.json"])), there={name: "file:///store/x"})[0].startswith(
        "PST-E004"
    )


def test_an_id_that_is_none_and_one_that_stands_twice() -> None:
    twice = facts()
    twice.add("a", "a", [], [])
    twice.add("a.b", "a.b", [], [])
    assert [line[:8] for line in looked_at(twice)] == ["PST-E004", "PST-E006"]


def test_what_people_read_has_no_control_characters() -> None:
    found = facts()
    found.words[0] = "isr\n1"
    assert looked_at(found)[0].startswith("PST-E004 what a job is called")


def test_two_inputs_of_one_last_name_arrive_as_one_where_all_arrive_in_one_directory() -> None:
    there = {**THERE, "raw/night2/1.fits": "file:///store/raw/night2/1.fits"}
    found = facts(a=([*there], ["r/a.json"]))
    assert looked_at(found, there=there) == []
    (told,) = looked_at(found, there=there, flat=True)
    assert (
        told
        == "PST-E005 inputs of one job would arrive as one file 1.fits: raw/1.fits, raw/night2/1.fits job a"
    )


def test_of_many_faults_of_a_kind_some_are_shown_and_the_others_counted() -> None:
    names = [f"raw/{n} .fits" for n in range(20)]
    found = looked_at(facts(a=(names, ["r/a.json"])), there={n: f"file:///s/{n}" for n in names})
    assert any("and 15 more" in line for line in found)


JOBS = pl.DataFrame({"job": [4, 7], "id": ["a", "b"], "words": ["a", "b"]})
USES = pl.DataFrame(
    {
        "job": [4, 4, 7, 7],
        "name": ["raw/1.fits", "r/a.json", "r/a.json", "r/b.json"],
        "output": [False, True] * 2,
    }
)
EXISTS = pl.DataFrame({"name": ["raw/1.fits"], "url": ["file:///store/raw/1.fits"]})
WAITS = pl.DataFrame({"parent": [4], "child": [7]})


def told(
    uses: pl.DataFrame = USES, exists: pl.DataFrame = EXISTS, edges: pl.DataFrame = WAITS, **how: bool
) -> list[str]:
    try:
        check_whole(JOBS, uses, exists, edges, **how)
    except PlanRefusedError as error:
        return [f"{p.code} {p.what} {p.where}" for p in error.problems]
    return []


def renamed(old: str, new: str) -> dict[str, pl.DataFrame]:
    exists = EXISTS.with_columns(pl.col("name", "url").str.replace(old, new, literal=True))
    return {"uses": USES.with_columns(pl.col("name").replace(old, new)), "exists": exists}


def test_jobs_are_numbers_of_the_plan_and_need_not_begin_at_0() -> None:
    assert told() == []
    assert told(edges=WAITS.clear()) == ["PST-E008 b reads what a makes, and does not wait for it "]


@pytest.mark.parametrize(
    "name", ["raw/../1.fits", "raw/./1.fits", "raw/..", "..", "raw/1%2.fits", "raw/1%2f.fits", "raw/1%"]
)
def test_names_that_lead_elsewhere_and_escapes_that_are_none(name: str) -> None:
    assert [line[:8] for line in told(**renamed("raw/1.fits", name))] == ["PST-E004"]


@pytest.mark.parametrize("name", ["raw/..1.fits", "raw/.hidden", "raw/a%2Fb%20c.fits", "raw%2F1.fits"])
def test_names_that_only_look_so(name: str) -> None:
    assert told(**renamed("raw/1.fits", name)) == []


def test_an_escape_arrives_as_it_is_only_from_a_file_system() -> None:
    faulty = renamed("raw/1.fits", "raw/1%20.fits")
    faulty["exists"] = faulty["exists"].with_columns(url=pl.lit("s3://a@b/bucket/raw/1%20.fits"))
    assert [line[:23] for line in told(**faulty)] == ["PST-E004 a place has ch"]


@pytest.mark.parametrize("name", ["raw/" + "x" * 256, "/".join(["x" * 200] * 6)])
def test_names_that_are_too_long(name: str) -> None:
    (found,) = told(**renamed("raw/1.fits", name))
    assert found.startswith("PST-E063")
    assert f"{len(name):,} bytes" in found


def test_a_name_that_is_a_directory_of_another() -> None:
    (found,) = told(**renamed("raw/1.fits", "r/b.json/1/2.fits"))
    assert found == "PST-E060 r/b.json is also a directory of others "


def test_flat_names_differ_also_where_case_does_not_count() -> None:
    same = renamed("raw/1.fits", "raw/A.json")
    assert told(**same) == []
    (found,) = told(**same, flat=True)
    assert found.startswith("PST-E061 these are one name where all lie together: ")
    assert "r/a.json" in found
    assert "raw/A.json" in found


def test_outputs_of_one_job_would_arrive_as_one_file() -> None:
    more = pl.concat([USES, pl.DataFrame({"job": [7], "name": ["q/b.json"], "output": [True]})])
    assert told(more) == []
    assert told(more, condorio=True) == [
        "PST-E005 outputs of one job would arrive as one file b.json: r/b.json, q/b.json job b"
    ]


def test_a_job_that_reads_what_it_makes() -> None:
    own = pl.concat([USES, pl.DataFrame({"job": [7], "name": ["r/b.json"], "output": [False]})])
    assert told(own) == ["PST-E008 b reads what it makes itself "]


def test_a_file_that_is_there_twice_and_facts_that_are_none() -> None:
    twice = pl.concat([EXISTS, EXISTS])
    assert told(exists=twice) == ["PST-E006 raw/1.fits is there twice "]
    assert told(exists=EXISTS.with_columns(size=pl.lit(-1), sha256=pl.lit("0" * 64)))[0].startswith(
        "PST-E062"
    )
    assert told(exists=EXISTS.with_columns(size=pl.lit(1), sha256=pl.lit("0e7")))[0].startswith("PST-E062")
    nothing = {"size": pl.lit(None, pl.Int64), "sha256": pl.lit(None, pl.String)}
    assert told(exists=EXISTS.with_columns(**nothing)) == []


def test_chunks_are_one_workflow_and_names_are_asked_for_only_if_something_is_wrong() -> None:
    checker = Checker(JOBS)
    checker.uses(USES.filter(pl.col("job") == 7))
    checker.uses(USES.filter(pl.col("job") == 4))
    checker.exists(EXISTS)
    asked = []

    def again() -> tuple[list[pl.DataFrame], list[pl.DataFrame]]:
        asked.append(1)
        return [USES], [EXISTS]

    checker.finish(WAITS, again)
    assert not asked
    lacking = Checker(JOBS)
    lacking.uses(USES)
    with pytest.raises(PlanRefusedError, match="nobody makes raw/1.fits"):
        lacking.finish(WAITS, lambda: ([USES], []))
    with pytest.raises(PlanRefusedError, match="nobody makes one of its files") as caught:
        lacking.finish(WAITS)
    assert caught.value.problems[0].where == "job a"
