"""What is wanted: dataset types that the pipeline makes, each with a part of a data ID or a selection."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from prestow.errors import ConfigurationError, PrestowError, Problem
from prestow.model import DataId
from prestow.model.universe import Universe
from prestow.pipeline.definition import Pipeline
from prestow.plan.state import outputs_of
from prestow.query import Selection, parse_selection
from prestow.query.selection import quote

_FORM = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(?:\{(.*)\}\s*)?", re.DOTALL)
FEW = 8  # types that are named


@dataclass(frozen=True, slots=True)
class Wanted:
    """Outputs of one type that are wanted.

    Parameters
    ----------
    type, task : str
        The dataset type, and the label of the task that makes it.
    selection : Selection
        Over what the type's data ID says; without a tree all of them.
    """

    type: str
    task: str
    selection: Selection

    @property
    def canonical(self) -> str:
        """Its one text; it reads back."""
        return f"{self.type}{{{self.selection.canonical}}}" if self.selection.tree is not None else self.type


def read_wanted(
    texts: Iterable[str], pipeline: Pipeline, universe: Universe
) -> tuple[tuple[Wanted, ...], list[Problem]]:
    """Read what is wanted, ``TYPE``, ``TYPE{k=v,…}`` or ``TYPE{SELECTION}``, and give what is wrong with it.

    Each is given once, in the order of its one text.

    Examples
    --------
    >>> from prestow.testing.surveys import UNIVERSE, reduction
    >>> texts = ["isr{ccd=1,visit=7}", "coadd{band in ('r', 'g')}", "coadd"]
    >>> [one.canonical for one in read_wanted(texts, reduction(), UNIVERSE)[0]]
    ['coadd', "coadd{band in ('g', 'r')}", 'isr{detector = 1 and visit = 7}']
    >>> [problem.fix for problem in read_wanted(["coad"], reduction(), UNIVERSE)[1]]
    ["did you mean 'coadd'?"]
    """
    makers = {output.type: task.label for task in pipeline.tasks for output in outputs_of(task)}
    found: dict[str, Wanted] = {}
    problems: list[Problem] = []
    for text in texts:
        where = f"--want {shlex.quote(text)}"
        match = _FORM.fullmatch(text)
        if match is None:
            what = f"'{text}' does not say what is wanted"
            problems.append(Problem("PST-P050", what, where, "write TYPE, TYPE{k=v,…} or TYPE{SELECTION}"))
            continue
        name, inside = match[1], match[2] or ""
        if name not in makers:
            problems.append(_unknown(name, where, pipeline, sorted(makers)))
            continue
        dimensions = pipeline.dataset_types[name].dimensions
        try:
            selection = parse_selection(
                _as_selection(inside, universe), universe, dimensions=dimensions, place=where
            )
        except PrestowError as error:
            problems += error.problems
            continue
        one = Wanted(name, makers[name], selection)
        found[one.canonical] = one
    return tuple(found[text] for text in sorted(found)), problems


def needed_tasks(wanted: Iterable[Wanted], pipeline: Pipeline) -> frozenset[str]:
    """Give the labels of the tasks that make what is wanted, and of all that these read from.

    Examples
    --------
    >>> from prestow.testing.surveys import UNIVERSE, reduction
    >>> sorted(needed_tasks(read_wanted(["aligned"], reduction(), UNIVERSE)[0], reduction()))
    ['align', 'isr']
    """
    makers = {output.type: task.label for task in pipeline.tasks for output in outputs_of(task)}
    needed = {one.task for one in wanted}
    for task in reversed(pipeline.tasks):
        if task.label in needed:
            needed.update(makers[c.type] for c in task.inputs if c.type in makers)
    return frozenset(needed)


def _as_selection(inside: str, universe: Universe) -> str:
    """Give a part of a data ID as a selection, and a selection as it is."""
    if "'" in inside or "==" in inside:
        return inside
    try:
        data_id = DataId.parse(inside.strip())
    except ConfigurationError:
        return inside
    terms = []
    for name, value in sorted((universe.canonical(name) or name, value) for name, value in data_id.items()):
        known = universe.dimensions.get(name)
        plain = isinstance(value, int) and not (known is not None and known.type == "str")
        terms.append(f"{name} = {value if plain else quote(str(value))}")
    return " and ".join(terms)


def _unknown(name: str, where: str, pipeline: Pipeline, made: list[str]) -> Problem:
    if name in pipeline.dataset_types:
        what, near = f"no task of {pipeline.name} writes '{name}'", []
    else:
        what, near = f"there is no dataset type '{name}'", difflib.get_close_matches(name, made, 1)
    known = f"{', '.join(made[:FEW])}{', …' if len(made) > FEW else ''}"
    return Problem(
        "PST-P050", what, where, f"did you mean '{near[0]}'?" if near else f"written here: {known}"
    )
