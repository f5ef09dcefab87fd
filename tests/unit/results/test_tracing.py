"""Up to what it came from and down to what it went into, from whatever is left."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from prestow.engines import open_engine
from prestow.errors import ProjectError
from prestow.ingest import ingest_outputs
from prestow.naming.universe import load_universe
from prestow.results.causes import why
from prestow.results.lineage import Point, Step
from prestow.results.recorded import Recorded
from prestow.results.resolving import find_dataset
from prestow.results.tracing import LINES, Odd, Trace, trace, tree_lines
from prestow.stores import open_store
from prestow.testing.campaigns import Campaign

CLOUDY = {2: {"double": {"decline": "cloudy"}}}


Look = Callable[..., Recorded]


@pytest.fixture(scope="module")
def look() -> Iterator[Look]:
    """Give what is recorded of a campaign, or of what is left of it."""
    with ExitStack() as stack:

        def opened(campaign: Campaign, *, plan: bool = True, registry: bool = True) -> Recorded:
            return Recorded(
                load_universe(),
                stack.enter_context(campaign.registry()) if registry else None,
                campaign.plan() if plan else None,
                open_store(campaign.stores["archive"]),
            )

        yield opened


def one(recorded: Recorded, *words: str) -> Point:
    found = find_dataset(recorded, words).point
    assert found is not None
    return found


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """Four visits, of which one is cloudy; all run and taken in."""
    made = Campaign(tmp_path_factory.mktemp("campaign"), visits=4, do=CLOUDY, minimum=1)
    made.run(open_engine("local"))
    with made.registry() as registry:
        ingest_outputs(registry, open_store(made.stores["archive"]))
    return made


@pytest.fixture(
    scope="module", params=[(True, True), (False, True), (True, False)], ids=["all", "no plan", "no registry"]
)
def recorded(request: pytest.FixtureRequest, campaign: Campaign, look: Look) -> Recorded:
    return look(campaign, plan=request.param[0], registry=request.param[1])


def facts(found: Trace) -> dict[str, tuple[str, str, str, str, str]]:
    return {p.id: (p.type, p.data_id, p.state_words, p.job, p.sha256) for p in found.points.values()}


def test_whatever_is_left_tells_the_same(campaign: Campaign, look: Look) -> None:
    whole = look(campaign)
    up = trace(whole, one(whole, "total", "instrument=toy"))
    assert len(up.points) == 1 + 3 * 4
    for less in (look(campaign, plan=False), look(campaign, registry=False)):
        again = trace(less, one(less, "total", "instrument=toy"))
        assert facts(again) == facts(up)
        assert set(again.steps) == set(up.steps)


def test_what_is_absent_tells_its_state_and_why(recorded: Recorded) -> None:
    up = trace(recorded, one(recorded, "total", "instrument=toy"))
    head, *rest = tree_lines(up)
    assert "planned 4, used 3: declined:cloudy" in head
    (shifted,) = [line for line in rest if "shifted{instrument=toy,visit=2}" in line]
    assert "declined:cloudy" in shifted
    (doubled,) = [line for line in rest if "doubled{instrument=toy,visit=2}" in line]
    assert "declined:cloudy" in doubled
    (raw,) = [line for line in rest if "raw{instrument=toy,visit=2}" in line]
    assert "root" in raw
    assert "archive:raw/toy/raw-2.json" in raw


def test_down_is_up_turned_round(recorded: Recorded) -> None:
    up = trace(recorded, one(recorded, "total", "instrument=toy"))
    for key, point in up.points.items():
        if point.there:
            down = trace(recorded, point, down=True)
            assert up.start.id in down.points
            assert set(down.points) >= {s.reader for s in up.steps if s.input == key}


def test_down_of_what_came_to_nothing_says_so(recorded: Recorded) -> None:
    down = trace(recorded, one(recorded, "raw", "visit=2", "instrument=toy"), down=True)
    states = {p.task: p.state for p in down.points.values()}
    assert states == {"": "root", "double": "declined", "shift": "declined", "gather": "made"}


def test_the_depth_is_kept_and_told(recorded: Recorded) -> None:
    start = one(recorded, "total", "instrument=toy")
    assert set(trace(recorded, start, depth=0).points) == {start.id}
    level = trace(recorded, start, depth=1)
    assert len(level.points) == 5
    assert level.cut == 4
    assert trace(recorded, start, depth=99).cut == 0


def test_a_trace_is_plain_json(recorded: Recorded) -> None:
    up = trace(recorded, one(recorded, "total", "instrument=toy"))
    again = json.loads(json.dumps(up.as_dict()))
    assert again["start"] == up.start.id
    assert len(again["points"]) == len(up.points)
    assert len(again["steps"]) == len(up.steps)


def test_what_is_planned_and_not_tried_is_followed_in_the_plan(tmp_path: Path, look: Look) -> None:
    fresh = Campaign(tmp_path, visits=3)
    recorded = look(fresh)
    up = trace(recorded, one(recorded, "total", "instrument=toy"))
    assert sorted(p.state for p in up.points.values()) == ["pending"] * 7 + ["root"] * 3
    down = trace(recorded, one(recorded, "raw", "visit=1"), down=True)
    assert [p.type for p in down.points.values()] == ["raw", "doubled", "shifted", "total"]


def test_made_and_not_taken_in_is_made(tmp_path: Path, look: Look) -> None:
    fresh = Campaign(tmp_path, visits=2)
    fresh.run(open_engine("local"))
    recorded = look(fresh)
    up = trace(recorded, one(recorded, "total", "instrument=toy"))
    assert {p.state for p in up.points.values()} == {"made", "root"}
    assert {p.by for p in up.points.values() if p.state == "made"} == {"receipt"}
    assert all(s.state == "made" for s in up.steps)


def test_levels_are_queries_and_not_rows(
    campaign: Campaign, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Statements do not grow with the number of inputs."""
    counts = {}
    for visits in (4, 12):
        other = campaign if visits == 4 else Campaign(campaign.directory.parent / "wide", visits=visits)
        if visits != 4:
            other.run(open_engine("local"))
            with other.registry() as registry:
                ingest_outputs(registry, open_store(other.stores["archive"]))
        recorded = look(other, plan=False)
        assert recorded.registry is not None
        database, asked = recorded.registry._db, []
        query: Callable[..., object] = database.query
        monkeypatch.setattr(database, "query", lambda *a, q=query, n=asked: (n.append(a), q(*a))[1])
        trace(recorded, one(recorded, "total", "instrument=toy"))
        counts[visits] = len(asked)
    assert counts[12] <= counts[4]


