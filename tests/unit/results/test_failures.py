"""Failures grouped: what is one cause, what is a host's own, and that nothing is counted twice."""

import random

import polars as pl
import pytest

from prestow.results.failures import SCHEMA, grouped, tries_of
from prestow.results.messages import normal


def normalised(text: str, *values: str) -> str:
    return str(pl.DataFrame({"m": [text]}).select(normal(pl.col("m"), values)).item())


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("rms 3.25 of 12 rows", "rms -1e-7 of 400000 rows"),
        ("rms nan", "rms 0.1"),
        ("bad pixels: 1, 2, 3", "bad pixels: 77"),
        ("no flat in /a/b/c.fits", "no flat in /scratch/job-17/x_y/z.fits.gz"),
        ("no flat in calib/flat.fits", "no flat in a/b/c/d"),
        ("cannot open file:///a/b?x=1", "cannot open s3://bucket/key"),
        ("no key 'gain'", "no key 'read noise'"),
        ('no key "gain"', "no key `x`"),
        (
            "dataset 0b61f0a6-3c1e-5b2f-9d65-6c4c2e1a7f10 is torn",
            "dataset ffffffff-3c1e-5b2f-9d65-6c4c2e1a7f10 is torn",
        ),
        ("digest 9f86d081884c7d65 differs", "digest 0000000000000001 differs"),
        ("<obj at 0x7f3a10>", "<obj at 0xdeadbeef>"),
        ("stopped at row 12.", "stopped at row 12.5."),
        ("weights [1. 2.5 3.]", "weights [0.25]"),
        ("version 1.2.3", "version 2.10"),
        ("line\n  break 1", "line break 2"),
        ("at 2026-11-21T22:50:01", "at 1999-01-02T03:04:05"),
        ("late (tasks/a.py:3)", "late (tasks/a.py:4000)"),
    ],
)
def test_what_differs_from_one_to_the_next_is_taken_out(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)


def test_words_stay_words() -> None:
    assert (
        normalised("can't read the file's header or I/O error") == "can't read the file's header or I/O error"
    )
    assert normalised("no star in r, nor in simcam", "r", "simcam") == "no star in <id>, nor in <id>"
    assert normalised("a.b+c(d", "b+c(d") == "a.<id>"


def failure(message: str, **facts: object) -> dict[str, object]:
    return {"task": "isr", "host": "a", "code": "PST-N007", "message": message, **facts}


def test_the_same_exception_with_the_same_message_is_one_cause_also_across_tasks() -> None:
    groups = grouped(
        [
            failure("ValueError: rms 1", task="isr", quantum="1", job="j1", data_id="visit=1"),
            failure(
                "ValueError: rms 2",
                task="coadd",
                quantum="2",
                job="j2",
                data_id="visit=2",
                log_tail=["x", "y"],
            ),
            failure("TypeError: rms 3", quantum="3", data_id="visit=3"),
        ]
    )
    assert [(g.cause, g.exception, g.count) for g in groups] == [
        ("ValueError: rms <n>", "ValueError", 2),
        ("TypeError: rms <n>", "TypeError", 1),
    ]
    first = groups[0]
    assert (first.tasks, first.quanta, first.jobs) == ({"coadd": 1, "isr": 1}, ("2", "1"), ("j2", "j1"))
    assert (first.first, first.log_tail) == (("visit=2", "visit=1"), ("x", "y"))


def test_a_message_that_says_nothing_is_told_by_its_file() -> None:
    groups = grouped(
        [
            failure("AssertionError (tasks/a.py:3)"),
            failure("AssertionError (tasks/a.py:9)"),
            failure("AssertionError (tasks/b.py:3)"),
        ]
    )
    assert [(g.cause, g.count) for g in groups] == [
        ("AssertionError in tasks/a.py", 2),
        ("AssertionError in tasks/b.py", 1),
    ]


def test_an_error_of_prestow_is_told_by_its_code() -> None:
    (group,) = grouped([failure("no space left: /a/b", code="PST-R002")])
    assert (group.cause, group.exception) == ("PST-R002: no space left: <path>", "PST-R002")


def tries(*parts: tuple[str, str, int, list[str]]) -> list[dict[str, object]]:
    """Give so many tries on a host of a task, the first of which failed with these messages."""
    return [
        {"host": host, "task": task, "quantum": f"{host}{task}{i}", "code": "PST-N007" if i < len(said) else "", "message": said[i] if i < len(said) else ""}
        for host, task, count, said in parts
        for i in range(count)
    ]  # fmt: skip


MANY = [f"Error{'abcdefgh'[i % 8]}: x" for i in range(80)]
FEW = ["ValueError: y"] * 3


def kinds(rows: list[dict[str, object]]) -> list[tuple[str, str, int]]:
    return [(g.kind, g.cause, g.count) for g in grouped(rows)]


def test_a_host_that_fails_far_more_with_many_messages_is_one_cause() -> None:
    rows = tries(("good", "isr", 300, FEW), ("bad", "isr", 100, [*MANY, *FEW]), ("fine", "isr", 200, FEW))
    assert kinds(rows) == [("host", "bad", 83), ("cause", "ValueError: y", 6)]
    host = grouped(rows)[0]
    assert (host.tried, host.messages, dict(host.hosts)) == (100, 9, {"bad": 83})
    assert host.title == "host bad: 83 of 100 tries failed, 9 messages"


