"""Laws of wanting and cutting, by brute force over sets: the ancestors and no more; parts that share nothing."""

import json
import tempfile
from pathlib import Path

import polars as pl
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from prestow.errors import PlanRefusedError
from prestow.pipeline.definition import InputConnection, Pipeline
from prestow.plan import Request, build_plan, write_plan
from prestow.plan.components import components_of
from prestow.testing.surveys import UNIVERSE, Survey, dataset_type, reduction, task
from prestow.verify import verify

FEW = settings(
    max_examples=10,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
TYPES = {
    "isr": ("visit", "detector"), "aligned": ("visit", "detector"), "coadd": ("instrument", "band", "detector"),
    "sources": ("visit", "detector"), "mosaic": ("visit",), "stack": ("instrument", "band"), "report": ("instrument",),
}  # fmt: skip


@st.composite
def surveys(draw):
    survey = Survey.make(
        draw(st.integers(3, 6)), draw(st.integers(2, 3)), bands=draw(st.sampled_from(["gr", "gri"]))
    )
    for kind, few in (("raw", 2), ("flat", 1)):
        gone = draw(st.sets(st.integers(0, survey.existing[kind].height - 1), max_size=few))
        ids = survey.existing[kind]["id"].gather(sorted(gone)).implode()
        survey = survey.without(kind, pl.col("id").is_in(ids))
    return survey


@st.composite
def pipelines(draw):
    """The reduction, and further tasks that read at random what comes before, some of it optionally."""
    base = reduction()
    isr, align, *rest = base.tasks
    minimum = draw(st.sampled_from(["all", 1, 0.4, 2]))
    mosaic = task("mosaic", ("visit",), [InputConnection("isr", "isr", minimum)], ["mosaic"])
    optional = InputConnection("mosaic", "mosaic", 0)
    coadd, measure = rest
    if draw(st.booleans()):
        measure = task("measure", ("visit", "detector"), ["aligned", "coadd", optional], ["sources"])
    last = [InputConnection(t, t, draw(st.sampled_from([0, 1]))) for t in draw(st.sets(
        st.sampled_from(["coadd", "mosaic", "sources"]), min_size=1
    ))]  # fmt: skip
    report = task("report", ("instrument",), sorted(last, key=lambda c: c.name), ["report"])
    types = {**base.dataset_types, **{n: dataset_type(n, *TYPES[n]) for n in ("mosaic", "report")}}
    return Pipeline("toy", "", (isr, align, mosaic, coadd, measure, report), types)


WANTED = st.sets(
    st.sampled_from(
        [
            "coadd",
            "mosaic{visit=2}",
            "isr{detector in (0..1) and visit < 3}",
            "sources{band = 'g'}",
            "coadd{band=r}",
            "report",
            "aligned{exposure_time > 25}",
            "mosaic",
        ]  # fmt: skip
    ),
    min_size=1,
    max_size=3,
)


def request(pipeline, **more):
    return Request("demo", pipeline, UNIVERSE, ("raw",), **more)


def facts(plan):
    """Give {quantum's id: (task, data ID, recipe)}, {its id: ids of quanta it reads from}, {its id: datasets}."""
    quanta = plan.tables["quanta"]
    ids = dict(quanta.select("quantum", "id").iter_rows())
    known = {
        row["id"]: (row["task"], row["data_id"], row["recipe"])
        for row in quanta.select("id", "task", "data_id", "recipe").iter_rows(named=True)
    }
    made = dict(plan.tables["outputs"].select("dataset", "quantum").iter_rows())
    reads = {one: set() for one in known}
    for quantum, dataset in plan.tables["inputs"].select("quantum", "dataset").iter_rows():
        if dataset in made:
            reads[ids[quantum]].add(ids[made[dataset]])
    datasets = plan.tables["datasets"].filter("planned").select("dataset", "id", "type", "data_id", "path")
    writes = {one: set() for one in known}
    for row in datasets.iter_rows():
        writes[ids[made[row[0]]]].add(row[1:])
    return known, reads, writes


def by_hand(survey, known, writes, text):
    """Give the quanta whose outputs a text wants, told from their data IDs."""
    kind, _, inside = text.rstrip("}").partition("{")
    bands = dict(survey.records["physical_filter"].select("physical_filter", "band").iter_rows())
    filters = dict(survey.records["visit"].select("visit", "physical_filter").iter_rows())
    times = dict(survey.records["visit"].select("visit", "exposure_time").iter_rows())
    test = {
        "": lambda d: True,
        "visit=2": lambda d: d["visit"] == 2,
        "detector in (0..1) and visit < 3": lambda d: d["detector"] in (0, 1) and d["visit"] < 3,
        "band = 'g'": lambda d: bands[filters[d["visit"]]] == "g",
        "band=r": lambda d: d["band"] == "r",
        "exposure_time > 25": lambda d: times[d["visit"]] > 25,
    }[inside]
    return {
        one
        for one in known
        for _, name, data_id, _ in writes[one]
        if name == kind and test(json.loads(data_id))
    }


@FEW
@given(surveys(), pipelines(), WANTED)
def test_what_is_wanted_and_its_ancestors_are_planned_and_nothing_else(survey, pipeline, wanted):
    try:
        known, reads, writes = facts(build_plan(request(pipeline), survey))
    except PlanRefusedError:
        return
    seeds = {text: by_hand(survey, known, writes, text) for text in wanted}
    needed, todo = set(), set().union(*seeds.values())
    while todo:
        one = todo.pop()
        needed.add(one)
        todo |= reads[one] - needed
    try:
        plan = build_plan(request(pipeline, want=tuple(wanted)), survey)
    except PlanRefusedError as error:
        assert not all(seeds.values())
        assert {p.code for p in error.problems} <= {"PST-P051", "PST-C027"}
        return
    assert all(seeds.values())
    mine, my_reads, my_writes = facts(plan)
    assert mine == {one: known[one] for one in needed}
    assert my_reads == {one: reads[one] for one in needed}
    assert my_writes == {one: writes[one] for one in needed}
    with tempfile.TemporaryDirectory() as place:
        assert not verify(write_plan(plan, Path(place))).findings


@FEW
@given(surveys(), pipelines(), st.integers(1, 4), st.booleans())
def test_parts_are_disjoint_and_together_the_whole(survey, pipeline, parts, some):
    want = ("mosaic", "aligned{detector=0}") if some else ()
    try:
        whole = build_plan(request(pipeline, want=want), survey)
    except PlanRefusedError:
        return
    known, reads, writes = facts(whole)
    groups = {one: {one} for one in known}  # merged one by one
    for one, others in reads.items():
        for other in others:
            both = groups[one] | groups[other]
            groups.update(dict.fromkeys(both, both))
    sets = {frozenset(group) for group in groups.values()}
    found = components_of(request(pipeline, want=want), survey)
    assert sorted(map(len, sets)) == sorted(found.sizes.tolist())
    assert sum(count for *_, count, _ in found.histogram()) == len(sets)
    if parts > len(sets):
        try:
            build_plan(request(pipeline, want=want, part=f"1/{parts}"), survey)
        except PlanRefusedError as error:
            assert [p.code for p in error.problems] == ["PST-P052"]
            return
        raise AssertionError("more parts than there are")
    union, ids, paths = {}, set(), []
    for k in range(1, parts + 1):
        plan = build_plan(request(pipeline, want=want, part=f"{k}/{parts}"), survey)
        mine, my_reads, my_writes = facts(plan)
        assert mine and not mine.keys() & union.keys()
        assert all(group <= mine.keys() or not group & mine.keys() for group in sets)
        assert my_reads == {one: reads[one] for one in mine} and my_writes == {
            one: writes[one] for one in mine
        }
        paths += [path for several in my_writes.values() for *_, path in several]
        union |= mine
        ids.add(plan.id)
    assert union == known and len(ids) == parts and len(set(paths)) == len(paths)
