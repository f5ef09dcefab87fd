"""The sections of the page, each a function of the report; one that has nothing to say gives nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from prestow.results.report.drawing import box, duration, state_map, timeline
from prestow.results.report.facts import MANY, SEVERITY, SYMBOLS, Cause, JobTime, Report, TaskTimes
from prestow.results.report.html import (
    Cell,
    codes,
    counted,
    definitions,
    filter_of,
    moment,
    number,
    section,
    state,
    table,
    text,
    words,
)
from prestow.results.report.pictures import shown

MOODS = {"good": "✓ complete", "losses": "! not complete", "bad": "✕ failures", "busy": "… under way"}
SHOWN_CAUSES = 60
FEW = 3
HALF_A_PAGE = 40
"""Rows of a map that are not torn apart in print."""
TAIL_LINES, TAIL_WIDTH = 25, 400


def head(report: Report) -> str:
    """Give the head: verdict, states, and what it took."""
    facts = report.facts
    kicker = [
        f"<span>run <b>{text(facts['run'])}</b></span>",
        f"<span>pipeline <b>{text(facts['pipeline'])}</b></span>",
        f"<span>plan <code>{text(facts['plan'])}</code></span>",
    ]
    if facts["begun"]:
        kicker.append(f"<span>begun {moment(facts['begun'])}</span>")
    there = {word: report.counts[word] for word in SEVERITY if report.counts.get(word)}
    bar = "".join(f'<span class="{word}" style="flex:{n} 0 0"></span>' for word, n in there.items())
    legend = "".join(
        f'<li><i class="key {word}" aria-hidden="true">{SYMBOLS[word]}</i><b>{n:,}</b> {word}</li>'
        for word, n in there.items()
    )
    mood = report.mood if report.mood != "losses" or not report.counts.get("lost") else "lost"
    label = {**MOODS, "lost": "! with losses"}[mood]
    return (
        f'<p class="kicker">{"".join(kicker)}</p><h1><span class="mood {report.mood}">{label}</span> {text(report.verdict)}</h1>'
        f'<div class="bar" aria-hidden="true">{bar}</div><ul class="legend" aria-label="States of {report.total:,} quanta">{legend}</ul>'
        f'<dl class="facts">{"".join(f"<div><dt>{term}</dt><dd>{value}</dd></div>" for term, value in _took(facts))}</dl>'
    )


def _took(facts: Mapping[str, Any]) -> list[tuple[str, str]]:  # Any: JSON values
    jobs, tries = facts["jobs"], facts["tries"]
    found = [("jobs", f"{jobs:,}<small>{tries:,} {'try' if tries == 1 else 'tries'}</small>")]
    if facts["wall_seconds"]:
        runs = (
            f"<small>in {facts['runs']:,} runs</small>"
            if facts["runs"] > 1
            else "<small>by the clock</small>"
        )
        found.append(("took", f"{duration(facts['wall_seconds'])}{runs}"))
    if facts["cpu_seconds"]:
        found.append(("CPU", f"{duration(facts['cpu_seconds'])}<small>of tasks</small>"))
    if facts["workers"]:
        hosts = f"{facts['hosts']:,} host{'s' if facts['hosts'] != 1 else ''}"
        busy = f", busy {facts['busy']:.0%}" if facts["busy"] is not None else ""
        lost = f", {facts['worker_deaths']:,} lost" if facts["worker_deaths"] else ""
        found.append(("workers", f"{facts['workers']:,}<small>{hosts}{busy}{lost}</small>"))
    if facts["critical_seconds"]:
        found.append(
            (
                "longest chain",
                f"{duration(facts['critical_seconds'])}<small>jobs one after another</small>",
            )
        )
    return found


def tasks(report: Report) -> str:
    """Give the states of each task's quanta, which sum."""
    there = [word for word in SEVERITY if report.counts.get(word)]
    header = [("task", ""), *((word, "n") for word in there), ("sum", "n")]

    def row(name: str, counts: Mapping[str, int]) -> list[Cell]:
        return [words(name), *(number(counts.get(word, 0)) for word in there), number(sum(counts.values()))]

    rows = [row(name, counts) for name, counts in report.tasks.items()]
    body = table(header, rows, name="tasks-table", total=row("all", report.counts))
    warned = "".join(f"<p>{text(warning)}</p>" for warning in report.facts["warnings"])
    return section("tasks", "Tasks", body + warned)


