"""The report: what it says of a run, that it is one page of a bounded size, and that nothing in it is taken for markup."""

import importlib.util
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType
from typing import Any

import polars as pl
import pytest

from prestow.plan import Request, build_plan
from prestow.plan.states import WORDS
from prestow.results.failures import grouped
from prestow.results.report import Report, answer, gather, page
from prestow.results.report.facts import SEVERITY, StateMap
from prestow.results.report.gathering import Around, cause_of
from prestow.results.report.mapping import maps_of, telling
from prestow.results.report.page import LARGEST
from prestow.results.report.reading import Journal, read_lines
from prestow.results.report.saying import command_of, verdict
from prestow.results.report.timing import BINS, attempts_of, critical_path, timeline_of, times_by_task
from prestow.stores import open_store
from prestow.testing.surveys import UNIVERSE, Survey, reduction


def beside(name: str) -> ModuleType:
    """Import a helper of all tests."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).parents[2] / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


campaign = beside("report_campaign")


class Page(HTMLParser):
    """What a browser would see: elements that are open at the end, addresses, and the data."""

    VOID = ("meta", "input", "img", "br", "hr", "link")
    LOOSE = ("td", "tr", "tbody", "html", "body")  # which the browser closes by itself

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.scripts = 0
        self.ids: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID and tag != "td":
            self.open.append(tag)
        self.scripts += tag == "script"
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href", "action", "srcset", "data", "poster", "xlink:href"):
                self.addresses.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element of a drawing, which is closed at once."""

    def handle_endtag(self, tag: str) -> None:
        if tag != "td":
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("script", "style"):
            self.words += data


