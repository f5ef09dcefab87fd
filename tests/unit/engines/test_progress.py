"""Progress: lines for a file, bars for a terminal."""

from __future__ import annotations

import io

import pytest

from prestow.engines.progress import Event, show_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def event(kind: str, made: int, seconds: float, message: str = "") -> Event:
    return Event(kind, {"isr": {"made": made, "pending": 100 - made}}, seconds=seconds, message=message)


def test_a_file_gets_a_line_every_five_percent_or_ten_seconds() -> None:
    out = io.StringIO()
    show = show_progress(out)
    show(event("begin", 0, 0.0))
    for made in range(1, 21):
        show(event("progress", made, made * 0.01))
    show(event("progress", 21, 30.0))
    show(event("end", 21, 30.1))
    assert [line.split(" ", 1)[1] for line in out.getvalue().splitlines()] == [
        *(f"{n} of 100 settled, {100 - n} pending" for n in (5, 10, 15, 20)),
        *["21 of 100 settled, 79 pending"] * 2,
    ]


def test_a_failure_is_told_at_once() -> None:
    out = io.StringIO()
    show_progress(out)(event("failed", 0, 0.0, "FAILED isr visit=1\n    no stars"))
    assert "FAILED isr visit=1\n    no stars\n" in out.getvalue()


def test_a_terminal_gets_at_most_twelve_bars() -> None:
    pytest.importorskip("rich")
    out = Terminal()
    show = show_progress(out)
    tasks = {f"task{n}": {"made": 1, "lost": 1} for n in range(20)}
    show(Event("begin", tasks))
    show(Event("failed", tasks, message="FAILED [x] task3"))
    show(Event("end", tasks, seconds=1.0))
    assert "task10" in out.getvalue()
    assert "task11 " not in out.getvalue()
    assert "and 9 more" in out.getvalue()
    assert "FAILED [x] task3" in out.getvalue()
