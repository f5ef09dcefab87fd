"""What a forecast adds up in columns is what a plain count over the plan's rows gives."""

from collections import defaultdict

import hypothesis.strategies as st
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings

from prestow.pipeline.definition import Cluster, InputConnection
from prestow.plan import forecast_jobs
from prestow.plan.forecast import Place, make_forecast
from prestow.plan.forecast_history import TIMES, History
from prestow.plan.forecast_jobs import look_at_jobs
from prestow.plan.forecast_rules import Needs, make_rules
from prestow.testing.surveys import UNIVERSE, Request, Survey, build_plan, reduction

CLUSTERS = {
    "none": (),
    "line": (Cluster("line", ("isr", "align"), ("visit", "detector")),),
    "visit": (Cluster("visit", ("isr", "align"), ("visit",), 2),),
    "wide": (Cluster("wide", ("align", "coadd"), ("instrument", "detector")),),
}


def history():
    """Sizes and times that rise with inputs for some, so that single quanta differ."""
    n = np.arange(1, 21)
    size = {"isr": 1000 + 0 * n, "aligned": 500 + 0 * n, "coadd": 100 * n, "sources": 7 * n + 50}
    sizes = [
        pl.DataFrame({"type": [t] * 20, "run": ["old"] * 20, "size": s, "inputs": n}) for t, s in size.items()
    ]
    seconds = {"isr": 2.0 + 0 * n, "align": 1.0 + 0 * n, "coadd": 3.0 * n, "measure": 0.5 * n}
    times = [
        pl.DataFrame(
            {"task": [t] * 20, "run": ["old"] * 20, "inputs": n, "seconds": s, "cpu_seconds": s, "receipt": [100] * 20, "report": [50] * 20},
            schema=TIMES,
        )
        for t, s in seconds.items()
    ]  # fmt: skip
    return History(pl.concat(sizes), pl.concat(times))


def plan_of(visits, detectors, clusters, sizes, *, twice=False):
    survey = Survey.make(visits, detectors)
    rng = np.random.default_rng(sizes)
    for name, frame in survey.existing.items():
        survey.existing[name] = frame.with_columns(size=pl.Series(rng.integers(1, 10_000, frame.height)))
    pipeline = reduction(clusters=CLUSTERS[clusters])
    if twice:
        isr = pipeline.tasks[0]
        object.__setattr__(isr, "inputs", (*isr.inputs, InputConnection("again", "bias")))
    return build_plan(Request("demo", pipeline, UNIVERSE, ("raw",)), survey)


def brute(plan, rules):
    """Count file by file and job by job."""
    t = plan.tables
    task = dict(t["quanta"].select("quantum", "task").iter_rows())
    job = dict(t["quanta"].select("quantum", "job").iter_rows())
    reads = defaultdict(list)
    for quantum, dataset in t["inputs"].select("quantum", "dataset").iter_rows():
        reads[quantum].append(dataset)
    size = dict(t["locations"].select("dataset", "size").iter_rows())
    existing, maker = set(size), {}
    for row in t["datasets"].filter("planned").iter_rows(named=True):
        maker[row["dataset"]] = row["producer"]
        size[row["dataset"]] = rules.sizes[row["type"]].total(1, len(reads[row["producer"]]))
    held, written, brought = defaultdict(set), defaultdict(float), defaultdict(set)
    for quantum, datasets in reads.items():
        mine = {d for d in datasets if d in existing or job[maker[d]] != job[quantum]}
        brought[job[quantum]] |= mine
        held[job[quantum]] |= mine
    for dataset, quantum in maker.items():
        held[job[quantum]].add(dataset)
        written[job[quantum]] += size[dataset]
    seconds = defaultdict(float)
    for quantum, label in task.items():
        seconds[job[quantum]] += rules.wall[label].total(1, len(reads[quantum]))
    ends = {}
    parents = defaultdict(list)
    for parent, child in t["job_edges"].select("parent", "child").iter_rows():
        parents[child].append(parent)

    def end(j):
        if j not in ends:
            ends[j] = seconds[j] + max((end(p) for p in parents[j]), default=0.0)
        return ends[j]

    code = len(b"code")
    return {
        "staged": sum(size[d] for ds in brought.values() for d in ds),
        "staged_files": sum(len(ds) for ds in brought.values()),
        "unique": sum(size[d] for d in set().union(*brought.values())),
        "unique_files": len(set().union(*brought.values())),
        "held": [sum(size[d] for d in held[j]) + code for j in range(t["jobs"].height)],
        "written": [written[j] for j in range(t["jobs"].height)],
        "seconds": [seconds[j] for j in range(t["jobs"].height)],
        "path": max(map(end, range(t["jobs"].height))),
    }


