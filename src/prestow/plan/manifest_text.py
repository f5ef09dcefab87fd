"""Manifests as text, of many jobs at once, in the short form of packs: without an object for any.

`prestow.plan.manifests` makes the same manifests one at a time, as values, and `prestow.node.packed.pack` packs of
those. Tests hold both equal, byte by byte, for every kind of plan that they have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.manifest import CARRIED, FLAT, LAYOUTS, RECIPE, Code
from prestow.naming.flat import flat_names, refuse_long
from prestow.pipeline.definition import RESOURCES, OnFailure, TaskDefinition
from prestow.plan.pieces import Texts, codes_of, commas, escaped, joined, later, repeated
from prestow.plan.state import outputs_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.pipeline.definition import Pipeline
    from prestow.plan.batches import Batch

    Numbers = npt.NDArray[np.int64]
    Connections = Sequence[Sequence[tuple[str, object, bool]]]


@dataclass(frozen=True, slots=True)
class Frame:
    """What is the same in all manifests of a plan, and the layout.

    Parameters
    ----------
    plan, run, store : str
        As `Manifest` has them.
    stores : mapping of name to URI
        All of them, in every manifest.
    code : Code or None
        Where the code is told to be.
    layout : str
        One of `LAYOUTS`.
    """

    plan: str
    run: str
    store: str
    stores: Mapping[str, str]
    code: Code | None = None
    layout: str = LAYOUTS[0]


@dataclass(frozen=True, slots=True)
class Packed:
    """Manifests of the jobs of a batch, in packs.

    Parameters
    ----------
    own : Texts
        What each job says itself, a line.
    shared : list of str
        What the jobs of each pack share, a line.
    """

    own: Texts
    shared: list[str]


def manifest_texts(
    batch: Batch,
    packs: Sequence[tuple[int, int]],
    pipeline: Pipeline,
    frame: Frame,
    places: pl.DataFrame,
    memory: Mapping[str, int] | None = None,
) -> Packed:
    """Give the manifests of a batch.

    Parameters
    ----------
    packs : sequence of (int, int)
        First row of the jobs of each pack, and the end.
    places : DataFrame
        Where each dataset of the batch is told to be: ``in``, the store in which its path is, with a directory there
        behind its name if it is below one; or ``store`` and ``at``, its path there. All null for one that has no place.
    memory : mapping of job name to bytes, optional
        What jobs need that somebody gave more memory.

    Raises
    ------
    PrestowError
        PST-N070 if the layout is flat, and a name would be longer than a file may have.
    """
    pack = np.repeat(np.arange(len(packs)), [end - start for start, end in packs])
    inputs, often = _inputs(batch, pack, frame, places)
    quanta, tasks = _quanta(batch, pipeline, pack)
    needs = _resources(batch.jobs, memory or {})
    firsts = needs[[start for start, _ in packs]]
    other = pl.concat_str(pl.lit(',"resources":'), pl.lit(needs))
    usual = firsts[pack]
    middle, after = pl.select(
        pl.concat_str(pl.lit('],"job":"'), pl.lit(escaped(batch.jobs["name"])), pl.lit('","outputs":[')).alias("middle"),
        pl.concat_str(
            pl.lit("]"), pl.when(pl.lit(needs != usual)).then(other).otherwise(pl.lit("")), pl.lit("}\n")
        ).alias("after"),
    ).get_columns()  # fmt: skip
    own = joined(batch.jobs.height, [
        '{"inputs":[', (batch.items["job"].to_numpy(), inputs), middle,
        (batch.writes["job"].to_numpy(), _outputs(batch, pipeline, frame)),
        '],"quanta":[', (batch.quanta["job"].to_numpy(), quanta), after,
    ])  # fmt: skip
    shared = [_shared(frame, *told) for told in zip(often, firsts.to_list(), tasks, strict=True)]
    return Packed(own, shared)


def _shared(frame: Frame, inputs: str, resources: str, tasks: str) -> str:
    code = frame.code
    told = (
        None
        if code is None
        else {"path": code.path, "sha256": code.sha256, "size": code.size, "store": code.store}
    )
    layout = "" if frame.layout == LAYOUTS[0] else f'"layout":{plain_text(frame.layout)},'
    return (
        f'{{"code":{plain_text(told)},"inputs":[{inputs}],{layout}"plan":"{frame.plan}","resources":{resources},'
        f'"run":{plain_text(frame.run)},"store":{plain_text(frame.store)},"stores":{plain_text(dict(frame.stores))},"tasks":{{{tasks}}}}}\n'
    )


def _inputs(batch: Batch, pack: Numbers, frame: Frame, places: pl.DataFrame) -> tuple[pl.Series, list[str]]:
    """Give the inputs of all jobs, with commas, and those of each pack that more than one of its jobs has."""
    owner, items = batch.items["job"].to_numpy(), batch.items["dataset"].to_numpy()
    packs = int(pack[-1]) + 1 if len(pack) else 0
    apart = _apart(batch.datasets, owner, items)
    keys = (pack[owner] * batch.datasets.height + items) * 2 + apart
    end = packs * batch.datasets.height * 2
    count = np.bincount(keys, minlength=end)
    first = np.zeros(end, np.int64)
    first[keys[::-1]] = np.arange(len(keys))[::-1]
    rows = np.flatnonzero(first[keys] == np.arange(len(keys)))
    often = count[keys[rows]] > 1
    comma = later(owner)
    texts = _input_texts(batch.datasets, items[rows], comma[rows] & ~often, apart[rows], frame, places)
    of_pack = pack[owner[rows]]
    bounds = np.searchsorted(of_pack[often], np.arange(packs + 1))
    slot = np.zeros(end, np.int64)
    slot[keys[rows]] = np.where(often, np.cumsum(often) - 1 - bounds[of_pack], np.arange(len(rows)))
    common = count[keys] > 1
    numbers = pl.select(
        pl.concat_str(pl.Series(["", ","])[comma[common].astype(np.uint32)], pl.Series(slot[keys[common]]))
    ).to_series()
    at = np.where(common, len(rows) + np.cumsum(common) - 1, slot[keys])
    every = pl.concat([texts, numbers.rename(texts.name)])[at]
    known = texts.filter(often).to_list()
    return every, [",".join(known[start:end]) for start, end in pairwise(bounds.tolist())]


def _apart(datasets: pl.DataFrame, owner: Numbers, items: Numbers) -> npt.NDArray[np.bool_]:
    """Say which inputs would lie where another of their job lies: two stores may have one path each."""
    none = np.zeros(len(items), np.bool_)
    there = none.copy() if not len(items) else np.bincount(items, minlength=datasets.height) > 0
    paths = datasets["path"].filter(pl.Series(there))
    if paths.n_unique() == len(paths):
        return none
    keys = datasets.select("type", "path")[items].with_columns(job=owner)
    found: npt.NDArray[np.bool_] = (
        ~keys.select(pl.struct(pl.all()).is_first_distinct()).to_series().to_numpy()
    )
    return found


def _input_texts(
    datasets: pl.DataFrame, rows: Numbers, comma: npt.NDArray[np.bool_], apart: npt.NDArray[np.bool_], frame: Frame,
    places: pl.DataFrame,
) -> pl.Series:  # fmt: skip
    """Give the texts of inputs in the short form."""
    told = pl.concat([datasets.drop("store", "place"), places], how="horizontal")[rows]
    if apart.any():  # two files of one path: the second lies below its id
        path = pl.concat_str("id", pl.lit("/"), "path")
        told = told.with_columns(_odd=pl.Series(apart)).with_columns(
            path=pl.when("_odd").then(path).otherwise("path"),
            at=pl.when("_odd").then(_logical(told, frame)).otherwise("at"),
            store=pl.when(pl.col("_odd") & pl.col("in").is_not_null()).then(pl.col("in").str.split("/").list.first()).otherwise("store"),
        ).with_columns(**{"in": pl.when(~pl.col("_odd")).then("in")})  # fmt: skip
    if frame.layout == FLAT:
        refuse_long(
            pl.select(
                flat_names(pl.concat_str(pl.lit(told["type"]), pl.lit("/"), pl.lit(told["path"])))
            ).to_series()
        )
    row = _Row(told.with_columns(path=escaped(told["path"]), at=escaped(told["at"])))
    mark = pl.Series(["{", ",{"])[comma.astype(np.uint32)]
    return row.text(
        mark, row.maybe("content", '"content":', ","), '"data_id":', pl.col("data_id"), ',"format":"', pl.col("format"),
        '","id":"', pl.col("id"), '"', row.maybe("in", ',"in":'), row.placed(), ',"path":"', pl.col("path"), '"',
        row.maybe("receipt", ',"receipt":'), row.recipe(), ',"run":"', pl.col("run"), '"',
        row.maybe("sha256", ',"sha256":'), row.number("size"), ',"type":"', pl.col("type"), '"}',
    )  # fmt: skip


def _logical(told: pl.DataFrame, frame: Frame) -> pl.Series:
    """Give the path in its store of what is told to be in one."""
    below = told["in"].str.split("/").list.slice(1).list.join("/")
    whole = pl.concat_str(pl.lit(below), pl.lit("/"), pl.lit(told["path"])).str.strip_prefix("/")
    names = pl.select(pl.when(pl.lit(told["in"].is_not_null())).then(whole).alias("at")).to_series()
    if frame.layout != FLAT:
        return names
    there = told["in"].str.starts_with(CARRIED).fill_null(value=False)
    flat = pl.select(flat_names(pl.lit(names))).to_series()
    return pl.select(pl.when(pl.lit(there)).then(pl.lit(flat)).otherwise(pl.lit(names))).to_series()


def _outputs(batch: Batch, pipeline: Pipeline, frame: Frame) -> pl.Series:
    """Give the outputs of all jobs, with commas."""
    of = batch.writes["quantum"].to_numpy()
    told = batch.datasets.select("type", "data_id", "format", "id", "path")[
        batch.writes["dataset"].to_numpy()
    ]
    usual = batch.quanta["data_id"][of]
    other = told["data_id"] != usual
    data_id: Part = ""
    if other.any():
        named = pl.concat_str(pl.lit('"data_id":'), "data_id", pl.lit(","))
        data_id = pl.when(pl.lit(other)).then(named).otherwise(pl.lit(""))
    kinds = {name: kind.columns for name, kind in pipeline.dataset_types.items() if kind.columns}
    columns: Part = ""
    if kinds:
        texts = {name: f'"columns":{plain_text(value)},' for name, value in kinds.items()}
        columns = told["type"].replace_strict(texts, default="", return_dtype=pl.String)
    path = escaped(told["path"])
    if frame.layout == FLAT:
        refuse_long(pl.select(flat_names(pl.lit(told["path"]))).to_series())
    mark = pl.Series(["{", ",{"])[later(batch.writes["job"].to_numpy()).astype(np.uint32)]
    return _Row(told.with_columns(path=path)).text(
        mark, columns, data_id, '"format":"', pl.col("format"), '","id":"', pl.col("id"), '","path":"', pl.col("path"),
        '","type":"', pl.col("type"), '"}',
    )  # fmt: skip


Part = str | pl.Expr | pl.Series
"""Of a text: for all rows, or of each."""


class _Row:
    """Text of each row of a frame, from constants and columns."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self._frame = frame

    def text(self, *parts: Part | tuple[Part, ...]) -> pl.Series:
        """Put parts together; constants that meet are one."""
        merged: list[str | pl.Expr | pl.Series] = []
        for part in parts:
            for one in part if isinstance(part, tuple) else (part,):
                if isinstance(one, str) and merged and isinstance(merged[-1], str):
                    merged[-1] += one
                else:
                    merged.append(one)
        given = [pl.lit(p) if isinstance(p, str) else p for p in merged]
        return self._frame.select(pl.concat_str(given).alias("text")).to_series()

    def maybe(self, name: str, before: str, after: str = "") -> Part:
        """Give a text in quotes with its name before it, or nothing where it is null."""
        told = pl.concat_str(pl.lit(f'{before}"'), name, pl.lit(f'"{after}'))
        nulls = self._frame[name].null_count()
        return told if not nulls else "" if nulls == self._frame.height else told.fill_null("")

    def number(self, name: str) -> Part:
        """Give a number with its name before it, or nothing."""
        return pl.concat_str(pl.lit(f',"{name}":'), name).fill_null("")

    def placed(self) -> Part:
        """Give a location that is no path in a store as it is."""
        if self._frame["at"].null_count() == self._frame.height:
            return ""
        told = pl.concat_str(
            pl.lit(',"location":{"path":"'), "at", pl.lit('","store":"'), "store", pl.lit('"}')
        )
        return pl.when(pl.col("at").is_not_null() & pl.col("in").is_null()).then(told).otherwise(pl.lit(""))

    def recipe(self) -> Part:
        """Give a recipe where it is not the beginning of the content."""
        told = pl.concat_str(pl.lit(',"recipe":"'), "recipe", pl.lit('"'))
        same = (self._frame["content"].str.slice(0, RECIPE) == self._frame["recipe"]).fill_null(value=False)
        return (
            ""
            if same.all()
            else told
            if not same.any()
            else pl.when(pl.lit(same)).then(pl.lit("")).otherwise(told)
        )


