"""What Pegasus would choke on, or pass over in silence, found before it sees it: in columns.

Its planner says of any fault in a replica catalogue only that the catalogue is down, and its tools
hand names to a shell and to lists separated by commas. So names are checked here, and that the
workflow is whole: each file made once, each input made or there, no job that waits for itself.

`Checker` takes the workflow in chunks and keeps of a name 64 bits, so memory does not grow with names.
What looks wrong is looked at again with names as they are: two that share their 64 bits are no fault.
"""

from __future__ import annotations

import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.engines.pegasus.knots import knot
from prestow.errors import PlanRefusedError, Problem
from prestow.plan.pieces import octets_of

if TYPE_CHECKING:
    import numpy.typing as npt

SHOWN = 5

NAME = r"^[A-Za-z0-9_][A-Za-z0-9._+@~%-]*(/[A-Za-z0-9._+@~%-]+)*$"
"""A logical name: no quote, space, comma, semicolon, ``=``, ``:`` nor ``$``."""

NAMES = 20_000
"""How many names are looked at together."""

LONGEST_COMPONENT = 255  # bytes
LONGEST_NAME = 1023  # bytes

URL = r"^[a-z0-9]+://[A-Za-z0-9._+@~/:-]*$"
FILE_URL = r"^file://[A-Za-z0-9._+@~/:%-]*$"
"""Of all URLs only those of files are taken as they are; of others ``%`` would be read as an escape."""

ID = r"^[-0-9a-zA-Z_]+$"
_CONTROL = r"[\x00-\x1f\x7f]"
_DOTS = r"(^|/)\.{1,2}(/|$)"
_NO_ESCAPE = r"%([^0-9A-F]|.[^0-9A-F]|.?$)"
_ODD = 0x9E3779B97F4A7C15
_DIGEST = r"^[0-9a-f]{64}$"
DIGITS = 64

_AGAIN = "plan again; if it stays, this is a bug in prestow: tell us"
_CHARACTERS = "has characters that Pegasus's tools would not carry as they are"

Chunks = Iterable[pl.DataFrame]


@dataclass
class _Tally:
    """Problems of one kind: how many, and the first."""

    code: str
    fix: str
    count: int = 0
    shown: list[tuple[str, str]] = field(default_factory=list)

    def add(self, count: int, told: Iterable[tuple[str, str]]) -> None:
        """Note so many more; ``told`` has what and where of the first of them."""
        self.count += count
        self.shown = [*self.shown, *told][:SHOWN]

    def problems(self) -> list[Problem]:
        found = [Problem(self.code, what, where, self.fix) for what, where in self.shown]
        more = self.count - len(found)
        return [*found, Problem(self.code, f"and {more:,} more")] if more else found