def data_of(text: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    data: dict[str, Any] = json.loads(found)
    return data


@pytest.fixture(scope="module")
def many() -> tuple[Any, Report]:
    """Ten thousand jobs, less a few."""
    simulated = campaign.simulate(66, 50)
    assert 9_900 < simulated.plan.document["totals"]["jobs"] <= 10_000 + 100
    return simulated, gather(simulated.plan, simulated.store, around=Around(journal=simulated.journal))


@pytest.fixture(scope="module")
def text(many: tuple[Any, Report]) -> str:
    return page(many[1])


def test_every_quantum_and_every_failure_is_counted_once(many: tuple[Any, Report]) -> None:
    simulated, report = many
    totals = simulated.plan.document["totals"]
    assert report.total == sum(report.counts.values()) == totals["quanta"]
    assert all(
        sum(counts.values()) == simulated.plan.counts[task]["quanta"] for task, counts in report.tasks.items()
    )
    assert report.failures == sum(cause.count for cause in report.causes) == simulated.failed
    assert report.counts["failed"] == report.unmade_count == simulated.failed
    assert all(sum(cause.now.values()) == cause.quanta for cause in report.causes)


def test_twelve_planted_causes_are_told_in_the_first_lines_and_on_the_page(
    many: tuple[Any, Report], text: str
) -> None:
    _, report = many
    lines = answer(report).splitlines()[:25]
    expected = [
        *(re.split(r"[:( ]", one)[0] for one in campaign.EXCEPTIONS),
        *(f"host {host}" for host in campaign.BAD_HOSTS),
    ]
    assert len(report.causes) == len(expected) == 12
    for name in expected:
        assert sum(re.match(rf"\s+[\d,]+  {name}\b", line) is not None for line in lines) == 1
    assert len(re.findall(r'<details class="cause', text)) == 12
    assert "12 causes, 2 of them hosts" in Page(text).words


def test_a_hundred_thousand_tries_are_told_in_twenty_five_lines(many: tuple[Any, Report]) -> None:
    rows = campaign.rows(100_000)
    tries = pl.DataFrame(rows).with_columns(now=pl.lit("failed"))
    from dataclasses import replace

    groups = grouped(tries)
    report = replace(
        many[1],
        causes=tuple(cause_of(group, tries) for group in groups),
        failures=sum(g.count for g in groups),
    )
    assert len(groups) == 12
    assert report.failures == sum(bool(row["code"]) for row in rows)
    lines = answer(report).splitlines()[:25]
    assert all(any(cause.title[:40] in line for line in lines) for cause in report.causes)


def test_the_page_is_small_and_needs_nothing_else(text: str) -> None:
    assert len(text.encode()) < LARGEST == 1_000_000
    found = Page(text)
    assert found.open == []
    assert all(address.startswith("#") for address in found.addresses)
    assert found.scripts == 2
    assert len(found.ids) == len(set(found.ids))
    assert not re.search(r"https?:|//|url\(|@import|<link|<iframe|<object|<base", text)
    assert "default-src 'none'" in text


def test_the_data_is_in_the_page_again(many: tuple[Any, Report], text: str) -> None:
    simulated, report = many
    data = data_of(text)
    assert data["counts"] == report.counts
    assert data["verdict"] == report.verdict
    assert [cause["title"] for cause in data["causes"]] == [cause.title for cause in report.causes]
    if report.jobs is not None and "jobs" in data:
        assert len(data["jobs"]["name"]) == simulated.plan.document["totals"]["jobs"]
    else:
        assert "jobs" in data["left_out"] or data["jobs"] is None


HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \x00\x07\x1b[31mred\x1b[0m \u202egnp \u2028 {{data}} ]]> <!-- http://evil.example/x"


def test_what_others_wrote_is_never_markup() -> None:
    simulated = campaign.simulate(4, 2, log=HOSTILE)
    names = [name for name, _ in simulated.store.walk("_attempts")]
    spoiled = simulated.store.snapshot()
    for name in names[:6]:
        report = json.loads(spoiled[name])
        entry = report["quanta"][0]
        report["host"] = HOSTILE
        entry["failures"] = [
            {"code": "PST-N007", "message": f"{HOSTILE}: {name}", "log_tail": [HOSTILE, 7, None]}
        ]
        entry["state"] = "failed"
        spoiled[name] = json.dumps(report).encode()
    simulated.store.restore(spoiled)
    journal = [*simulated.journal, {"at": 1.8e9 + 7, "event": "lost", "job": HOSTILE, "why": HOSTILE}]
    notes = (HOSTILE,)
    report = gather(
        simulated.plan, simulated.store, around=Around(journal=journal, notes=notes, word=f" {HOSTILE}")
    )
    text = page(report)
    found = Page(text)
    assert found.open == []
    assert found.scripts == 2
    assert found.addresses == [a for a in found.addresses if a.startswith("#")]
    assert "alert(1)" in found.words
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202e\u2028]", text)
    assert "{{data}}" in found.words
    assert any(HOSTILE in note for note in data_of(text)["notes"])
    assert "\x1b" not in answer(report)


def empty(tmp_path: Path) -> tuple[Any, Any]:
    plan = build_plan(Request("demo", reduction(), UNIVERSE, ("raw",)), Survey.make(3, 2))
    return plan, open_store(f"file://{tmp_path}/store")


def test_a_plan_that_was_never_run_has_a_report(tmp_path: Path) -> None:
    report = gather(*empty(tmp_path))
    assert report.verdict == f"0 of {report.total} made; {report.total} pending"
    assert report.causes == report.slowest == report.critical == ()
    assert report.timeline is None
    assert Page(page(report)).open == []


def test_a_plan_of_nothing_has_a_report() -> None:
    facts = {
        "plan": "0" * 32, "run": "none", "pipeline": "p", "jobs": 0, "tries": 0, "wall_seconds": 0, "cpu_seconds": 0, "runs": 0, "hosts": 0, "workers": 0, "busy": None,
        "critical_seconds": 0, "worker_deaths": 0, "begun": None, "ended": None, "versions": {}, "code": None, "repeat": [], "warnings": [],
        "written": {"at": 0.0, "by": "x", "prestow": "0"},
    }  # fmt: skip
    sentence, mood = verdict({}, alive=False, closes=None)
    report = Report(sentence, mood, dict.fromkeys(SEVERITY, 0), {}, facts)
    assert "nothing is planned" in answer(report)
    assert Page(page(report)).open == []