# ---------------------------------------------------------------- quanta


def _quanta(batch: Batch, pipeline: Pipeline, pack: Numbers) -> tuple[pl.Series, list[str]]:
    """Give all quanta, with commas, and for each pack what those of its tasks share: what the first has."""
    task = batch.quanta["task"].to_numpy()
    owner = batch.quanta["job"].to_numpy()
    kinds = len(pipeline.tasks)
    keys = pack[owner] * kinds + task
    packs = int(pack[-1]) + 1 if len(pack) else 0
    first = np.full(packs * kinds, -1, np.int64)
    first[keys[::-1]] = np.arange(len(keys))[::-1]
    connected = {"inputs": _reading(batch, pipeline, task), "outputs": _writing(batch, pipeline, task)}
    own: list[Part] = []
    for name, texts in connected.items():
        other = texts != texts[first[keys]]
        if other.any():
            told = pl.concat_str(pl.lit(f',"{name}":{{'), pl.lit(texts), pl.lit("}"))
            own.append(pl.when(pl.lit(other)).then(told).otherwise(pl.lit("")))
    labels = pl.Series([plain_text(t.label) for t in pipeline.tasks], dtype=pl.String)
    mark = pl.Series(['{"data_id":', ',{"data_id":'])[later(owner).astype(np.uint32)]
    text = _Row(batch.quanta).text(
        mark, pl.col("data_id"), ',"id":"', pl.col("id"), '"', *own, ',"recipe":"', pl.col("recipe"), '","task":',
        labels[task], "}",
    )  # fmt: skip
    order = sorted(range(kinds), key=lambda number: pipeline.tasks[number].label)
    shared = []
    for start in range(0, len(first), max(kinds, 1)):
        there = [(pipeline.tasks[n], int(first[start + n])) for n in order if first[start + n] >= 0]
        shared.append(
            ",".join(_task(t, connected["inputs"][row], connected["outputs"][row]) for t, row in there)
        )
    return text, shared


