"""Before a plan is written: whether its stores answer and have room. Beside it: its forecast. After it: how good that was."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from prestow.commit import RECEIPTS
from prestow.engines.journal import JOURNAL, read_journal
from prestow.errors import PrestowError, Problem
from prestow.plan.forecast import Forecast, Place, Room, make_forecast, read_forecast
from prestow.plan.forecast_history import History, read_history
from prestow.plan.forecast_model import BYTES, add_up, size_text
from prestow.plan.forecast_recorded import Recorded, recorded
from prestow.plan.forecast_rules import Needs, make_rules
from prestow.plan.state import outputs_of
from prestow.site import PEGASUS, Quota, Site
from prestow.stores import Store, Walkable, open_store

if TYPE_CHECKING:
    from pathlib import Path

    from prestow.pipeline.definition import Pipeline
    from prestow.plan import Plan
    from prestow.plan.state import State
    from prestow.registry import Registry

LOOKED_AT = 5
"""Input files of a store that are looked for; a store that is there has all of them, or somebody must look."""

SHOWN = 3
"""Data IDs that a problem names."""

_FILE = "file://"


@dataclass(frozen=True)
class Outlook:
    """What is asked before a plan is written and after it ran, at one site.

    Parameters
    ----------
    registry : Registry
        What past runs recorded.
    store_name : str
        The output store's name in the registry.
    stores : mapping of name to URI
        Every store.
    workers : int
        Of the project, where the site says nothing.
    site : Site or None
        Where the plan shall run.
    """

    registry: Registry
    store_name: str
    stores: Mapping[str, str]
    workers: int
    site: Site | None = None
    _histories: dict[str, History] = field(default_factory=dict, compare=False, repr=False)

    @cached_property
    def store(self) -> Store:
        """The output store."""
        return open_store(self.stores[self.store_name])

    def history(self, pipeline: Pipeline, run: str) -> History:
        """Give what other runs recorded of the types that a pipeline writes."""
        if run not in self._histories:
            types = [output.type for task in pipeline.tasks for output in outputs_of(task)]
            self._histories[run] = read_history(self.registry, self.store, types, without=(run,))
        return self._histories[run]

    def forecast(self, plan: Plan) -> Forecast:
        """Say what a plan will come to."""
        packed = 0
        if self.site is not None and self.site.engine == PEGASUS:
            from prestow.engines.pegasus.manifests import PACK_JOBS

            packed = PACK_JOBS
        site = self.site
        workers = self.workers if site is None or site.workers is None else site.workers
        place = Place(self.store_name, workers, self.rooms(), packed, None if site is None else site.name)
        return make_forecast(plan, self.history(plan.definition, plan.run), place)

    def rooms(self) -> tuple[Room, ...]:
        """Give what the output store has room for: by its quota, and by what its disk has free."""
        name = self.store_name
        quota = self.site.quotas.get(name, Quota()) if self.site is not None else Quota()
        sizes: list[tuple[float, str]] = []
        files: list[tuple[int, str]] = []
        if quota.bytes is not None or quota.files is not None:
            count, size = self.registry.history.held(name)
            sizes += [(quota.bytes - size, "quota")] if quota.bytes is not None else []
            files += [(quota.files - count, "quota")] if quota.files is not None else []
        free = _free(self.stores[name])
        if free is not None:
            sizes.append((free[0], "free space"))
            files += [(free[1], "free space")] if free[1] is not None else []
        if not sizes and not files:
            return ()
        least, most = min(sizes, default=(None, "")), min(files, default=(None, ""))
        return (Room(name, least[0], most[0], least[1], most[1]),)

    def problems(self, state: State) -> list[Problem]:
        """Say what stands against a plan in the making: stores that do not answer, and room that is not there."""
        found = [*self._unreachable(state)]
        unwritable = _unwritable(self.store_name, self.stores[self.store_name])
        if unwritable is not None:
            return [*found, unwritable]
        if not self._begun(state.request.run):
            found += self._no_room(state)
        return found

    def _begun(self, run: str) -> bool:
        """Say whether something of a run is made already: then no more than the rest of it is needed."""
        store = self.store
        return isinstance(store, Walkable) and next(iter(store.walk(f"{RECEIPTS}/{run}")), None) is not None

    def _no_room(self, state: State) -> Iterator[Problem]:
        rooms = self.rooms()
        if not rooms:
            return
        pipeline, needs = state.request.pipeline, Needs.of_state(state)
        rules = make_rules(pipeline, self.history(pipeline, state.request.run), needs)
        products = list(needs.products(rules).values())
        need = add_up(products, BYTES)
        need += add_up(list(needs.of_tasks(rules.papers).values()), BYTES)
        files = round(sum(part.count for part in products)) + sum(n.quanta for n in needs.tasks.values())
        for room in rooms:
            if room.bytes is not None and need.low > room.bytes:
                yield Problem(
                    "PST-F001",
                    f"{room.bytes_of} of '{room.store}' has {size_text(room.bytes)} left, and at least "
                    f"{size_text(need.low)} would be written (expected {size_text(need.value)})",
                    _where(room.store, self.stores[room.store]),
                    "make room, raise the quota, or plan less: --where",
                )
            if room.files is not None and files > room.files:
                yield Problem(
                    "PST-F002",
                    f"{room.files_of} of '{room.store}' has room for {max(room.files, 0):,} files, and {files:,} "
                    "products and receipts would be written",
                    _where(room.store, self.stores[room.store]),
                    "make room, raise the quota, or plan less: --where",
                )

    def _unreachable(self, state: State) -> Iterator[Problem]:
        for name, inputs in sorted(_inputs_by_store(state).items()):
            uri = self.stores.get(name)
            trouble = "nobody knows where it is" if uri is None else _unreadable(uri)
            absent: list[str] = []
            looked = sum(part.some.height for part in inputs)
            if uri is not None and not trouble:
                try:
                    absent = _absent(state, open_store(uri), inputs)
                except PrestowError as error:
                    trouble = error.problems[0].what
            count = _inputs(sum(part.count for part in inputs))
            if trouble:
                rows = ((part.kind, row) for part in inputs for row in part.first.iter_rows(named=True))
                examples = _listed([_data_id(state, kind, row) for kind, row in rows])
                what = f"store '{name}' cannot be read: {trouble}; {count} in it, such as {examples}"
                fix = "mount it, or let the registry know where it is"
                yield Problem("PST-F003", what, _where(name, uri), fix)
            elif absent:
                what = (
                    f"of {count} in store '{name}' {looked} were looked for, and {len(absent)} not found: "
                    f"{_listed(absent)}"
                )
                fix = "bring them back, or leave them out: --where"
                yield Problem("PST-F004", what, _where(name, uri), fix)

    def recorded(self, forecast: Forecast, directory: Path | None) -> Recorded | None:
        """Compare a forecast with what its run recorded; None while nothing of it is taken in."""
        wall, tries = _from_journal(directory)
        return recorded(forecast, self.registry, self.store, wall_seconds=wall, reports=tries)


def forecast_of(plan: Plan) -> Forecast | None:
    """Give the forecast that lies beside a plan, or None."""
    return None if plan.directory is None else read_forecast(plan.directory)


def _from_journal(directory: Path | None) -> tuple[float | None, int | None]:
    """Give how long runs of a plan took in all, and how many attempts ended; None if no journal tells."""
    if directory is None:
        return None, None
    seconds, tries, begin, last = 0.0, 0, None, 0.0
    for line in read_journal(directory / JOURNAL):
        at = float(line.get("at", last))
        if line.get("event") == "begin":
            seconds += last - begin if begin is not None else 0.0
            begin = at
        tries += line.get("event") == "ended"
        last = at
    return (None, None) if begin is None else (seconds + last - begin, tries)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Datasets of one type that are read from one store: how many, the first ones, and some of all."""

    kind: str
    count: int
    first: pl.DataFrame
    some: pl.DataFrame


