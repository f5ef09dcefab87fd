"""Want: of all that could be made what is wanted, and what that needs; nothing else is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.errors import Problem
from prestow.plan.frames import imply, restrict
from prestow.plan.keys import ROW
from prestow.plan.matching.dropping import EXAMPLES, examples
from prestow.plan.pruning import keep_only
from prestow.plan.state import LeftOut, State
from prestow.plan.telling import term_counts
from prestow.plan.unmade import Cause, Unmade
from prestow.plan.wanting import Wanted

if TYPE_CHECKING:
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]

NOT_WANTED = "not_wanted"
"""The reason that counts what could be made and nothing wanted needs."""

UPSTREAM = "upstream:"
"""How the reason begins of what lacks an input only because that is left out itself."""

SHOWN = 5  # not wanted quanta that are named


def want(state: State) -> State:
    """Keep the quanta that make what is wanted, and all that these read from, as they would anyway.

    What was left out stays on record, and may refuse the plan, only where something wanted would have
    read it or is it.
    """
    if not state.wanted:
        return state
    hits = {one: _taken(state, one) for one in state.wanted}
    everything = {label: unmade.made + unmade.quanta.height for label, unmade in state.unmade.items()}
    seeds = {label: np.zeros(number, bool) for label, number in everything.items()}
    for one, mask in hits.items():
        seeds[one.task] |= mask
    needed = {label: np.zeros(part.quanta.height, bool) for label, part in state.parts.items()}
    for label, mask in seeds.items():
        needed[label] |= mask[: state.unmade[label].made]
    _trace(state, needed)
    concerned = {label: mask.copy() for label, mask in seeds.items()}
    if any(unmade.quanta.height for unmade in state.unmade.values()):
        _trace(state, concerned, would=True)
    left_out = tuple(_of_concern(state, needed, concerned))
    problems = [problem for one, mask in hits.items() if (problem := _nothing(state, one, mask)) is not None]
    texts = [one.canonical for one in state.wanted]
    return replace(
        keep_only(state, needed),
        left_out=(*left_out, *_not_wanted(state, needed)),
        problems=(*state.problems, *problems),
        unmade={},
        told={**state.told, "want": texts},
        identity={**state.identity, "want": "; ".join(texts)},
    )


def _taken(state: State, one: Wanted) -> Mask:
    """Say which quanta make what one text wants: those there are, then those left out."""
    made, unmade = state.planned[one.type], state.unmade[one.task]
    dimensions = state.request.pipeline.dataset_types[one.type].dimensions
    masks = []
    for height, frame in ((unmade.made, made), (unmade.quanta.height, unmade.quanta)):
        if one.selection.tree is None:
            masks.append(np.ones(height, bool))
            continue
        rows = frame.select(dimensions).with_row_index("_at")
        if not set(one.selection.columns) <= set(dimensions):
            rows = imply(rows, state.request.universe, state.records)
        mask = np.zeros(height, bool)
        mask[restrict(rows, one.selection, state, keep_unknown=False)["_at"].to_numpy()] = True
        masks.append(mask)
    return np.concatenate(masks)


def _trace(state: State, masks: Mapping[str, Mask], *, would: bool = False) -> None:
    """Mark all that marked quanta read from, task by task against the order; no row in Python.

    With ``would`` also by way of what was left out.
    """
    makers = state.makers()
    for task in reversed(state.request.pipeline.tasks):
        mine = masks.get(task.label)
        if mine is None or not mine.any():
            continue
        for connection in task.inputs:
            maker = makers.get(connection.type)
            if maker is None:
                continue
            frames = [state.parts[task.label].inputs[connection.name]]
            frames += [state.unmade[task.label].inputs[connection.name]] if would else []
            for pairs in frames:
                dataset = pairs["dataset"].to_numpy()
                masks[maker][dataset if mine.all() else dataset[mine[pairs["quantum"].to_numpy()]]] = True


def _of_concern(state: State, needed: Mapping[str, Mask], concerned: Mapping[str, Mask]) -> Iterator[LeftOut]:
    """Give what was left out and matters: counted again, with examples that do."""
    causes = {id(c.drop): (u, c) for u in state.unmade.values() for c in u.causes}
    for drop in state.left_out:
        if id(drop) not in causes:
            yield drop
            continue
        unmade, cause = causes[id(drop)]
        mask = needed[drop.task] if cause.made else concerned[drop.task][unmade.made :]
        matters = mask[cause.rows.to_numpy()]
        if matters.all():
            yield drop
        elif matters.any():
            yield _again(state, unmade, cause, pl.Series(matters))


def _again(state: State, unmade: Unmade, cause: Cause, matters: pl.Series) -> LeftOut:
    """Count an entry again, for some of its quanta."""
    drop = cause.drop
    task = next(task for task in state.request.pipeline.tasks if task.label == drop.task)
    rows = cause.rows.filter(matters)
    shown = (state.parts[drop.task].quanta if cause.made else unmade.quanta)[rows.head(EXAMPLES)]
    if cause.facts is not None:
        shown = shown.hstack(cause.facts.filter(matters).head(EXAMPLES))
    return replace(drop, count=rows.len(), examples=examples(task, shown, cause.detail))


def _not_wanted(state: State, needed: Mapping[str, Mask]) -> Iterator[LeftOut]:
    for task in state.request.pipeline.tasks:
        gone = np.flatnonzero(~needed[task.label])
        if len(gone):
            quanta = state.parts[task.label].quanta
            first = quanta[pl.Series(gone[:SHOWN], dtype=ROW)]
            shown = examples(task, first, pl.lit("nothing wanted needs it"))
            yield LeftOut(task.label, NOT_WANTED, len(gone), shown)


def _nothing(state: State, one: Wanted, mask: Mask) -> Problem | None:
    """Say why nothing makes what one text wants, if that is so and nobody else says it."""
    unmade = state.unmade[one.task]
    if mask[: unmade.made].any():
        return None
    if state.problems and not unmade.made:
        return None  # said already, of this task or upstream
    where = f"--want {one.canonical}"
    if mask.any():
        reached = {label: np.zeros(u.made + u.quanta.height, bool) for label, u in state.unmade.items()}
        reached[one.task] |= mask
        _trace(state, reached, would=True)
        none = {label: np.zeros(part.quanta.height, bool) for label, part in state.parts.items()}
        known = {id(c.drop) for u in state.unmade.values() for c in u.causes}
        left_out = tuple(drop for drop in state.left_out if id(drop) in known)
        drops = list(_of_concern(replace(state, left_out=left_out), none, reached))
        if any(drop.severity != "noted" for drop in drops):
            return None  # refused, unless it is waived
        first = [drop for drop in drops if not drop.reason.startswith(UPSTREAM)]
        told = "; ".join(_told(drop) for drop in first or drops)
        what = f"nothing makes {one.canonical}: {int(mask.sum())} of it would be left out; {told}"
        return Problem("PST-P051", what, where, "take in or make what is missing, or want something else")
    frame = state.planned[one.type]
    frame = pl.concat(
        [
            frame.select(c for c in frame.columns if c != "_row"),
            unmade.quanta.select(c for c in frame.columns if c != "_row"),
        ]
    )
    frame = imply(frame, state.request.universe, state.records)
    counts, last = term_counts(frame, one.selection.terms, state, f"of {frame.height:,} {one.type}")
    what = f"nothing that is selected leads to {one.canonical}" + (f": {counts}" if counts else "")
    return Problem(
        "PST-P051", what, where, f"correct {last}, or widen the selection" if last else "widen the selection"
    )


def _told(drop: LeftOut) -> str:
    first = drop.examples.head(1)
    named = f", such as {first['data_id'][0]}: {first['detail'][0]}" if first.height else ""
    return f"{drop.count} of {drop.task} ({drop.reason}{named})"
