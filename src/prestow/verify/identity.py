"""Data IDs, ids and recipes, each computed again from what it must follow from."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from uuid import UUID

import pyarrow as pa
import pyarrow.compute as pc

from prestow.verify import rules
from prestow.verify.findings import Findings, nonzero
from prestow.verify.graph import Ends
from prestow.verify.numbering import repeated
from prestow.verify.paper import Array, Paper

BATCH = 1 << 16
_FORBIDDEN = r'[\x00-\x1f\x7f"\\]|^\s|\s$|^$'


def check_identity(paper: Paper, ends: Ends, findings: Findings) -> None:
    """Check data IDs, ids and recipes."""
    _datasets(paper, ends, findings)
    _quanta(paper, ends, findings)
    _recipes(paper, ends, findings)


def _text(parts: Iterable[str | Array], height: int) -> Array:
    """Join texts row by row; null where one is."""
    columns = [pa.scalar(p, pa.large_string()) if isinstance(p, str) else p for p in parts]
    if all(isinstance(p, pa.Scalar) for p in columns):
        return pa.array(["".join(p.as_py() for p in columns)] * height, pa.large_string())
    return pc.binary_join_element_wise(*columns, pa.scalar("", pa.large_string()))


def _normal(paper: Paper, table: str, dimensions: list[str], rows: Array) -> tuple[Array, Array, Array]:
    """Give the canonical JSON and the text of ids of the data IDs of some rows, and which values are not legal."""
    height = len(rows)
    json: list[str | Array] = []
    pairs: list[str | Array] = []
    wrong = pa.array([False] * height, pa.bool_())
    for name in sorted(dimensions):
        values = paper.column(table, name).take(rows)
        quote = "" if pa.types.is_int64(values.type) else '"'
        if quote:
            wrong = pc.or_(wrong, pc.fill_null(pc.match_substring_regex(values, _FORBIDDEN), fill_value=True))
        shown = values.cast(pa.large_string())
        json += [f'{"," if json else "{"}"{name}":{quote}', shown, *([quote] if quote else [])]
        pairs += [f",{name}=", shown]
    return _text([*(json or ["{"]), "}"], height), _text(pairs or [""], height), wrong


def _datasets(paper: Paper, ends: Ends, findings: Findings) -> None:
    stated, ids, runs = (paper.column("datasets", name) for name in ("data_id", "id", "run"))
    known = {d for kind in paper.types.values() for d in kind["dimensions"]}
    for number, (name, kind) in enumerate(paper.types.items()):
        rows = nonzero(pc.fill_null(pc.equal(ends.type_of, number), fill_value=False))
        if not len(rows):
            continue
        normal, pairs, wrong = _normal(paper, "datasets", kind["dimensions"], rows)
        for other in known.difference(kind["dimensions"]):
            wrong = pc.or_(wrong, pc.is_valid(paper.column("datasets", other).take(rows)))
        _compare(findings, "PST-V025", rows, stated.take(rows), normal, wrong, f"{name}, dataset")
        heads = _text([f"dataset_type={name},run=", runs.take(rows), pairs], len(rows))
        _ids(findings, "PST-V023", rows, ids.take(rows), heads, f"{name}, dataset")
    for twin, times in repeated(ids):
        findings.add("PST-V049", [f"{times} datasets have the id {_hex(twin)}"])


def _quanta(paper: Paper, ends: Ends, findings: Findings) -> None:
    stated, ids = paper.column("quanta", "data_id"), paper.column("quanta", "id")
    for number, task in enumerate(paper.tasks):
        rows = nonzero(pc.fill_null(pc.equal(ends.task_of, number), fill_value=False))
        if not len(rows):
            continue
        normal, pairs, wrong = _normal(paper, "quanta", task["dimensions"], rows)
        _compare(findings, "PST-V025", rows, stated.take(rows), normal, wrong, f"{task['label']}, quantum")
        heads = _text([f"quantum={task['label']},run={paper.run}", pairs], len(rows))
        _ids(findings, "PST-V024", rows, ids.take(rows), heads, f"{task['label']}, quantum")
    # A receipt's name is of run, task and id, so two quanta of one id would have one receipt.
    for twin, times in repeated(ids):
        findings.add("PST-V039", [f"{times} quanta have the id {_hex(twin)}"])


def _compare(
    findings: Findings, code: str, rows: Array, stated: Array, expected: Array, wrong: Array, noun: str
) -> None:
    differ = pc.or_kleene(pc.fill_null(pc.not_equal(stated, expected), fill_value=True), wrong)
    findings.rows(code, differ, lambda i: f"{noun} {rows[i]}: {stated[i]}, by its columns {expected[i]}")


def _ids(findings: Findings, code: str, rows: Array, stated: Array, heads: Array, noun: str) -> None:
    # One Python call a row: Arrow has no SHA-1.
    made = [None if head is None else rules.uuid5(head) for head in heads.cast(pa.large_binary()).to_pylist()]
    expected = pa.array(made, pa.large_binary())
    findings.rows(
        code,
        pc.not_equal(stated, expected),
        lambda i: (
            f"{noun} {rows[i]}: {_hex(stated[i].as_py())}, and {heads[i]} gives {_hex(expected[i].as_py())}"
        ),
    )


def _hex(value: bytes | None) -> str:
    return "nothing" if value is None else value.hex()


def _recipes(paper: Paper, ends: Ends, findings: Findings) -> None:
    recipes = paper.column("datasets", "recipe")
    data_ids = paper.column("datasets", "data_id").cast(pa.large_binary())
    quantum_recipes = paper.column("quanta", "recipe")
    existing = min(paper.height("locations"), len(recipes))
    of_maker = quantum_recipes.take(_safe(ends.producer, len(quantum_recipes)))
    other = pc.not_equal(recipes, of_maker).slice(existing)
    findings.rows(
        "PST-V027", other, lambda i: f"dataset {existing + i}: {_hex(recipes[existing + i].as_py())}"
    )
    _roots(paper, recipes, existing, findings)
    sums = _sums(paper, ends, recipes, data_ids)
    digests = [rules.task_digest(paper, task) for task in paper.tasks]
    stated = paper.column("quanta", "data_id").cast(pa.large_binary())
    for at in range(0, len(quantum_recipes), BATCH):
        tasks = ends.task_of.slice(at, BATCH).to_pylist()
        rows = zip(tasks, stated.slice(at, BATCH).to_pylist(), sums[at : at + BATCH], strict=True)
        # One Python call a quantum: Arrow has no SHA-256.
        expected = pa.array(
            [
                None
                if task is None or data_id is None
                else sha256(
                    b"recipe/1\x1f"
                    + digests[task]
                    + b"\x1f"
                    + data_id
                    + b"\x1f%032x" % (total % rules.MODULUS)
                ).digest()[:16]
                for task, data_id, total in rows
            ],
            pa.large_binary(),
        )
        part = quantum_recipes.slice(at, BATCH)
        findings.rows(
            "PST-V026",
            pc.not_equal(part, expected),
            lambda i, a=at, p=part, e=expected: (  # type: ignore[misc]
                f"quantum {a + i} {stated[a + i].as_py()!r}: {_hex(p[i].as_py())}, its inputs give {_hex(e[i].as_py())}"
            ),
        )


def _safe(at: Array, limit: int) -> Array:
    return pc.if_else(pc.and_(pc.greater_equal(at, 0), pc.less(at, limit)), at, pa.scalar(None, pa.int64()))


def _roots(paper: Paper, recipes: Array, existing: int, findings: Findings) -> None:
    root = paper.column("datasets", "root").slice(0, existing)
    content = pc.coalesce(paper.column("locations", "content"), paper.column("locations", "sha256")).slice(
        0, existing
    )
    head = pc.utf8_slice_codeunits(content, 0, 32)
    head = _with_promised(paper, head)
    stated = pa.array(
        [None if r is None else r.hex() for r in recipes.slice(0, existing).to_pylist()], pa.large_string()
    )
    wrong = pc.and_kleene(root, pc.fill_null(pc.not_equal(stated, head), fill_value=True))
    findings.rows("PST-V028", wrong, lambda i: f"dataset {i}: recipe {stated[i]}, content {content[i]}")


def _with_promised(paper: Paper, head: Array) -> Array:
    """Put in what stands for the content of datasets that are only promised: a digest of their ids."""
    mask = paper.promised()
    if "promised" not in paper.document["request"] or not pc.any(mask).as_py():
        return head
    ids = paper.column("datasets", "id").slice(0, len(head)).to_pylist()
    # One Python call a promised input: Arrow has no SHA-256.
    made = [
        rules.digest128("promised/1", str(UUID(bytes=ids[i]))).hex() if promised else None
        for i, promised in enumerate(mask.to_pylist())
    ]
    return pc.coalesce(head, pa.array(made, head.type))


def _sums(paper: Paper, ends: Ends, recipes: Array, data_ids: Array) -> list[int]:
    """Give for each quantum the sum of the terms of its inputs."""
    sums = [0] * len(ends.task_of)
    spoken = paper.type_names
    begin = [
        [f"input/1\x1f{name}\x1f{kind}\x1f".encode() for kind in spoken] for name in ends.names
    ]  # by connection and type
    types = ends.type_of.take(ends.dataset)
    for at in range(0, len(ends.quantum), BATCH):
        dataset = ends.dataset.slice(at, BATCH)
        rows = zip(
            ends.quantum.slice(at, BATCH).to_pylist(),
            ends.connection.slice(at, BATCH).to_pylist(),
            types.slice(at, BATCH).to_pylist(),
            data_ids.take(dataset).to_pylist(),
            recipes.take(dataset).to_pylist(),
            strict=True,
        )
        # One Python call an input: Arrow has no SHA-256, and its sums end at 64 bits.
        for quantum, connection, kind, data_id, recipe in rows:
            if connection is None or kind is None or data_id is None or recipe is None:
                continue
            term = sha256(begin[connection][kind] + data_id + b"\x1f" + recipe.hex().encode()).digest()
            sums[quantum] += int.from_bytes(term[:16], "big")
    return sums
