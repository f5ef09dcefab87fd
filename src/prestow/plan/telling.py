"""What is told of a request's choice: what it excluded, what fits nothing, which term left nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import polars as pl

from prestow.errors import Problem
from prestow.model.hashing import canonical_json, sha256_hex
from prestow.naming.identity import data_id_json
from prestow.plan.choosing import EXCLUDED, ROW_NUMBER, Choice, among, linked_frame, named_dimensions, surely
from prestow.plan.frames import describe, imply
from prestow.plan.state import LeftOut, State
from prestow.query import Selection

EXAMPLES = 1000  # rows of left_out kept; the count is always whole
FEW = 5  # values or data IDs that are named


def tell_exclusions(
    state: State,
    exclusions: Sequence[Selection],
    choices: Mapping[str, Choice],
    kept: Mapping[str, pl.Series],
) -> State:
    """Note what was excluded: in the plan's record, in its identity, and what is left out.

    Parameters
    ----------
    kept : mapping of dataset type to Series
        Which rows would be taken without exclusions.
    """
    if not exclusions:
        return state
    frames = {name: state.existing[name] for name in choices}
    readers: dict[str, str] = {}
    for reader in state.request.pipeline.tasks:
        for connection in reader.inputs:
            readers.setdefault(connection.type, reader.label)
    counts = [0] * len(exclusions)
    shown: dict[str, list[pl.DataFrame]] = {}
    numbers: dict[str, int] = {}
    for name, choice in choices.items():
        left, task = kept[name], readers[name]
        dimensions = state.request.pipeline.dataset_types[name].dimensions
        for i, rows in enumerate(choice.excluded):
            gone = left & rows
            left = left & ~rows
            counts[i] += (number := int(gone.sum()))
            if not number:
                continue
            numbers[task] = numbers.get(task, 0) + number
            first = frames[name].filter(gone).head(EXAMPLES)
            detail = pl.lit(f"{name} with {exclusions[i].canonical}").alias("detail")
            shown.setdefault(task, []).append(first.select(data_id_json(dimensions, first.schema), detail))
    left_out = [
        LeftOut(task, "excluded", number, pl.concat(shown[task]).head(EXAMPLES))
        for task, number in numbers.items()
    ]
    told = [
        {"where": one.canonical, "because": asked.because, "count": number}
        for one, asked, number in zip(exclusions, state.request.excluded, counts, strict=True)
    ]
    digest = sha256_hex(canonical_json(sorted({one.canonical for one in exclusions})).encode())
    return replace(
        state,
        left_out=(*state.left_out, *left_out),
        told={**state.told, "excluded": told},
        identity={**state.identity, "exclude": digest},
    )


def tell_data_ids(state: State) -> State:
    """Note the table of data IDs: beside the plan, and by its digest in the plan's identity."""
    table = state.request.data_ids
    if table is None:
        return state
    facts = {"file": table.place, "columns": list(table.columns), "rows": table.frame.height}
    return replace(
        state,
        extra={**state.extra, "data_ids": table.frame},
        told={**state.told, "data_ids": facts},
        identity={**state.identity, "data_ids": table.digest},
    )


def check_exclusions(
    state: State, exclusions: Sequence[Selection], choices: Mapping[str, Choice]
) -> Iterator[Problem]:
    """Refuse an exclusion that takes nothing that exists, with what there is instead."""
    for i, one in enumerate(exclusions):
        if any(choice.excluded[i].any() for choice in choices.values()):
            continue
        decided = [
            name for name, choice in choices.items() if choice.decided[i] and state.existing[name].height
        ]
        if decided:
            name = max(decided, key=lambda name: state.existing[name].height)
            height = state.existing[name].height
            linked = linked_frame(state.existing[name], named_dimensions(one, state), state)
            fix, _ = term_counts(linked, one.terms, state, f"of {height:,} {name}")
        elif _in_records(one, state):
            continue
        else:
            has = {c for name in choices for c in state.existing[name].columns}
            lacking = [c for c in one.columns if (c.rpartition(".")[0] or c) not in has]
            fix = f"nothing that is read here has {' or '.join(lacking)}"
        yield Problem("PST-C062", f'the exclusion "{one.canonical}" matches nothing', "--exclude", fix)