class Checker:
    """Takes a workflow chunk by chunk, and says at the end all that is wrong with it.

    Parameters
    ----------
    jobs : DataFrame
        ``job`` (number), ``id``, ``words`` (what people read of it).
    condorio : bool
        Files of one job travel through one directory, each under the last part of its name.
    flat : bool
        The last parts of all names differ, also where case does not count.

    Examples
    --------
    >>> checker = Checker(pl.DataFrame({"job": [0], "id": ["isr-1"], "words": ["isr-1"]}))
    >>> checker.uses(pl.DataFrame({"job": [0, 0], "name": ["raw/1", "r/1"], "output": [False, True]}))
    >>> checker.exists(pl.DataFrame({"name": ["raw/1"], "url": ["file:///store/raw/1"]}))
    >>> checker.finish(pl.DataFrame({"parent": [], "child": []}))
    """

    def __init__(self, jobs: pl.DataFrame, *, condorio: bool = False, flat: bool = False) -> None:
        self._jobs = jobs.select(pl.col("job").cast(pl.UInt32), "id", "words")
        self._condorio, self._flat = condorio, flat
        self._uses: list[pl.DataFrame] = []
        self._exists: list[pl.DataFrame] = []
        self._directories: list[pl.Series] = []
        self._folded: list[pl.DataFrame] = []
        kept = "; where nodes see its store, an input may keep it with staging: prestow"
        odd = f"give it a name of letters, digits and . _ + @ ~ -{kept}"
        self._odd = {
            "a file": _Tally("PST-E004", odd),
            "a place": _Tally("PST-E004", f"give the file, or its store, another name{kept}"),
            "what a job is called": _Tally("PST-E004", "leave control characters out of data IDs"),
            "a job": _Tally("PST-E004", "this is a bug in prestow: tell us"),
        }
        self._long = _Tally("PST-E063", "choose shorter templates, or layout: tree")
        self._same = _Tally("PST-E005", "write layout: flat, or data: nonsharedfs, in the site file")
        self._facts = _Tally("PST-E062", "prestow ingest the file again")

    def uses(self, chunk: pl.DataFrame) -> None:
        """Take files of jobs: ``job``, ``name``, ``output``; all those of one job in one chunk."""
        made = chunk.filter("output")["name"]
        self._check_names(made)
        if self._condorio:
            self._check_last_parts(chunk)
        self._uses.append(chunk.select(pl.col("job").cast(pl.UInt32), pl.col("name").hash(), "output"))

    def exists(self, chunk: pl.DataFrame) -> None:
        """Take files that are there: ``name``, ``url``, and ``size`` and ``sha256`` if they are given."""
        self._check_names(chunk["name"])
        self._note("a place", _odd_places(chunk))
        wrong = pl.lit(value=False)
        if "size" in chunk.columns:
            wrong = wrong | (pl.col("size") < 0)
        if "sha256" in chunk.columns and not _all_digests(chunk["sha256"]):
            wrong = wrong | ~pl.col("sha256").str.contains(_DIGEST)
        bad = chunk.filter(wrong)["name"]
        told = ((f"{name}: its size or sha256 is none", "") for name in bad.head(SHOWN))
        self._facts.add(bad.len(), told)
        self._exists.append(chunk.select(pl.col("name").hash()))

    def finish(self, edges: pl.DataFrame, again: Callable[[], tuple[Chunks, Chunks]] | None = None) -> None:
        """Refuse what is not whole, or has names that would not arrive as they are.

        Parameters
        ----------
        edges : DataFrame
            ``parent`` and ``child``, numbers of jobs.
        again : callable, optional
            Gives the chunks of uses and of files that exist once more. It is asked only if something looks
            wrong: messages then name files. Without it they name jobs.

        Raises
        ------
        PlanRefusedError
            With all problems: PST-E004 to PST-E008, PST-E060 to PST-E063.
        """
        uses, exists = _joined(self._uses, _USES), _joined(self._exists, _EXISTS)
        problems = self._whole(uses, exists, edges)
        if problems and again is not None:
            told, there = again()
            uses = _joined([chunk.select("job", "name", "output") for chunk in told], _USES | _NAMED)
            exists = _joined([chunk.select("name") for chunk in there], _NAMED)
            problems = self._whole(uses, exists, edges)
        self._check_jobs()
        tallies = [*self._odd.values(), self._long, self._same, self._facts]
        problems = [*(p for tally in tallies for p in tally.problems()), *problems]
        if problems:
            raise PlanRefusedError(*problems)

    def _check_jobs(self) -> None:
        words, ids = self._jobs["words"], self._jobs["id"]
        self._note("what a job is called", words.filter(words.str.contains(_CONTROL).fill_null(value=True)))
        self._note("a job", ids.filter(~ids.str.contains(ID).fill_null(value=False)))

    def _check_names(self, names: pl.Series) -> None:
        """Check names of files that are made or there: what is read must be one of these."""
        for start in range(0, names.len(), NAMES):
            self._check_some(names[start : start + NAMES])
        if self._flat:
            last = _last_part().str.to_lowercase()
            self._folded.append(names.to_frame("name").select(pl.col("name").hash(), last=last.hash()))

    def _check_some(self, names: pl.Series) -> None:
        if (directories := _plain_names(names)) is not None:
            self._directories.append(_above(directories))
            return
        good = names.str.contains(NAME)
        known = [name for name in names.to_list() if name is not None]
        every = "\n".join(known)
        if "/." in every:
            good = good & ~names.str.contains(_DOTS)
        if "%" in every:
            good = good & ~names.str.contains(_NO_ESCAPE)
        if not good.all(ignore_nulls=False):
            self._note("a file", names.filter(~good.fill_null(value=False)))
        if not every.isascii() or max(map(len, known), default=0) > LONGEST_COMPONENT:
            long = names.filter(names.str.len_bytes() > LONGEST_COMPONENT)
            long = long.filter((long.str.len_bytes() > LONGEST_NAME) | _longest(long))
            told = ((f"{name[:60]}… has {len(name.encode()):,} bytes", "") for name in long.head(SHOWN))
            self._long.add(long.len(), told)
        self._directories.append(_above({name.rpartition("/")[0] for name in known}))

    def _check_last_parts(self, chunk: pl.DataFrame) -> None:
        # a number for job, direction and last part, for speed; what looks alike is looked at again
        mixed = _last_part().hash() + (pl.col("job").cast(pl.UInt64) * 2 + pl.col("output")) * _ODD
        keys = chunk.select(key=mixed)["key"]
        if keys.n_unique() == keys.len():
            return
        twins = chunk.filter(keys.is_duplicated()).with_columns(last=_last_part())
        twins = twins.with_columns(
            output=pl.when("output").then(pl.lit("outputs")).otherwise(pl.lit("inputs"))
        )
        clash = twins.group_by("job", "output", "last", maintain_order=True).agg("name")
        clash = clash.filter(pl.col("name").list.len() > 1)
        told = (
            (
                f"{kind} of one job would arrive as one file {name}: {', '.join(names[:SHOWN])}",
                f"job {self._called(job)}",
            )
            for job, kind, name, names in clash.head(SHOWN).iter_rows()
        )
        self._same.add(clash.height, told)

    def _note(self, kind: str, names: pl.Series) -> None:
        if names.len():
            names = names.unique(maintain_order=True)
            self._odd[kind].add(
                names.len(), ((f"{kind} {_CHARACTERS}: {n!r}", "") for n in names.head(SHOWN))
            )

    def _called(self, job: int) -> str:
        found = self._jobs.filter(pl.col("job") == job)["id"]
        return str(found[0]) if found.len() else str(job)

    def _whole(self, uses: pl.DataFrame, exists: pl.DataFrame, edges: pl.DataFrame) -> list[Problem]:
        """Check what holds of all files together; names as they are, or as 64 bits."""
        ids = self._jobs["id"]
        twice = _Tally("PST-E006", "this is a bug: tell us")
        if ids.n_unique() < ids.len():
            often = ids.filter(ids.is_duplicated()).unique(maintain_order=True)
            twice.add(often.len(), ((f"two jobs have the id {name}", "") for name in often.head(SHOWN)))
        made, read = uses.filter("output"), uses.filter(~pl.col("output"))
        return [
            *twice.problems(),
            *self._made_once(made, exists),
            *self._made_at_all(made, read, exists),
            *self._directory_or_file(pl.concat([made["name"], exists["name"]])),
            *self._folding(made, exists),
            *self._order(made, read, edges),
        ]

    def _made_once(self, made: pl.DataFrame, exists: pl.DataFrame) -> list[Problem]:
        tally = _Tally("PST-E006", _AGAIN)
        every = pl.concat([made["name"], exists["name"]])
        if every.n_unique() == every.len():
            return []
        twice = made.filter(pl.col("name").is_duplicated() | pl.col("name").is_in(exists["name"].implode()))
        told = ((f"more than one would make {_file(name)}", f"job {self._called(job)}")
                for job, name in twice.select("job", "name").head(SHOWN).iter_rows())  # fmt: skip
        tally.add(twice.height, told)
        there = exists["name"].filter(exists["name"].is_duplicated()).unique(maintain_order=True)
        tally.add(there.len(), ((f"{_file(name)} is there twice", "") for name in there.head(SHOWN)))
        return tally.problems()

    def _made_at_all(self, made: pl.DataFrame, read: pl.DataFrame, exists: pl.DataFrame) -> list[Problem]:
        known = pl.concat([made["name"], exists["name"]])
        lacking = read.filter(~pl.col("name").is_in(known.implode())).unique("name", maintain_order=True)
        tally = _Tally("PST-E007", _AGAIN)
        told = ((f"nobody makes {_file(name)}, and it is not there", f"job {self._called(job)}")
                for job, name in lacking.select("job", "name").head(SHOWN).iter_rows())  # fmt: skip
        tally.add(lacking.height, told)
        return tally.problems()

    def _directory_or_file(self, names: pl.Series) -> list[Problem]:
        tally = _Tally("PST-E060", "choose templates of which none is a directory of another")
        directories = _of_hashes(self._directories)
        hashes = names if names.dtype == pl.UInt64 else names.hash()
        both = names.filter(hashes.is_in(directories.implode())).unique(maintain_order=True)
        told = ((f"{_file(name)} is also a directory of others", "") for name in both.head(SHOWN))
        tally.add(both.len(), told)
        return tally.problems()

    def _folding(self, made: pl.DataFrame, exists: pl.DataFrame) -> list[Problem]:
        if not self._flat or not self._folded:
            return []
        rows = pl.concat(self._folded)
        if rows["last"].n_unique() == rows.height:
            return []
        rows = rows.unique()
        tally = _Tally("PST-E061", "choose templates whose names differ in more than case, or layout: tree")
        alike = rows.filter(pl.col("last").is_duplicated())
        if alike.height:
            names = pl.concat([made["name"], exists["name"]]).to_frame("name").unique(maintain_order=True)
            if names.schema["name"] == pl.UInt64:
                groups = alike.group_by("last", maintain_order=True).agg("name")["name"]
            else:  # names as they are: so alike is what is alike, and not what shares 64 bits
                last = _last_part().str.to_lowercase()
                names = names.with_columns(last=last).filter(pl.col("last").is_duplicated())
                groups = names.group_by("last", maintain_order=True).agg("name")["name"]
            told = (
                (
                    f"these are one name where all lie together: {', '.join(_file(n) for n in group[:SHOWN])}",
                    "",
                )
                for group in groups.head(SHOWN).to_list()
            )
            tally.add(groups.len(), told)
        return tally.problems()

    def _order(self, made: pl.DataFrame, read: pl.DataFrame, edges: pl.DataFrame) -> list[Problem]:
        tally = _Tally("PST-E008", "plan again")
        edges = edges.select(pl.col("parent", "child").cast(pl.UInt32))
        ends = pl.concat([edges["parent"], edges["child"]]).unique()
        strange = ends.to_frame("job").join(self._jobs, on="job", how="anti").sort("job")["job"]
        told = ((f"somebody waits for job {n}, and there is no such job", "") for n in strange.head(SHOWN))
        tally.add(strange.len(), told)
        tied = knot(edges["parent"].to_numpy(), edges["child"].to_numpy())
        if len(tied):
            names = sorted(self._called(n) for n in tied[:SHOWN].tolist())
            tally.add(1, [(f"{len(tied)} jobs wait for each other: {', '.join(names)}", "")])
        makers = made.select("name", maker="job")
        flows = read.join(makers, on="name").select(parent="maker", child="job")
        own = flows.filter(pl.col("parent") == pl.col("child")).unique(maintain_order=True)
        told = ((f"{self._called(n)} reads what it makes itself", "") for n in own["child"].head(SHOWN))
        tally.add(own.height, told)
        loose = flows.filter(pl.col("parent") != pl.col("child")).join(
            edges, on=["parent", "child"], how="anti", maintain_order="left"
        )
        loose = loose.unique(maintain_order=True)
        told = (
            (f"{self._called(child)} reads what {self._called(parent)} makes, and does not wait for it", "")
            for parent, child in loose.head(SHOWN).iter_rows()
        )
        tally.add(loose.height, told)
        return tally.problems()


