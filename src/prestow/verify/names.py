"""Names: each is what its template says, reads back, is legal, and is the name of one dataset only."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from prestow.verify.findings import Findings, nonzero
from prestow.verify.graph import Ends
from prestow.verify.numbering import repeated
from prestow.verify.paper import Array, Paper

LONGEST_COMPONENT = 255  # bytes
LONGEST_NAME = 1023  # bytes: what object stores allow, and less than file systems do
OVERCROWDED = 100_000  # entries of one directory
RUN = r"[A-Za-z0-9][A-Za-z0-9._+-]*"
_TEXT = r"(?:[A-Za-z0-9._+-]|%[0-9A-F]{2})+?"
_FIELD = re.compile(r"\{([a-z][a-z0-9_]*)(?::0([1-9][0-9]?)d)?\}")
_LEGAL = r"^[A-Za-z0-9.+%][A-Za-z0-9._+%-]*(?:/[A-Za-z0-9._+%][A-Za-z0-9._+%-]*)*$"
_DOTS = r"(?:^|/)\.{1,2}(?:/|$)"


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    integer: bool
    width: int

    def show(self, value: object) -> str | None:
        if value is None:
            return None
        if self.integer:
            return f"{value:0{self.width}d}"
        return re.sub(r"[^A-Za-z0-9._+-]", lambda m: "".join(f"%{b:02X}" for b in m[0].encode()), str(value))


def check_names(paper: Paper, ends: Ends, findings: Findings) -> None:
    """Check the names of all outputs."""
    first = paper.height("locations")
    paths = paper.column("datasets", "path").slice(first)
    _rules(paper, ends, paths, first, findings)
    _legal(paths, first, findings)
    _alone(paper, paths, first, findings)
    _directories(paths, findings)
    if paper.document["request"].get("flat"):
        _flat(paper, ends, paths, first, findings)


def _parts(template: str, kind: str, paper: Paper) -> list[str | _Field]:
    """Cut a template into literal text and fields."""
    parts: list[str | _Field] = []
    at = 0
    for match in _FIELD.finditer(template):
        parts.append(template[at : match.start()])
        at = match.end()
        name = match[1]
        if name == "type":
            parts.append(kind)
        else:
            integer = paper.dimensions.get(name, {}).get("type") == "int"
            parts.append(_Field(name, integer, int(match[2] or 0)))
    return [part for part in [*parts, template[at:]] if part != ""]


def _rules(paper: Paper, ends: Ends, paths: Array, first: int, findings: Findings) -> None:
    of_type = ends.type_of.slice(first)
    made = {o["type"] for task in paper.tasks for o in paper.outputs_of(task)}
    for name in sorted(made):
        kind = paper.types.get(name)
        if kind is None or not kind.get("format") or not kind.get("template"):
            findings.add("PST-V038", [f"dataset type {name}: {'unknown' if kind is None else kind}"])
            continue
        rows = nonzero(pc.fill_null(pc.equal(of_type, paper.type_names.index(name)), fill_value=False))
        if len(rows):
            _of_type(paper, name, rows, paths.take(rows), first, findings)
    strange = pc.is_null(ends.type_of)
    findings.rows("PST-V038", strange, lambda i: f"dataset {i}: its type is unknown")
    form = paper.column("datasets", "format").slice(first)
    declared = pa.array([paper.types[n].get("format") for n in paper.type_names], pa.large_string())
    other = pc.not_equal(form, declared.take(of_type))
    findings.rows("PST-V038", other, lambda i: f"dataset {first + i}: format {form[i]}")
    runs = paper.column("datasets", "run").slice(first)
    findings.rows("PST-V046", pc.not_equal(runs, paper.run), lambda i: f"dataset {first + i}: run {runs[i]}")
    if not re.fullmatch(RUN, paper.run):
        findings.add("PST-V019", [f"run {paper.run!r}"])
    odd = [label for label in paper.labels if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._+-]*", label)]
    findings.add("PST-V039", [f"task {label!r} is no part of a receipt's name" for label in odd])


def _of_type(paper: Paper, name: str, rows: Array, paths: Array, first: int, findings: Findings) -> None:
    """Check the names of one type: read back by its template, then made again from what the columns say."""
    kind = paper.types[name]
    parts = _parts(kind["template"], name, paper)
    fields = [part for part in parts if isinstance(part, _Field)]
    lacking = {*kind["dimensions"], "run"} - {f.name for f in fields}
    if lacking:
        findings.add("PST-V022", [f"{name}: template {kind['template']} lacks {', '.join(sorted(lacking))}"])
    groups = iter(range(len(fields)))
    pattern = "".join(
        f"(?P<g{next(groups)}>{_pattern(part)})" if isinstance(part, _Field) else re.escape(part)
        for part in parts
    )
    read = pc.extract_regex(paths, f"^{pattern}$")
    unread = pc.is_null(read)
    columns: list[Array] = []
    for i, field in enumerate(fields):
        found = pc.struct_field(read, [i]).cast(pa.large_string())
        if field.name == "run":
            wanted = pa.array([paper.run] * len(rows), pa.large_string())
        elif field.name in kind["dimensions"]:
            wanted = _shown(field, paper.column("datasets", field.name).take(pc.add(rows, first)))
        else:
            wanted = found  # an implied value is in the name alone
        columns.append(wanted)
        unread = pc.or_(unread, pc.fill_null(pc.not_equal(found, wanted), fill_value=True))
    given = iter(columns)
    texts = [
        next(given) if isinstance(part, _Field) else pa.scalar(part, pa.large_string()) for part in parts
    ]
    expected = pc.binary_join_element_wise(*texts, pa.scalar("", pa.large_string()))
    if isinstance(expected, pa.Scalar):
        expected = pa.array([expected.as_py()] * len(rows), pa.large_string())
    wrong = pc.fill_null(pc.not_equal(paths, expected), fill_value=True)
    findings.rows(
        "PST-V021",
        wrong,
        lambda i: f"dataset {first + rows[i].as_py()}: {paths[i]}, its template gives {expected[i]}",
    )
    ambiguous = pc.and_(unread, pc.invert(wrong))
    findings.rows(
        "PST-V022",
        ambiguous,
        lambda i: f"dataset {first + rows[i].as_py()}: {paths[i]} by {kind['template']}",
    )


def _pattern(field: _Field) -> str:
    if field.name == "run":
        return f"{RUN}?"
    return "-?[0-9]+" if field.integer else _TEXT


def _shown(field: _Field, values: Array) -> Array:
    # One Python call for each distinct value.
    encoded = values.dictionary_encode()
    shown = pa.array([field.show(value) for value in encoded.dictionary.to_pylist()], pa.large_string())
    return shown.take(encoded.indices)


def _legal(paths: Array, first: int, findings: Findings) -> None:
    bad = pc.or_kleene(
        pc.invert(pc.match_substring_regex(paths, _LEGAL)),
        pc.or_(pc.match_substring_regex(paths, _DOTS), pc.greater(pc.binary_length(paths), LONGEST_NAME)),
    )
    long = pc.fill_null(pc.greater(pc.binary_length(paths), LONGEST_COMPONENT), fill_value=False)
    for i in nonzero(long).to_pylist():  # few: most names are shorter than a component may be
        if any(len(part) > LONGEST_COMPONENT for part in paths[i].as_py().split("/")):
            findings.add(
                "PST-V019", [f"dataset {first + i}: a component has more than {LONGEST_COMPONENT} bytes"]
            )
    findings.rows("PST-V019", bad, lambda i: f"dataset {first + i}: {paths[i]}")


def _alone(paper: Paper, paths: Array, first: int, findings: Findings) -> None:
    twins = repeated(paths)
    findings.add("PST-V015", [f"{times} datasets are called {name}" for name, times in twins])
    folded = pc.utf8_lower(paths)
    same = {name.lower() for name, _ in twins}
    only_case = [
        f"{times} datasets are called {name} but for case"
        for name, times in repeated(folded)
        if name not in same
    ]
    findings.add("PST-V016", only_case)
    there = paper.column("locations", "path")
    taken = pc.is_in(paths, value_set=there)
    findings.rows("PST-V015", taken, lambda i: f"dataset {first + i} and an existing one: {paths[i]}")


def _directories(paths: Array, findings: Findings) -> None:
    paths = paths.drop_null()
    counted = pc.value_counts(pc.replace_substring_regex(paths, r"(^|/)[^/]*$", ""))
    entries: dict[str, int] = {}
    for entry in counted:  # directories, not files
        entries[entry["values"].as_py()] = entry["counts"].as_py()
    for directory in list(entries):
        below = directory
        while below:
            above = below.rpartition("/")[0]
            known = above in entries
            entries[above] = entries.get(above, 0) + 1
            below = "" if known else above  # a known one counts itself in the one above it
    full = [
        f"{count:,} entries in {name or 'the topmost directory'}"
        for name, count in entries.items()
        if count > OVERCROWDED
    ]
    findings.add("PST-V020", sorted(full))
    folded = pa.array(sorted({name.lower() for name in entries if name}), pa.large_string())
    shadowed = pc.is_in(pc.utf8_lower(paths), value_set=folded)
    findings.rows("PST-V018", shadowed, lambda i: f"{paths[i]}")


def _flat(paper: Paper, ends: Ends, paths: Array, first: int, findings: Findings) -> None:
    """Check base names: of all outputs, and of all that one job sees."""
    base = pc.utf8_lower(pc.replace_substring_regex(paths, r"^.*/", ""))
    for name, times in repeated(base):
        findings.add("PST-V017", [f"{times} outputs have the base name {name}"])
    there = pc.utf8_lower(pc.replace_substring_regex(paper.column("locations", "path"), r"^.*/", ""))
    every = pa.concat_arrays([there.slice(0, first), base])
    pairs = pa.table({"job": ends.job_of.take(ends.quantum), "dataset": ends.dataset})
    made = pa.table(
        {
            "job": ends.job_of.take(ends.producer.slice(first)),
            "dataset": pa.array(range(first, first + len(base)), pa.int64()),
        }
    )
    seen = pa.concat_tables([pairs, made]).group_by(["job", "dataset"]).aggregate([])
    seen = seen.append_column("base", every.take(seen["dataset"].combine_chunks()))
    counted = seen.group_by(["job", "base"]).aggregate([("dataset", "count")])
    often = counted.filter(pc.greater(counted["dataset_count"], 1))
    shown = [
        f"job {row['job']}: {row['dataset_count']} files called {row['base']}"
        for row in often.slice(0, 5).to_pylist()
    ]
    findings.add("PST-V017", shown, often.num_rows)