def _task(task: TaskDefinition, inputs: str, outputs: str) -> str:
    """Give what quanta of a task share."""
    tolerate = task.on_failure is OnFailure.TOLERATE
    return (
        f'{plain_text(task.label)}:{{"command":{plain_text(task.command)},"config":{plain_text(task.config)},'
        f'"config_class":{plain_text(task.config_class)},"entry":{plain_text(task.entry)},"ignore":{plain_text(task.ignore)},'
        f'"inputs":{{{inputs}}},"outputs":{{{outputs}}},"prototypes":{plain_text(task.prototypes)},"tolerate":{plain_text(tolerate)}}}'
    )


def _reading(batch: Batch, pipeline: Pipeline, task: Numbers) -> pl.Series:
    """Give what all quanta read, connection by connection: each of a task's own, also where nothing was found for it."""
    connections = [[(c.name, c.minimum, False) for c in t.inputs] for t in pipeline.tasks]
    return _connected(batch.reads, connections, task)


def _writing(batch: Batch, pipeline: Pipeline, task: Numbers) -> pl.Series:
    """Give what all quanta write."""
    connections = [[(o.name, "all", o.optional) for o in outputs_of(t)] for t in pipeline.tasks]
    return _connected(batch.writes, connections, task)


def _connected(rows: pl.DataFrame, connections: Connections, task: Numbers) -> pl.Series:
    """Give the places under each connection of each quantum.

    Parameters
    ----------
    rows : DataFrame
        ``quantum``, ``connection``, ``place``.
    connections : sequence of sequence
        Of each task its connections as the plan has them: name, minimum, optional.
    """
    names = sorted({name for own in connections for name, _, _ in own})
    width = max(len(names), 1)
    code = np.full((len(connections), width), -1, np.int64)  # the n-th connection of a task
    for i, own in enumerate(connections):
        code[i, : len(own)] = [names.index(name) for name, _, _ in own]
    quantum, place = rows["quantum"].to_numpy(), rows["place"].to_numpy()
    found = codes_of(rows["connection"], names)
    first = np.searchsorted(quantum, np.arange(len(task) + 1))
    at = np.arange(len(quantum)) - first[quantum]
    # where each connection has one, in order, the text is that of the task
    plain = np.diff(first) == (code >= 0).sum(1)[task]
    plain[
        quantum[(at >= width) | (place != at) | (code[task[quantum], np.minimum(at, width - 1)] != found)]
    ] = False
    usual = [_usual(own) for own in connections]
    texts = pl.Series(usual, dtype=pl.String)[task]
    if plain.all():
        return texts
    other = np.flatnonzero(~plain)
    kept = ~plain[quantum]
    text = _unusual(
        np.searchsorted(other, quantum[kept]), found[kept], place[kept], names, connections, task[other]
    )
    return texts.clone().scatter(other, text)