_USES = {"job": pl.UInt32, "name": pl.UInt64, "output": pl.Boolean}
_EXISTS = {"name": pl.UInt64}
_NAMED = {"name": pl.String}


def _joined(chunks: Chunks, schema: Mapping[str, type[pl.DataType]]) -> pl.DataFrame:
    found = list(chunks)
    if not found:
        return pl.DataFrame(schema=schema)
    frame = pl.concat(found)
    return frame.with_columns(pl.col("job").cast(pl.UInt32)) if "job" in schema else frame


def _of_hashes(chunks: list[pl.Series]) -> pl.Series:
    return pl.concat(chunks).unique() if chunks else pl.Series(dtype=pl.UInt64)


def _plain_names(names: pl.Series) -> list[str] | None:
    """Give the directories of names, each once, if no name has anything unusual; else None."""
    octets, bounds = octets_of(names)
    length = np.diff(bounds)
    if (
        not len(octets)
        or length.min() == 0
        or length.max() > LONGEST_COMPONENT
        or not _all_of(octets, _PLAIN)
    ):
        return None
    slash = octets == ord("/")
    ends = bounds[1:] - 1
    ill = slash[:-1] & (slash[1:] | (octets[1:] == ord(".")))
    if not _all_of(octets[bounds[:-1]], _FIRST) or slash[ends].any() or ill.any():
        return None
    places = np.concatenate([[-1], np.flatnonzero(slash)])
    last = places[np.searchsorted(places, ends, "right") - 1]
    cut = pl.Series(np.maximum(last - bounds[:-1], 0), dtype=pl.UInt64)
    above: list[str] = (
        names.to_frame("name").select(pl.col("name").str.head(cut).unique()).to_series().to_list()
    )
    return above


