"""What Pegasus would refuse, or pass over in silence, is refused before it sees it, each in clear words."""

from __future__ import annotations

import polars as pl
import pytest

from prestow.engines.pegasus.checking import Facts, check, cycle
from prestow.errors import PlanRefusedError

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
    try:
        check(found, exists, edges, flat=flat)
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
    assert found.startswith("PST-E008 somebody waits for zzz")


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


def test_a_long_chain_is_no_cycle() -> None:
    n = 300
    assert (
        cycle(pl.DataFrame({"parent": [str(i) for i in range(n)], "child": [str(i + 1) for i in range(n)]}))
        == []
    )
