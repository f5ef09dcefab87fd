"""Format and template of a dataset type, chosen in the request: ``types.coadd.format=parquet``."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import yaml

from prestow.errors import Problem
from prestow.formats import open_format
from prestow.model import DatasetType
from prestow.pipeline.dataset_types import has_columns

SECTION = "types"
"""How the name of such a value begins; what follows is a dataset type and one of `KEYS`."""

KEYS = ("format", "template")


@dataclass(frozen=True, slots=True)
class TypeOverride:
    """A value of a dataset type from the command line; ``place`` is how a person wrote it."""

    name: str
    key: str
    value: str
    place: str


def type_override(line: str) -> TypeOverride | None:
    """Give what ``types.NAME.KEY=VALUE`` says, or None if the line is about something else.

    The value is text as it stands; quotes around it, as in YAML, are taken off.

    Examples
    --------
    >>> type_override("types.coadd.template='{run}/{band}.fits'").value
    '{run}/{band}.fits'
    >>> type_override("isr.sigma=3") is None
    True
    """
    target, equals, text = line.partition("=")
    words = [word.strip() for word in target.split(".")]
    if not equals or len(words) != 3 or words[0] != SECTION:  # noqa: PLR2004 - types, name and key
        return None
    value = text.strip()
    if value[:1] in {"'", '"'}:
        try:
            value = str(yaml.safe_load(value))
        except yaml.YAMLError:
            value = text.strip()
    return TypeOverride(words[1], words[2], value, f"--set {line}")


def with_overrides(
    types: Mapping[str, DatasetType],
    given: Sequence[TypeOverride],
    writers: Mapping[str, str],
    node_made: Collection[str],
    formats: Collection[str],
    problems: list[Problem],
) -> tuple[dict[str, DatasetType], dict[str, str]]:
    """Give the types as the request wants them, and for each template that it says where it says so.

    A template that ends in the suffix of the former format gets that of the new one; one that ends
    otherwise is left alone, and where there is none the default has the new suffix anyway.

    What the request itself says as template stands as it is.

    Parameters
    ----------
    types : mapping
        As the pipeline defines them.
    given : sequence of TypeOverride
        The last one for a key counts.
    writers : mapping
        The task of each type that is written.
    node_made : collection of str
        Types that the node writes by itself.
    problems : list
        What is refused is added here, each at its own ``--set``.
    """
    found = dict(types)
    places: dict[str, str] = {}
    last = {(o.name, o.key): o for o in given}
    for (name, key), override in sorted(last.items(), key=lambda item: item[0][1]):  # formats first
        wrong = list(_refused(override, types, writers, node_made, formats))
        problems += wrong
        if wrong:
            continue
        if key == "format":
            found[name] = _with_format(found[name], override.value, types[name].format, formats)
        else:
            found[name] = replace(found[name], template=override.value)
            places[name] = override.place
    return found, places


def _refused(
    override: TypeOverride,
    types: Mapping[str, DatasetType],
    writers: Mapping[str, str],
    node_made: Collection[str],
    formats: Collection[str],
) -> Iterator[Problem]:
    name, key, value, place = override.name, override.key, override.value, override.place
    if name not in types:
        yield Problem("PST-C020", f"unknown dataset type '{name}'", place, near(name, types))
        return
    if key not in KEYS:
        yield Problem("PST-C010", f"'{key}' of a dataset type cannot be set", place, near(key, KEYS))
        return
    if name in node_made:
        what = f"'{name}' is what the node writes by itself, always alike"
        yield Problem("PST-C036", what, place, "leave it out")
        return
    if name not in writers:
        what = f"no task writes '{name}': what is read has the format and the name that it has"
        yield Problem("PST-C036", what, place, "leave it out; one file in another format: prestow convert")
        return
    if key == "template":
        if not value:
            yield Problem("PST-C013", "the template is empty", place, "leave it out")
        return
    if value not in formats:
        yield Problem("PST-C024", f"unknown format '{value}'", place, near(value, formats))
    elif types[name].columns and not has_columns(value):
        able = ", ".join(filter(has_columns, formats)) or "none"
        what = f"'{name}' declares columns, and the format '{value}' has none"
        yield Problem("PST-C033", what, place, f"formats with columns: {able}")


def near(name: str, known: Collection[str]) -> str:
    """Say which name is meant, or which there are."""
    close = difflib.get_close_matches(name, known, 1)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(known) or 'none'}"


def _with_format(kind: DatasetType, form: str, before: str, formats: Collection[str]) -> DatasetType:
    template = kind.template
    former = open_format(before).suffix if before in formats else ""
    if former and template.endswith(former):
        template = template.removesuffix(former) + open_format(form).suffix
    return replace(kind, format=form, template=template)