def causes(report: Report) -> str:
    """Give the failures by cause and host, the most first."""
    if not report.causes:
        return section("causes", "Failures", "<p>Nothing failed, as far as reports of attempts tell.</p>")
    n, hosts = len(report.causes), sum(cause.kind == "host" for cause in report.causes)
    told = f"{report.failures:,} failure{'s' if report.failures != 1 else ''} of {n:,} cause{'s' if n != 1 else ''}"
    told += (
        f", {hosts:,} of them host{'s' if hosts != 1 else ''} that fail far above their share"
        if hosts
        else ""
    )
    several = report.facts["hosts"] > 1
    cards = "\n".join(
        _card(cause, open_=i == 0, several=several) for i, cause in enumerate(report.causes[:SHOWN_CAUSES])
    )
    rest = report.causes[SHOWN_CAUSES:]
    more = (
        f"<p>and {len(rest):,} more causes of {sum(c.count for c in rest):,} failures: see the data</p>"
        if rest
        else ""
    )
    body = f'<p class="quiet">{told}. Numbers, paths and names are taken out of messages: ⟨n⟩ is any number.</p><div id="cause-list">{cards}</div>{more}'
    return section("causes", "Failures by cause", body, filter_of("cause-list", "Causes"))


def _card(cause: Cause, *, open_: bool, several: bool) -> str:
    mended = set(cause.now) <= {"made", "reused", "unneeded"}
    kind = " host" if cause.kind == "host" else " mended" if mended else ""
    only = (
        f" · only on {text(next(iter(cause.hosts)))}"
        if several and cause.kind == "cause" and len(cause.hosts) == 1
        else ""
    )
    where = ", ".join(text(task) for task in list(cause.tasks)[:FEW]) + (
        f" and {len(cause.tasks) - FEW} more" if len(cause.tasks) > FEW else ""
    )
    first = "<br>".join(f"<code>{text(one)}</code>" for one in cause.first)
    tail = "\n".join(text(line[:TAIL_WIDTH]) for line in cause.log_tail[-TAIL_LINES:])
    shown = definitions([
        ("commonest message" if cause.kind == "host" else "first message", text(cause.message)),
        ("tasks", counted(cause.tasks)),
        ("hosts", counted(cause.hosts) if several else ""),
        ("now", counted(cause.now)),
        (f"first of {cause.quanta:,}" if cause.quanta > 1 else "data ID", first),
        ("next", codes(cause.commands)),
    ])  # fmt: skip
    log = f"<pre>{tail}</pre>" if tail else '<p class="quiet">no log was left</p>'
    return (
        f'<details class="cause{kind}"{" open" if open_ else ""}><summary><span class="count">{cause.count:,}</span>'
        f'<span class="what">{_placeholders(text(cause.title))}</span><span class="where">{where}{only}{" · all made since" if mended else ""}</span></summary>'
        f'<div class="more">{shown}{log}</div></details>'
    )


def _placeholders(html: str) -> str:
    """Show what stands for numbers and names in other brackets than markup has."""
    for name in ("n", "name", "path", "id"):
        html = html.replace(f"&lt;{name}&gt;", f"⟨{name}⟩")
    return html


def maps(report: Report) -> str:
    """Give the maps of states."""
    if not report.maps:
        return ""
    figures = []
    for i, found in enumerate(report.maps):
        each = [
            f"{n:,} {name} each"
            for n, name in zip(
                found.together,
                (f"values of {found.rows} a row", f"values of {found.columns} a column"),
                strict=True,
            )
            if n > 1
        ]
        told = f"{', '.join(map(text, found.tasks))}: {counted(found.counts)}{'; ' + ', '.join(each) if each else ''}"
        figures.append(
            f'<figure class="{"short" if len(found.cells) < HALF_A_PAGE else ""}"><figcaption>{told}</figcaption>{state_map(found, f"map-{i}")}</figure>'
        )
    there = dict.fromkeys(word for word in SEVERITY for found in report.maps if word in found.counts)
    legend = "".join(
        f'<li><i class="key {word}" aria-hidden="true">{SYMBOLS[word]}</i>{word}</li>' for word in there
    )
    title = f"Where: {report.maps[0].rows} and {report.maps[0].columns}"
    return section(
        "maps",
        title,
        f'<p class="quiet">Each cell is the worst state of all that was planned there.</p><div class="maps">{"".join(figures)}</div><ul class="legend">{legend}</ul>',
    )


