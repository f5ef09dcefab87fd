"""Who makes and who reads what: every edge at both ends, in order, and the jobs' edges its projection."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from prestow.verify.findings import Findings, nonzero
from prestow.verify.numbering import falls
from prestow.verify.paper import Array, Paper, codes, look_up, numbers, within


@dataclass(frozen=True, slots=True)
class Ends:
    """What the tables say of tasks, types and makers, as numbers. Rows that refer to nothing are left out."""

    task_of: Array  # of a quantum
    type_of: Array  # of a dataset
    producer: Array  # of a dataset; null where none
    job_of: Array  # of a quantum
    quantum: Array  # of an input
    connection: Array  # of an input, its position among all names of connections
    dataset: Array  # of an input
    names: list[str]  # of connections


def check_graph(paper: Paper, findings: Findings) -> Ends:
    """Check inputs, outputs and edges against each other and against what tasks declare."""
    ends = _ends(paper, findings)
    _outputs(paper, ends, findings)
    _inputs(paper, ends, findings)
    _enough(paper, ends, findings)
    _order(paper, ends, findings)
    _edges(paper, ends, findings)
    return ends


def _ends(paper: Paper, findings: Findings) -> Ends:
    labels = paper.column("quanta", "task")
    task_of = codes(labels, paper.labels)
    findings.rows("PST-V047", pc.is_null(task_of), lambda i: f"quantum {i}: task {labels[i]}")
    quanta, datasets = len(task_of), paper.height("datasets")
    quantum, dataset = paper.column("inputs", "quantum"), paper.column("inputs", "dataset")
    good = pc.and_(within(quantum, quanta), within(dataset, datasets))
    findings.rows(
        "PST-V029",
        pc.invert(good),
        lambda i: (
            f"inputs.parquet, row {i}: quantum {quantum[i]} of {quanta}, dataset {dataset[i]} of {datasets}"
        ),
    )
    names = sorted({c["name"] for task in paper.tasks for c in (*task["inputs"], *paper.outputs_of(task))})
    return Ends(
        task_of=task_of,
        type_of=codes(paper.column("datasets", "type"), paper.type_names),
        producer=paper.column("datasets", "producer"),
        job_of=paper.column("quanta", "job"),
        quantum=quantum.filter(good),
        connection=codes(paper.column("inputs", "connection"), names).filter(good),
        dataset=dataset.filter(good),
        names=names,
    )


def _declared(paper: Paper, names: list[str], *, outputs: bool) -> list[dict[str, Any] | None]:
    """Give each connection at its place: task times names, plus name."""
    found: list[dict[str, Any] | None] = [None] * (len(paper.tasks) * len(names))
    for i, task in enumerate(paper.tasks):
        for position, one in enumerate(paper.outputs_of(task) if outputs else task["inputs"]):
            kind = paper.type_names.index(one["type"]) if one["type"] in paper.types else -1
            found[i * len(names) + names.index(one["name"])] = {**one, "position": position, "kind": kind}
    return found


def _places(task: Array, connection: Array, names: list[str]) -> Array:
    return pc.add(pc.multiply(task, len(names)), connection)


def _outputs(paper: Paper, ends: Ends, findings: Findings) -> None:
    quanta, datasets = len(ends.task_of), len(ends.type_of)
    quantum, dataset = paper.column("outputs", "quantum"), paper.column("outputs", "dataset")
    optional, spoken = paper.column("outputs", "optional"), paper.column("outputs", "connection")
    good = pc.and_(within(quantum, quanta), within(dataset, datasets))
    findings.rows(
        "PST-V029",
        pc.invert(good),
        lambda i: f"outputs.parquet, row {i}: quantum {quantum[i]}, dataset {dataset[i]}",
    )
    first = paper.height("locations")
    made = dataset.filter(good)
    times = pa.table({"d": made}).group_by("d").aggregate([("d", "count")])
    often = times.filter(pc.greater(times["d_count"], 1))["d"].to_pylist()
    findings.add("PST-V030", [f"dataset {d} is made more than once" for d in often])
    every = numbers(datasets - first, first) if datasets > first else numbers(0)
    lacking = every.filter(pc.invert(pc.is_in(every, value_set=made)))
    findings.add(
        "PST-V030",
        [f"dataset {d} is an output of none" for d in lacking.slice(0, 5).to_pylist()],
        len(lacking),
    )
    orphan = pc.invert(within(ends.producer.slice(first), quanta))
    findings.rows(
        "PST-V030", orphan, lambda i: f"dataset {first + i}: producer {ends.producer[first + i]} of {quanta}"
    )
    strange = pc.is_valid(ends.producer.slice(0, first))
    findings.rows("PST-V030", strange, lambda i: f"dataset {i} exists, and has producer {ends.producer[i]}")
    quantum, optional, spoken = quantum.filter(good), optional.filter(good), spoken.filter(good)
    other = pc.not_equal(ends.producer.take(made), quantum)
    findings.rows(
        "PST-V031",
        other,
        lambda i: (
            f"dataset {made[i]}: an output of quantum {quantum[i]}, and made by {ends.producer.take(made)[i]}"
        ),
    )
    declared = _declared(paper, ends.names, outputs=True)
    at = _places(ends.task_of.take(quantum), codes(spoken, ends.names), ends.names)
    kind = look_up([None if d is None else d["kind"] for d in declared], at, pa.int64())
    wrong = pc.or_kleene(pc.is_null(kind), pc.not_equal(kind, ends.type_of.take(made)))
    findings.rows("PST-V037", wrong, lambda i: f"quantum {quantum[i]}: dataset {made[i]} as {spoken[i]}")
    may = look_up([None if d is None else bool(d["optional"]) for d in declared], at, pa.bool_())
    otherwise = pc.fill_null(pc.not_equal(may, optional), fill_value=False)
    findings.rows(
        "PST-V037",
        pc.or_kleene(otherwise, pc.is_null(optional)),
        lambda i: f"quantum {quantum[i]}: output {spoken[i]} is said to be optional: {optional[i]}",
    )
    _each_has(paper, ends, "PST-V037", declared, at, quantum, outputs=True, findings=findings)


def _each_has(
    paper: Paper,
    ends: Ends,
    code: str,
    declared: list[dict[str, Any] | None],
    at: Array,
    quantum: Array,
    *,
    outputs: bool,
    findings: Findings,
) -> None:
    """Check for each connection of each task how often each quantum has it."""
    counted = (
        pa.table({"at": at, "quantum": quantum}).group_by(["at", "quantum"]).aggregate([("quantum", "count")])
    )
    counted = counted.combine_chunks()
    task_of = ends.task_of
    for place, one in enumerate(declared):
        if one is None:
            continue
        least = 1 if outputs else least_of(one.get("minimum", "all"))
        if not least:
            continue
        rows = counted.filter(pc.equal(counted["at"], place))
        enough = rows.filter(pc.greater_equal(rows["quantum_count"], least))["quantum"]
        mine = nonzero(pc.fill_null(pc.equal(task_of, place // len(ends.names)), fill_value=False))
        if len(enough) == len(mine):
            continue
        lacking = mine.filter(pc.invert(pc.is_in(mine, value_set=enough.combine_chunks())))
        label = paper.labels[place // len(ends.names)]
        verb = "makes no" if outputs else f"has fewer than {least}"
        shown = [f"quantum {q} of {label} {verb} {one['name']}" for q in lacking.slice(0, 5).to_pylist()]
        findings.add(code, shown, len(lacking))


def least_of(minimum: object) -> int:
    """Give how many datasets a connection has at least; a fraction is of what is not in the plan."""
    if minimum == "all":
        return 1
    if isinstance(minimum, int):
        return minimum
    return 1 if isinstance(minimum, float) and minimum > 0 else 0


def _inputs(paper: Paper, ends: Ends, findings: Findings) -> None:
    quantum, dataset, connection = ends.quantum, ends.dataset, ends.connection
    declared = _declared(paper, ends.names, outputs=False)
    at = _places(ends.task_of.take(quantum), connection, ends.names)
    kind = look_up([None if d is None else d["kind"] for d in declared], at, pa.int64())
    wrong = pc.or_kleene(pc.is_null(kind), pc.not_equal(kind, ends.type_of.take(dataset)))
    shown = look_up(ends.names, connection, pa.large_string())
    findings.rows("PST-V034", wrong, lambda i: f"quantum {quantum[i]}: dataset {dataset[i]} as {shown[i]}")
    position = look_up([None if d is None else d["position"] for d in declared], at, pa.int64())
    position = pc.fill_null(position, -1)
    down = pc.and_(
        pc.invert(falls([quantum], strict=False)), falls([quantum, position, dataset], strict=False)
    )
    findings.rows(
        "PST-V006",
        down,
        lambda i: f"inputs.parquet: inputs of quantum {quantum[i]}, by connection and dataset",
    )
    # Rows are grouped by quantum and connection, so that a second reading stands beside the first;
    # where they are not, the order is wrong and was told.
    same = pc.and_(
        pc.invert(falls([quantum, position, dataset], strict=False)),
        falls([quantum, position, dataset], strict=True),
    )
    findings.rows("PST-V035", same, lambda i: f"quantum {quantum[i]}: dataset {dataset[i]} as {shown[i]}")


def _enough(paper: Paper, ends: Ends, findings: Findings) -> None:
    declared = _declared(paper, ends.names, outputs=False)
    at = _places(ends.task_of.take(ends.quantum), ends.connection, ends.names)
    _each_has(paper, ends, "PST-V036", declared, at, ends.quantum, outputs=False, findings=findings)
    first = paper.height("locations")
    unused = numbers(min(first, len(ends.type_of)))
    unused = unused.filter(pc.invert(pc.is_in(unused, value_set=pc.unique(ends.dataset))))
    findings.add("PST-V044", [f"dataset {d}" for d in unused.slice(0, 5).to_pylist()], len(unused))


def _order(paper: Paper, ends: Ends, findings: Findings) -> None:
    made_by = ends.producer.take(ends.dataset)
    late = pc.fill_null(pc.greater_equal(made_by, ends.quantum), fill_value=False)
    findings.rows(
        "PST-V010",
        late,
        lambda i: f"quantum {ends.quantum[i]} reads dataset {ends.dataset[i]}, made by quantum {made_by[i]}",
    )
    parent, child = paper.column("job_edges", "parent"), paper.column("job_edges", "child")
    jobs = paper.height("jobs")
    good = pc.and_(within(parent, jobs), within(child, jobs))
    findings.rows(
        "PST-V029",
        pc.invert(good),
        lambda i: f"job_edges.parquet, row {i}: {parent[i]} to {child[i]} of {jobs}",
    )
    parent, child = parent.filter(good), child.filter(good)
    depth = paper.column("jobs", "depth")
    shallow = pc.or_kleene(
        pc.greater_equal(parent, child), pc.greater_equal(depth.take(parent), depth.take(child))
    )
    found = findings.rows(
        "PST-V011",
        shallow,
        lambda i: (
            f"job {child[i]} (depth {depth.take(child)[i]}) waits for {parent[i]} (depth {depth.take(parent)[i]})"
        ),
    )
    if found:  # else numbers rise along every edge, and there is no way back
        knot = _knot(parent.to_pylist(), child.to_pylist(), jobs)
        names = paper.column("jobs", "name")
        findings.add("PST-V009", [f"job {j} {names[j]}" for j in knot[:5]], len(knot))


def _knot(parents: list[int], children: list[int], jobs: int) -> list[int]:
    """Give the jobs that are never free: those on a cycle, and those below one."""
    waits = [0] * jobs
    below: dict[int, list[int]] = {}
    for parent, child in zip(parents, children, strict=True):
        waits[child] += 1
        below.setdefault(parent, []).append(child)
    free = deque(j for j in range(jobs) if not waits[j])
    while free:
        for child in below.get(free.popleft(), ()):
            waits[child] -= 1
            if not waits[child]:
                free.append(child)
    return [j for j in range(jobs) if waits[j] > 0]


def _edges(paper: Paper, ends: Ends, findings: Findings) -> None:
    """Check that job edges are exactly the projection of the quanta's."""
    jobs = paper.height("jobs")
    made_by = ends.producer.take(ends.dataset)
    made_by = pc.if_else(within(made_by, len(ends.task_of)), made_by, pa.scalar(None, pa.int64()))
    declared = _declared(paper, ends.names, outputs=False)
    at = _places(ends.task_of.take(ends.quantum), ends.connection, ends.names)
    soft = look_up([None if d is None else d["minimum"] != "all" for d in declared], at, pa.bool_())
    parent, child = ends.job_of.take(made_by), ends.job_of.take(ends.quantum)
    between = pc.fill_null(pc.not_equal(parent, child), fill_value=False)
    wanted = pa.table({"edge": _edge(parent, child, jobs), "soft": pc.cast(soft, pa.int64())}).filter(between)
    wanted = wanted.group_by("edge").aggregate([("soft", "min")]).combine_chunks()
    there = pa.table(
        {
            "edge": _edge(paper.column("job_edges", "parent"), paper.column("job_edges", "child"), jobs),
            "is": pc.cast(paper.column("job_edges", "soft"), pa.int64()),
        }
    )
    both = wanted.join(there, "edge", join_type="full outer").combine_chunks()
    edge = _one(both["edge"])

    def show(i: int) -> str:
        number = edge[i].as_py()
        return "an edge to nothing" if number is None else f"job {number // jobs} to job {number % jobs}"

    lacking, needless = pc.is_null(both["is"]), pc.is_null(both["soft_min"])
    findings.rows("PST-V012", _one(pc.and_(lacking, pc.invert(needless))), show)
    findings.rows("PST-V013", _one(pc.and_(needless, pc.invert(lacking))), show)
    other = pc.fill_null(pc.not_equal(both["is"], both["soft_min"]), fill_value=False)
    findings.rows("PST-V014", _one(other), show)


def _edge(parent: Array, child: Array, jobs: int) -> Array:
    return pc.add(pc.multiply(parent, jobs), child)


def _one(values: Array) -> Array:
    found = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    return found if not isinstance(found, pa.ChunkedArray) else pa.concat_arrays(found.chunks)