def test_a_child_run_is_followed_into_its_parent(tmp_path: Path, look: Look) -> None:
    """What was lost is made again; what is taken from the parent run is told as such, and followed there."""
    flag = tmp_path / "flag"
    flag.touch()
    lossy = Campaign(
        tmp_path / "lossy",
        do={2: {"double": {"what": "fail", "while": str(flag)}}},
        double="tolerate",
        minimum=1,
    )
    lossy.run(open_engine("local"))
    store = open_store(lossy.stores["archive"])
    with lossy.registry() as registry:
        ingest_outputs(registry, store)
        flag.unlink()
        plan = lossy.plan("toy+1", child_of="toy")
        recorded = Recorded(load_universe(), registry, plan, store)
        up = trace(recorded, one(recorded, "total", "instrument=toy"))
        states = {(p.type, p.values.get("visit")): p.state for p in up.points.values()}
        assert states == {
            ("total", None): "pending", ("shifted", 1): "reused", ("shifted", 2): "pending", ("shifted", 3): "reused",
            ("doubled", 1): "made", ("doubled", 2): "pending", ("doubled", 3): "made",
            ("raw", 1): "root", ("raw", 2): "root", ("raw", 3): "root",
        }  # fmt: skip
        assert {p.run for p in up.points.values() if p.state == "made"} == {"toy"}
        reason = why(recorded, ["shifted", "visit=1"])
        assert (reason.state, reason.facts["taken_from"]) == ("reused", "toy")
        assert why(recorded, ["shifted", "visit=1"], run="toy").state == "made"


def wide(count: int, odd: int | None = None) -> Trace:
    points = {
        str(i): Point(str(i), "isr", json.dumps({"visit": i}), state="made", quantum=str(i))
        for i in range(count)
    }
    top = Point("top", "coadd", "{}", state="made", quantum="q")
    steps = tuple(Step("top", "isr", key, "made") for key in points)
    found = (Odd(points[str(odd)], ()),) if odd is not None else ()
    return Trace(top, "up", {"top": top, **points}, steps, found)


def test_of_very_many_inputs_text_has_few_and_never_loses_what_stands_out() -> None:
    lines = list(tree_lines(wide(500, odd=499)))
    assert len(lines) == LINES + 2
    assert any("visit=499" in line for line in lines)
    assert "and 460 more" in lines[-1]
    assert len(list(tree_lines(wide(LINES)))) == LINES + 1


def test_what_is_shared_is_shown_once_and_referred_to() -> None:
    points = {k: Point(k, k, "{}", state="made", quantum=k) for k in ("coadd", "a", "b", "flat", "bias")}
    steps = tuple(
        Step(reader, key, key, "made")
        for reader, key in (("coadd", "a"), ("coadd", "b"), ("a", "flat"), ("b", "flat"), ("flat", "bias"))
    )
    lines = list(tree_lines(Trace(points["coadd"], "up", points, steps)))
    assert [line.lstrip("│├└─ ").split("  ")[0] for line in lines] == [
        "coadd{}", "a{}", "[1] flat{}", "bias{}", "b{}", "flat{}",
    ]  # fmt: skip
    assert lines[-1].endswith("see [1]")


def test_words_that_mean_several_or_none_are_refused(recorded: Recorded) -> None:
    with pytest.raises(ProjectError) as several:
        find_dataset(recorded, ["shifted"])
    assert several.value.problems[0].code == "PST-G014"
    with pytest.raises(ProjectError) as none:
        find_dataset(recorded, ["shifted", "visit=77"])
    assert none.value.problems[0].code == "PST-G012"
    with pytest.raises(ProjectError) as unknown:
        find_dataset(recorded, ["00000000-0000-0000-0000-000000000000"])
    assert unknown.value.problems[0].code == "PST-G012"


def test_a_dataset_is_found_by_name_id_and_path(recorded: Recorded) -> None:
    point = one(recorded, "shifted", "visit=1")
    for words in ([point.id], ["shifted{visit=1}"], [point.path]):
        assert one(recorded, *words).id == point.id
