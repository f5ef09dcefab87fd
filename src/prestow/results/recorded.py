"""What is recorded of datasets and quanta, from whatever is left: registry, receipts, a plan, reports.

The registry speaks first, then receipts, then the plan; what fails to be there is only less that
can be told, and `Recorded.notes` says what. A level of a line costs a fixed number of queries.
"""

from __future__ import annotations

import shlex
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.commit import receipt_name
from prestow.model.hashing import dataset_id, quantum_id
from prestow.registry.following import plain_rows
from prestow.results import plan_rows
from prestow.results.lineage import ROOT, UNKNOWN, Point, Step, data_id_text
from prestow.results.papers import Papers, Row
from prestow.results.plan_rows import among, raw
from prestow.stores import Store

if TYPE_CHECKING:
    from prestow.model.universe import Universe
    from prestow.plan import Plan
    from prestow.registry import Registry
    from prestow.results.datasets import Sources


class Recorded(Papers):
    """What is known, of one project.

    Parameters
    ----------
    universe : Universe
        The dimensions.
    registry : Registry or None
        What was taken in.
    plan : Plan or None
        What is planned.
    store : Store or None
        Where receipts, reports and products are.
    name : str
        The name of that store in the registry.
    newest : tuple of str, optional
        Id and run of the plan that a command takes where none is said; ``plan``, if not given.
    """

    def __init__(
        self,
        universe: Universe,
        registry: Registry | None,
        plan: Plan | None,
        store: Store | None,
        *,
        name: str = "archive",
        newest: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(store)
        if newest is None and plan is not None:
            newest = (plan.id, plan.run)
        self._newest = newest
        self.universe = universe
        self.registry = registry
        self.plan = plan
        self.name = name
        self.submit_again = ""  # the command that hands over what is left, of a plan that is handed over
        self.queue: Mapping[
            str, str
        ] = {}  # of jobs that a queue holds or has preempted: what it says of them
        if plan is None:
            self.note("there is no plan here: what was planned and is not settled cannot be told")
        if registry is None:
            self.note("there is no registry here: only what the plan and receipts say can be told")

    @property
    def sources(self) -> Sources:
        """The same, for `prestow.results.datasets`."""
        from prestow.results.datasets import Sources

        plans = () if self.plan is None else (self.plan,)
        return Sources(self.universe, self.registry, plans, self.name)

    # --- the next command --------------------------------------------------------------------

    def typed(self, point: Point) -> str:
        """Give the name of a point as words of a command line, with ``--run`` where another would be meant."""
        return point.typed + (f" --run {shlex.quote(point.run)}" if self._ambiguous(point) else "")

    def _ambiguous(self, point: Point) -> bool:
        run = self._newest[1] if self._newest is not None else ""
        if not point.run or point.run == run:
            return False
        if run and point.state != ROOT:
            return True
        kind = self.registry.known_type(point.type) if self.registry is not None else None
        if self.registry is None or kind is None:
            return False
        runs = [name for name, what in self.registry.collections().items() if what == "run"]
        return self.registry.listing.count(kind, runs, point.values) > 1

    def run_word(self, run: str) -> str:
        """Give `` --run NAME`` for a command that takes the run of the newest plan where none is said."""
        return "" if self._newest is None or self._newest[1] == run else f" --run {shlex.quote(run)}"

    def plan_word(self, before: str = " ") -> str:
        """Give what names the plan in a command, after ``before``; nothing where the newest is meant."""
        if self.plan is None or (self._newest is not None and self._newest[0] == self.plan.id):
            return ""
        return f"{before}{self.plan.id[:8]}"

    def command_for_the_rest(self) -> str:
        """Give the command that makes what is left of the plan."""
        return self.submit_again or f"prestow run{self.plan_word()}"

    # --- points ------------------------------------------------------------------------------

    def points(self, ids: Collection[str], told: Sequence[Point] = ()) -> dict[str, Point]:
        """Give what is known of some datasets; of those that nothing knows, what ``told`` says."""
        found = self._registered(ids)
        rest = [i for i in ids if i not in found]
        if rest:
            found.update(self._planned(among("id", rest)))
        found.update({point.id: point for point in told if point.id in ids and point.id not in found})
        absent = [i for i in ids if i not in found or found[i].state == UNKNOWN]
        gone = self.deleted if absent else frozenset()
        for i in absent:
            known = found.get(i, Point(i))
            found[i] = replace(known, state="deleted") if i in gone else known
        return found

    @cached_property
    def deleted(self) -> frozenset[str]:
        """The ids of what was deleted on purpose."""
        return self.registry.deleted() if self.registry is not None else frozenset()

    def _registered(self, ids: Collection[str]) -> dict[str, Point]:
        if self.registry is None or not ids:
            return {}
        rows = plain_rows(self.registry.following.datasets([raw(i) for i in ids]))
        quanta = self._quanta({row["quantum"] for row in rows if row["quantum"]})
        found = {}
        for row in rows:
            made = quanta.get(row["quantum"], {})
            facts = {
                name: row[name] or ""
                for name in ("type", "run", "store", "path", "sha256", "format", "recipe")
            }
            found[row["id"]] = Point(
                row["id"], **facts, data_id=row["data_id"], state="made" if row["quantum"] else ROOT,
                quantum=row["quantum"] or "", by="registry",
                **{name: made.get(name) or "" for name in ("task", "job", "attempt", "receipt")},
            )  # fmt: skip
        return found

    def _quanta(self, ids: Collection[str]) -> dict[str, Row]:
        if self.registry is None or not ids:
            return {}
        return {row["id"]: row for row in plain_rows(self.registry.following.quanta([raw(i) for i in ids]))}

    def _planned(self, wanted: pl.Expr) -> dict[str, Point]:
        """Give datasets of the plan for which this holds, with their states by receipts and reports."""
        rows = plan_rows.datasets_where(self.plan, wanted) if self.plan is not None else []
        # one by one: each is a line that somebody reads, and its state is a file of its own
        return {row["uuid"]: self._planned_point(row) for row in rows}

    def _planned_point(self, row: Row) -> Point:
        point = Point(
            row["uuid"], row["type"], row["data_id"], row["run"], recipe=row["recipe"] or "", format=row["format"], by="plan",
        )  # fmt: skip
        if not row["planned"]:
            sha256 = row["sha256"]
            return replace(
                point, state=ROOT if row["root"] else "made", store=row["store"] or "", path=row["place"] or "",
                sha256=sha256.hex() if isinstance(sha256, bytes) else sha256 or "", **_maker(row["receipt"]),
            )  # fmt: skip
        name = receipt_name(row["run"], row["task"], row["maker"])
        point = replace(
            point,
            task=row["task"],
            quantum=row["maker"],
            job=row["job"],
            store=self.name,
            path=row["path"],
            receipt=name,
        )
        if self.receipt_of(point) is None and row["dataset"] in self._reused:
            return self._taken(point, self._reused[row["dataset"]])
        return self._by_receipt(point)

    def _taken(self, point: Point, other: Row) -> Point:
        """Give a point that a parent run has: its bytes, and who made them, are those there."""
        point = replace(
            point, **_maker(other["receipt"]), path=other["path"] or "", store=other["store"] or ""
        )
        if other["sha256"] is None:
            return replace(self._by_receipt(point), job="")
        sha256 = other["sha256"]
        return replace(
            point, state="reused", job="", sha256=sha256.hex() if isinstance(sha256, bytes) else str(sha256)
        )

    def _by_receipt(self, point: Point) -> Point:
        """Give a point with the state that its quantum's receipt says, or the reports of its job."""
        receipt = self.receipt_of(point)
        if receipt is None:
            return replace(point, state="failed" if self.failures(point) else "pending")
        point = replace(
            point,
            state=receipt.state,
            code=receipt.code or "",
            job=receipt.job,
            attempt=receipt.attempt or "",
            by="receipt",
        )
        output = next((o for o in receipt.outputs if o.id == point.id), None)
        if receipt.state == "made" and output is not None and output.state != "made":
            return replace(point, state="declined", code=point.code or "not_made")
        if output is not None:
            point = replace(point, sha256=output.sha256 or "", path=output.path, format=output.format)
        return replace(point, recipe=receipt.actual_recipe or point.recipe)

    @cached_property
    def _reused(self) -> dict[int, Row]:
        """Give the outputs of the plan that a parent run has, by their rows in the plan."""
        if self.plan is None or self.registry is None:
            return {}
        from prestow.plan.reuse import reusable

        frame = reusable(self.plan, self.registry)
        return {} if frame is None else {row["dataset"]: row for row in frame.iter_rows(named=True)}

    # --- steps up ----------------------------------------------------------------------------

    def reads(self, points: Iterable[Point]) -> tuple[list[Step], list[Point]]:
        """Give what some datasets were, or shall be, made from; and what receipts tell of the inputs."""
        readers: dict[str, list[Point]] = {}
        for point in points:
            if point.quantum:
                readers.setdefault(point.quantum, []).append(point)
        steps: list[Step] = []
        told: list[Point] = []
        rows = (
            []
            if self.registry is None
            else plain_rows(self.registry.following.reads([raw(q) for q in readers]))
        )
        short = set()
        for row in rows:
            facts = (row["connection"], row["input"], row["state"], row["code"] or "", row["sha256"] or "")
            steps += [Step(p.id, *facts) for p in readers[row["quantum"]]]
            if row["state"] != "made":
                short.add(row["quantum"])
        rest = readers.keys() - {row["quantum"] for row in rows}
        for quantum in sorted(
            short | rest
        ):  # receipts, one for each quantum that the registry does not tell whole
            receipt = self.receipt_of(readers[quantum][0])
            if receipt is None or not receipt.inputs:
                continue
            told += [self._told(i.type, i.data_id, i.run, i.id, i.state, i.code) for i in receipt.inputs]
            if quantum in rest:
                rest -= {quantum}
                steps += [
                    Step(p.id, i.connection, i.id, i.state, i.code or "", i.sha256 or "")
                    for i in receipt.inputs
                    for p in readers[quantum]
                ]
        for row in self._planned_steps(among("maker", rest)) if rest else ():
            steps += [Step(p.id, row["connection"], row["input"]) for p in readers[row["quantum"]]]
        return steps, told

    def _told(
        self, kind: str, data_id: Mapping[str, Any], run: str, key: str, state: str, code: str | None
    ) -> Point:
        """Give an input as a receipt names it, with the quantum that was to make it, where it can be said."""
        point = Point(
            key,
            kind,
            data_id_text(data_id),
            run,
            state if state != "made" else UNKNOWN,
            code or "",
            by="receipt",
        )
        if state == "made":
            return point
        for task in self._makers.get(kind) or self._tasks_of(run):
            quantum = quantum_id(task, run, point.values)
            receipt = self.receipt(receipt_name(run, task, quantum))
            if receipt is not None and receipt.state == state:
                return replace(
                    point, task=task, quantum=quantum, job=receipt.job, attempt=receipt.attempt or "",
                    receipt=receipt_name(run, task, quantum), recipe=receipt.actual_recipe or receipt.planned_recipe,
                )  # fmt: skip
        return point

    @cached_property
    def _makers(self) -> dict[str, tuple[str, ...]]:
        return self.registry.following.makers() if self.registry is not None else {}

    def _tasks_of(self, run: str) -> tuple[str, ...]:
        return self.registry.following.tasks(run) if self.registry is not None else ()

    def planned_steps(self, quanta: Collection[str]) -> list[Row]:
        """Give rows ``quantum, connection, input`` of what some quanta are to read, as the plan has it."""
        return self._planned_steps(among("maker", quanta)) if quanta else []

    def _planned_steps(self, wanted: pl.Expr) -> list[Row]:
        return plan_rows.steps_where(self.plan, wanted) if self.plan is not None else []

    # --- steps down --------------------------------------------------------------------------

    def uses(self, ids: Collection[str]) -> tuple[list[Step], list[Point]]:
        """Give what was, or shall be, made from some datasets, and the quanta that made nothing of them."""
        rows = (
            [] if self.registry is None else plain_rows(self.registry.following.uses([raw(i) for i in ids]))
        )
        planned = self._planned_steps(among("id", ids))
        outputs = self._outputs(rows, planned)
        quanta = self._quanta({row["quantum"] for row in rows if row["quantum"] not in outputs})
        told = [point for q, row in quanta.items() for point in self._never_made(q, row)]
        for point in told:
            outputs.setdefault(point.quantum, []).append(point.id)
        told += [
            Point(
                q, data_id=row["data_id"], run=row["run"], state=row["state"], code=row["code"] or "", task=row["task"],
                quantum=q, job=row["job"], attempt=row["attempt"] or "", receipt=row["receipt"], by="registry",
            )
            for q, row in quanta.items()
            if q not in outputs
        ]  # fmt: skip
        settled = {row["quantum"] for row in rows}
        steps = []
        for row in [*rows, *(row for row in planned if row["quantum"] not in settled)]:
            facts = (
                row["connection"],
                row["input"],
                row.get("state") or "",
                row.get("code") or "",
                row.get("sha256") or "",
            )
            steps += [Step(reader, *facts) for reader in outputs.get(row["quantum"], [row["quantum"]])]
        return steps, told

    def _never_made(self, quantum: str, row: Row) -> Iterator[Point]:
        """Give what a quantum that made nothing was to make, as others of its task did, without a plan."""
        if self.registry is None:
            return
        point = replace(self._quantum_point({**row, "id": quantum}), recipe="")
        for kind, tasks in self._makers.items():
            known = self.registry.known_type(kind)
            if row["task"] in tasks and known is not None and set(known.dimensions) == set(point.values):
                yield replace(point, id=dataset_id(kind, row["run"], point.values), type=kind)

    def _outputs(self, rows: Sequence[Row], planned: Sequence[Row]) -> dict[str, list[str]]:
        """Give the datasets that quanta made, or, where there are none, were to make."""
        found: dict[str, list[str]] = {}
        quanta = {row["quantum"] for row in (*rows, *planned)}
        if self.registry is not None:
            for row in plain_rows(self.registry.following.products([raw(q) for q in quanta])):
                found.setdefault(row["quantum"], []).append(row["id"])
        rest = [q for q in quanta if q not in found]
        if self.plan is not None and rest:
            found |= plan_rows.outputs_of(self.plan, rest)
        return found

    def outputs_of(self, point: Point) -> list[str]:
        """Give the ids of all datasets that the quantum of a point made, or was to make."""
        row = {"quantum": point.quantum}
        found = self._outputs([row], []).get(point.quantum, []) if point.quantum else []
        return found or ([point.id] if point.type else [])

    def same_task(self, point: Point, most: int) -> list[Point]:
        """Give other made quanta of the same task and run, as far as the registry knows them."""
        if self.registry is None or not point.task:
            return []
        frame = pl.from_arrow(self.registry.quanta(point.run))
        assert isinstance(frame, pl.DataFrame)
        mine = (pl.col("task") == point.task) & (pl.col("state") == "made")
        ids = frame.filter(mine)["id"].cast(pl.Binary).head(most + 1).to_list()
        rows = self._quanta([str(uuid.UUID(bytes=raw)) for raw in ids])
        return [self._quantum_point(row) for row in rows.values() if row["id"] != point.quantum][:most]

    def products(self, points: Iterable[Point]) -> list[Point]:
        """Give all that the quanta of some points made, as far as it is taken in."""
        quanta = [raw(p.quantum) for p in points if p.quantum]
        if self.registry is None or not quanta:
            return []
        rows = plain_rows(self.registry.following.products(quanta))
        return list(self._registered({row["id"] for row in rows}).values())

    def roots(self, point: Point) -> list[Point]:
        """Give the raw data that a product goes back to, by its receipt."""
        receipt = self.receipt_of(point)
        if receipt is None:
            return []
        told = [Point(r.id, r.type, data_id_text(r.data_id), state=ROOT, by="receipt") for r in receipt.roots]
        found = self.points([r.id for r in receipt.roots], told)
        return [found[r.id] for r in receipt.roots]

    # --- by place ----------------------------------------------------------------------------

    def at(self, path: str = "", sha256: str = "") -> list[Point]:
        """Give the datasets whose bytes are, or will be, at a name in a store, or have a digest."""
        found: dict[str, Point] = {}
        if self.registry is not None:
            table = self.registry.following.artifacts([path] if path else [], [sha256] if sha256 else [])
            found = self._registered({row["id"] for row in plain_rows(table)})
        if path and not found:
            found = self._planned(pl.col("planned") & (pl.col("path") == path))
        return list(found.values())

    def existing(self, kind: str, data_id: Mapping[str, str | int]) -> list[Point]:
        """Give the datasets that the plan reads and does not make, by type and values."""
        if self.plan is None or not set(data_id) <= set(
            self.plan.tables.scan("datasets").collect_schema().names()
        ):
            return []
        wanted = [pl.col(name) == value for name, value in data_id.items()]
        return list(
            self._planned(pl.all_horizontal(pl.col("type") == kind, ~pl.col("planned"), *wanted)).values()
        )

    def of_job(self, job: str) -> list[Point]:
        """Give the quanta of a job, each by its first output where it has one; none if nothing knows the job."""
        if self.plan is not None:
            quanta = plan_rows.quanta_of_job(self.plan, job)
            if quanta.len():
                points = self._planned(pl.col("producer").is_in(quanta.implode()))
                points |= self._registered(points.keys())
                first = {p.quantum: p for p in reversed(points.values())}
                return [p for p in points.values() if first[p.quantum] is p]
        rows = [] if self.registry is None else plain_rows(self.registry.following.job(job))
        found = {row["id"]: self._quantum_point(row) for row in rows}
        for report in self.reports(job):  # failed, and neither plan nor registry know it
            for entry in report.get("quanta", ()):
                if entry.get("quantum") and entry["quantum"] not in found:
                    point = Point(
                        entry["quantum"], data_id=data_id_text(entry.get("data_id", {})), run=report.get("run", ""),
                        task=entry.get("task", ""), quantum=entry["quantum"], job=job, by="report",
                    )  # fmt: skip
                    found[point.id] = self._by_receipt(point)
        return list(found.values())

    def quantum(self, key: str) -> Point | None:
        """Give a settled quantum by its id."""
        row = self._quanta([key]).get(key)
        return None if row is None else self._quantum_point(row)

    def _quantum_point(self, row: Row) -> Point:
        return Point(
            row["id"], data_id=row["data_id"], run=row["run"], state=row["state"], code=row["code"] or "", task=row["task"],
            quantum=row["id"], job=row["job"], attempt=row["attempt"] or "", receipt=row["receipt"],
            recipe=row["actual_recipe"] or row["planned_recipe"] or "", by="registry",
        )  # fmt: skip


def _maker(receipt: str | None) -> dict[str, str]:
    """Give task, quantum and receipt from the name of a receipt; see `prestow.commit.receipt_name`."""
    if not receipt:
        return {}
    return {
        "task": receipt.split("/")[2],
        "quantum": receipt.rsplit("/", 1)[-1].removesuffix(".json"),
        "receipt": receipt,
    }