def _inputs_by_store(state: State) -> dict[str, list[_Inputs]]:
    """Give the existing datasets that are read, by store; of all but a few no more than their number."""
    read: dict[str, npt.NDArray[np.bool_]] = {}
    for task in state.request.pipeline.tasks:
        part = state.parts.get(task.label)
        for connection in task.inputs:
            pairs = None if part is None else part.inputs.get(connection.name)
            if connection.type in state.existing and pairs is not None:
                nothing = np.zeros(state.existing[connection.type].height, np.bool_)
                read.setdefault(connection.type, nothing)[pairs["dataset"].to_numpy()] = True
    found: dict[str, list[_Inputs]] = {}
    for kind, mask in sorted(read.items()):
        frame = state.existing[kind]
        stores = frame["_store"]
        for name in stores.unique().drop_nulls().sort().to_list():
            rows = np.flatnonzero(mask & (stores == name).fill_null(value=False).to_numpy())
            if rows.size:
                some = rows[:: -(-rows.size // LOOKED_AT)]
                inputs = _Inputs(kind, rows.size, frame[rows[:SHOWN]], frame[some])
                found.setdefault(str(name), []).append(inputs)
    return found


def _absent(state: State, store: Store, inputs: Sequence[_Inputs]) -> list[str]:
    """Give those of some inputs that are not in their store."""
    return [
        f"{_data_id(state, part.kind, row)} ({row['_path']})"
        for part in inputs
        for row in part.some.iter_rows(named=True)
        if store.size(row["_path"]) is None
    ]


def _data_id(state: State, kind: str, row: Mapping[str, object]) -> str:
    dimensions = state.request.pipeline.dataset_types[kind].dimensions
    return f"{kind}{{{','.join(f'{d}={row[d]}' for d in sorted(dimensions))}}}"


def _listed(texts: Sequence[str]) -> str:
    return ", ".join(texts[:SHOWN])


def _inputs(count: int) -> str:
    return f"{count:,} input{'' if count == 1 else 's'}"


def _where(name: str, uri: str | None) -> str:
    return f"store {name}" + (f" at {uri}" if uri else "")


def _unreadable(uri: str) -> str:
    """Say why a directory cannot be read; nothing if it can, or is no directory."""
    if not uri.startswith(_FILE):
        return ""
    path = uri.removeprefix(_FILE)
    if not os.path.isdir(path):
        return "there is no such directory"
    return "" if os.access(path, os.R_OK | os.X_OK) else "the directory is not readable"


def _unwritable(name: str, uri: str) -> Problem | None:
    """Say why the output store cannot be written; nothing is written to find out."""
    what = ""
    if uri.startswith(_FILE):
        path = _existing(uri.removeprefix(_FILE))
        if not os.path.isdir(path):
            what = f"{path} is no directory"
        elif not os.access(path, os.W_OK | os.X_OK):
            what = f"{path} is not writable"
    else:
        try:
            open_store(uri).size("_probe/prestow")
        except PrestowError as error:
            what = error.problems[0].what
    if not what:
        return None
    return Problem(
        "PST-F005", f"the output store cannot be written: {what}", _where(name, uri), "check its permissions"
    )


def _existing(path: str) -> str:
    """Give the nearest directory, or file, at or above a path that there is."""
    while not os.path.lexists(path) and path != os.path.dirname(path):
        path = os.path.dirname(path)
    return path


def _free(uri: str) -> tuple[float, int | None] | None:
    """Give what the disk of a store has free: bytes, and files if it counts them."""
    if not uri.startswith(_FILE):
        return None
    try:
        disk = os.statvfs(_existing(uri.removeprefix(_FILE)))
    except OSError:
        return None
    return float(disk.f_bavail * disk.f_frsize), disk.f_favail if disk.f_files else None
