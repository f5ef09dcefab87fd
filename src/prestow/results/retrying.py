"""Failed jobs put back with changes: which they are, what follows from them, what stays, what cannot be done."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.errors import Problem, ProjectError, raise_all
from prestow.pipeline.expressions import SIZES
from prestow.plan.retaining import not_needed
from prestow.plan.retrying import Change, Retries
from prestow.plan.settled import read_settled
from prestow.plan.states import CODES, WORDS
from prestow.plan.walking import edges_of, spread

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan import Plan
    from prestow.plan.settled import Register
    from prestow.stores import Store

    Mask = npt.NDArray[np.bool_]

_FACTOR = re.compile(r"[x*]([0-9]+(?:\.[0-9]+)?)")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) *([A-Za-z]*)")
_UNITS = {"": "B", "k": "kB", "K": "kB", "M": "MB", "G": "GB", "T": "TB"}
_SEALED = ("lost", "blocked")


@dataclass(frozen=True, slots=True)
class Asked:
    """What a person asks for when jobs are put back.

    Parameters
    ----------
    jobs : tuple of str
        Names of jobs; all that failed, if empty.
    memory : str
        A size, or ``x2``: so many times what was asked for last. As before, if empty.
    tries : int or None
        How often each is tried in one run.
    avoid : tuple of str
        Hosts.
    site : str or None
        A site file, for the next run.
    """

    jobs: tuple[str, ...] = ()
    memory: str = ""
    tries: int | None = None
    avoid: tuple[str, ...] = ()
    site: str | None = None


@dataclass(frozen=True, slots=True)
class PutBack:
    """What was put back, or would be.

    Parameters
    ----------
    plan, run : str
    jobs : tuple of str
        Those that failed and are put back.
    pending : tuple of str
        Those that were named and were not tried yet: they have changes, too.
    downstream : int
        Jobs that wait for one of them.
    committed : int
        Files that are made, and stay.
    again : int
        Names among those that would be written again: none, ever.
    retries : Retries
        All that is asked for now.
    memory : tuple of int
        The least and the most that a job gets, in bytes; empty if nothing was said.
    asked : Asked
    """

    plan: str
    run: str
    jobs: tuple[str, ...]
    pending: tuple[str, ...]
    downstream: int
    committed: int
    again: int
    retries: Retries = field(repr=False, default_factory=Retries)
    memory: tuple[int, ...] = ()
    asked: Asked = field(default_factory=Asked)

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "plan": self.plan, "run": self.run, "jobs": list(self.jobs), "pending": list(self.pending), "failed": len(self.jobs),
            "downstream": self.downstream, "committed": self.committed, "written_again": self.again,
            "memory": list(self.memory), "tries": self.asked.tries, "avoid": list(self.asked.avoid), "site": self.retries.site,
        }  # fmt: skip


def put_back(
    plan: Plan,
    store: Store,
    asked: Asked,
    before: Retries,
    failed: Sequence[str],
    *,
    reuse: pl.DataFrame | None = None,
    registry: Register | None = None,
) -> PutBack:
    """Work out what putting jobs back comes to; nothing is written.

    Parameters
    ----------
    before : Retries
        What was asked for until now.
    failed : sequence of str
        Names of the jobs of which a quantum failed and is not settled.
    reuse : DataFrame or None
        What `prestow.plan.reuse.reusable` gave.

    Raises
    ------
    ProjectError
        For each job that is lost (PST-E040) or has not failed (PST-E041), for what there is not (PST-R004), for
        a size that says nothing (PST-E042), and where nothing is known that a factor could be taken of (PST-E043).
    """
    codes = read_settled(plan, store, registry=registry).states.codes.copy()
    open_ = codes == 0
    if reuse is not None:
        open_[reuse["quantum"].to_numpy()] = False
    open_ &= ~not_needed(plan, open_)
    names = plan.tables.scan("jobs").select("job", "name").collect()
    job = plan.tables.scan("quanta").select("job").collect()["job"].to_numpy()
    chosen, pending = _chosen(asked, failed, names, job, codes, open_)
    changes, memory = _changes(plan, asked, before, (*chosen, *pending))
    site = asked.site or before.site
    numbers = names.filter(pl.col("name").is_in(list(chosen)))["job"].to_numpy()
    mine = np.isin(job, numbers) & open_
    follows = spread(mine.copy(), *edges_of(plan)) & open_
    jobs = np.unique(job[follows | mine])
    outputs = plan.tables.scan("outputs").select("quantum", "dataset").collect()
    made = codes == CODES_MADE
    committed = outputs["dataset"].filter(pl.Series(made[outputs["quantum"].to_numpy()]))
    written = outputs["dataset"].filter(pl.Series((follows | mine)[outputs["quantum"].to_numpy()]))
    return PutBack(
        plan.id, plan.run, chosen, pending, len(jobs) - len(numbers), committed.len(),
        int(written.is_in(committed.implode()).sum()), Retries({**before.jobs, **changes}, site), memory, asked,
    )  # fmt: skip


CODES_MADE = next(code for state, code in CODES.items() if str(state) == "made")


def _chosen(
    asked: Asked,
    failed: Sequence[str],
    names: pl.DataFrame,
    job: npt.NDArray[np.integer],
    codes: npt.NDArray[np.uint8],
    open_: Mask,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the jobs that are meant: those that failed, and those that were not tried yet."""
    if not asked.jobs:
        return tuple(failed), ()
    known = dict(names.filter(pl.col("name").is_in(list(asked.jobs))).select("name", "job").iter_rows())
    problems: list[Problem] = []
    chosen: list[str] = []
    pending: list[str] = []
    for name in dict.fromkeys(asked.jobs):
        if name not in known:
            near = difflib.get_close_matches(name, names["name"].head(20_000).to_list(), 1)
            fix = f"did you mean '{near[0]}'?" if near else "prestow status shows those that failed"
            problems.append(Problem("PST-R004", f"no job '{name}' in this plan", fix=fix))
            continue
        rows = np.flatnonzero(job == known[name])
        words = {WORDS[code] for code in codes[rows].tolist()}
        if name in failed:
            chosen.append(name)
        elif open_[rows].any():
            pending.append(name)
        elif words & set(_SEALED):
            word = "lost" if "lost" in words else "blocked"
            fix = "make good what was lost, in a child run: prestow repair"
            problems.append(
                Problem(
                    "PST-E040", f"it is {word}, and what is settled is settled for ever", f"job {name}", fix
                )
            )
        else:
            problems.append(Problem("PST-E041", "it is made, and a committed name is never written again", f"job {name}",
                                    "its products from other settings need another run: prestow plan --run NAME"))  # fmt: skip
    raise_all(problems, ProjectError)
    return tuple(chosen), tuple(pending)


