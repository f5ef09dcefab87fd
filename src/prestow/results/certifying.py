"""What a person certifies: which datasets are valid when, since when that is known, and by which measures."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import compress
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.errors import PrestowError, Problem, ProjectError, raise_all
from prestow.instruments.time import tai_from_utc
from prestow.model.instants import ALWAYS, FOREVER, instant, instant_text, interval_text, timeless
from prestow.query import parse_selection
from prestow.registry import put_record
from prestow.registry.certifying import Certification, put_certification
from prestow.results.finding import Only, find
from prestow.results.reason import FEW

if TYPE_CHECKING:
    from prestow.model import DatasetType
    from prestow.model.universe import Universe
    from prestow.registry import Registry
    from prestow.results.datasets import Sources
    from prestow.stores import Store

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9._+-]{0,59}")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,59}")
_ZONE = re.compile(r".*T.*([+-]\d\d(:?\d\d)?)")


@dataclass(frozen=True, slots=True)
class Certified:
    """What became of a wish to certify, or to end a certification.

    Parameters
    ----------
    collection, type, record : str
        Where, of which dataset type, and the key of the record; empty if there was nothing to do.
    count, already, refused : int
        Datasets that are certified now, that were before, and that the measures did not allow.
    begin, end, known : int
        Validity, and since when it is known; nanoseconds of TAI.
    ended : bool
        Whether it was taken back.
    examples : tuple of str
        The first that were refused.
    """

    collection: str
    type: str
    count: int
    begin: int = ALWAYS
    end: int = FOREVER
    known: int = 0
    already: int = 0
    refused: int = 0
    record: str = ""
    ended: bool = False
    examples: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values; times in nanoseconds of TAI and as text, an open end null."""
        return {
            "collection": self.collection, "type": self.type, "certified": self.count, "already": self.already,
            "refused": self.refused, "refused_first": list(self.examples), "record": self.record, "ended": self.ended,
            "valid": interval_text(self.begin, self.end), "valid_begin": None if self.begin == ALWAYS else self.begin,
            "valid_end": None if self.end == FOREVER else self.end, "known_begin": self.known,
            "known": instant_text(self.known),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks to have certified.

    Parameters
    ----------
    collection, type : str
        Into which calibration collection; which dataset type.
    data_id : tuple of (name, value)
        As typed; every dataset that has these values is meant.
    begin, end, known : str
        Times as typed; empty is open, and for ``known`` now.
    runs : tuple of str
        Only datasets of these runs or collections; of all, if none is given.
    condition : str
        A selection over the measures of each dataset, and of what was made together with it.
    """

    collection: str
    type: str
    data_id: tuple[tuple[str, object], ...] = ()
    begin: str = ""
    end: str = ""
    known: str = ""
    runs: tuple[str, ...] = ()
    condition: str = ""


def moment(text: str, where: str) -> int:
    """Give a time that a person typed: an ISO date, or date and time, in TAI; with ``Z`` at its end in UTC.

    Examples
    --------
    >>> moment("2017-01-01T00:00:35", "--end") - moment("2016-12-31T23:59:59Z", "--end")
    0
    >>> moment("2016-12-31T23:59:60Z", "--end") - moment("2016-12-31T23:59:59Z", "--end")
    1000000000

    Raises
    ------
    ProjectError
        PST-K002 if it is none, or has a zone.
    """
    text = text.strip()
    try:
        if text.endswith("Z"):
            return tai_from_utc(text)
        return instant(text)
    except ValueError as error:
        unread = str(error).startswith("Invalid isoformat")
        what = f"'{text}' is not a time{'' if unread else f': {error}'}"
        if _ZONE.fullmatch(text):
            what = f"'{text}' has a zone"
        fix = "write '2026-11-21' or '2026-11-21T04:00:00' (TAI), or with a Z at the end (UTC)"
        raise ProjectError(Problem("PST-K002", what, where, fix)) from error


def now() -> int:
    """Give this moment in nanoseconds of TAI."""
    return tai_from_utc(datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="microseconds"))


def certify(sources: Sources, store: Store, wish: Wish) -> Certified:
    """Certify datasets: a record in the store, then rows in the registry.

    It supersedes what was certified before, for the same data IDs, where the validities overlap. The
    same again changes nothing; what was interrupted is made good by the next.

    Raises
    ------
    PrestowError
        PST-K001 and others, with everything that is wrong; nothing is written then.
    """
    begin, end, known = _times(wish)
    registry, kind = _registry(sources), sources.type_of(wish.type)
    names = timeless(sources.universe, kind.dimensions)
    frame = find(sources, wish.type, "", wish.data_id, runs=wish.runs or None, only=Only.MADE).frame
    if not frame.height:
        what = f"no {wish.type} that is taken in has these values"
        fix = f"look: prestow find {wish.type}"
        raise ProjectError(Problem("PST-K004", what, _asked(wish), fix))
    chosen = frame
    measured: dict[str, list[float | None]] = {}
    if wish.condition:
        chosen, measured = _gated(registry, sources.universe, kind, frame, wish.condition)
    _refuse_doubles(wish, kind, names, chosen)
    already = _standing(registry, wish, names, chosen, begin, end, known)
    fresh = chosen.filter(~pl.col("id").is_in(already)) if already else chosen
    left = frame.join(chosen.select("id"), on="id", how="anti", maintain_order="left")
    record = ""
    if fresh.height:
        gate: dict[str, Any] = {}  # Any: JSON values
        if wish.condition:
            keep = chosen["id"].is_in(fresh["id"].implode()).to_list()
            values = {name: list(compress(column, keep)) for name, column in measured.items()}
            gate = {"if": wish.condition, "values": values}
        act = Certification(
            wish.collection,
            wish.type,
            _ids(fresh),
            {d: fresh[d].to_list() for d in names},
            known,
            begin,
            end,
            gate=gate,
        )
        registry.frozen.refuse([wish.collection], "nothing is certified in it")
        registry.certified.create(wish.collection)
        put_record(store, "calibration", wish.collection, {"collection": wish.collection})
        record = put_certification(store, act)
    if wish.collection in registry.certified.collections():
        registry.certified.apply(store, wish.collection, wish.type)
    examples = tuple(f"{wish.type}{_plain(text)}" for text in left["data_id"].head(FEW))
    return Certified(
        wish.collection,
        wish.type,
        fresh.height,
        begin,
        end,
        known,
        len(already),
        left.height,
        record,
        examples=examples,
    )


def decertify(sources: Sources, store: Store, wish: Wish) -> Certified:
    """End what is certified: from a moment of knowledge on, these datasets are not held valid.

    What they superseded does not come back by itself.

    Raises
    ------
    PrestowError
        PST-K004 if nothing of it is certified, and others.
    """
    _, _, known = _times(wish)
    registry, kind = _registry(sources), sources.type_of(wish.type)
    names = timeless(sources.universe, kind.dimensions)
    registry.certified.searched([wish.collection])
    found = find(sources, wish.type, "", wish.data_id, runs=wish.runs or None, only=Only.MADE).frame
    held = _held(registry, wish, known)
    frame = found.filter(pl.col("id").str.replace_all("-", "").is_in(held["dataset"].unique().implode()))
    if not frame.height:
        what = f"no {wish.type} that has these values is certified in '{wish.collection}'"
        raise ProjectError(
            Problem("PST-K004", what, _asked(wish), f"look: prestow calib list {wish.collection}")
        )
    act = Certification(
        wish.collection, wish.type, _ids(frame), {d: frame[d].to_list() for d in names}, known, ends=True
    )
    registry.frozen.refuse([wish.collection], "what is certified in it stays so")
    record = put_certification(store, act)
    registry.certified.apply(store, wish.collection, wish.type)
    return Certified(wish.collection, wish.type, frame.height, known=known, record=record, ended=True)


def tag(registry: Registry, store: Store, collection: str, label: str, as_of: int) -> str:
    """Pin what is known of a collection at a moment; give the pinned name."""
    if not _LABEL.fullmatch(label) or _is_time(label):
        what = f"'{label}' cannot be a label"
        fix = "use letters, digits and . _ + -, no sign first, at most 60; nothing that is a time"
        raise ProjectError(Problem("PST-K009", what, "the label", fix))
    registry.frozen.refuse([collection], "it gets no other label")
    return registry.certified.tag(store, collection, label, as_of)


def _is_time(text: str) -> bool:
    try:
        instant(text)
    except ValueError:
        return False
    return True


# ---- what is asked


def _times(wish: Wish) -> tuple[int, int, int]:
    """Give validity and knowledge; every problem with names and times at once."""
    problems: list[Problem] = []
    if not _NAME.fullmatch(wish.collection):
        what = f"'{wish.collection}' cannot be the name of a calibration collection"
        fix = "use a letter first, then letters, digits and . _ + -, at most 60"
        problems.append(Problem("PST-K009", what, "the collection", fix))
    current = now()
    found = {"--begin": ALWAYS, "--end": FOREVER, "--known-from": current}
    before = len(problems)
    for option, text in (("--begin", wish.begin), ("--end", wish.end), ("--known-from", wish.known)):
        if text:
            try:
                found[option] = moment(text, option)
            except PrestowError as error:
                problems += error.problems
    begin, end, known = found.values()
    if len(problems) == before and begin >= end:
        what = f"the validity would end at {instant_text(end)}, not after its begin {instant_text(begin)}"
        problems.append(
            Problem("PST-K001", what, "--begin, --end", "exchange the two; the end itself is not in it")
        )
    if known > current:
        what = f"{instant_text(known)} has not come yet: nothing can be known since then"
        problems.append(Problem("PST-K006", what, "--known-from", "leave it out: then it is now"))
    raise_all(problems, ProjectError)
    return begin, end, known


def _registry(sources: Sources) -> Registry:
    if sources.registry is None:
        what = "there is no registry: nothing is taken in"
        raise ProjectError(Problem("PST-K004", what, "the project", "prestow ingest"))
    return sources.registry


def _asked(wish: Wish) -> str:
    return " ".join(
        [wish.type, *(f"{k}={v}" for k, v in wish.data_id), *(f"--run {run}" for run in wish.runs)]
    )


def _refuse_doubles(wish: Wish, kind: DatasetType, names: Sequence[str], frame: pl.DataFrame) -> None:
    """Refuse several datasets of one data ID for one validity: they would overlap from the first day."""
    several = frame.group_by(names).len() if names else frame.select(len=pl.len())
    several = several.filter(pl.col("len") > 1)
    if not several.height:
        return
    row = several.sort(names).row(0, named=True) if names else several.row(0, named=True)
    named = ",".join(f"{d}={row[d]}" for d in names)
    what = f"{several.height:,} data IDs have several {wish.type}, such as {row['len']} for {{{named}}}: they cannot all be valid at once"
    more = [d for d in kind.dimensions if d not in names]
    fix = f"say which{': ' + ' '.join(f'{d}=…' for d in more) if more else ''}, or of which run: --run RUN"
    raise ProjectError(Problem("PST-K005", what, _asked(wish), fix))


def _held(registry: Registry, wish: Wish, known: int) -> pl.DataFrame:
    """Give what is known of the type in the collection at a moment; ``dataset`` is 32 digits."""
    if wish.collection not in registry.certified.collections():
        return pl.DataFrame(schema={"dataset": pl.String})
    table = pl.from_arrow(registry.calibrations([wish.type], [wish.collection], known))
    assert isinstance(table, pl.DataFrame)
    return table.with_columns(pl.col("id").cast(pl.Binary).bin.encode("hex").alias("dataset"))


def _standing(
    registry: Registry,
    wish: Wish,
    names: Sequence[str],
    frame: pl.DataFrame,
    begin: int,
    end: int,
    known: int,
) -> list[str]:
    """Give those that alone are known to be valid in all of the interval, then and now: nothing is to be done."""
    found: list[set[str]] = []
    for at in (known, FOREVER - 1):
        held = _held(registry, wish, at)
        if not held.height:
            return []
        touching = held.filter((pl.col("valid_begin") < end) & (pl.col("valid_end") > begin))
        alone = touching.group_by(names).len() if names else touching.select(len=pl.len())
        whole = touching.filter((pl.col("valid_begin") <= begin) & (pl.col("valid_end") >= end))
        alone = alone.filter(pl.col("len") == 1)
        whole = whole.join(alone, on=names, how="semi") if names else whole.head(alone.height)
        found.append(set(whole["dataset"]))
    both = found[0] & found[1]
    return [i for i in frame["id"] if i.replace("-", "") in both]


def _ids(frame: pl.DataFrame) -> tuple[str, ...]:
    return tuple(frame["id"].str.replace_all("-", "", literal=True))


def _plain(text: str) -> str:
    return "{" + ",".join(f"{k}={v}" for k, v in json.loads(text).items()) + "}"


# ---- the gate


def _gated(
    registry: Registry, universe: Universe, kind: DatasetType, frame: pl.DataFrame, condition: str
) -> tuple[pl.DataFrame, dict[str, list[float | None]]]:
    """Give the datasets whose measures fulfil a condition, and these measures."""
    ids = [bytes.fromhex(i) for i in _ids(frame)]
    measures = pl.from_arrow(registry.certified.measures(ids))
    assert isinstance(measures, pl.DataFrame)
    own = {a for d in universe.expand(kind.dimensions) for a in (d, *universe.dimensions[d].aliases)}
    names = sorted(set(measures["name"]) - own)  # a dimension's name is the dimension's
    known = f"measures here: {', '.join(names)}" if names else f"no measures of {kind.name} were taken in"
    selection = parse_selection(
        condition,
        universe,
        columns=dict.fromkeys(names, "float"),
        dimensions=kind.dimensions,
        place="--if",
        known=known,
    )
    wide = frame
    asked: Iterable[str] = [name for name in selection.columns if name in names]
    for name in asked:
        rows = measures.filter(pl.col("name") == name).select(
            pl.col("id").cast(pl.Binary).bin.encode("hex").alias("_id"), pl.col("value").alias(name)
        )
        keyed = wide.with_columns(pl.col("id").str.replace_all("-", "", literal=True).alias("_id"))
        wide = keyed.join(
            rows.unique("_id", keep="first", maintain_order=True), on="_id", how="left", maintain_order="left"
        )
        wide = wide.drop("_id")
    taken = wide.filter(selection.expression(wide.columns))
    if not taken.height:
        what = f"of {frame.height:,} {kind.name} none fulfils: {condition}"
        fix = f"look: prestow find {kind.name}, prestow show --metrics"
        raise ProjectError(Problem("PST-K004", what, "--if", fix))
    return taken.select(frame.columns), {name: taken[name].to_list() for name in asked}
