"""The proof of names while tables are made: every name is seen once, and only its hash is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, cast

import numpy as np
import polars as pl

from prestow.errors import Problem
from prestow.model import DatasetType
from prestow.model.data_id import DataId
from prestow.naming import identity, octets
from prestow.naming.templates import Template, compile_template, encode, twins
from prestow.pipeline.definition import TaskDefinition
from prestow.plan.numbers import CHUNK
from prestow.plan.state import State, outputs_of
from prestow.plan.texts import texts_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.naming.octets import Octets

    Hashes = npt.NDArray[np.uint64]

SHOWN = 5


def shown(dataset_type: str, data_id: str) -> str:
    """Give a dataset as people see it."""
    return f"{dataset_type}{{{DataId.from_json(data_id)}}}"


def folded_hashes(paths: pl.Series) -> Hashes:
    """Give a hash of each path but for case; equal paths have equal hashes."""
    return paths.str.to_lowercase().hash().to_numpy()


class NameProof:
    """Sees every quantum and every name of a plan, and says what must not be.

    Parameters
    ----------
    state : State
        After all passes.
    directories : DataFrame
        Every directory that names are in, by the pass ``prove``.
    """

    def __init__(self, state: State, directories: Iterable[str]) -> None:
        self._state = state
        self._hashes: list[Hashes] = []
        self._small: dict[str, bool] = {}  # of a type: no name has a capital letter
        self._every: Hashes = np.zeros(0, np.uint64)
        self._directories = pl.Series("directory", list(directories), pl.String)
        self._settled = _Known(_settled(state))
        self._settled_otherwise: dict[str, tuple[int, Problem]] = {}
        self._there = _there(state)
        self._taken: list[pl.DataFrame] = []

    def add_quanta(self, task: TaskDefinition, frame: pl.DataFrame, ids: Octets, recipes: Octets) -> None:
        """See quanta of a task; those that the run has settled otherwise are noted."""
        found = self._settled.other(ids, recipes)
        if not len(found):
            return
        before, problem = self._settled_otherwise.get(task.label, (0, None))
        count = before + len(found)
        if problem is None:
            row = int(found[0])
            data_id = texts_of(frame[row], identity.data_id_json(task.dimensions, frame.schema))[0]
            problem = self._other_recipe(task, data_id, ids[row], recipes[row])
        self._settled_otherwise[task.label] = (count, problem)

    def _other_recipe(self, task: TaskDefinition, data_id: str, quantum: Octets, recipe: Octets) -> Problem:
        old, here = self._settled.value(quantum).hex(), recipe.tobytes().hex()
        run = self._state.request.run
        name = pl.select(identity.uuid_text(pl.lit(quantum.tobytes()))).item()
        what = f"are settled in run {run} under another recipe: {shown(task.label, data_id)} is {old} there, {here} here"
        where = f"{shown(task.label, data_id)} · quantum {name} · recipes {old} and {here}"
        return Problem(
            "PST-P005", what, where, "its inputs, configuration or code have changed: choose another run"
        )

    def add_names(self, kind: DatasetType, frame: pl.DataFrame, paths: pl.Series, ids: Octets) -> None:
        """See names of a type; those that the output store has for others are noted."""
        if kind.name not in self._small:
            self._small[kind.name] = _is_small(self._state, kind, frame)
        self._hashes.append(paths.hash().to_numpy() if self._small[kind.name] else folded_hashes(paths))
        if not self._there.height:
            return
        named = pl.DataFrame({"path": paths}).with_columns(
            texts_of(frame, identity.data_id_json(kind.dimensions, frame.schema)).alias("data_id"),
            pl.Series("id", [one.tobytes() for one in ids], pl.Binary),
            pl.lit(kind.name).alias("type"),
        )  # only where the run has something already
        both = named.join(self._there, on="path", how="inner").filter(pl.col("id") != pl.col("other_id"))
        if both.height:
            self._taken.append(both)

    def problems(self) -> Iterator[Problem]:
        """Give what was found wrong."""
        self._every = np.sort(np.concatenate([self._every, *self._hashes]))
        self._hashes = []
        yield from self._twins()
        yield from self._shadowed()
        if self._taken:
            yield from _taken_problems(pl.concat(self._taken).sort("path", "type"))
        for task in self._state.request.pipeline.tasks:
            if task.label in self._settled_otherwise:
                count, problem = self._settled_otherwise[task.label]
                quanta = self._state.parts[task.label].quanta.height
                what = f"{count} of {quanta} quanta of {task.label} {problem.what}"
                yield Problem(problem.code, what, problem.where, problem.fix)

    def _twins(self) -> Iterator[Problem]:
        every = self._every
        twice = every[1:][every[1:] == every[:-1]]
        if len(twice):
            yield from _twin_problems(self._state, self._named(twice))

    def _shadowed(self) -> Iterator[Problem]:
        directories = folded_hashes(self._directories)
        at = np.searchsorted(self._every, directories)
        at[at == len(self._every)] = 0
        suspects = directories[self._every[at] == directories] if len(self._every) else directories[:0]
        if not len(suspects):
            return
        folded = self._directories.str.to_lowercase().unique()
        names = self._named(suspects)
        found = names.filter(pl.col("path").str.to_lowercase().is_in(folded.implode()))
        for dataset_type, data_id, path in found.select("type", "data_id", "path").head(SHOWN).iter_rows():
            what = f"the name of {shown(dataset_type, data_id)} is also a directory of other names: {path}"
            where = shown(dataset_type, data_id)
            yield Problem("PST-P004", what, where, "give one of them a directory of its own")

    def _named(self, wanted: Hashes) -> pl.DataFrame:
        """Make the names again whose hashes these are."""
        text = dict.fromkeys(("type", "data_id", "path"), pl.String)
        found = [pl.DataFrame(schema=text)]
        for kind, template in templates_of(self._state):
            frame = self._state.planned[kind.name]
            for start in range(0, frame.height, CHUNK):
                piece = frame.slice(start, CHUNK)
                paths = texts_of(piece, template.column(self._state.request.run))
                rows = np.flatnonzero(np.isin(folded_hashes(paths), wanted))
                if len(rows):
                    data_ids = texts_of(piece, identity.data_id_json(kind.dimensions, piece.schema))
                    columns = {"data_id": data_ids[rows], "path": paths[rows]}
                    named = pl.DataFrame(columns).select(pl.lit(kind.name).alias("type"), "data_id", "path")
                    found.append(named)
        return pl.concat(found)


def _is_small(state: State, kind: DatasetType, frame: pl.DataFrame) -> bool:
    """Say whether no name of a type can have a capital letter, so that there is nothing to fold."""
    texts = [kind.template.replace("{type}", kind.name), state.request.run]
    for name in set(frame.columns) & set(state.kinds):
        known = state.kinds[name]
        texts += [encode(value) for value in known.categories] if isinstance(known, pl.Enum) else []
    return all(text == text.lower() for text in texts)


def templates_of(state: State) -> Iterator[tuple[DatasetType, Template]]:
    """Give every planned type with its template."""
    request = state.request
    for task in request.pipeline.tasks:
        for output in outputs_of(task):
            kind = request.pipeline.dataset_types[output.type]
            yield (
                kind,
                compile_template(kind.template, kind.dimensions, request.universe, dataset_type=kind.name),
            )


class _Known:
    """Values by id, looked up whole."""

    def __init__(self, known: tuple[Octets, Octets]) -> None:
        ids, values = known
        order = np.argsort(octets.halves(ids), kind="stable")
        self._keys, self._ids, self._values = octets.halves(ids)[order], ids[order], values[order]

    def _places(self, ids: Octets) -> npt.NDArray[np.intp]:
        """Give where each id stands, or -1."""
        at = np.searchsorted(self._keys, octets.halves(ids))
        at[at == len(self._keys)] = 0
        return np.where((self._ids[at] == ids).all(axis=1), at, -1)

    def other(self, ids: Octets, values: Octets) -> npt.NDArray[np.intp]:
        """Give the rows of which another value is known."""
        if not len(self._keys) or not len(ids):
            return np.zeros(0, np.intp)
        at = self._places(ids)
        return np.flatnonzero((at >= 0) & (self._values[at] != values).any(axis=1))

    def value(self, one: Octets) -> bytes:
        """Give the value of an id that is known."""
        found: bytes = self._values[self._places(one[None, :])[0]].tobytes()
        return found


def _settled(state: State) -> tuple[Octets, Octets]:
    """Give the quanta that the run has settled, and their planned recipes."""
    there = cast("pl.DataFrame", pl.from_arrow(state.source.quanta(state.request.run)))
    found = (octets.from_binary(_binary(there, name)) for name in ("id", "planned_recipe"))
    ids, recipes = found if there.height else (np.zeros((0, 16), np.uint8),) * 2
    return ids, recipes


def _there(state: State) -> pl.DataFrame:
    """Give the names that the output store has in this run."""
    request = state.request
    types = sorted(request.pipeline.dataset_types)
    there = cast("pl.DataFrame", pl.from_arrow(state.source.datasets(types, (request.run,), first=True)))
    if not there.height:
        return pl.DataFrame(schema={"path": pl.String, "other": pl.String, "other_id": pl.Binary})
    other = there.with_columns(_binary(there, "id").alias("id"))
    return other.filter(pl.col("store") == request.store).select("path", other="type", other_id="id")


def _binary(frame: pl.DataFrame, name: str) -> pl.Series:
    if frame.schema[name] == pl.String:
        return frame[name].str.replace_all("-", "", literal=True).str.decode("hex")
    return frame[name].cast(pl.Binary)


def _taken_problems(both: pl.DataFrame) -> Iterator[Problem]:
    for row in both.head(SHOWN).iter_rows(named=True):
        here, other = shown(row["type"], row["data_id"]), f"{row['other']} {row['other_id'].hex()}"
        what = (
            f"{here} and the existing {other} would have one name: {row['path']} ({both.height} such names)"
        )
        yield Problem("PST-P004", what, f"{here} · {other}", "choose another run")


def _twin_problems(state: State, names: pl.DataFrame) -> Iterator[Problem]:
    found = twins(names["path"])
    if not found.height:
        return
    rows = names[found["row"]].with_columns(found["folded"])
    # One problem for each pair of types, with its first pair of datasets: a million twins have few causes.
    pairs = rows.group_by("folded", maintain_order=True).agg(
        pl.col("type", "data_id", "path").head(2), pl.len().alias("n")
    )
    kinds = pairs.with_columns(kind=pl.col("type").list.join("/")).group_by("kind", maintain_order=True)
    causes = kinds.agg(pl.len().alias("clashes"), pl.col("type", "data_id", "path").first())
    for _, clashes, types, data_ids, paths in causes.iter_rows():
        first, second = (shown(t, d) for t, d in zip(types, data_ids, strict=True))
        how = "one name" if paths[0] == paths[1] else "names that differ only in case"
        template = state.request.pipeline.dataset_types[types[0]].template
        if first == second:
            what = f"two quanta would make {first}"
            fix = f"give {types[0]} the dimensions of its task, or the task those of {types[0]}"
        else:
            what = f"{first} and {second} would have {how}: {paths[0]}"
            fix = f"add {_missing(data_ids, template)} to the template '{template}'"
        more = f" (and {clashes - 1} more such names)" if clashes > 1 else ""
        yield Problem("PST-P004", f"{what}{more}", f"{first} · {second}", fix)


def _missing(data_ids: list[str], template: str) -> str:
    """Give the fields in which two data IDs differ and that a template does not have."""
    first, second = (DataId.from_json(d) for d in data_ids)
    differ = [d for d in first if first[d] != second.get(d) and f"{{{d}" not in template]
    return ", ".join(f"{{{d}}}" for d in differ) or "{type}"