_ALPHANUMERIC = (string.ascii_letters + string.digits).encode()
_FIRST = _ALPHANUMERIC + b"_"
_PLAIN = _ALPHANUMERIC + b"._+@~-/"
_HEXADECIMAL = b"0123456789abcdef"
_OF_FILES = _ALPHANUMERIC + b"._+@~/:%-"


def _all_of(octets: npt.NDArray[np.uint8], characters: bytes) -> bool:
    """Say whether there is nothing else."""
    return not octets.tobytes().translate(None, characters)


def _above(directories: Iterable[str]) -> pl.Series:
    """Give these directories and all above them, as 64 bits."""
    # One at a time: there are far fewer directories than names.
    level = set(directories) - {""}
    found: set[str] = set()
    while level:
        found |= level
        level = {name.rpartition("/")[0] for name in level} - {""} - found
    return pl.Series(sorted(found), dtype=pl.String).hash()


def _all_digests(texts: pl.Series) -> bool:
    """Say whether all that are there are digests."""
    octets, bounds = octets_of(texts)
    length = np.diff(bounds)
    return bool(((length == 0) | (length == DIGITS)).all() and _all_of(octets, _HEXADECIMAL))


def _odd_places(chunk: pl.DataFrame) -> pl.Series:
    """Give URLs that would not arrive. Most are a store's and then the name, which is checked already."""
    urls = chunk["url"]
    if (
        not urls.null_count()
        and urls.str.starts_with("file://").all()
        and _all_of(octets_of(urls)[0], _OF_FILES)
    ):
        return urls.clear()
    name, url = pl.col("name"), pl.col("url")
    store = pl.when(name.str.contains("%", literal=True)).then(url).otherwise(url.str.strip_suffix(name))
    cut = chunk.select(url, store=store)
    stores = cut["store"].unique()
    good = (stores.str.contains(URL) | stores.str.contains(FILE_URL)).fill_null(value=False)
    bad = stores.filter(~good)
    return cut.filter(pl.col("store").is_in(bad.implode()) | url.is_null())["url"] if bad.len() else bad


def _last_part() -> pl.Expr:
    return pl.col("name").str.split("/").list.last()


def _longest(names: pl.Series) -> pl.Series:
    longest = pl.col("name").str.split("/").list.eval(pl.element().str.len_bytes()).list.max()
    return names.to_frame("name").select(longest > LONGEST_COMPONENT).to_series()


def _file(name: str | int) -> str:
    """Name a file; where only its 64 bits are known, by the job that is told beside it."""
    return name if isinstance(name, str) else "one of its files"
