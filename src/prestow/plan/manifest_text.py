"""Manifests as text, of many jobs at once: what `Manifest.to_json` gives of each, without an object for any.

`prestow.plan.manifests` makes the same manifests one at a time, as values. Tests hold both equal, byte by byte,
for every kind of plan that they have.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.manifest import LAYOUTS, MANIFEST_SCHEMA, Code
from prestow.naming import octets
from prestow.pipeline.definition import RESOURCES, OnFailure, TaskDefinition
from prestow.plan.pieces import Texts, codes_of, commas, escaped, joined, later, repeated
from prestow.plan.ranges import distinct
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
class _Task:
    """Constant text of a quantum of one task, around what differs."""

    head: str
    entry: str
    ignore: str
    prototypes: str
    tail: str


def manifest_texts(
    batch: Batch,
    pipeline: Pipeline,
    frame: Frame,
    places: pl.DataFrame,
    memory: Mapping[str, int] | None = None,
    *,
    alike: bool = False,
) -> Texts:
    """Give the manifest of each job of a batch, each with a line feed at its end.

    Parameters
    ----------
    places : DataFrame
        Where each dataset of the batch is told to be: ``store`` and ``path``, null for one that has no place, a row for
        each row of ``batch.items``.
    memory : mapping of job name to bytes, optional
        What jobs need that somebody gave more memory.
    alike : bool
        All jobs are told the same place of a dataset.
    """
    jobs = batch.jobs.height
    owner = batch.items["job"].to_numpy()
    items = batch.items["dataset"].to_numpy()
    inputs = _inputs(batch, owner, items, frame)
    located = _locations(batch, owner, items, places, alike=alike)
    made_by = batch.writes["job"].to_numpy()
    outputs = _outputs(batch, pipeline, frame)
    quanta = (batch.quanta["job"].to_numpy(), _quanta(batch, pipeline))
    code = frame.code
    told = (
        None
        if code is None
        else {"path": code.path, "sha256": code.sha256, "size": code.size, "store": code.store}
    )
    head = f'{{"code":{plain_text(told)},"inputs":['
    middle = pl.select(
        pl.concat_str(
            pl.lit('],"job":"'), escaped(batch.jobs["name"]), pl.lit('",' + _layout(frame) + '"locations":{')
        )
    ).to_series()
    stores = plain_text(dict(frame.stores))
    after = pl.select(
        pl.concat_str(
            pl.lit('],"resources":'), _resources(batch.jobs, memory or {}),
            pl.lit(f',"run":{plain_text(frame.run)},"schema":"{MANIFEST_SCHEMA}","store":{plain_text(frame.store)},"stores":{stores}}}\n'),
        )
    ).to_series()  # fmt: skip
    return joined(jobs, [
        head, (owner, inputs), middle, located, '},"outputs":[', (made_by, outputs),
        f'],"plan":"{frame.plan}","quanta":[', quanta, after,
    ])  # fmt: skip


def _layout(frame: Frame) -> str:
    return "" if frame.layout == LAYOUTS[0] else f'"layout":{plain_text(frame.layout)},'


def _inputs(batch: Batch, owner: Numbers, items: Numbers, frame: Frame) -> pl.Series:
    """Give the inputs of all jobs, with commas; what many jobs read has one text, or two."""
    keys, number = distinct(2 * items + later(owner), 2 * batch.datasets.height)
    datasets = batch.datasets[keys // 2]
    local = _local(datasets)
    row = _Row(datasets)
    text = row.text(
        pl.Series(["", ","]).gather(keys % 2), '{"content":', row.maybe("content"), ',"data_id":', pl.col("data_id"),
        ',"format":"', pl.col("format"), '","id":"', pl.col("id"), '","local":"', _laid(local, frame, "inputs"),
        '","member":null,"producer":', row.maybe("producer"), ',"receipt":', row.maybe("receipt"), ',"recipe":"', pl.col("recipe"),
        '","run":"', pl.col("run"), '","sha256":', row.maybe("sha256"), ',"size":', row.number("size"), ',"type":"', pl.col("type"), '"}',
    ).gather(number)  # fmt: skip
    if local.n_unique() == np.unique(keys // 2).size:
        return text
    return _apart(text, owner, number, local, datasets, frame)


def _apart(
    texts: pl.Series, owner: Numbers, number: Numbers, local: pl.Series, datasets: pl.DataFrame, frame: Frame
) -> pl.Series:
    """Keep inputs of a job apart that would lie at one path: two stores may have one path each."""
    key = pl.DataFrame({"job": owner, "local": local.gather(number)})
    again = (~key.select(pl.struct("job", "local").is_first_distinct()).to_series()).arg_true()
    if not len(again):
        return texts
    rows = number[again.to_numpy()]
    old = _laid(local.gather(rows), frame, "inputs").to_list()
    other = pl.select(
        pl.concat_str(
            datasets["type"].gather(rows), pl.lit("/"), datasets["id"].gather(rows), pl.lit("/"),
            escaped(datasets["path"]).gather(rows),
        )
    ).to_series()  # fmt: skip
    new = _laid(other, frame, "inputs").to_list()
    # One at a time: there is hardly any.
    changed = [
        text.replace(f'"local":"{before}"', f'"local":"{after}"')
        for text, before, after in zip(texts.gather(again).to_list(), old, new, strict=True)
    ]
    return texts.clone().scatter(again, changed)


def _local(datasets: pl.DataFrame) -> pl.Series:
    return (
        datasets.select(pl.concat_str("type", pl.lit("/"), escaped(datasets["path"]))).to_series().rename("")
    )


def _laid(local: pl.Series, frame: Frame, top: str) -> pl.Series:
    """Give names in the local repository, as its layout has them."""
    if frame.layout != "flat":
        return pl.select(pl.concat_str(pl.lit(f"{top}/"), local)).to_series()
    from prestow.naming.flat import flat_names, refuse_long

    names = pl.select(flat_names(pl.lit(_unescaped(local)))).to_series()
    refuse_long(names)
    return pl.select(pl.concat_str(pl.lit(f"{top}/"), names)).to_series()


def _unescaped(texts: pl.Series) -> pl.Series:
    odd = texts.str.contains("\\", literal=True)
    if not odd.any():
        return texts
    return texts.clone().scatter(odd.arg_true(), [json.loads(f'"{text}"') for text in texts.filter(odd)])


def _locations(
    batch: Batch, owner: Numbers, items: Numbers, places: pl.DataFrame, *, alike: bool
) -> tuple[Numbers, pl.Series]:
    """Give where the inputs of all jobs are, by their ids."""
    here = np.flatnonzero(places["path"].is_not_null().to_numpy())
    ids = batch.datasets["id"]
    order = here[np.lexsort((*reversed(_words(ids)[items[here]].T), owner[here]))]
    more = later(owner[order])
    number: Numbers = np.arange(len(order))
    if alike:  # of each dataset two texts, with a comma and without
        known, number = distinct(2 * items[order] + more, 2 * len(ids))
        one = np.empty(len(known), np.int64)
        one[number] = np.arange(len(order))
    else:
        one = number
    found = places[order[one]]
    row = _Row(found.with_columns(id=ids.gather(items[order[one]]), path=escaped(found["path"])))
    text = row.text(
        pl.Series(["", ","]).gather(more[one].astype(np.uint32)),
        '"',
        pl.col("id"),
        '":{"path":"',
        pl.col("path"),
        '","store":"',
        pl.col("store"),
        '"}',
    )
    return owner[order], text.gather(number)


def _words(ids: pl.Series) -> npt.NDArray[np.uint64]:
    """Give ids as two numbers each, in whose order they are."""
    words: npt.NDArray[np.uint64] = octets.from_uuid_text(ids).view(">u8").astype(np.uint64)
    return words


def _outputs(batch: Batch, pipeline: Pipeline, frame: Frame) -> pl.Series:
    """Give the outputs of all jobs."""
    told = batch.datasets.select("type", "data_id", "format", "id", "path")
    datasets = told[batch.writes["dataset"].to_numpy()]
    kinds = [name for name, kind in pipeline.dataset_types.items() if kind.columns]
    columns = {name: f'"columns":{plain_text(pipeline.dataset_types[name].columns)},' for name in kinds}
    kind = datasets["type"]
    begin = (
        kind.replace_strict(columns, default="", return_dtype=pl.String)
        if columns
        else pl.Series([""]).new_from_index(0, len(kind))
    )
    path = escaped(datasets["path"])
    local = _laid(path, frame, "outputs")
    row = _Row(datasets.with_columns(_begin=begin, path=path, _local=local))
    return row.text(
        commas(batch.writes["job"].to_numpy()), "{", pl.col("_begin"), '"data_id":', pl.col("data_id"), ',"format":"', pl.col("format"), '","id":"', pl.col("id"),
        '","local":"', pl.col("_local"), '","path":"', pl.col("path"), '","type":"', pl.col("type"), '"}',
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

    def maybe(self, name: str) -> Any:  # Any: parts of a text
        """Give a text in quotes, or null."""
        column = self._frame[name]
        if column.null_count() == 0:
            return ('"', pl.col(name), '"')
        if column.null_count() == len(column):
            return "null"
        quoted = pl.concat_str(pl.lit('"'), pl.col(name), pl.lit('"'))
        return pl.when(pl.col(name).is_null()).then(pl.lit("null")).otherwise(quoted)

    def number(self, name: str) -> pl.Expr:
        """Give a number, or null."""
        return pl.col(name).cast(pl.String).fill_null("null")


# ---------------------------------------------------------------- quanta


def _quanta(batch: Batch, pipeline: Pipeline) -> pl.Series:
    """Give all quanta, with commas."""
    tasks = [_task(task) for task in pipeline.tasks]
    task = batch.quanta["task"].to_numpy()

    def of(name: str) -> pl.Series:
        return pl.Series([getattr(t, name) for t in tasks], dtype=pl.String).gather(task)

    return _Row(batch.quanta).text(
        commas(batch.quanta["job"].to_numpy()), of("head"), pl.col("data_id"), of("entry"), pl.col("id"), of("ignore"),
        _reading(batch, pipeline, task), '},"outputs":{', _writing(batch, pipeline, task), of("prototypes"), pl.col("receipt"),
        '","recipe":"', pl.col("recipe"), of("tail"),
    )  # fmt: skip


def _task(task: TaskDefinition) -> _Task:
    tolerate = plain_text(task.on_failure is OnFailure.TOLERATE)
    return _Task(
        head=f'{{"command":{plain_text(task.command)},"config":{plain_text(task.config)},"config_class":{plain_text(task.config_class)},"data_id":',
        entry=f',"entry":{plain_text(task.entry)},"id":"',
        ignore=f'","ignore":{plain_text(task.ignore)},"inputs":{{',
        prototypes=f'}},"prototypes":{plain_text(task.prototypes)},"receipt":"',
        tail=f'","task":{plain_text(task.label)},"tolerate":{tolerate}}}',
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
    texts = pl.Series(usual, dtype=pl.String).gather(task)
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
        commas(of), pl.Series([f'"{name}":{{"datasets":[' for name in names], dtype=pl.String).gather(connection),
        pl.col("list"), pl.Series(ends, dtype=pl.String).gather(end[task[of], connection]),
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