def _in_records(selection: Selection, state: State) -> bool:
    """Say whether a selection takes a record of a dimension: a tract, of which there is no file."""
    for element, table in state.records.items():
        universe = state.request.universe
        frame = imply(table.select(universe.close([element])), universe, state.records)
        if surely(frame, selection, state)[0].any():
            return True
    return False


def check_data_ids(state: State, choices: Mapping[str, Choice]) -> tuple[list[Problem], list[str]]:
    """Refuse columns, or a table, that fit nothing; warn of rows that do."""
    table = state.request.data_ids
    if table is None:
        return [], []
    universe = state.request.universe
    tasks = {d for task in state.request.pipeline.tasks for d in universe.expand(task.dimensions)}
    wide = {name: linked_frame(state.existing[name], table.columns, state) for name in choices}
    there = tasks.union(*(frame.columns for frame in wide.values()))
    problems = [
        Problem(
            "PST-C064", f"nothing that is read or made here has a {column}", f"{table.place}, column {column}",
            "leave the column out",
        )
        for column in table.columns
        if column not in there
    ]  # fmt: skip
    whole = [frame for frame in wide.values() if set(table.columns) <= set(frame.columns) and frame.height]
    if problems or not whole:
        return problems, []
    rest = table.frame
    for frame in whole:
        known = frame.select(pl.col(c).cast(table.frame.schema[c]) for c in table.columns).unique()
        rest = rest.join(known, on=list(table.columns), how="anti", maintain_order="left")
    named = "; ".join(
        ",".join(f"{c}={v}" for c, v in row.items()) for row in rest.head(FEW).iter_rows(named=True)
    )
    if rest.height == table.frame.height:
        what = f"none of {table.frame.height:,} data IDs fits anything that exists, such as {named}"
        return [Problem("PST-C064", what, table.place, "look what there is: prestow find TYPE")], []
    if rest.height:
        return [], [
            f"{rest.height:,} of {table.frame.height:,} data IDs of {table.place} fit nothing that exists, such as {named}"
        ]
    return [], []


# ---- which term emptied it


def check_selection(state: State) -> list[Problem]:
    """Refuse a selection by what nothing here has: it would select nothing, and look as if it did."""
    selection, request = state.selections.get(("", "")), state.request
    if selection is None or request.stage is not None:  # what this stage has not, another may
        return []
    universe = request.universe
    there = {
        d
        for names in (
            *(task.dimensions for task in request.pipeline.tasks),
            *(kind.dimensions for kind in request.pipeline.dataset_types.values()),
        )
        for d in universe.expand(names)
    }
    lacking = [d for d in named_dimensions(selection, state) if d not in there]
    named = {column.rpartition(".")[0] or column for column in selection.columns}
    if lacking:
        there.update(*(linked_frame(frame, lacking, state).columns for frame in state.existing.values()))
    return [
        Problem(
            "PST-C027", f"'{name}' does not belong to this data: nothing that is read or made here has a {name}",
            f'selection "{selection.canonical}"', f"dimensions here: {', '.join(sorted(there & universe.dimensions.keys()))}",
        )
        for name in lacking
        if name in named and name not in there
    ]  # fmt: skip