def unmade(report: Report) -> str:
    """Give what is not made."""
    if not report.unmade:
        return ""
    header = [("task", ""), ("data ID", ""), ("state", ""), ("job", ""), ("cause", "wrap")]
    rows = [
        [
            words(one.task),
            words(one.data_id),
            state(one.state, SYMBOLS[one.state]),
            Cell(f"<code>{text(one.job)}</code>"),
            Cell(_placeholders(text(one.cause)), kind="wrap"),
        ]
        for one in report.unmade
    ]
    more = report.unmade_count - len(report.unmade)
    note = f"<p>and {more:,} more: <code>prestow status --json</code></p>" if more else ""
    body = table(header, rows, name="unmade-table", tall=report.unmade_count > HALF_A_PAGE) + note
    return section("unmade", "Not made", body, filter_of("unmade-table", "Rows"))


def when(report: Report) -> str:
    """Give the timeline."""
    found = report.timeline
    if found is None:
        return ""
    how = "how busy each was" if found.binned else "a bar for each try"
    more = f"; {found.more:,} more lanes are not shown" if found.more else ""
    deaths = f"; ✕ {len(found.deaths):,} workers lost" if found.deaths else ""
    return section(
        "timeline",
        "Timeline",
        f'<p class="quiet">{found.tries:,} tries, {how}, from {moment(found.begin)}; red: failed{deaths}{more}</p>{timeline(found)}',
    )


def times(report: Report) -> str:
    """Give time and memory of each task against what was asked."""
    known = [one for one in report.times if one.tries]
    if not known:
        return ""
    every = [s for one in known for s in one.seconds if s > 0]
    low, high = (min(every), max(every)) if every else (0.1, 1.0)
    header = [
        ("task", ""),
        ("tries", "n"),
        ("median", "n"),
        ("longest", "n"),
        ("spread", ""),
        ("CPU, all", "n"),
        ("of foreseen", "n"),
        ("peak memory", "n"),
        ("asked", "n"),
        ("used of it", ""),
    ]
    rows = [_times(one, low, max(high, low * 1.01)) for one in known]
    body = table(header, rows, name="times-table")
    axis = f"The spread is minimum, quartiles and maximum, from {duration(low)} to {duration(high)} (logarithmic). CPU is the median beside what the plan foresaw. Memory is the peak of the process, which may have run other tasks before."
    return section("times", "Time and memory", body + f'<p class="quiet">{axis}</p>')


def _times(one: TaskTimes, low: float, high: float) -> list[Cell]:
    seconds, cpu, memory = one.seconds, one.cpu_seconds, one.memory
    ratio = cpu[2] / one.expected_cpu if cpu and one.expected_cpu else None
    used = memory[4] / one.asked_memory if memory and one.asked_memory else None
    gauge = ""
    if used is not None:
        over = " class=over" if used > 1 else ""
        gauge = f'<span class="gauge" aria-hidden="true"><i{over} style="width:{min(used, 1):.0%}"></i></span> {used:.0%}'
    return [
        words(one.task), number(one.tries),
        Cell(duration(seconds[2]), seconds[2], "n") if seconds else Cell("", "", "n"),
        Cell(duration(seconds[4]), seconds[4], "n") if seconds else Cell("", "", "n"),
        Cell(box([max(s, low) for s in seconds], low, high) if seconds else "", seconds[2] if seconds else ""),
        Cell(duration(one.total_cpu), one.total_cpu, "n"),
        Cell("" if ratio is None else f"{ratio:.0%}", "" if ratio is None else ratio, "n"),
        Cell(size(memory[4]) if memory else "", memory[4] if memory else "", "n"),
        Cell(size(one.asked_memory) if one.asked_memory else '<span class="zero">nothing</span>', one.asked_memory or "", "n"),
        Cell(gauge, "" if used is None else used),
    ]  # fmt: skip


def size(count: float) -> str:
    """Give a number of bytes as people read it.

    Examples
    --------
    >>> size(812), size(2_100_000_000)
    ('812 B', '2.1 GB')
    """
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    step = 0
    while count >= 999.5 and step < len(units) - 1:  # noqa: PLR2004 - what would be shown as 1000
        count, step = count / 1000, step + 1
    return f"{count:.0f} {units[step]}" if step == 0 or count >= 100 else f"{count:.1f} {units[step]}"  # noqa: PLR2004 - three digits