def _usual(connections: Sequence[tuple[str, object, bool]]) -> str:
    told = {
        name: {"datasets": [at], "minimum": minimum, "optional": optional}
        for at, (name, minimum, optional) in enumerate(connections)
    }
    return plain_text(told)[1:-1]


def _unusual(
    quantum: Numbers,
    found: Numbers,
    place: Numbers,
    names: Sequence[str],
    connections: Connections,
    task: Numbers,
) -> pl.Series:
    """Give the same of quanta of which a connection has none or many, or that are not the first of their job."""
    width = len(names)
    end = np.zeros((len(connections), width), np.int64)
    own = np.zeros((len(connections), width), np.bool_)
    ends: list[str] = []
    for i, each in enumerate(connections):
        for name, minimum, optional in each:
            end[i, names.index(name)], own[i, names.index(name)] = len(ends), True
            ends.append(f'],"minimum":{plain_text(minimum)},"optional":{plain_text(optional)}}}')
    # a key for each connection of each quantum, in the order of their names
    every = (np.arange(len(task))[:, None] * width + np.arange(width))[own[task]]
    whose = np.searchsorted(every, quantum * width + found)
    order = np.argsort(whose, kind="stable")
    whose = whose[order]
    number = pl.select(pl.concat_str(commas(whose), pl.Series(place[order]).cast(pl.String))).to_series()
    of, connection = np.divmod(every, width)
    text = _Row(pl.DataFrame({"list": joined(len(every), [(whose, number)]).series()})).text(
        commas(of), pl.Series([f'"{name}":{{"datasets":[' for name in names], dtype=pl.String)[connection],
        pl.col("list"), pl.Series(ends, dtype=pl.String)[end[task[of], connection]],
    )  # fmt: skip
    return joined(len(task), [(of, text)]).series()


