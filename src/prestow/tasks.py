"""What a task author imports: the quantum with its inputs and outputs, `NothingToDo`, `task`, `Preflight`.

Owns the task's view of a job. Serves the workflow's code and the node. Never finds a file that
the manifest does not name.

A task is a function ``run(quantum, config)``::

    from prestow.tasks import NothingToDo, Quantum

    def run(quantum: Quantum, config: Config) -> None:
        pixels = quantum.get("raw")
        quantum.put("isr", pixels - config.pedestal)

It may return its outputs instead, as a mapping of connection to value.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from prestow.errors import NotInManifestError, Problem, TaskError
from prestow.formats import open_format
from prestow.model.frozen import frozen

Values = Mapping[str, str | int]
Measure = float | int | str | bool
Connections = Mapping[str, str | Mapping[str, Any]]  # Any: what a pipeline's YAML may hold there
_Function = TypeVar("_Function", bound=Callable[..., Any])

_CODE = re.compile(r"[a-z][a-z0-9_]*")


class NothingToDo(Exception):  # noqa: N818 - no error: a rightful answer
    """Raised by a task that has nothing to make; its quantum is then *declined*.

    Parameters
    ----------
    code : str
        Why, as one fixed word ``[a-z][a-z0-9_]*``; it enters the files of those who do without.
    reason : str
        Free text for people; stays in the receipt.
    """

    def __init__(self, code: str = "declined", reason: str = "") -> None:
        if not _CODE.fullmatch(code):
            raise ValueError(f"the code of a decline must match [a-z][a-z0-9_]*, not {code!r}")
        super().__init__(code, reason)
        self.code = code
        self.reason = reason


def task(
    *,
    dimensions: Sequence[str] = (),
    inputs: Connections | None = None,
    outputs: Connections | None = None,
    where: str = "",
    on_failure: str = "stop",
    tries: int = 1,
    ignore: Sequence[str] = (),
    prototypes: Sequence[str] = (),
    resources: Mapping[str, int | str] | None = None,
    hints: Mapping[str, float | str] | None = None,
    preflight: str = "",
) -> Callable[[_Function], _Function]:
    """Declare a task beside its code; the pipeline then needs one line, ``label: module:function``.

    Keys and values are those of a task's section in a pipeline (see ``docs/files.md``). They are read
    from the source and never run, so they must be literals. Here nothing happens: the function is given
    back as it is.

    Parameters
    ----------
    dimensions : sequence of str
        Of its quanta.
    inputs, outputs : mapping of connection to dataset type
        Or to a mapping with ``type``, which may define that type: ``dimensions``, ``format``,
        ``template``, ``columns``.
    preflight : str
        ``module:function``: a hook that vetoes quanta and trims inputs before anything runs, see
        `Preflight`.
    where, on_failure, tries, ignore, prototypes, resources, hints
        Policies; the pipeline's file may say otherwise.

    Examples
    --------
    >>> @task(
    ...     dimensions=["visit", "detector"],
    ...     inputs={"calexp": "calexp"},
    ...     outputs={"depth": {"type": "depth", "dimensions": ["visit", "detector"], "format": "yaml"}},
    ... )
    ... def run(quantum):
    ...     return {"depth": {"noise": float(quantum.get("calexp", "array").std())}}
    >>> run.__name__
    'run'
    """
    del dimensions, inputs, outputs, where, on_failure, tries, ignore, prototypes, resources, hints, preflight

    def same(function: _Function) -> _Function:
        return function

    return same


class PreflightView(Protocol):
    """What a pre-flight hook sees: the candidates of one task, in columns (Polars data frames).

    Attributes
    ----------
    config : mapping
        The task's configuration, plain values.
    quanta : DataFrame
        One row a candidate, in the order of data IDs: its dimensions, and those that they imply.
    inputs : mapping of connection to DataFrame
        One row a dataset that a candidate would read: ``quantum``, the row of ``quanta``; and the
        dataset's dimensions.
    """

    config: Mapping[str, Any]
    quanta: Any  # polars.DataFrame; this module imports nothing heavy
    inputs: Mapping[str, Any]

    def describe(self, frame: Any, *names: str) -> Any:
        """Give a frame with metadata of its dimensions as more columns, such as ``visit.airmass``."""


@frozen
class Preflight:
    """What a pre-flight hook answers: which candidates stay, and what of their inputs.

    A hook is a pure function of its view: it reads no file, no clock and no random numbers.
    It only takes away. Masks are Boolean columns (a Polars series, an array, a list).

    Parameters
    ----------
    keep : column of bool, optional
        For each row of ``view.quanta``; all stay, if it is not given. A null is a veto.
    code : str or column of str
        Why the others go: one fixed word ``[a-z][a-z0-9_]*``, for all or for each row.
    inputs : mapping of connection to column of bool
        For each row of ``view.inputs[connection]``, whether it is read.

    Examples
    --------
    >>> def preflight(view):
    ...     visits = view.describe(view.quanta, "visit.airmass")
    ...     return Preflight(keep=visits["visit.airmass"] < 2.0, code="high_airmass")
    >>> Preflight().keep is None
    True
    """

    keep: Any = None
    code: Any = "vetoed"
    inputs: Mapping[str, Any] = field(default_factory=dict)


class Input(NamedTuple):
    """A dataset to read: where it lies in the local repository."""

    type: str
    data_id: Values
    path: Path
    format: str = ""


class Absent(NamedTuple):
    """A planned input that was not made, and why."""

    type: str
    data_id: Values
    state: str
    code: str


class Output(NamedTuple):
    """A dataset to write: where it must lie in the local repository."""

    type: str
    data_id: Values
    path: Path
    format: str = ""


_Item = TypeVar("_Item", Input, Absent, Output)


@frozen
class Quantum:
    """One task on one data ID: all that it may read and must write.

    Parameters
    ----------
    task : str
        The task's label.
    data_id : mapping
        What this quantum is about.
    seed : int
        For random numbers, 0 <= seed < 2**32; the same whenever the same thing is made.
    inputs : mapping of connection to tuple of Input
        Those that were made, in the order of the plan.
    absent : mapping of connection to tuple of Absent
        Those that were planned and not made.
    outputs : mapping of connection to tuple of Output
        What must be written.
    measures : dict
        What `measure` was told.
    """

    task: str
    data_id: Values
    seed: int
    inputs: Mapping[str, tuple[Input, ...]]
    absent: Mapping[str, tuple[Absent, ...]]
    outputs: Mapping[str, tuple[Output, ...]]
    measures: dict[str, Measure] = field(default_factory=dict)
    _indices: dict[int, Any] = field(default_factory=dict)  # by connection; Any: of inputs or outputs

    def get(self, name: str, as_: str | None = None, **data_id: str | int) -> Any:
        """Read one input by its format.

        Parameters
        ----------
        name : str
            Connection or dataset type.
        as_ : str, optional
            What the format should give; see the format.
        **data_id
            Values that single out one of several.

        Raises
        ------
        NotInManifestError
            If the manifest does not name it, or it was not made (PST-N001).
        """
        found = self._input(name, data_id)
        return open_format(found.format).read(found.path, as_)

    def put(self, name: str, value: object, **data_id: str | int) -> Path:
        """Write one output by its format, at its planned place, and give that place.

        Raises
        ------
        NotInManifestError
            If it was not planned, or is there already (PST-N002).
        TaskError
            If its format cannot write such a value (PST-N012).
        """
        found = self._output(name, data_id)
        if found is None:
            raise NotInManifestError(
                Problem(
                    "PST-N002",
                    f"the output {_text(name, data_id)} was not planned",
                    self._where(),
                    self._known(self.outputs),
                )
            )
        if os.path.lexists(found.path):
            raise NotInManifestError(
                Problem(
                    "PST-N002",
                    f"the output {_text(name, data_id)} was put already",
                    self._where(),
                    "put each output once",
                )
            )
        try:
            open_format(found.format).write(found.path, value)
        except (TaskError, TypeError, ValueError, KeyError, AttributeError) as error:
            if isinstance(error.__cause__, ImportError):
                raise  # the value is not to blame
            raise TaskError(self._unfit(name, found, value, error)) from error
        return found.path

    def _unfit(self, name: str, found: Output, value: object, error: Exception) -> Problem:
        """Say which value could not be written where, and what the format asks for."""
        reason, fix = f"{type(error).__name__}: {error}", f"give what the format '{found.format}' can hold"
        if isinstance(error, TaskError) and error.problems:
            reason, fix = error.problems[0].what, error.problems[0].fix or fix
        of = found.type if found.type == name else f"{found.type} as '{name}'"
        what = f"the output {of} ({found.format}) cannot be {value_in_words(value)}: {reason}"
        return Problem("PST-N012", what, self._where(), fix)

    def path(self, name: str, **data_id: str | int) -> Path:
        """Give the local path of one input or output, by connection or dataset type."""
        if name not in self.inputs:
            found = self._output(name, data_id)
            if found is not None:
                return found.path
        return self._input(name, data_id).path

    def paths(self, name: str) -> list[Path]:
        """Give the local paths of all made inputs (or all outputs) of one connection."""
        if name in self.inputs:
            return [item.path for item in self.inputs[name]]
        if name in self.outputs:
            return [item.path for item in self.outputs[name]]
        raise NotInManifestError(
            Problem("PST-N001", f"there is no connection '{name}'", self._where(), self._known(self.inputs))
        )

    def measure(self, name: str, value: Measure) -> None:
        """Note a number, text or truth value in the receipt.

        Raises
        ------
        TaskError
            If it is none of these, or not finite (PST-N007).
        """
        plain: object = getattr(value, "item", lambda: value)()  # a scalar of numpy
        if not isinstance(plain, str | int | float) or (
            isinstance(plain, float) and not math.isfinite(plain)
        ):
            raise TaskError(
                Problem(
                    "PST-N007",
                    f"a measure must be a finite number, text or truth value: {name} = {value!r}",
                    self._where(),
                )
            )
        self.measures[name] = plain

    def _input(self, name: str, data_id: Values) -> Input:
        found = _matching(self.inputs, name, data_id, self._indices)
        if len(found) == 1:
            return found[0]
        if found:
            what, fix = (
                f"{len(found)} inputs match {_text(name, data_id)}",
                "say which by its data ID, or use paths()",
            )
        elif gone := _matching(self.absent, name, data_id, self._indices):
            code = f":{gone[0].code}" if gone[0].code else ""
            what = f"the input {_text(name, data_id)} is absent: {gone[0].state}{code}"
            fix = "look at quantum.absent before you get it"
        else:
            what, fix = f"the input {_text(name, data_id)} is not in the plan", self._known(self.inputs)
        raise NotInManifestError(Problem("PST-N001", what, self._where(), fix))

    def _output(self, name: str, data_id: Values) -> Output | None:
        found = _matching(self.outputs, name, data_id, self._indices)
        if len(found) > 1:
            raise NotInManifestError(
                Problem(
                    "PST-N002",
                    f"{len(found)} outputs match {_text(name, data_id)}",
                    self._where(),
                    "say which by its data ID",
                )
            )
        return found[0] if found else None

    def _where(self) -> str:
        return _text(self.task, self.data_id)

    def _known(self, connections: Iterable[str]) -> str:
        names = ", ".join(n for n in connections if not n.startswith("_"))
        return f"connections declared here: {names or 'none'}; declare it in the pipeline"


def value_in_words(value: object) -> str:
    """Say what a value is: its type, and how much of it there is.

    Examples
    --------
    >>> value_in_words([1, 2]), value_in_words(None), value_in_words(0.5)
    ('a list of 2', 'None', 'a float')
    """
    if value is None:
        return "None"
    kind = type(value)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    words = f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
    shape, dtype = getattr(value, "shape", None), getattr(value, "dtype", None)
    if isinstance(shape, tuple) and dtype is not None:
        return f"{words} of {dtype}, shape {shape}"
    return f"{words} of {len(value)}" if isinstance(value, list | tuple | dict | set | str | bytes) else words


def _text(name: str, data_id: Values) -> str:
    return f"{name}{{{','.join(f'{k}={data_id[k]}' for k in sorted(data_id))}}}" if data_id else name


_MANY = 32
"""Inputs of one connection, from which on they are looked up and not looked through."""


def _matching(
    table: Mapping[str, tuple[_Item, ...]], name: str, data_id: Values, indices: dict[int, Any]
) -> list[_Item]:
    """Give the items of a connection, or of the connections of a dataset type, that have these values."""
    if name in table:
        pools = [table[name]]
    else:  # all items of a connection are of one type
        pools = [items for items in table.values() if items and items[0].type == name]
    return [item for pool in pools for item in _among(pool, data_id, indices)]


def _among(pool: tuple[_Item, ...], data_id: Values, indices: dict[int, Any]) -> list[_Item]:
    if len(pool) <= _MANY or data_id.keys() != pool[0].data_id.keys():
        return [item for item in pool if all(item.data_id.get(k) == v for k, v in data_id.items())]
    if id(pool) not in indices:  # a gather asks for each of its ten thousand by its whole data ID
        index: dict[frozenset[tuple[str, str | int]], list[_Item]] = {}
        for item in pool:
            index.setdefault(frozenset(item.data_id.items()), []).append(item)
        indices[id(pool)] = index
    found: list[_Item] = indices[id(pool)].get(frozenset(data_id.items()), [])
    return found