def slow(report: Report) -> str:
    """Give the slowest jobs, and the chain of jobs that took longest."""
    if not report.slowest:
        return ""
    parts = [
        _jobs(
            report.slowest,
            "slowest-table",
            f"the slowest {len(report.slowest)} of {report.facts['jobs']:,} jobs, by their last try",
        )
    ]
    if report.critical:
        wall = report.facts["wall_seconds"]
        of = f" of {duration(wall)} by the clock" if wall else ""
        parts.append(
            f"<h3>The longest chain: {duration(report.facts['critical_seconds'])}{of}</h3>"
            + _jobs(
                report.critical[:30],
                "critical-table",
                f"{len(report.critical):,} jobs, each of which waited for the one before",
                sortable=False,
            )
        )
    return section("slowest", "Slowest", "".join(parts))


def _jobs(jobs: tuple[JobTime, ...], name: str, caption: str, *, sortable: bool = True) -> str:
    header = [("job", ""), ("task", ""), ("state", ""), ("took", "n"), ("host", ""), ("tries", "n")]
    rows = [
        [
            Cell(f"<code>{text(one.job)}</code>"),
            words(one.label),
            state(one.state, SYMBOLS.get(one.state, "")),
            Cell(duration(one.seconds), one.seconds, "n"),
            words(one.host),
            number(one.tries),
        ]
        for one in jobs
    ]
    return table(header, rows, name=name, caption=caption, sortable=sortable)


def account(report: Report) -> str:
    """Give the files by account."""
    found = report.account
    if found is None:
        return section("files", "Files", '<p class="quiet">not looked at: <code>prestow account</code></p>')
    classes = [[words(name), number(count)] for name, count in found["classes"].items() if count]
    states = {name: count for name, count in found["states"].items() if count}
    told = "It closes" if found["closes"] else "It does not close"
    body = f"<p><b>{told}:</b> {found['planned']:,} planned outputs: {counted(states, 10)}.</p>"
    if classes:
        body += table([("files found", ""), ("count", "n")], classes, name="files-table", sortable=False)
    odd = found.get("files") or ()
    if odd:
        rows = [
            [
                words(one.get("kind", "")),
                Cell(f"<code>{text(one.get('path', ''))}</code>", kind="wrap"),
                words(one.get("what", ""), wrap=True),
            ]
            for one in odd[:100]
        ]
        body += table(
            [("class", ""), ("path", "wrap"), ("why", "wrap")],
            rows,
            name="odd-table",
            caption="not as expected",
        )
    return section("files", "Files", body)


def difference(report: Report) -> str:
    """Give what differs from the plan before."""
    found = report.difference
    if found is None:
        return ""
    header = [
        ("task", ""),
        ("same", "n"),
        ("changed", "n"),
        ("downstream", "n"),
        ("added", "n"),
        ("removed", "n"),
    ]
    rows = [[words(one["task"]), *(number(one[name]) for name, _ in header[1:])] for one in found["tasks"]]
    told = f"Against plan <code>{text(found['plan'][:8])}</code> of run {text(found['run'])}, in quanta."
    lines = "".join(f"<li>{text(line)}</li>" for line in found.get("facts", ())[:20])
    command = f"<p><code>prestow diff {text(found['plan'][:8])} {text(report.facts['plan'][:8])}</code></p>"
    return section(
        "difference",
        "Since the plan before",
        f'<p class="quiet">{told}</p>{table(header, rows, name="difference-table")}{f"<ul>{lines}</ul>" if lines else ""}{command}',
    )


def pictures(report: Report) -> str:
    """Give the quick-look pictures that were asked for."""
    return section("pictures", "Pictures", shown(report.pictures)) if report.pictures else ""


def again(report: Report) -> str:
    """Give what made it, and how to make it again."""
    facts = report.facts
    versions = ", ".join(f"{text(name)} {text(version)}" for name, version in facts["versions"].items())
    shown_ = definitions([
        ("the same again", codes(facts["repeat"])), ("versions", versions), ("code", f"sha256 <code>{text(facts['code'])}</code>" if facts["code"] else ""),
        ("data", f"columns of jobs are left out of the data above {MANY:,} jobs" if report.jobs is None else ""),
        ("notes", "<br>".join(map(text, report.notes))),
    ])  # fmt: skip
    return section("again", "Again", shown_)


SECTIONS: tuple[tuple[str, str, Callable[[Report], str]], ...] = (
    ("causes", "Failures", causes), ("tasks", "Tasks", tasks), ("maps", "Map", maps), ("unmade", "Not made", unmade),
    ("timeline", "Timeline", when), ("times", "Time and memory", times), ("slowest", "Slowest", slow), ("files", "Files", account),
    ("pictures", "Pictures", pictures), ("difference", "Difference", difference), ("again", "Again", again),
)  # fmt: skip
"""Name, word in the navigation, and what makes it; in their order."""
