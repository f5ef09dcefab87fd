"""What would have to run to have some datasets again, the least of it; what stands against it; what it costs.

And, once they are made again, whether they are what they were.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.commit import report_name
from prestow.errors import PrestowError
from prestow.results.numbers import Tolerance

if TYPE_CHECKING:
    from prestow.manifest import Receipt
    from prestow.results.ancestry import Ancestry, KnownDataset
    from prestow.stores import Store

REPORTS = 64
"""Attempts of a task whose reports are read for what it costs; the others are taken to cost as much."""

NOT_ON_RECORD = "what {} was made from is not on record here"
"""Said of what has neither a receipt nor a plan, and of all that goes back to it."""

NEEDS_BYTES = frozenset({"root", "made", "deleted", "reused"})
"""States of an input whose bytes its reader used."""


@dataclass(frozen=True, slots=True)
class Needed:
    """What has to run.

    Parameters
    ----------
    quanta : tuple of str
        Each after those that it reads from: the least that makes what is wanted and can be made.
    hindered : mapping of dataset id to str
        What is wanted and cannot be made, and why.
    """

    quanta: tuple[str, ...] = ()
    hindered: Mapping[str, str] = field(default_factory=dict)


def needed(
    ancestry: Ancestry,
    present: Container[str],
    wanted: Iterable[str],
    *,
    stopped: Mapping[str, str] | None = None,
    lacking: Mapping[str, str] | None = None,
    blind: Mapping[str, KnownDataset] | None = None,
) -> Needed:
    """Say which quanta have to run so that some datasets are there, and nothing else.

    What is present is read, and not made again; what was lost or declined stays so.

    Parameters
    ----------
    present : container of str
        Datasets whose bytes are at hand.
    stopped : mapping of run to str
        Runs of which nothing can be made, and why.
    lacking : mapping of dataset id to str
        What is told of a dataset that is not present and that nothing makes, instead of that it is gone.
    blind : mapping of quantum to KnownDataset, optional
        What `Ancestry.blind` gives: of which nothing can be made.

    Examples
    --------
    >>> from prestow.results.ancestry import Ancestry, KnownDataset, KnownQuantum
    >>> known = Ancestry(
    ...     [],
    ...     {"r": KnownDataset("r", "raw", {}, "raws", state="root"),
    ...      "i": KnownDataset("i", "isr", {}, "demo", "I", "made"),
    ...      "c": KnownDataset("c", "calexp", {}, "demo", "C", "made")},
    ...     {"I": KnownQuantum("I", "isr", "demo", {}, "made", inputs=(("raw", "r"),), outputs=("i",)),
    ...      "C": KnownQuantum("C", "calibrate", "demo", {}, "made", inputs=(("isr", "i"),), outputs=("c",))},
    ... )
    >>> needed(known, {"r"}, ["c"]).quanta, needed(known, {"i"}, ["c"]).quanta
    (('I', 'C'), ('C',))
    >>> needed(known, set(), ["c"]).hindered
    {'c': 'raw{} is gone'}
    """
    search = _Search(ancestry, present, stopped or {}, lacking or {}, blind or {})
    hindered: dict[str, str] = {}
    for key in wanted:
        if key in present:
            continue
        why = search.hindrance(key)
        if why:
            hindered[key] = why
        else:
            search.take(key)
    return Needed(tuple(search.taken), hindered)


class _Search:
    def __init__(
        self,
        ancestry: Ancestry,
        present: Container[str],
        stopped: Mapping[str, str],
        lacking: Mapping[str, str],
        blind: Mapping[str, KnownDataset],
    ) -> None:
        self._known = ancestry
        self._present = present
        self._stopped = stopped
        self._lacking = lacking
        self._blind = blind
        self._why: dict[str, str] = {}  # of datasets that were looked at; empty if they can be made
        self.taken: dict[str, None] = {}

    def _inputs(self, quantum: str) -> list[str]:
        """Give what a quantum needs the bytes of, and they are not present."""
        found = []
        for _, key in self._known.quanta[quantum].inputs:
            one = self._known.datasets[key]
            maker = self._known.quanta.get(one.quantum)
            open_ = maker is not None and not maker.state
            if key not in self._present and (one.state in NEEDS_BYTES or open_):
                found.append(key)
        return found

    def hindrance(self, key: str) -> str:
        """Say why a dataset cannot be made, or give an empty text; without recursion: a line may be long."""
        todo = [key]
        while todo:
            top = todo[-1]
            if top in self._why:
                todo.pop()
                continue
            own = self._own(top)
            if own is not None:
                self._why[top] = own
                continue
            inputs = self._inputs(self._known.datasets[top].quantum)
            unknown = [i for i in inputs if i not in self._why]
            if unknown:
                todo += unknown
                continue
            self._why[top] = next((self._why[i] for i in inputs if self._why[i]), "")
        return self._why[key]

    def _own(self, key: str) -> str | None:
        """Say what stands against a dataset by itself; None if that is a question of its inputs."""
        one = self._known.datasets[key]
        if key in self._present:
            return ""
        quantum = self._known.quanta.get(one.quantum)
        if quantum is None:
            return self._lacking.get(key, f"{one} is gone")
        if quantum.run in self._stopped:
            return self._stopped[quantum.run]
        if quantum.state not in ("", "made") or (quantum.state == "made" and one.state == "declined"):
            return f"{one} is {quantum.state if quantum.state != 'made' else 'declined'}, and that stays so"
        if one.quantum in self._blind:
            return NOT_ON_RECORD.format(self._blind[one.quantum])
        return None

    def take(self, key: str) -> None:
        """Take the quantum of a dataset, after all that it needs."""
        todo = [(self._known.datasets[key].quantum, False)]
        while todo:
            quantum, ready = todo.pop()
            if quantum in self.taken:
                continue
            if ready:
                self.taken[quantum] = None
                continue
            todo.append((quantum, True))
            todo += [(self._known.datasets[i].quantum, False) for i in self._inputs(quantum)]


# --- what it costs -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cost:
    """What making something comes to: quanta, CPU seconds and bytes, as far as they are on record.

    ``guessed`` is how many of the quanta are taken to cost what others of their task did.
    """

    quanta: int = 0
    cpu_seconds: float | None = 0.0
    size: int | None = 0
    guessed: int = 0

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


class Costs:
    """What quanta cost when they ran, by the reports of their attempts; each is read once.

    Parameters
    ----------
    store : Store
        Where the reports are.
    spent : mapping of quantum id to float, optional
        CPU seconds that are known already.
    """

    def __init__(self, ancestry: Ancestry, store: Store, spent: Mapping[str, float] | None = None) -> None:
        self._known = ancestry
        self._store = store
        self._seconds: dict[str, float | None] = {}
        self._of_task: dict[tuple[str, str], list[float]] = {}
        for key, seconds in (spent or {}).items():
            if key in ancestry.quanta:
                quantum = ancestry.quanta[key]
                self._seconds[key] = seconds
                self._of_task.setdefault((quantum.run, quantum.task), []).append(seconds)
        self._sizes: dict[str, list[int]] = {}
        for one in ancestry.datasets.values():
            if one.size is not None and one.quantum:
                self._sizes.setdefault(one.type, []).append(one.size)

    @property
    def spent(self) -> dict[str, float]:
        """CPU seconds of the quanta that were looked at."""
        return {key: seconds for key, seconds in self._seconds.items() if seconds is not None}

    def of(self, quanta: Collection[str]) -> Cost:
        """Give what some quanta come to."""
        seconds, size, guessed = 0.0, 0, 0
        unknown = lacks = False
        for key in quanta:
            quantum = self._known.quanta[key]
            spent = self._spent(key)
            if spent is None:
                spent = self._mean(quantum.run, quantum.task)
                guessed += 1
            unknown |= spent is None
            seconds += spent or 0.0
            for output in quantum.outputs:
                one = self._known.datasets.get(output)
                if one is None or one.state == "declined":
                    continue
                bytes_ = one.size if one.size is not None else _mean(self._sizes.get(one.type, ()))
                lacks |= bytes_ is None
                size += round(bytes_ or 0)
        return Cost(len(quanta), None if unknown else round(seconds, 3), None if lacks else size, guessed)

    def _mean(self, run: str, task: str) -> float | None:
        if (run, task) not in self._of_task:
            for key, quantum in self._known.quanta.items():
                if (quantum.run, quantum.task) == (run, task):
                    self._spent(key)
        return _mean(self._of_task.get((run, task), ()))

    def _spent(self, key: str) -> float | None:
        """Give the CPU seconds of a quantum, by the report of the attempt that made it."""
        if key not in self._seconds:
            quantum = self._known.quanta[key]
            there = self._of_task.setdefault((quantum.run, quantum.task), [])
            self._seconds[key] = None
            if quantum.attempt and len(there) < REPORTS:
                spent = _reported(self._store, quantum.job, quantum.attempt, key)
                if spent is not None:
                    there.append(spent)
                    self._seconds[key] = spent
        return self._seconds[key]


def _mean(values: Collection[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _reported(store: Store, job: str, attempt: str, quantum: str) -> float | None:
    try:
        entries = json.loads(store.read(report_name(job, attempt)))["quanta"]
        entry = next((e for e in entries if e.get("quantum") == quantum), None)
        return None if entry is None else float(entry.get("cpu_seconds", entry.get("seconds", 0.0)))
    except (PrestowError, ValueError, KeyError, TypeError, AttributeError):
        return None


# --- what it was -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Again:
    """A dataset that was made again, held to what is on record of it.

    Parameters
    ----------
    answer : str
        ``equal``, ``differs``, ``no record``, or ``failed``.
    how : tuple of str
        In what it differs, or why it failed; of what is equal whether it is so to the byte.
    """

    dataset: KnownDataset
    answer: str
    how: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        one = self.dataset
        return {
            "id": one.id, "type": one.type, "data_id": dict(one.data_id), "run": one.run, "path": one.path,
            "answer": self.answer, "how": list(self.how),
        }  # fmt: skip


def held_to_record(
    one: KnownDataset, recorded: Receipt | None, made: Receipt | None, files: tuple[Path, Path] | None = None
) -> Again:
    """Compare a dataset that was made again with its record.

    Parameters
    ----------
    recorded, made : Receipt or None
        The receipt of its quantum then and now; None if there is none.
    files : (Path, Path), optional
        Its bytes then and now, if both are at hand: then it is told in what they differ.
    """
    now = next((o for o in made.outputs if o.id == one.id), None) if made is not None else None
    if made is None:
        return Again(one, "failed", ("it was not settled",))
    if made.state != "made" or now is None or now.state != "made":
        state = f"{made.state}:{made.code}" if made.code else made.state
        return Again(one, "differs" if recorded is not None else "no record", (f"this time it is {state}",))
    then = next((o for o in recorded.outputs if o.id == one.id), None) if recorded is not None else None
    if recorded is None or then is None or then.state != "made":
        return Again(one, "no record", (f"content {str(now.content)[:8]}",))
    if then.content == now.content:
        return Again(
            one,
            "equal",
            ("to the byte",) if then.sha256 == now.sha256 else ("in content, not in every byte",),
        )
    how = [f"content {str(then.content)[:8]} on record, {str(now.content)[:8]} now"]
    if recorded.actual_recipe != made.actual_recipe:
        how.append("it was made from other inputs: the actual recipes are not the same")
    if files is not None:
        how += _in_what(one.format, files)
    return Again(one, "differs", tuple(how))


def _in_what(form: str, files: tuple[Path, Path]) -> list[str]:
    from prestow.results.differences import compare_files

    try:
        return [part.text for part in compare_files(form, *files, Tolerance())]
    except (PrestowError, OSError, ValueError) as error:
        return [f"the two cannot be compared: {error}"]
