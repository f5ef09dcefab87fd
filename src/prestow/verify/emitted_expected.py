"""What a plan says of each job that is handed over: its files by the names under which they must travel."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from prestow.verify.emitted_reading import Submission, flat
from prestow.verify.paper import Array, Paper

EXTERNAL = "_external"


@dataclass(slots=True)
class Reading:
    """An input of a job that exists: its logical name, and what its replica must be."""

    name: str
    store: str
    path: str
    size: int | None
    sha256: str | None


@dataclass(slots=True)
class Expected:
    """One job as it must be.

    ``needs`` and ``makes`` are logical names, but for those of files that exist: these are ``reads``, by the id of
    the dataset. ``may`` are names that may be among inputs or not. ``elsewhere``: datasets that settled quanta
    made: of these the plan does not know where they are.
    """

    needs: set[str] = field(default_factory=set)
    may: set[str] = field(default_factory=set)
    makes: set[str] = field(default_factory=set)
    others: dict[str, str] = field(
        default_factory=dict
    )  # of what other jobs make, the name that it has in the store
    reads: dict[str, Reading] = field(default_factory=dict)
    elsewhere: set[str] = field(default_factory=set)
    planned: set[str] = field(default_factory=set)  # ids of datasets that other jobs make
    own: set[str] = field(default_factory=set)  # ids of datasets that it makes and reads itself
    quanta: dict[str, tuple[str, str]] = field(default_factory=dict)  # id -> recipe, receipt
    outputs: dict[str, str] = field(default_factory=dict)  # id -> path


class Jobs:
    """The jobs of a plan that are not left out, by number."""

    def __init__(self, paper: Paper, submission: Submission) -> None:
        self._paper = paper
        self._how = submission
        self._lay = flat if submission.layout == "flat" else str
        self.names: list[str] = paper.column("jobs", "name").to_pylist()
        self.numbers = {name: number for number, name in enumerate(self.names)}
        self._first, self._count = (_numbers(paper, "jobs", name) for name in ("first", "count"))
        self._job = _numbers(paper, "quanta", "job")
        self._task = paper.column("quanta", "task")
        self._quantum = paper.column("quanta", "id")
        self._recipe = paper.column("quanta", "recipe")
        self._reads, self._read = _offsets(paper, "inputs", len(self._job))
        self._writes, self._written = _offsets(paper, "outputs", len(self._job))
        self._dataset = paper.column("datasets", "id")
        self._path = paper.column("datasets", "path")
        self._there = paper.height("locations")
        producer = paper.column("datasets", "producer")
        self._producer = memoryview(_filled(producer))
        self._places = {n: paper.column("locations", n) for n in ("store", "path", "size", "sha256")}
        self._receipts = paper.column("locations", "receipt") if paper.has("locations", "receipt") else None
        self.settled = bytearray(len(self._job))
        for first, last in submission.settled:
            for quantum in range(max(first, 0), min(last + 1, len(self.settled))):
                self.settled[quantum] = 1
        code = paper.document["pipeline"]["code"]
        self._code = self._lay(f"_code/{code['sha256']}.zip") if code else None
        self.code_facts = (code["size"], code["sha256"]) if code else None

    @property
    def quanta(self) -> int:
        """How many quanta the plan has."""
        return len(self._job)

    @property
    def code(self) -> str | None:
        """Logical name of the workflow's code."""
        return self._code

    def emitted(self) -> set[int]:
        """Give the jobs of which something is left to do."""
        settled = self.settled
        return {
            job
            for job in range(len(self.names))
            if any(not settled[q] for q in range(self._first[job], self._first[job] + self._count[job]))
        }

    def expected(self, job: int) -> Expected:
        """Give a job as it must be."""
        found = Expected()
        if self._code is not None:
            found.needs.add(self._code)
        if self._how.node:
            found.needs.add(self._how.node)
        for quantum in range(self._first[job], self._first[job] + self._count[job]):
            if self.settled[quantum]:
                continue
            receipt = self._receipt(quantum)
            found.quanta[_uuid(self._quantum[quantum])] = (self._recipe[quantum].as_py().hex(), receipt)
            found.makes.add(self._lay(receipt))
            for at in range(self._writes[quantum], self._writes[quantum + 1]):
                dataset = self._written[at]
                path = self._path[dataset].as_py()
                found.outputs[_uuid(self._dataset[dataset])] = path
                if self._how.landing:
                    found.makes.add(self._lay(path))
            for at in range(self._reads[quantum], self._reads[quantum + 1]):
                self._input(job, self._read[at], found)
        return found

    def _input(self, job: int, dataset: int, found: Expected) -> None:
        name = _uuid(self._dataset[dataset])
        if dataset < self._there:
            self._existing(dataset, name, found)
            return
        maker = self._producer[dataset]
        if self.settled[maker]:
            found.elsewhere.add(name)
            found.may.add(self._lay(self._receipt(maker)))
        elif self._job[maker] == job:
            found.own.add(name)
        else:
            found.planned.add(name)
            names = [self._receipt(maker)]
            if self._how.landing:
                names.append(self._path[dataset].as_py())
            for other in names:
                found.others[self._lay(other)] = other
            found.needs.update(map(self._lay, names))

    def _existing(self, dataset: int, name: str, found: Expected) -> None:
        store, path, size, digest = (
            self._places[n][dataset].as_py() for n in ("store", "path", "size", "sha256")
        )
        if path is None:  # promised, and not there yet
            found.elsewhere.add(name)
            return
        logical = path if store == self._how.store else f"{EXTERNAL}/{store}/{path}"
        found.reads[name] = Reading(self._lay(logical), store, path, size, digest)
        receipt = self._receipts[dataset].as_py() if self._receipts is not None else None
        if receipt is not None:
            found.may.add(self._lay(receipt))

    def _receipt(self, quantum: int) -> str:
        name = _uuid(self._quantum[quantum])
        return f"_receipts/{self._paper.run}/{self._task[quantum].as_py()}/{name[:2]}/{name}.json"

    def edges(self) -> tuple[Any, Any]:
        """Give the ends of all edges of the plan, as numbers of jobs."""
        return _numbers(self._paper, "job_edges", "parent"), _numbers(self._paper, "job_edges", "child")


def _numbers(paper: Paper, table: str, column: str) -> memoryview:
    return memoryview(_filled(paper.column(table, column)))


def _filled(values: Array) -> memoryview:
    """Give numbers as they lie in memory; -1 where there is none."""
    fresh = pc.fill_null(values, -1)
    fresh = pa.concat_arrays([fresh, fresh.slice(0, 0)])
    if not len(fresh):
        return memoryview(b"").cast("q")
    return memoryview(fresh.buffers()[1]).cast("q")[: len(fresh)]


def _offsets(paper: Paper, table: str, quanta: int) -> tuple[list[int], memoryview]:
    """Give where the rows of each quantum begin, and their datasets; rows are in the order of quanta."""
    counts = [0] * (quanta + 1)
    for quantum in _numbers(paper, table, "quantum"):
        counts[quantum + 1] += 1
    for quantum in range(quanta):
        counts[quantum + 1] += counts[quantum]
    return counts, _numbers(paper, table, "dataset")


def _uuid(value: Any) -> str:  # Any: an Arrow scalar
    text = value.as_py().hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
