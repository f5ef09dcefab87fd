"""``prestow show --forecast``: what a plan will come to before it runs, and how good that was afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from prestow.cli.group import plan_word
from prestow.cli.output import count_text, duration_text, table
from prestow.errors import Problem, ProjectError
from prestow.plan.forecast_model import Estimate, size_text

if TYPE_CHECKING:
    from prestow.cli.output import Output
    from prestow.plan.forecast import Forecast
    from prestow.plan.forecast_recorded import Recorded, Score
    from prestow.project import Project

NAMES = {"out": "bytes out", "files": "files", "cpu": "CPU", "wall": "by the clock"}


def show_forecast(project: Project, words: Sequence[str], site: str | None, output: Output) -> None:
    """Print the forecast of a plan, and what was recorded, if it ran."""
    if len(words) > 1:
        what = f"too many words: {' '.join(words)}"
        raise ProjectError(
            Problem("PST-G005", what, "prestow show --forecast", "prestow show [PLAN] --forecast")
        )
    plan = project.find_plan(words[0] if words else "latest")
    found = project.forecast(plan, site=site)
    after = project.forecast_recorded(plan)
    facts = {**found.as_dict(), "recorded": None if after is None else after.as_dict()}
    facts.pop("schema")
    lines = [*forecast_lines(found), *(recorded_lines(after) if after is not None else ())]
    word = plan_word(project, plan)
    following = f"prestow run{word}" if after is None else f"prestow status{word}"
    output.answer("show", facts, "\n".join(lines), following=following)


def forecast_lines(found: Forecast) -> list[str]:
    """Give a forecast as people read it."""
    files = ", ".join(f"{number:,} {kind}" for kind, number in found.files.items() if number)
    lines = [
        f"plan {found.plan[:8]}  run {found.run}  forecast {source_text(found)}",
        (
            f"stage-in {size_text(found.staged.value)} (unique {size_text(found.unique.value)})  scratch per job "
            f"p50 {size_text(found.scratch_typical.value)}, max {size_text(found.scratch_largest.value)} "
            f"{_range(found.scratch_largest)} (job {found.scratch_job})"
        ),
        f"{found.store} +{size_text(found.written.value)} {_range(found.written)}  +{found.inodes.value:,.0f} files ({files})",
        (
            f"CPU {duration_text(found.cpu_seconds.value)} {_range(found.cpu_seconds, duration_text)}  by the clock "
            f"{duration_text(found.wall_seconds.value)} {_range(found.wall_seconds, duration_text)} with "
            f"{count_text(found.workers, 'worker')}, longest chain {duration_text(found.critical_path_seconds)}"
        ),
        table(
            ("task", "quanta", "CPU", "range", "size", "range", "from"),
            [
                (
                    line.name, f"{line.count:,}",
                    *(("?", "") if line.cpu_seconds is None else (duration_text(line.cpu_seconds.value), _range(line.cpu_seconds, duration_text))),
                    *(("?", "") if line.bytes is None else (size_text(line.bytes.value), _range(line.bytes))),
                    line.source,
                )
                for line in found.tasks
            ],
        ),
    ]  # fmt: skip
    return [*lines, *unknown_lines(found), *(f"warning: {line}" for line in found.warnings)]


def unknown_lines(found: Forecast) -> list[str]:
    """Say of what nothing is known, so that no sum holds it."""
    lines = []
    if found.unknown_types:
        lines.append(f"of unknown size, in no sum: {', '.join(found.unknown_types)}")
    if found.unknown_tasks:
        lines.append(f"of unknown CPU, in no sum: {', '.join(found.unknown_tasks)}")
    return lines


def source_text(found: Forecast) -> str:
    """Say what a forecast is from."""
    if not found.runs:
        return "from hints: no past run is recorded"
    return f"from {count_text(len(found.runs), 'past run')}: {', '.join(found.runs)}"


def short_line(found: Forecast) -> str:
    """Give a forecast in one line, under a plan's table."""
    return (
        f"forecast {source_text(found)}: in {size_text(found.staged.value)} (unique {size_text(found.unique.value)}), "
        f"out {size_text(found.written.value)} {_range(found.written)}, {found.inodes.value:,.0f} files, "
        f"{duration_text(found.wall_seconds.value)} with {count_text(found.workers, 'worker')}"
    )


def recorded_lines(after: Recorded) -> list[str]:
    """Give what was recorded beside what was forecast."""
    rows = [
        (
            NAMES[score.name], _number(score, score.forecast.value),
            f"{_number(score, score.forecast.low)} to {_number(score, score.forecast.high)}", _number(score, score.recorded),
            "" if score.ratio is None else f"{score.ratio:.2f}", "yes" if score.inside else "no",
        )
        for score in after.scores
    ]  # fmt: skip
    lines = ["recorded:", table(("", "forecast", "range", "recorded", "ratio", "inside"), rows)]
    if not after.whole:
        lines.append(f"  so far: {after.quanta:,} of {after.planned:,} quanta are taken in")
    return lines


def recorded_line(after: Recorded) -> str:
    """Give how good a forecast was in one line, under a table of states."""
    parts = [  # what is known to the piece, as files are, has no range: what declines makes it less
        f"{NAMES[s.name]} {s.ratio:.2f}{'' if s.inside or s.forecast.low == s.forecast.high else ' (outside the range)'}"
        for s in after.scores
        if s.ratio is not None
    ]
    return f"recorded over forecast: {', '.join(parts)}"


def _number(score: Score, value: float) -> str:
    if score.unit == "bytes":
        return size_text(value)
    return duration_text(value) if score.unit == "seconds" else f"{value:,.0f}"


def _range(estimate: Estimate, text: Callable[[float], str] = size_text) -> str:
    return f"({text(estimate.low)} to {text(estimate.high)})"
