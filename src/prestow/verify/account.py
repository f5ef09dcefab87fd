"""What the document says of the tables: totals, counts, what is left out; places and the code."""

from __future__ import annotations

import hashlib
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from prestow.verify import rules
from prestow.verify.findings import Findings
from prestow.verify.graph import Ends
from prestow.verify.paper import COLUMNS, Array, Paper

_DIGEST = r"^[0-9a-f]{64}$"


def check_account(paper: Paper, ends: Ends, findings: Findings) -> None:
    """Check the document against the tables, and what lies beside them."""
    _places(paper, findings)
    _totals(paper, findings)
    _counts(paper, ends, findings)
    _left_out(paper, findings)
    _waived(paper, findings)
    _code(paper, findings)
    stated = paper.document["pipeline_digest"]
    expected = rules.pipeline_digest(paper.document["pipeline"])
    if stated != expected:
        findings.add("PST-V048", [f"{stated}, and the pipeline gives {expected}"])


def _places(paper: Paper, findings: Findings) -> None:
    store, path, size, sha256, content = (
        paper.column("locations", name) for name in ("store", "path", "size", "sha256", "content")
    )
    bad = pc.or_kleene(pc.equal(pc.binary_length(store), 0), pc.equal(pc.binary_length(path), 0))
    bad = pc.or_kleene(bad, pc.less(size, 0))
    bad = pc.or_kleene(bad, pc.invert(pc.match_substring_regex(sha256, _DIGEST)))
    bad = pc.and_kleene(bad, pc.invert(_promised(paper, findings)))
    odd = pc.fill_null(pc.invert(pc.match_substring_regex(content, _DIGEST)), fill_value=False)
    findings.rows(
        "PST-V033",
        pc.or_kleene(bad, odd),
        lambda i: (
            f"dataset {i}: {store[i]}: {path[i]}, {size[i]} bytes, sha256 {sha256[i]}, content {content[i]}"
        ),
    )


def _promised(paper: Paper, findings: Findings) -> Array:
    """Say which places are empty because their datasets are only promised: so many as the document says."""
    mask = paper.promised()
    stated = (paper.document["request"].get("promised") or {}).get("datasets", 0)
    found = pc.sum(mask).as_py() or 0
    if found != stated:
        findings.add("PST-V033", [f"{found} inputs have no place, {stated} are promised"])
    return mask


def _totals(paper: Paper, findings: Findings) -> None:
    stated = paper.document["totals"]
    for table in COLUMNS:
        if stated.get(table) != paper.height(table):
            findings.add("PST-V040", [f"{table}: {stated.get(table)}, the table has {paper.height(table)}"])


def _counts(paper: Paper, ends: Ends, findings: Findings) -> None:
    stated = paper.document["counts"]
    findings.add("PST-V041", [f"no task '{name}'" for name in sorted(set(stated) - set(paper.labels))])
    quanta = pa.table({"task": ends.task_of, "job": ends.job_of}).group_by("task")
    per_task = {
        row["task"]: row
        for row in quanta.aggregate([("job", "count_distinct"), ("job", "count")]).to_pylist()
    }
    inputs = _by_task(ends.task_of.take(ends.quantum))
    outputs = _by_task(ends.task_of.take(paper.column("outputs", "quantum").filter(_good(paper, ends))))
    for number, label in enumerate(paper.labels):
        row = per_task.get(number, {"job_count": 0, "job_count_distinct": 0})
        expected = {
            "quanta": row["job_count"],
            "jobs": row["job_count_distinct"],
            "inputs": inputs.get(number, 0),
            "outputs": outputs.get(number, 0),
        }
        said = stated.get(label) or {}
        wrong = [
            f"{label}: {said.get(k)} {k}, the tables have {v}"
            for k, v in expected.items()
            if said.get(k) != v
        ]
        findings.add("PST-V041", wrong)


def _good(paper: Paper, ends: Ends) -> Any:  # Any: an Arrow array
    quantum = paper.column("outputs", "quantum")
    good = pc.and_(pc.greater_equal(quantum, 0), pc.less(quantum, len(ends.task_of)))
    return pc.fill_null(good, fill_value=False)


def _by_task(tasks: Any) -> dict[int, int]:  # Any: an Arrow array
    return {entry["values"].as_py(): entry["counts"].as_py() for entry in pc.value_counts(tasks)}


def _left_out(paper: Paper, findings: Findings) -> None:
    """Check that every example is counted, under its task and reason."""
    pairs = pa.table({"task": paper.column("left_out", "task"), "reason": paper.column("left_out", "reason")})
    shown = pairs.append_column("one", pa.array([1] * pairs.num_rows, pa.int64()))
    examples = {
        (row["task"], row["reason"]): row["one_sum"]
        for row in shown.group_by(["task", "reason"]).aggregate([("one", "sum")]).to_pylist()
    }
    stated = {
        (task, reason): count
        for task, counts in paper.document["counts"].items()
        for reason, count in (counts.get("left_out") or {}).items()
    }
    wrong = [
        f"{task}, {reason}: {stated.get((task, reason), 0)} counted, {count} named"
        for (task, reason), count in sorted(examples.items(), key=str)
        if stated.get((task, reason), 0) < count
    ]
    wrong += [
        f"{task}, {reason}: {count} counted, none named"
        for (task, reason), count in sorted(stated.items())
        if (task, reason) not in examples or count < 1
    ]
    findings.add("PST-V042", wrong)


def _waived(paper: Paper, findings: Findings) -> None:
    """Check that what is grave is waived by name, and that the waivers are those that the plan's id covers."""
    said = paper.document["request"].get("waived") or []
    waived = {(w.get("task"), w.get("reason")): w.get("count") for w in said}
    needed = {
        (task["label"], f"missing:{c['name']}")
        for task in paper.tasks
        for c in task["inputs"]
        if c.get("prerequisite")
    }
    wrong = []
    for task, counts in paper.document["counts"].items():
        for reason, count in (counts.get("left_out") or {}).items():
            grave = (task, reason) in needed or reason.startswith("calibration_gap:")
            if reason.startswith("calibration_overlap:") or (grave and (task, reason) not in waived):
                wrong.append(f"{task}: {count} by {reason}")
            elif waived.get((task, reason), count) != count:
                wrong.append(f"{task}: {count} by {reason}, waived are {waived[task, reason]}")
    pairs = sorted([w.get("reason"), w.get("task")] for w in said)
    covered = (paper.document.get("identity") or {}).get("waived")
    expected = hashlib.sha256(rules.canonical(pairs).encode()).hexdigest() if said else None
    if covered != expected:
        wrong.append(f"the id covers other waivers than the {len(said)} of the request")
    findings.add("PST-V043", wrong)


def _code(paper: Paper, findings: Findings) -> None:
    code = paper.document["pipeline"]["code"]
    path = paper.directory / "code.zip"
    if code is None:
        if path.exists():
            findings.add("PST-V045", ["code.zip is there, and the plan has no code"])
        return
    try:
        data = path.read_bytes()
    except OSError as error:
        findings.add("PST-V001", [f"code.zip: {error}"])
        return
    if hashlib.sha256(data).hexdigest() != code["sha256"] or len(data) != code["size"]:
        findings.add(
            "PST-V045", [f"code.zip has {len(data)} bytes, the plan's has {code['size']} and other content"]
        )