def emptied(
    state: State, name: str, dimensions: Iterable[str], own: tuple[str, str] = ("", "")
) -> tuple[int, str, str]:
    """Say how many datasets of a type each term of the request leaves, and which left none.

    Asks the source once more for what there is: this is for an error.

    Parameters
    ----------
    own : tuple of str
        The task and the input whose own selection is told, too.

    Returns
    -------
    number, text, fix
        How many there are; then texts, both empty if the request selects nothing.
    """
    request = state.request
    terms = [*(one for key in dict.fromkeys((("", ""), EXCLUDED, own)) for one in _terms(state, key))]
    if not terms and state.listed is None:
        return state.found[name], "", ""
    frame = _again(state, name)
    linked = linked_frame(
        frame, {*dimensions, *(d for one in terms for d in named_dimensions(one, state))}, state
    )
    data_ids = None if request.data_ids is None else (request.data_ids.place, request.data_ids.frame)
    text, last = term_counts(linked, terms, state, f"of {frame.height:,} {name}", data_ids)
    if not last:
        return frame.height, text, ""
    taken = request.excluded and EXCLUDED in state.selections
    if taken and last == f'"{state.selections[EXCLUDED].canonical}"':
        return frame.height, text, f"exclude less: {last} leaves nothing"
    return frame.height, text, f"widen {last}"


def _terms(state: State, key: tuple[str, str]) -> tuple[Selection, ...]:
    selection = state.selections.get(key)
    if selection is None:
        return ()
    return selection.terms if key != EXCLUDED else (selection,)


def _again(state: State, name: str) -> pl.DataFrame:
    """Give the dimensions of what exists of a type, before anything was selected."""
    request = state.request
    table = pl.from_arrow(state.source.datasets([name], request.chain, first=True))
    assert isinstance(table, pl.DataFrame)
    dimensions = sorted(request.pipeline.dataset_types[name].dimensions)
    frame = table.select(pl.col(d).cast(state.kinds[d]) for d in dimensions if d in table.columns)
    return imply(frame, request.universe, state.records)


def term_counts(
    frame: pl.DataFrame,
    terms: Sequence[Selection],
    state: State,
    whole: str,
    data_ids: tuple[str, pl.DataFrame] | None = None,
) -> tuple[str, str]:
    """Say what each condition leaves, one after the other, up to the one that leaves nothing.

    Parameters
    ----------
    whole : str
        How all of it is called, such as ``of 400 raw``.

    Returns
    -------
    text, last
        The counts, and the condition that leaves nothing, if one does.
    """
    told: list[str] = []
    steps: list[tuple[str, Selection | None]] = [(f'"{one.canonical}"', one) for one in terms]
    if data_ids is not None:
        steps.append((f"the data IDs of {data_ids[0]}", None))
    for label, one in steps:
        if one is not None:
            wide = describe(frame, state.request.universe, state.records, one.columns)
            verdict = one.expression(wide.columns)
            if not set(one.columns) <= set(wide.columns):
                verdict = verdict.fill_null(value=True)
            left = wide.filter(verdict).select(frame.columns)
        else:
            assert data_ids is not None, "a step without a selection is the table"
            wide, left = frame, frame.filter(among(frame, data_ids[1]))
        number = left.height if ROW_NUMBER not in left.columns else left[ROW_NUMBER].n_unique()
        first = f" {whole}" if not told else ""
        if not number:
            columns = one.columns if one is not None else data_ids[1].columns if data_ids is not None else ()
            told.append(f"{label}: 0 left{first}{_values_here(wide, columns)}")
            return "; ".join(told), label
        told.append(f"{label}: {number:,}{first} left")
        frame = left
    return "; ".join(told), ""


def _values_here(frame: pl.DataFrame, columns: Iterable[str]) -> str:
    """Name the values that columns have here: all, if they are few, else the first and the last."""
    told = []
    for column in columns:
        if column not in frame.columns:
            continue
        series = frame[column]
        if isinstance(series.dtype, pl.Enum | pl.Categorical):
            series = series.cast(pl.String)
        values = series.drop_nulls().unique().sort()
        shown = [str(value) for value in values.head(FEW)]
        if values.len() > FEW:
            shown = [*shown[: FEW - 2], "…", str(values[-1])]
        told.append(f"{column} here: {', '.join(shown) or 'not known'}")
    return f" ({'; '.join(told)})" if told else ""