def _changes(
    plan: Plan, asked: Asked, before: Retries, jobs: Sequence[str]
) -> tuple[dict[str, Change], tuple[int, ...]]:
    """Give the change of each job, and the least and most memory."""
    if asked.tries is not None and asked.tries < 1:
        raise ProjectError(Problem("PST-E042", f"{asked.tries} tries are none", "--tries", "give 1 or more"))
    old = {name: before.jobs.get(name, Change(0)) for name in jobs}
    new = {
        name: replace(
            change, times=change.times + 1, tries=asked.tries or change.tries,
            avoid=tuple(dict.fromkeys((*change.avoid, *asked.avoid))),
        )
        for name, change in old.items()
    }  # fmt: skip
    if not asked.memory:
        return new, ()
    factor = _FACTOR.fullmatch(asked.memory)
    if factor is None:
        size = bytes_of(asked.memory)
        found = dict.fromkeys(jobs, size)
    else:
        found = _times(plan, float(factor[1]), old)
    new = {name: replace(change, memory=found[name]) for name, change in new.items()}
    return new, (min(found.values()), max(found.values())) if found else ()


def _times(plan: Plan, factor: float, old: Mapping[str, Change]) -> dict[str, int]:
    """Give so many times what was asked for last, by job."""
    if factor <= 0:
        raise ProjectError(Problem("PST-E042", f"x{factor:g} is no memory", "--memory", "x2 is twice of it"))
    jobs = plan.tables.scan("jobs")
    columns = ["name", "label", *(["memory"] if "memory" in plan.tables.columns("jobs") else [])]
    rows = jobs.select(columns).filter(pl.col("name").is_in(list(old))).collect()
    planned = dict(
        zip(rows["name"], rows["memory"] if "memory" in rows.columns else [None] * rows.height, strict=True)
    )
    labels = dict(rows.select("name", "label").iter_rows())
    found: dict[str, int] = {}
    silent: dict[str, int] = {}
    for name, change in old.items():
        last = change.memory or planned.get(name)
        if last is None:
            silent[labels[name]] = silent.get(labels[name], 0) + 1
        else:
            found[name] = round(last * factor)
    raise_all(
        (
            Problem("PST-E043", f"nothing says how much memory {count} {label} jobs had: {factor:g} times of what?",
                    "--memory", "give a size: --memory 4GB")
            for label, count in silent.items()
        ),
        ProjectError,
    )  # fmt: skip
    return found


def bytes_of(text: str) -> int:
    """Give the bytes of a size with a unit.

    Raises
    ------
    ProjectError
        If it is none (PST-E042).

    Examples
    --------
    >>> bytes_of("16GB"), bytes_of("1.5 GiB"), bytes_of("500M")
    (16000000000, 1610612736, 500000000)
    """
    match = _SIZE.fullmatch(text.strip())
    unit = None if match is None else _UNITS.get(match[2], match[2])
    if match is None or unit not in {*SIZES, "B"} or not float(match[1]):
        fix = "write it with a unit, --memory 16GB, or as a factor of what it had, --memory x2"
        raise ProjectError(Problem("PST-E042", f"'{text}' is not a size", "--memory", fix))
    return round(float(match[1]) * SIZES.get(str(unit), 1))