@pytest.mark.parametrize(
    ("counts", "alive", "closes", "expected", "mood"),
    [
        ({"made": 3}, False, True, "3 of 3 made; the account closes", "good"),
        ({"made": 3}, False, False, "3 of 3 made; the account does not close", "bad"),
        ({"made": 2, "reused": 1}, False, None, "2 of 3 made, 1 taken from other runs", "good"),
        ({"made": 2, "lost": 1, "blocked": 4}, False, True, "2 of 7 made; 1 lost, tolerated, 4 blocked by that; the account closes", "losses"),
        ({"made": 2, "failed": 1}, False, False, "2 of 3 made; 1 failed", "bad"),
        ({"made": 2, "pending": 1200}, True, None, "under way: 2 of 1,202 made, 1,200 pending", "busy"),
    ],
)  # fmt: skip
def test_the_verdict_is_one_sentence(
    counts: dict[str, int], alive: bool, closes: bool | None, expected: str, mood: str
) -> None:
    assert verdict(counts, alive=alive, closes=closes) == (expected, mood)


def test_the_command_is_the_request_again() -> None:
    request = {
        "where": "visit < 3",
        "want": ["coadd{tract=0}"],
        "excluded": [{"where": "visit=2", "because": "clouds"}],
        "flat": True,
    }
    assert command_of("demo", request, ["isr.gain=2"]) == (
        "prestow plan --run demo --where 'visit < 3' --want 'coadd{tract=0}' --set isr.gain=2 --exclude visit=2 --because clouds --flat"
    )


def quanta(**columns: list[Any]) -> pl.DataFrame:
    height = len(next(iter(columns.values())))
    return pl.DataFrame({"task": ["a"] * height, "code": [1] * height, **columns})


def test_a_map_shows_the_worst_state_of_each_pair() -> None:
    frame = pl.DataFrame(
        {
            "task": ["a", "b", "a", "c"],
            "code": [1, 6, 3, 1],
            "visit": [1, 1, 2, None],
            "detector": [0, 0, 1, None],
            "band": ["g"] * 4,
        }
    )
    (found,) = maps_of(frame, ["a", "b", "c"])
    assert (found.rows, found.columns) == ("visit", "detector")
    assert (found.row_names, found.column_names, found.tasks) == (("1", "2"), ("0", "1"), ("a", "b"))
    words = WORDS
    assert words[6] == "failed"
    assert found.cells == ("F ", " L")
    assert dict(found.counts) == {"lost": 1, "failed": 1}


def test_the_most_telling_dimensions_of_any_universe() -> None:
    both = {"night": [1, 1, 2, 2], "arm": ["b", "r", "b", "r"], "site": ["x"] * 4}
    assert telling(quanta(**both)) == ("arm", "night")
    assert telling(quanta(site=["x"] * 3, plate=[1, 2, 3])) == ("plate", "task")
    assert telling(quanta(site=["x"] * 3)) is None
    assert telling(pl.DataFrame({"task": ["a"], "code": [1]})) is None


def test_a_map_of_very_many_values_is_binned_and_loses_nothing() -> None:
    visits, detectors = 1000, 300
    frame = pl.DataFrame(
        {
            "visit": [v for v in range(visits) for _ in range(detectors)],
            "detector": list(range(detectors)) * visits,
        }
    )
    frame = frame.with_columns(
        task=pl.lit("a"),
        code=pl.when((pl.col("visit") == 777) & (pl.col("detector") == 299)).then(6).otherwise(1),
    )
    (found,) = maps_of(frame, ["a"])
    assert found.together == (10, 3)
    assert len(found.cells) == 100
    assert "".join(found.cells).count("F") == 1
    assert found.cells[77][99] == "F"
    assert found.row_names[77] == "770 … 779"
    assert dict(found.counts) == {"made": visits * detectors - 1, "failed": 1}


