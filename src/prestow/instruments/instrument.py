"""One instrument: its YAML, and what it makes of a header."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from prestow.documents import Document, Key, check_schema, kind_of, parse_document, read_document
from prestow.errors import ConfigurationError, Problem, ProjectError, raise_all
from prestow.instruments.footprint import FootprintRule, read_footprint_rule
from prestow.instruments.leaving_out import LeftOut, read_left_out
from prestow.instruments.rules import Rule, Rules, Value, read_rule
from prestow.model.data_id import check_value
from prestow.model.universe import Universe
from prestow.naming.universe import load_universe

SCHEMA = "prestow.instrument/1"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_DIMENSIONS = ("exposure", "detector", "day_obs", "physical_filter")
_REQUIRED = ("exposure", "detector", "day_obs", "observation_type", "begin")


@dataclass(frozen=True, slots=True)
class Observation:
    """What a header says: the values of dimensions, the band, and metadata of the exposure.

    ``physical_filter`` and ``band`` are None where the observation has none. ``visit`` is the
    number of the exposure if it is one to reduce, or what the rules give; else None. ``pointing`` is right
    ascension, declination and rotation in degrees where a footprint is had from them.
    """

    instrument: str
    exposure: int
    detector: int
    day_obs: int
    physical_filter: str | None
    band: str | None
    visit: int | None
    metadata: Mapping[str, Value]
    pointing: tuple[float, float, float] | None = None


@dataclass(frozen=True, slots=True)
class Instrument:
    """Rules for the raw files of one instrument.

    Parameters
    ----------
    name : str
        Also the value of the dimension ``instrument``.
    match : mapping of keyword to pattern
        What the headers of its files must say.
    rules : Rules
        For dimensions and metadata.
    filters : mapping of physical filter to band
        All it has.
    detectors : mapping of number to metadata
        All it has.
    visits : tuple of str
        Observation types that are visits: exposures to reduce.
    leave_out : tuple of LeftOut
        Files that lie among its raw ones and are none.
    extension : int
        An HDU whose header adds to the primary one; 0 for none.
    footprint : FootprintRule, optional
        Where the footprints of visits are from.
    grouped : bool
        Whether a rule gives the visit, so that a visit may have several exposures.
    """

    name: str
    match: Mapping[str, re.Pattern[str]]
    rules: Rules
    filters: Mapping[str, str]
    detectors: Mapping[int, Mapping[str, Value]]
    visits: tuple[str, ...]
    leave_out: tuple[LeftOut, ...] = ()
    extension: int = 0
    footprint: FootprintRule | None = None
    grouped: bool = False

    def reason_to_leave_out(self, cards: Mapping[str, object], file_name: str) -> str | None:
        """Say why a file is no raw frame though it is rightly there, or None if it should be one."""
        return next((rule.reason for rule in self.leave_out if rule.applies(cards, file_name)), None)

    def observe(self, cards: Mapping[str, object], file_name: str) -> tuple[Observation | None, list[str]]:
        """Give what a header says, or None and everything it lacks."""
        wrong = []
        for keyword, pattern in self.match.items():
            card = cards.get(keyword)
            if not isinstance(card, str) or not pattern.fullmatch(card.strip()):
                said = "has no" if card is None else f"says {card!r} in"
                wrong.append(f"not a file of {self.name}: the header {said} {keyword}")
        if wrong:
            return None, wrong
        values, wrong = self.rules.apply(cards, file_name)
        told = {name for message in wrong for name in message.partition(":")[0].split(", ")}
        wrong += [
            f"{name}: there is no value" for name in _REQUIRED if values[name] is None and name not in told
        ]
        wrong += self._check(values, told)
        if wrong:
            return None, wrong
        physical_filter = values.get("physical_filter")
        exposure = values["exposure"]
        assert isinstance(exposure, int)
        metadata = {
            k: v for k, v in values.items() if k not in (*_DIMENSIONS, "visit") and not k.startswith("_")
        }
        visit = values.get("visit") if self.grouped else exposure
        pointing: tuple[float, float, float] | None = None
        if self.footprint is not None and values["observation_type"] in self.visits:
            found = self.footprint.pointing(values)
            if isinstance(found, str):
                return None, [found]
            pointing = found
        return (
            Observation(
                instrument=self.name,
                exposure=exposure,
                detector=values["detector"],  # type: ignore[arg-type]  # checked to be an integer
                day_obs=values["day_obs"],  # type: ignore[arg-type]  # checked to be an integer
                physical_filter=physical_filter,  # type: ignore[arg-type]  # checked to be text
                band=None if physical_filter is None else self.filters[str(physical_filter)],
                visit=visit if values["observation_type"] in self.visits else None,  # type: ignore[arg-type]  # checked
                metadata=metadata,
                pointing=pointing,
            ),
            [],
        )

    def _check(self, values: Mapping[str, Value], told: set[str]) -> list[str]:
        wrong = []
        for name in ("exposure", "detector", "day_obs", *(("visit",) if self.grouped else ())):
            value = values[name]
            good = value is None or (isinstance(value, int) and not isinstance(value, bool))
            if name not in told and not good:
                wrong.append(f"{name}: not an integer: {value!r}")
        detector = values["detector"]
        if isinstance(detector, int) and detector not in self.detectors:
            wrong.append(f"detector: there is no detector {detector} (known: {_some(self.detectors)})")
        band = values.get("physical_filter")
        if band is not None and band not in self.filters:
            wrong.append(f"physical_filter: there is no filter {band!r} (known: {_some(self.filters)})")
        return wrong


def _some(known: Iterable[object]) -> str:
    return ", ".join(str(k) for k in list(known)[:20])


def known_instruments(paths: Iterable[Path] = ()) -> dict[str, Path | None]:
    """Give the names of the instruments that come with prestow (None), and of those at paths."""
    inside = {
        entry.name.removesuffix(".yaml"): None
        for entry in sorted(files("prestow.instruments").iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    }
    return {**inside, **{path.stem: path for path in paths}}


def load_instrument(
    name: str | Path, *, paths: Iterable[Path] = (), universe: Universe | None = None
) -> Instrument:
    """Load an instrument by its name, or from a YAML file.

    Parameters
    ----------
    name : str or Path
        A path (it has a ``/`` or ends in ``.yaml``), the name of one that comes with prestow, or
        the stem of one of ``paths``.

    Raises
    ------
    ProjectError
        PST-I007 if there is none of that name.
    ConfigurationError
        With every problem of the file.
    """
    universe = universe or load_universe()
    text = str(name)
    if isinstance(name, Path) or "/" in text or text.endswith((".yaml", ".yml")):
        return read_instrument(read_document(Path(name)), universe, Path(name).parent)
    known = known_instruments(paths)
    if text not in known:
        raise ProjectError(
            Problem(
                "PST-I007",
                f"unknown instrument '{text}'",
                fix=f"known: {', '.join(known)}; or give the path of a YAML file",
            )
        )
    path = known[text]
    if path is not None:
        return read_instrument(read_document(path), universe, path.parent)
    source = files("prestow.instruments").joinpath(f"{text}.yaml").read_text(encoding="utf-8")
    return read_instrument(parse_document(source, f"{text}.yaml"), universe)


def read_instrument(document: Document, universe: Universe, directory: Path | None = None) -> Instrument:
    """Turn a document into an instrument, or raise with every problem in it.

    Files that it names are looked for in ``directory``.
    """
    data = document.data
    problems = document.check_keys(
        (),
        data,
        required=("schema", "name", "values", "filters", "visits", "detectors"),
        optional=("match", "day_begins", "leave_out", "extension", "footprint"),
    )
    if not isinstance(data, dict):
        raise ConfigurationError(*problems)
    problems += check_schema(document, data, SCHEMA)
    name = data.get("name", "")
    if "name" in data and not (isinstance(name, str) and _NAME.fullmatch(name)):
        problems.append(document.problem("PST-C013", ("name",), "must be small letters, digits and _"))
    begins = data.get("day_begins", 12)
    problems += document.check_type(("day_begins",), begins, int, float)
    match, more = _read_match(document, data.get("match", {}))
    problems += more
    rules, more = _read_values(document, data.get("values", {}), universe)
    problems += more
    filters, more = _read_filters(document, data.get("filters", {}))
    problems += more
    detectors, more = _read_detectors(document, data.get("detectors", []), universe)
    problems += more
    left_out, more = read_left_out(document, data.get("leave_out", []))
    problems += more
    visits = data.get("visits", [])
    if not isinstance(visits, list) or not all(isinstance(v, str) for v in visits):
        problems.append(document.problem("PST-C011", ("visits",), "must be a list of observation types"))
    extension = data.get("extension", 0)
    problems += document.check_type(("extension",), extension, int)
    footprint, more = read_footprint_rule(
        document, data.get("footprint"), {rule.name for rule in rules}, detectors, directory
    )
    problems += more
    raise_all(problems)
    return Instrument(
        name, match, Rules(rules, float(begins)), filters, detectors, tuple(visits), left_out, extension, footprint,
        any(rule.name == "visit" for rule in rules),
    )  # fmt: skip


def _read_match(document: Document, value: object) -> tuple[dict[str, re.Pattern[str]], list[Problem]]:
    if not isinstance(value, dict):
        return {}, [document.problem("PST-C011", ("match",), f"must be a mapping, not {kind_of(value)}")]
    result, problems = {}, []
    for keyword, pattern in value.items():
        try:
            result[str(keyword).upper()] = re.compile(pattern)
        except (re.error, TypeError) as error:
            problems.append(
                document.problem("PST-C013", ("match", keyword), f"not a regular expression: {error}")
            )
    return result, problems


def _read_values(
    document: Document, value: object, universe: Universe
) -> tuple[tuple[Rule, ...], list[Problem]]:
    if not isinstance(value, dict):
        return (), [document.problem("PST-C011", ("values",), f"must be a mapping, not {kind_of(value)}")]
    known = (*_DIMENSIONS, "visit", *universe.dimensions["exposure"].metadata)
    rules: list[Rule] = []
    problems: list[Problem] = []
    earlier: tuple[str, ...] = ()
    for name, given in value.items():
        path: Key = ("values", name)
        if name not in known and not str(name).startswith("_"):
            problems.append(
                document.problem(
                    "PST-C010", path, "is no dimension or metadata of an exposure",
                    f"known: {', '.join(known)}; a word for later rules begins with _", at_key=True,
                )
            )  # fmt: skip
        rule, more = read_rule(document, path, given, earlier)
        problems += more
        earlier = (*earlier, str(name))
        if rule is not None:
            rules.append(rule)
    problems += [
        document.problem("PST-C012", ("values",), f"there is no rule for '{name}'", f"add '{name}:'")
        for name in _REQUIRED
        if name not in value
    ]
    return tuple(rules), problems


def _read_filters(document: Document, value: object) -> tuple[dict[str, str], list[Problem]]:
    if not isinstance(value, dict):
        return {}, [document.problem("PST-C011", ("filters",), f"must be a mapping, not {kind_of(value)}")]
    problems = [
        document.problem(
            "PST-C011", ("filters", name), "filter and band must be text that a data ID can hold"
        )
        for name, band in value.items()
        if not isinstance(name, str) or not isinstance(band, str) or check_value(name) or check_value(band)
    ]
    return dict(value), problems


def _read_detectors(
    document: Document, value: object, universe: Universe
) -> tuple[dict[int, dict[str, Value]], list[Problem]]:
    if not isinstance(value, list) or not value:
        return {}, [document.problem("PST-C011", ("detectors",), "must be a list with entries")]
    result: dict[int, dict[str, Value]] = {}
    problems: list[Problem] = []
    metadata = tuple(universe.dimensions["detector"].metadata)
    for position, item in enumerate(value):
        at: Key = ("detectors", position)
        problems += document.check_keys(at, item, required=("detector",), optional=metadata)
        number = item.get("detector") if isinstance(item, dict) else None
        if isinstance(item, dict) and "detector" in item:
            problems += document.check_type((*at, "detector"), number, int)
        if isinstance(number, int) and isinstance(item, dict):
            if number in result:
                problems.append(document.problem("PST-C013", at, f"detector {number} stands twice"))
            result[number] = {k: v for k, v in item.items() if k != "detector"}
    return result, problems
