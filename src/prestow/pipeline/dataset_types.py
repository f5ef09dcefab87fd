"""Dataset types where a person defines them: in a section of their own, or at a connection."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date

from prestow.documents import Key
from prestow.errors import ConfigurationError, Problem
from prestow.formats import open_format
from prestow.model import DatasetType
from prestow.model.dataset import COLUMN_TYPES
from prestow.model.instants import ALWAYS, FOREVER, instant, instant_text, interval_text
from prestow.naming.templates import compile_template, default_template
from prestow.naming.universe import WORD
from prestow.pipeline.definition import TaskDefinition
from prestow.pipeline.reader import Definition, Reader

INLINE = ("dimensions", "format", "template", "columns", "calibration", "certifies", "description")
"""Keys of a connection that define its dataset type there."""


def define_in_section(reader: Reader, section: object, formats: Collection[str]) -> None:
    """Read ``dataset_types``."""
    for name, body in reader.mapping(("dataset_types",), section).items():
        path: Key = ("dataset_types", str(name))
        if reader.word(path, name, "a dataset type"):
            top = reader.section(path, body, ("dimensions", "format"), INLINE[2:])
            _define(reader, path, str(name), top, formats)


def define_at_connections(reader: Reader, path: Key, value: object, formats: Collection[str]) -> None:
    """Read the dataset types that the connections under ``inputs`` or ``outputs`` define.

    What else is wrong with a connection is noted by who reads it.
    """
    for name, body in value.items() if isinstance(value, dict) else ():
        if not isinstance(body, dict) or not set(body) & set(INLINE):
            continue
        here: Key = (*path, str(name))
        kind = body.get("type")
        if not isinstance(kind, str):
            continue
        if not WORD.fullmatch(kind):
            fix = "use small letters, digits and '_', a letter first"
            reader.note("PST-C013", (*here, "type"), f"{kind!r} cannot be the name of a dataset type", fix)
            continue
        top = {str(k): v for k, v in body.items() if k in INLINE}
        for key in ("dimensions", "format"):
            if key not in top:
                what = f"key '{key}' is missing: '{', '.join(top)}' define '{kind}' here"
                reader.note("PST-C012", here, what, f"add '{key}', or say only its type")
        _define(reader, here, kind, top, formats)


def _define(
    reader: Reader, path: Key, name: str, top: Mapping[str, object], formats: Collection[str]
) -> None:
    before = len(reader.problems)
    form = reader.text((*path, "format"), top["format"]) if "format" in top else ""
    if form and form not in formats:
        reader.unknown("PST-C024", (*path, "format"), "unknown format", form, formats)
    made = DatasetType(
        name,
        reader.dimensions((*path, "dimensions"), top.get("dimensions", [])),
        form,
        reader.text((*path, "template"), top.get("template", "")),
        tuple(_columns(reader, (*path, "columns"), top["columns"])) if "columns" in top else (),
        _flag(reader, (*path, "calibration"), top["calibration"]) if "calibration" in top else False,
        _certifies(reader, (*path, "certifies"), top["certifies"]) if "certifies" in top else None,
    )
    if top.get("template") == "":
        reader.note("PST-C013", (*path, "template"), "the template is empty", "leave it out")
    if "columns" in top and form in formats and not has_columns(form):
        fix = (
            f"formats with columns: {', '.join(filter(has_columns, formats)) or 'none'}; leave 'columns' out"
        )
        reader.note("PST-C033", (*path, "columns"), f"the format '{form}' has no columns", fix, at_key=True)
    if "certifies" in top and not made.calibration:
        fix = "add 'calibration: true', or leave it out"
        reader.note(
            "PST-K010", (*path, "certifies"), "only a calibration certifies anything", fix, at_key=True
        )
    good = len(reader.problems) == before and {"dimensions", "format"} <= top.keys()
    definition = Definition(reader.of(path), path, made, frozenset(top), good)
    reader.defined.setdefault(name, []).append(definition)


def _flag(reader: Reader, path: Key, value: object) -> bool:
    reader.problems += reader.of(path).check_type(path, value, bool)
    return value is True


def _certifies(reader: Reader, path: Key, value: object) -> tuple[int, int] | None:
    """Read ``{begin: TIME, end: TIME}``; either may be left out."""
    top = reader.section(path, value, (), ("begin", "end"))
    ends = {"begin": ALWAYS, "end": FOREVER}
    before = len(reader.problems)
    for key, text in top.items():
        try:
            ends[key] = instant(text.isoformat() if isinstance(text, date) else str(text))
        except ValueError as error:
            fix = "write '2026-11-21', or '2026-11-21T04:00:00'; times are TAI"
            reader.note("PST-K010", (*path, key), f"'{text}' is not a time: {error}", fix)
    if len(reader.problems) == before and top and ends["begin"] >= ends["end"]:
        what = f"what it certifies ends at {instant_text(ends['end'])}, not after its begin {instant_text(ends['begin'])}"
        reader.note("PST-K010", path, what, "exchange begin and end")
    if isinstance(value, dict) and not value:
        reader.note(
            "PST-K010", path, "no interval is given", "write begin, end or both, or leave 'certifies' out"
        )
    return ends["begin"], ends["end"]


def has_columns(form: str) -> bool:
    """Say whether files of a format are tables whose columns it can check."""
    return hasattr(open_format(form), "check_columns")


def _columns(reader: Reader, path: Key, value: object) -> Iterator[tuple[str, str]]:
    for name, kind in reader.mapping(path, value).items():
        here: Key = (*path, name if isinstance(name, str | int) else str(name))
        if not isinstance(name, str) or not name:
            fix = "put the name in quotes"
            reader.note("PST-C011", here, f"{name!r} is not the name of a column", fix, at_key=True)
        elif kind in COLUMN_TYPES:
            yield name, str(kind)
        else:
            reader.unknown("PST-C033", here, "unknown column type", kind, COLUMN_TYPES)
    if isinstance(value, dict | None) and not value:
        reader.note("PST-C013", path, "no column is named", "leave 'columns' out")


def joined(reader: Reader) -> dict[str, DatasetType]:
    """Give each dataset type once; note those that are defined differently.

    Template and columns may stand in one place and not in another.
    """
    found: dict[str, DatasetType] = {}
    for name, definitions in reader.defined.items():
        first = next((d for d in definitions if d.good), definitions[0])
        if not all(d.good for d in definitions):
            reader.doubtful.add(("type", name))
        for other in definitions:
            if other is first or not (other.good and first.good):
                continue
            apart = list(_apart(first, other))
            if apart:
                place = "{}:{}:{}".format(
                    first.document.source, *first.document.marks.get(first.path, (1, 1))
                )
                what = f"'{name}' is defined at {place} with other {'; other '.join(apart)}"
                fix = f"define it in one place, and say only 'type: {name}' in the other"
                reader.problems.append(other.document.problem("PST-C031", other.path, what, fix))
                reader.doubtful.add(("type", name))
        made = first.type
        for other in definitions:
            made = replace(
                made,
                template=made.template or other.type.template,
                columns=made.columns or other.type.columns,
                calibration=made.calibration or other.type.calibration,
                certifies=made.certifies or other.type.certifies,
            )
        found[name] = made
    return found


def _apart(first: Definition, other: Definition) -> Iterator[str]:
    for key in ("dimensions", "format", "template", "columns", "calibration", "certifies"):
        there, here = getattr(first.type, key), getattr(other.type, key)
        if there != here and {key} <= first.given & other.given:
            yield f"{key}: {_shown(key, there)} there, {_shown(key, here)} here"


def _shown(key: str, value: object) -> str:
    if key == "columns" and isinstance(value, tuple):
        return "{" + ", ".join(f"{name}: {kind}" for name, kind in value) + "}"
    if key == "certifies" and isinstance(value, tuple):
        return interval_text(*value)
    return f"[{', '.join(value)}]" if isinstance(value, tuple) else f"'{value}'"


def prototype_types(reader: Reader, tasks: Sequence[TaskDefinition]) -> dict[str, DatasetType]:
    """Give the dataset types of what the node itself writes."""
    found: dict[str, DatasetType] = {}
    for task in tasks:
        for name in (output.type for output in task.outputs if output.name.startswith("_")):
            for definition in reader.defined.get(name, ()):
                what = f"'{name}' is what the node writes for {task.label}"
                reader.problems.append(definition.problem("PST-C013", "", what, "choose another name"))
            found[name] = DatasetType(name, task.dimensions, "json")
    return found


def with_templates(
    reader: Reader,
    types: Mapping[str, DatasetType],
    writers: Mapping[str, str],
    formats: Collection[str],
    places: Mapping[str, str],
) -> dict[str, DatasetType]:
    """Give the types with a template each that is written, checked; note what is refused.

    ``places`` says where the template of a type stands, if that is not in a file.
    """
    found: dict[str, DatasetType] = {}
    owners: dict[tuple[object, ...], str] = {}
    for name, kind in types.items():
        found[name] = kind
        if name not in writers or kind.format not in formats:
            continue
        text = kind.template or default_template(name, kind.dimensions, open_format(kind.format).suffix)
        try:
            template = compile_template(text, kind.dimensions, reader.universe, dataset_type=name)
        except ConfigurationError as error:
            for problem in error.problems:
                _refuse(reader, name, places, problem.what, problem.fix, problem.code)
            continue
        other = owners.setdefault(template.parts, name)
        if other != name:
            at, beside = (other, name) if other in places and name not in places else (name, other)
            what = f"'{text}' is the template of '{beside}' too: both would have the same names"
            _refuse(reader, at, places, what, "write {type} in one of them")
        found[name] = replace(kind, template=text)
    return found


def _refuse(
    reader: Reader, name: str, places: Mapping[str, str], what: str, fix: str, code: str = "PST-C030"
) -> None:
    """Note a problem with the template of a type, where it stands."""
    if name in places:
        reader.problems.append(Problem(code, what, places[name], fix))
        return
    definitions = reader.defined.get(name, [])
    at = next((d for d in definitions if "template" in d.given), next(iter(definitions), None))
    if at is None:
        reader.note(code, ("dataset_types", name, "template"), what, fix)
    else:
        path = (*at.path, "template")
        reader.problems.append(at.document.problem(code, path, what, fix))