def test_a_flat_map_lies_down() -> None:
    rows = [{"task": "coadd", "code": 1, "ccd": n, "band": band} for n in range(30) for band in "gr"]
    (found,) = maps_of(pl.DataFrame(rows), ["coadd"])
    assert isinstance(found, StateMap)
    assert (found.rows, found.columns, len(found.cells)) == ("band", "ccd", 2)


def tries(count: int, *, hosts: int = 2, seconds: float = 1.0) -> pl.DataFrame:
    return pl.DataFrame([
        {"quantum": str(n), "job": f"j{n}", "attempt": f"a{n}", "task": "isr", "host": f"h{n % hosts}", "pid": 1, "state": "made", "code": "", "seconds": seconds,
         "cpu_seconds": 0.5 * seconds, "peak_memory": 100 * (n + 1), "end": 100.0 + seconds * (n // hosts + 1)}
        for n in range(count)
    ])  # fmt: skip


def test_the_timeline_has_a_bar_for_each_try_and_marks_workers_that_vanished() -> None:
    journal = read_lines([
        {"at": 99.0, "event": "begin"}, {"at": 101.5, "event": "lost", "job": "j1", "why": "gone"}, {"at": 104.0, "event": "end"},
        {"at": "never", "event": "end"},
    ])  # fmt: skip
    found = timeline_of(attempts_of(tries(6)), journal)
    assert found is not None
    assert (found.begin, found.seconds, found.deaths) == (99.0, 5.0, ((2.5, "j1", "gone"),))
    assert [lane.name for lane in found.lanes] == ["h0 · 1", "h1 · 1"]
    assert [bar[:2] for bar in found.lanes[0].bars] == [(1.0, 1.0), (2.0, 1.0), (3.0, 1.0)]


def test_a_long_timeline_is_binned_and_adds_up() -> None:
    found = timeline_of(attempts_of(tries(5000)), Journal())
    assert found is not None
    assert found.binned
    assert all(len(lane.busy) == BINS and lane.bars == () for lane in found.lanes)
    assert sum(lane.busy[i] for lane in found.lanes for i in range(BINS)) == pytest.approx(2 * BINS, rel=1e-3)


def test_the_critical_path_is_the_chain_that_took_longest() -> None:
    timed = pl.DataFrame({
        "name": list("abcde"), "label": ["t"] * 5, "depth": [0, 0, 1, 1, 2], "seconds": [1.0, 5.0, 9.0, 2.0, 1.0], "host": ["h"] * 5, "tries": [1] * 5,
        "state": ["made"] * 5,
    })  # fmt: skip
    edges = pl.DataFrame({"parent": [0, 1, 2, 3], "child": [2, 3, 4, 4]})
    seconds, chain = critical_path(timed, edges)
    assert (seconds, [job.job for job in chain]) == (11.0, ["a", "c", "e"])
    assert critical_path(timed.with_columns(seconds=pl.lit(None, pl.Float64)), edges) == (0.0, ())


def test_times_and_memory_stand_beside_what_was_asked() -> None:
    jobs = pl.DataFrame(
        {"job": [0], "memory": [1000], "walltime": [60.0], "cpu_seconds": [4.0], "count": [4]}
    )
    one, other = times_by_task(
        tries(5), pl.DataFrame({"task": ["isr", "coadd"], "job": [0, 0]}), jobs, ["isr", "coadd"]
    )
    assert (one.tries, one.seconds, one.memory) == (5, (1.0,) * 5, (100.0, 200.0, 300.0, 400.0, 500.0))
    assert (one.asked_memory, one.expected_cpu, one.total_cpu) == (1000, 1.0, 2.5)
    assert (other.tries, other.memory) == (0, ())
