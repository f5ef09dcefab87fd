"""What Pegasus would choke on, or pass over in silence, found before it sees it: in columns.

Its planner says of any fault in a replica catalogue only that the catalogue is down, and its tools
hand names to a shell and to lists separated by commas. So names are checked here, and that the
workflow is whole: each file made once, each input made or there, no job that waits for itself.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import polars as pl

from prestow.errors import PlanRefusedError, Problem

SHOWN = 5

NAME = r"^[A-Za-z0-9_][A-Za-z0-9._+@~-]*(/[A-Za-z0-9._+@~-]+)*$"
"""A logical name: no quote, space, comma, semicolon, ``=``, ``%``, ``:`` nor ``$``."""

URL = r"^[a-z0-9]+://[A-Za-z0-9._+@~/:-]*$"
ID = r"^[-0-9a-zA-Z_]+$"
_CONTROL = r"[\x00-\x1f\x7f]"


@dataclass
class Facts:
    """What was written, as columns: ``jobs`` (id, words), ``uses`` (job, name, output).

    ``words`` are what people read of a job; ``exists`` has name and url of files that exist.
    """

    ids: list[str] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    jobs: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    outputs: list[bool] = field(default_factory=list)

    def add(self, job: str, words: str, reads: Iterable[str], makes: Iterable[str]) -> None:
        """Note a job and the logical names of its files."""
        number = len(self.ids)
        self.ids.append(job)
        self.words.append(words)
        for names, output in ((reads, False), (makes, True)):
            for name in names:
                self.jobs.append(number)
                self.names.append(name)
                self.outputs.append(output)

    def uses(self) -> pl.DataFrame:
        """Give job (position), name and output."""
        schema = {"job": pl.UInt32, "name": pl.String, "output": pl.Boolean}
        return pl.DataFrame([self.jobs, self.names, self.outputs], schema=schema)


def check(facts: Facts, exists: pl.DataFrame, edges: pl.DataFrame, *, flat: bool) -> None:
    """Refuse what is not whole, or has names that would not arrive as they are.

    Parameters
    ----------
    facts : Facts
        Jobs and files.
    exists : DataFrame
        ``name`` and ``url`` of files that are there.
    edges : DataFrame
        ``parent`` and ``child``, ids of jobs.
    flat : bool
        Inputs arrive in one directory, each under the last part of its name.

    Raises
    ------
    PlanRefusedError
        With all problems: PST-E004 to PST-E008.
    """
    uses = facts.uses()
    ids = pl.Series("id", facts.ids, dtype=pl.String)
    problems = [
        *_names(facts, uses, exists),
        *(_basenames(uses, ids) if flat else ()),
        *_whole(uses, exists, ids),
        *_order(edges, ids, uses),
    ]
    if problems:
        raise PlanRefusedError(*problems)


def _names(facts: Facts, uses: pl.DataFrame, exists: pl.DataFrame) -> list[Problem]:
    names = pl.concat([uses["name"], exists["name"]]).unique(maintain_order=True)
    words = pl.Series("words", facts.words, dtype=pl.String)
    found = [
        (
            names.filter(~names.str.contains(NAME)),
            "a file",
            "give it a name of letters, digits and . _ + @ ~ -",
        ),
        (
            _bad(exists["url"], ~exists["url"].str.contains(URL)),
            "a place",
            "move the store, or name it otherwise",
        ),
        (
            _bad(words, words.str.contains(_CONTROL)),
            "what a job is called",
            "leave control characters out of data IDs",
        ),
    ]
    ids = pl.Series("id", facts.ids, dtype=pl.String)
    found.append((_bad(ids, ~ids.str.contains(ID)), "a job", "this is a bug in prestow: tell us"))
    problems = []
    for bad, kind, fix in found:
        what = f"{kind} has characters that Pegasus's tools would not carry as they are"
        problems += _some("PST-E004", bad, lambda name, what=what: f"{what}: {name!r}", fix)
    twice = ids.filter(ids.is_duplicated()).unique(maintain_order=True)
    return [
        *problems,
        *_some("PST-E006", twice, lambda name: f"two jobs have the id {name}", "this is a bug: tell us"),
    ]


def _bad(values: pl.Series, wrong: pl.Series) -> pl.Series:
    return values.filter(wrong).unique(maintain_order=True)


def _basenames(uses: pl.DataFrame, ids: pl.Series) -> list[Problem]:
    last = pl.col("name").str.extract(r"([^/]+)$")
    clash = (
        uses.filter(~pl.col("output"))
        .with_columns(last=last)
        .filter(pl.struct("job", "last").is_duplicated())
        .group_by("job", "last", maintain_order=True)
        .agg("name")
    )
    return [
        Problem(
            "PST-E005",
            f"inputs of one job would arrive as one file {name}: {', '.join(names[:SHOWN])}",
            f"job {ids[job]}",
            "write data: nonsharedfs in the site file",
        )
        for job, name, names in clash.head(SHOWN).iter_rows()
    ]


def _whole(uses: pl.DataFrame, exists: pl.DataFrame, ids: pl.Series) -> list[Problem]:
    made = uses.filter("output").select("name", "job")
    twice = made.filter(pl.col("name").is_duplicated() | pl.col("name").is_in(exists["name"].implode()))
    read = uses.filter(~pl.col("output")).select("name", "job")
    known = pl.concat([made["name"], exists["name"]]).to_frame("name")
    lacking = read.join(known, on="name", how="anti", maintain_order="left").unique(
        "name", maintain_order=True
    )
    again = "plan again; if it stays, this is a bug in prestow: tell us"
    return [
        *(
            Problem("PST-E006", f"more than one would make {name}", f"job {ids[job]}", again)
            for name, job in twice.head(SHOWN).iter_rows()
        ),
        *(
            Problem("PST-E007", f"nobody makes {name}, and it is not there", f"job {ids[job]}", again)
            for name, job in lacking.head(SHOWN).iter_rows()
        ),
    ]


def _order(edges: pl.DataFrame, ids: pl.Series, uses: pl.DataFrame) -> list[Problem]:
    ends = pl.concat([edges["parent"], edges["child"]]).unique(maintain_order=True)
    strange = ends.filter(~ends.is_in(ids.implode()))
    problems = _some(
        "PST-E008", strange, lambda name: f"somebody waits for {name}, and there is no such job", "plan again"
    )
    knot = cycle(edges)
    if knot:
        what = f"{len(knot)} jobs wait for each other: {', '.join(knot[:SHOWN])}"
        problems.append(Problem("PST-E008", what, "", "plan again"))
    makers = uses.filter("output").select("name", maker="job")
    flows = uses.filter(~pl.col("output")).join(makers, on="name").filter(pl.col("job") != pl.col("maker"))
    flows = flows.select(parent=ids.gather(flows["maker"]), child=ids.gather(flows["job"])).unique(
        maintain_order=True
    )
    loose = flows.join(edges, on=["parent", "child"], how="anti", maintain_order="left")
    problems += [
        Problem("PST-E008", f"{child} reads what {parent} makes, and does not wait for it", "", "plan again")
        for parent, child in loose.head(SHOWN).iter_rows()
    ]
    return problems


def cycle(edges: pl.DataFrame) -> list[str]:
    """Give the jobs that wait for each other, and what waits for them; sorted.

    Examples
    --------
    >>> cycle(pl.DataFrame({"parent": ["a", "b", "c"], "child": ["b", "c", "d"]}))
    []
    >>> cycle(pl.DataFrame({"parent": ["a", "b", "c"], "child": ["b", "a", "a"]}))
    ['a', 'b']
    """
    while edges.height:
        # jobs nobody waits for and jobs that wait for nobody are on no cycle: a level at a time
        left = edges.join(edges, left_on="parent", right_on="child", how="semi")
        left = left.join(edges, left_on="child", right_on="parent", how="semi")
        if left.height == edges.height:
            return sorted(set(edges["parent"]) & set(edges["child"]))
        edges = left
    return []


def _some(code: str, names: pl.Series, what: object, fix: str) -> list[Problem]:
    assert callable(what)
    problems = [Problem(code, what(name), "", fix) for name in names.head(SHOWN).to_list()]
    if names.len() > SHOWN:
        problems.append(Problem(code, f"and {names.len() - SHOWN:,} more"))
    return problems