# ---------------------------------------------------------------- what jobs need


def _resources(jobs: pl.DataFrame, memory: Mapping[str, int]) -> pl.Series:
    """Give what all jobs need; the same again and again, so each text is made once."""
    names = [name for name in RESOURCES if name in jobs.columns]
    if not names:
        return repeated("{}", jobs.height)
    needs = jobs.select("name", *names)
    if memory:
        more = pl.col("name").replace_strict(dict(memory), default=None, return_dtype=pl.Int64)
        old = pl.col("memory").cast(pl.Int64) if "memory" in names else pl.lit(None, pl.Int64)
        needs = needs.with_columns(memory=pl.coalesce(more, old))
        names = ["memory", *(name for name in names if name != "memory")]
    known = needs.select(names).unique(maintain_order=True)
    texts = [
        plain_text({name: value for name, value in row.items() if value is not None})
        for row in known.iter_rows(named=True)
    ]
    if known.height == 1:
        return repeated(texts[0], jobs.height)
    known = known.with_columns(text=pl.Series(texts, dtype=pl.String))
    return needs.join(known, on=names, how="left", nulls_equal=True, maintain_order="left")["text"]


def plain_text(value: object) -> str:
    """Give the JSON of a plain value, as it stands in a manifest."""
    return _ENCODER.encode(value)


_ENCODER = json.JSONEncoder(
    sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False, default=dict
)