def test_one_message_on_one_host_is_a_cause_and_names_its_host() -> None:
    rows = tries(
        ("good", "isr", 300, FEW), ("bad", "isr", 100, ["OSError: full"] * 60 + ["OSError: stale"] * 30)
    )
    assert kinds(rows) == [
        ("cause", "OSError: full", 60),
        ("cause", "OSError: stale", 30),
        ("cause", "ValueError: y", 3),
    ]
    assert dict(grouped(rows)[0].hosts) == {"bad": 60}


def test_a_host_with_the_harder_task_is_not_to_blame() -> None:
    hard = tries(
        ("a", "deblend", 100, MANY),
        ("b", "deblend", 50, MANY[:40]),
        ("b", "isr", 1000, []),
        ("c", "isr", 1000, []),
    )
    assert all(kind == "cause" for kind, *_ in kinds(hard))
    alone = tries(("a", "deblend", 100, MANY), ("b", "isr", 1000, []))
    assert all(kind == "cause" for kind, *_ in kinds(alone))


def test_two_bad_hosts_do_not_hide_each_other() -> None:
    rows = tries(*((f"n{i}", "isr", 100, MANY if i < 2 else FEW) for i in range(5)))
    assert kinds(rows)[:2] == [("host", "n0", 80), ("host", "n1", 80)]


def test_without_what_went_well_no_host_is_told_apart() -> None:
    assert all(
        kind == "cause" for kind, *_ in kinds(tries(("bad", "isr", 80, MANY), ("good", "isr", 3, FEW)))
    )


def test_reports_of_the_node_are_taken_as_they_are() -> None:
    report = {
        "job": "j", "attempt": "a", "host": "h", "peak_memory": 12,
        "quanta": [
            {"quantum": "1", "task": "isr", "data_id": {"visit": 3, "band": "r"}, "state": "made", "seconds": 1.5, "cpu_seconds": 1, "failures": []},
            {"quantum": "2", "task": "isr", "data_id": {"visit": 4, "band": "r"}, "state": "lost", "failures": [
                {"code": "PST-N007", "message": "ValueError: 4 in r", "log_tail": ["end"], "task": "isr"}]},
            {"quantum": "3", "state": "pending", "why": "an input of this job is not settled"},
        ],
    }  # fmt: skip
    frame = tries_of([report])
    assert frame.schema == SCHEMA
    assert frame["data_id"].to_list() == ["band=r,visit=3", "band=r,visit=4"]
    (group,) = grouped([report])
    assert (group.cause, group.count, group.quanta, group.log_tail) == (
        "ValueError: <n> in <id>",
        1,
        ("2",),
        ("end",),
    )


def test_nothing_gives_nothing() -> None:
    assert grouped([]) == grouped(pl.DataFrame(schema=SCHEMA)) == ()
    assert grouped(tries(("a", "isr", 10, []))) == ()


EXCEPTIONS = (
    "ValueError: no sky fit: rms {x:.3f} of {n} rows in /scratch/job-{n}/x.fits (tasks/a.py:{n})", "KeyError: 'k{n}'",
    "IndexError: index {n} is out of bounds", "RuntimeError: amplifier {n} is dead", "PixelError: {n} of {x}",
    "OSError: [Errno 28] No space left on device: '/scratch/{n}'", "MemoryError", "AssertionError (tasks/a.py:3)",
    "TypeError: can't use {n} of band r", "LinAlgError: Singular matrix",
)  # fmt: skip


def planted(count: int, *, seed: int = 1) -> pl.DataFrame:
    """Give tries on forty hosts with twelve causes: ten exceptions, and two hosts with messages of many kinds."""
    r = random.Random(seed)
    rows = []
    for n in range(count):
        host, message = f"node{r.randrange(40):03}", ""
        if host in ("node007", "node023") and r.random() < 0.6:
            message = f"{r.choice(('Import', 'Connection', 'Illegal', 'Bus', 'Checksum'))}Error: {r.choice('abcdefghij')}x{n}"
        elif r.random() < 0.03:
            message = r.choice(EXCEPTIONS).format(x=r.random(), n=n)
        rows.append({
            "quantum": str(n), "job": f"j{n}", "task": r.choice(("isr", "calibrate", "coadd")), "host": host, "data_id": f"band={r.choice('gr')},visit={n}",
            "code": "PST-N007" if message else "", "message": message,
        })  # fmt: skip
    return pl.DataFrame(rows)


def test_twelve_planted_causes_are_twelve_groups() -> None:
    frame = planted(100_000)
    groups = grouped(frame)
    assert sorted(g.cause for g in groups if g.kind == "host") == ["node007", "node023"]
    assert sorted(g.exception for g in groups if g.kind == "cause") == sorted(
        e.split(":")[0].split(" ")[0] for e in EXCEPTIONS
    )
    assert sum(g.count for g in groups) == frame.filter(pl.col("code") != "").height
