"""What words on a command line name: a dataset by its path, its id, or its type and data ID."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from prestow.errors import ConfigurationError, PrestowError, Problem, ProjectError, raise_all
from prestow.model import DataId
from prestow.model.universe import RawDataId, Universe

POSSIBLE = "write a path, a dataset id, 'type{k=v,…}', or: type k=v …"

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_TYPE = re.compile(r"[a-z][a-z0-9_]*")
_BRACES = re.compile(r"([a-z][a-z0-9_]*)\{(.*)\}", re.DOTALL)
_COLON = re.compile(r'("[^"]*")|((?:^|,)\s*[a-z][a-z0-9_]*\s*):')
_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_.]*)=(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Named:
    """What some words name; whether it exists is not known yet.

    Parameters
    ----------
    kind : str
        ``path``, ``id`` or ``dataset``: which of the fields below is filled.
    text : str
        The words as they were typed.
    path : str
        A planned name, or the path of a file.
    id : str
        The UUID of a dataset.
    type : str
        A dataset type; that there is one of this name is not known yet.
    data_id : DataId
        Normalised, and perhaps not all that the type has.

    Examples
    --------
    >>> from prestow.naming.universe import load_universe
    >>> named = parse_dataset(["isr", "ccd=003"], load_universe())
    >>> named.kind, str(named)
    ('dataset', 'isr{detector=3}')
    """

    kind: Literal["path", "id", "dataset"]
    text: str
    path: str = ""
    id: str = ""
    type: str = ""
    data_id: DataId = field(default_factory=lambda: DataId({}))

    def __str__(self) -> str:
        return self.path or self.id or f"{self.type}{{{self.data_id}}}"


def parse_dataset(words: Sequence[str], universe: Universe) -> Named:
    """Give what some words name: a path, a dataset id, ``type{k=v,…}``, or ``type k=v …``.

    A single word is a path where a file of that name exists, or where it looks like one (it has a
    ``/`` or a dot). A lone dataset type stands for all of its datasets.

    Raises
    ------
    ProjectError
        PST-G006 if the words cannot be understood.
    ConfigurationError
        With everything that is wrong with the data ID: unknown names, wrong types, contradictions.

    Examples
    --------
    >>> from prestow.naming.universe import load_universe
    >>> u = load_universe()
    >>> str(parse_dataset(["bias{ccd=3,instrument=sim}"], u))
    'bias{detector=3,instrument=sim}'
    >>> parse_dataset(["demo/bias/bias-3.fits"], u).kind
    'path'
    """
    text = " ".join(words)
    if not text.strip():
        raise _refused("the command line", "no dataset is named")
    first, *others = words
    if others:
        if not _TYPE.fullmatch(first):
            what = f"'{first}' is not a dataset type, and more words follow"
            if "{" in first:
                raise _refused(text, what, "put every k=v into the braces, or behind the type without braces")
            if all("=" in word for word in words):
                raise _refused(
                    text, what, "a shell takes braces apart: write 'type{k=v,…}' in quotes, or: type k=v …"
                )
            raise _refused(text, what)
        return Named("dataset", text, type=first, data_id=plain_data_id(others, universe))
    if _UUID.fullmatch(first):
        return Named("id", text, id=first.lower())
    if os.path.isfile(first):
        return Named("path", text, path=first)
    if braces := _BRACES.fullmatch(first):
        return Named("dataset", text, type=braces[1], data_id=_inside(braces[2], text, universe))
    if _TYPE.fullmatch(first):
        return Named("dataset", text, type=first)
    if _PAIR.fullmatch(first) and "/" not in first:
        raise _refused(text, f"'{first}' has no dataset type before it")
    if any(mark in first for mark in "{}"):
        raise _refused(text, "the braces do not fit 'type{k=v,…}'")
    if "/" in first or "." in first:
        return Named("path", text, path=first)
    raise _refused(text, f"'{first}' is no path, dataset id or dataset type")


def plain_data_id(words: Sequence[str], universe: Universe) -> DataId:
    """Give the data ID of words ``k=v``: aliases resolved, types converted; nothing looked up.

    Raises
    ------
    ConfigurationError
        With everything that is wrong.
    """
    values, problems = merge(parse_pairs(words), universe)
    raise_all(problems, ConfigurationError)
    return DataId({name: value for name, (_, value) in values.items()})


def parse_pairs(words: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Give names and values of words ``k=v``, as they were typed.

    Raises
    ------
    ProjectError
        PST-G006 with every word that is not of this form.

    Examples
    --------
    >>> parse_pairs(["ccd=3", "object=NGC 891"])
    (('ccd', '3'), ('object', 'NGC 891'))
    """
    pairs: list[tuple[str, str]] = []
    problems: list[Problem] = []
    for word in words:
        match = _PAIR.fullmatch(word)
        if match is None:
            problems.append(
                Problem("PST-G006", f"'{word}' is not of the form k=v", "data ID", "such as visit=12")
            )
            continue
        joined = re.search(r",\s*([a-z][a-z0-9_]*)=", match[2])
        if joined:
            what = f"'{word}' holds a second name, {joined[1]}"
            problems.append(Problem("PST-G006", what, "data ID", f"write words: {word.replace(',', ' ')}"))
            continue
        pairs.append((match[1], match[2]))
    raise_all(problems, ProjectError)
    return tuple(pairs)


Merged = Mapping[str, tuple[str, str | int]]
"""Dimension -> (the name it was typed under, its value in its type)."""


def merge(
    pairs: Sequence[tuple[str, object]], universe: Universe
) -> tuple[dict[str, tuple[str, str | int]], list[Problem]]:
    """Give for each dimension the name under which it was typed and its value, and the problems.

    A value given twice is fine where it is the same one; else it contradicts itself (PST-G008).
    """
    found: dict[str, tuple[str, str | int]] = {}
    problems: list[Problem] = []
    for typed, value in pairs:
        name = universe.canonical(typed)
        if name is None:
            problems += _of(universe, typed, value)
            continue
        converted = universe.convert(name, value)
        if isinstance(converted, Problem):
            problems.append(converted)
        elif name in found and found[name][1] != converted:
            before, other = found[name]
            what = f"{before}={other} and {typed}={converted} contradict each other"
            why = f": both are {name}" if before != typed else ""
            problems.append(Problem("PST-G008", what + why, "data ID", "leave one of them out"))
        else:
            found.setdefault(name, (typed, converted))
    return found, problems


def _of(universe: Universe, typed: str, value: object) -> Sequence[Problem]:
    """Give the problem with an unknown name, in the words of the universe."""
    try:
        universe.normalise(RawDataId({typed: value}))
    except PrestowError as error:
        return error.problems
    return ()


def _inside(text: str, whole: str, universe: Universe) -> DataId:
    try:
        typed = DataId.parse(_COLON.sub(lambda m: m[1] or f"{m[2]}=", text))  # {k:v} means {k=v}
    except ConfigurationError as error:
        raise _refused(whole, f"'{text}' is not a data ID") from error
    # digits in braces are integers already; a text dimension may well be named by digits
    pairs = [(name, str(value) if _is_text(universe, name) else value) for name, value in typed.items()]
    values, problems = merge(pairs, universe)
    raise_all(problems, ConfigurationError)
    return DataId({name: value for name, (_, value) in values.items()})


def _is_text(universe: Universe, name: str) -> bool:
    known = universe.canonical(name)
    return known is not None and universe.dimensions[known].type == "str"


def _refused(text: str, what: str, fix: str = "") -> ProjectError:
    return ProjectError(Problem("PST-G006", what, text, fix or POSSIBLE))