@settings(max_examples=14, deadline=None)
@given(
    visits=st.integers(1, 7),
    detectors=st.integers(1, 3),
    clusters=st.sampled_from(sorted(CLUSTERS)),
    sizes=st.integers(0, 99),
    rows=st.sampled_from([5, 60, 4_000_000]),
    twice=st.booleans(),
)
def test_totals_are_those_of_a_plain_count(visits, detectors, clusters, sizes, rows, twice):
    plan = plan_of(visits, detectors, clusters, sizes, twice=twice)
    rules = make_rules(plan.definition, history())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(forecast_jobs, "ROWS", rows)  # slices of any length give the same
        jobs = look_at_jobs(plan, rules)
    true = brute(plan, rules)

    def total(staged):
        return staged.existing + sum(part.expected for part in staged.made)

    assert (jobs.total.files, jobs.unique.files) == (true["staged_files"], true["unique_files"])
    assert total(jobs.total) == pytest.approx(true["staged"])
    assert total(jobs.unique) == pytest.approx(true["unique"])
    assert jobs.written == pytest.approx(true["written"])
    assert jobs.seconds == pytest.approx(true["seconds"])
    assert jobs.critical_path == pytest.approx(true["path"])
    largest = jobs.largest.sure + sum(part.expected for part in jobs.largest.parts)
    typical = jobs.typical.sure + sum(part.expected for part in jobs.typical.parts)
    assert largest == pytest.approx(max(true["held"]))
    assert true["held"][jobs.largest.number] == pytest.approx(max(true["held"]))
    assert typical == pytest.approx(sorted(true["held"])[len(true["held"]) // 2])
    # What counts alone give is what all rows give.
    needs = Needs.of_counts(plan.definition, plan.counts)
    products = sum(part.expected for part in needs.products(rules).values())
    assert products == pytest.approx(sum(true["written"]))
    assert sum(p.expected for p in needs.of_tasks(rules.wall).values()) == pytest.approx(sum(true["seconds"]))
    # The disk is full when the jobs until then have written as much.
    room = 0.5 * sum(true["written"])
    stop = jobs.stops_at(room)
    assert sum(true["written"][:stop]) > room >= sum(true["written"][: stop - 1]) - 1e-6


@settings(max_examples=3, deadline=None)
@given(visits=st.integers(1, 6), workers=st.integers(1, 40))
def test_a_forecast_reads_as_it_was_made_and_is_the_same_again(visits, workers, tmp_path_factory):
    from prestow.plan import open_plan, write_plan
    from prestow.plan.forecast import read_forecast, write_forecast

    plan = plan_of(visits, 2, "none", visits)
    place = Place("archive", workers)
    forecast = make_forecast(plan, history(), place)
    path = write_plan(plan, tmp_path_factory.mktemp("plans"))
    assert make_forecast(open_plan(path), history(), place) == forecast
    file = write_forecast(forecast, path)
    text = file.read_bytes()
    assert read_forecast(path).as_dict() == forecast.as_dict()
    assert write_forecast(make_forecast(plan, history(), place), path).read_bytes() == text
    assert forecast.wall_seconds.low <= forecast.wall_seconds.value <= forecast.wall_seconds.high
    assert forecast.wall_seconds.value >= forecast.critical_path_seconds - 1e-9
