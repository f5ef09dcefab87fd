"""The entries of jobs in the abstract workflow: of many at once, in columns."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.engines.pegasus.catalogues import category, memory_profile
from prestow.engines.pegasus.text import one_line
from prestow.engines.pegasus.workflow import NAMESPACE, TRANSFORMATION
from prestow.pipeline.definition import OnFailure
from prestow.plan.pieces import Texts, escaped, joined, repeated
from prestow.plan.retrying import Change
from prestow.plan.state import outputs_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.engines.pegasus.files import Carried, Transport
    from prestow.pipeline.definition import Pipeline
    from prestow.plan.batches import Batch
    from prestow.site import PegasusSettings

    Numbers = npt.NDArray[np.int64]
    Amounts = npt.NDArray[np.float64]

MEMORY = 2048  # MB, where the task does not say
GRACE = 300
"""Seconds: Pegasus takes the profile ``runtime`` for a limit and ends a job that long before it is reached."""
DISK = 1024  # MB, the least asked for
SLACK = 3  # a hint is one machine's measure of one quantum

_MEGA = 1_000_000
_MEBI = 1 << 20


@dataclass(frozen=True, slots=True)
class Making:
    """What the entries of all jobs are made with.

    Parameters
    ----------
    pipeline : Pipeline
        Whose tasks.
    settings : PegasusSettings
        Of the site.
    transport : Transport
        Who carries what.
    words : sequence of str
        What stands before the node's own arguments.
    common : sequence of str
        Logical names of what every job is brought besides its pack.
    changes : mapping of job name to Change
        What jobs that were put back are tried with.
    """

    pipeline: Pipeline
    settings: PegasusSettings
    transport: Transport
    words: Sequence[str]
    common: Sequence[str]
    changes: Mapping[str, Change]


def entries(
    batch: Batch,
    making: Making,
    carried: Carried,
    *,
    ids: pl.Series,
    clusters: pl.Series,
    packs: pl.Series,
    tars: pl.Series | None = None,
) -> tuple[Texts, pl.DataFrame]:
    """Give the entries of the jobs of a batch, each with a comma and a line feed before it, and what they make.

    Parameters
    ----------
    ids, clusters, packs, tars : Series
        Of each job its id, its label for clustering, and the logical names of its pack and of its tar, if it has one.

    Returns
    -------
    Texts
        One for each job.
    DataFrame
        What `makes_of` gives.
    """
    names = escaped(batch.jobs["name"])
    facts = _facts(batch, making)
    first = "".join(f',{{"lfn":{one_line(name)},"type":"input"}}' for name in making.common)
    start = f',\n{{"type":"job","namespace":"{NAMESPACE}","name":"{TRANSFORMATION}","id":"'
    words = "".join(f"{one_line(word)}," for word in making.words)
    rest = ',"--carry","."' + (',"--land"' if making.transport.landing else "")
    head = facts.select(
        pl.concat_str(
            pl.lit(start), ids, pl.lit('","nodeLabel":"'), names, pl.lit(f'","arguments":[{words}"'), packs,
            pl.lit('","--job","'), names, pl.lit(f'"{rest}'), "more", pl.lit('],"uses":[{"lfn":"'), packs,
            pl.lit(f'","type":"input"}}{first}'),
            *(() if tars is None else (_tar_use(tars),)),
        )
    ).to_series()  # fmt: skip
    owner = carried.reads["job"].to_numpy()
    reads = pl.select(
        pl.concat_str(pl.lit(',{"lfn":"'), escaped(carried.names), pl.lit('","type":"input"}'))
    ).to_series()[carried.which]
    made, makes = _made(batch, making)
    tail = facts.select(_profiles(making.settings, clusters)).to_series()
    return joined(batch.jobs.height, [head, (owner, reads), *made, tail]), makes


def _tar_use(tars: pl.Series) -> pl.Expr:
    use = pl.concat_str(pl.lit(',{"lfn":"'), pl.lit(tars), pl.lit('","type":"input"}'))
    return pl.when(pl.lit(tars.is_not_null())).then(use).otherwise(pl.lit(""))


# ---------------------------------------------------------------- what jobs make


def _made(batch: Batch, making: Making) -> tuple[list[tuple[Numbers, pl.Series]], pl.DataFrame]:
    """Give the uses of what jobs make, with a comma before each, and their names."""
    quanta, transport = batch.quanta, making.transport
    tasks = pl.Series(batch.tasks)[quanta["task"]]
    words = words_of(quanta["data_id"])
    makes = makes_of(batch, transport)
    receipts = makes["name"][-quanta.height :] if quanta.height else makes["name"]
    whose = quanta["job"].to_numpy()
    end = f'}},"type":"output","stageOut":{_json(transport.landing)},"registerReplica":false}}'
    begin = quanta.select(
        pl.concat_str(
            pl.lit(',{"lfn":"'), receipts, pl.lit('","metadata":{"data_id":"'), words, pl.lit('","quantum":"'), "id",
            pl.lit('","task":"'), tasks, pl.lit('"' + (end if transport.landing else "")),
        )
    ).to_series()  # fmt: skip
    of = batch.writes["quantum"].to_numpy()
    d = batch.datasets.select("type", "data_id", "id", "path")[batch.writes["dataset"].to_numpy()]
    theirs = words[of]
    other = (d["data_id"] != quanta["data_id"][of]).arg_true()
    if len(other):
        theirs = theirs.clone().scatter(other, words_of(d["data_id"][other]))
    if not transport.landing:
        outputs = d.select(
            pl.concat_str(
                pl.lit(',"'), "type", pl.lit('.data_id":"'), theirs, pl.lit('","'), "type", pl.lit('.id":"'), "id",
                pl.lit('","'), "type", pl.lit('.path":"'), "path", pl.lit('"'),
            )
        ).to_series()  # fmt: skip
        if quanta.height == batch.jobs.height:  # a quantum each, so what is of one is of the other
            return [(whose, begin), (of, outputs), (whose, repeated(end, len(whose)))], makes
        text = joined(quanta.height, [begin, (of, outputs), end]).series()
        return [(whose, text)], makes
    products = makes["name"][: d.height]
    job = batch.writes["job"].to_numpy()
    uses = d.select(
        pl.concat_str(
            pl.lit(',{"lfn":"'), products, pl.lit('","metadata":{"data_id":"'), theirs, pl.lit('","dataset":"'), "id",
            pl.lit('","quantum":"'), quanta["id"][of], pl.lit('","type":"'), "type",
            # what is not retained comes home, too: a claim is committed only with its products
            pl.lit('"},"type":"output","stageOut":true,"registerReplica":false}'),
        )
    ).to_series()  # fmt: skip
    return [(job, uses), (whose, begin)], makes


def makes_of(batch: Batch, transport: Transport) -> pl.DataFrame:
    """Give ``job`` (row) and ``name`` of what jobs make: products, if they land, in order; then a receipt for each quantum."""
    receipts = pl.DataFrame({"job": batch.quanta["job"], "name": transport.names(batch.quanta["receipt"])})
    if not transport.landing:
        return receipts
    paths = batch.datasets["path"][batch.writes["dataset"].to_numpy()]
    products = pl.DataFrame({"job": batch.writes["job"], "name": transport.names(paths)})
    return pl.concat([products, receipts])


def words_of(data_ids: pl.Series) -> pl.Series:
    """Give data IDs, canonical JSON, as words.

    Examples
    --------
    >>> words_of(pl.Series(['{"instrument":"simcam","visit":3}', '{}', '{"object":":x"}'])).to_list()
    ['instrument=simcam,visit=3', '', 'object=:x']
    """
    # No value holds a quote, so a quote and a colon end a name; but a value may begin with a colon.
    told = pl.lit(data_ids)
    named = told.str.slice(1).str.strip_suffix("}").str.replace_all('":', "=", literal=True)
    words, held = pl.select(
        named.str.replace_all('"', "", literal=True).alias("words"),
        told.str.contains('":":', literal=True).alias("held"),
    ).get_columns()
    if held.any():
        known = data_ids.filter(held)
        words = words.clone().scatter(held.arg_true(), [_words(text) for text in known])
    return words


def _words(data_id: str) -> str:
    values = json.loads(data_id)
    return ",".join(f"{name}={values[name]}" for name in sorted(values))


def _json(value: bool) -> str:  # noqa: FBT001 - as JSON says it
    return "true" if value else "false"


# ---------------------------------------------------------------- what jobs need


def _facts(batch: Batch, making: Making) -> pl.DataFrame:
    """Give of each job ``more`` arguments, and what its profiles say: numbers, and ``condor``."""
    jobs = batch.jobs
    height = jobs.height
    changes = _changes(jobs["name"], making.changes)
    stop, tolerant = _tries(batch, making.pipeline)
    asked = np.zeros(height, np.int64)
    memory = _column(jobs, "memory")
    avoid: dict[int, str] = {}
    for row, change in changes.items():  # what people put back by hand
        asked[row] = change.tries or 0
        if change.memory is not None:
            memory[row] = change.memory
        if change.avoid:  # HTCondor's own words for the machine that a slot is on
            avoid[row] = " && ".join(f'(TARGET.Machine =!= "{_machine(host)}")' for host in change.avoid)
    megabytes = np.where(np.isnan(memory), MEMORY, np.ceil(memory / _MEBI)).astype(np.int64)
    # a forecast would be taken for a limit, too, so it is not told
    limit = np.ceil(np.nan_to_num(_column(jobs, "walltime")) * np.maximum(tolerant, 1)).astype(np.int64)
    disk = _column(jobs, "disk")
    disk = np.where(np.isnan(disk), _held(batch, making.pipeline), disk)
    cores = _column(jobs, "cores")
    retry = np.maximum(np.where(asked > 0, asked, stop) - 1, making.settings.retries)
    inside = np.where(asked > 0, asked, tolerant)
    # what Pegasus starts again is not known to be the last try, so all tries are in one
    more = pl.concat_str(pl.lit(',"--tries","'), pl.lit(pl.Series(inside)), pl.lit('","--final"'))
    runtime = pl.concat_str(pl.lit(',"runtime":'), pl.lit(pl.Series(limit + GRACE)))
    return pl.select(
        more=_where(tolerant > 0, more), runtime=_where(limit > 0, runtime),
        priority=pl.lit(jobs["priority"] if "priority" in jobs.columns else repeated("0", height)),
        retry=pl.lit(pl.Series(retry)), cores=pl.lit(pl.Series(np.where(np.isnan(cores), 1, cores).astype(np.int64))),
        disk=pl.lit(pl.Series(np.maximum(DISK, np.ceil(disk / _MEGA)).astype(np.int64))), memory=pl.lit(pl.Series(megabytes)),
        category=pl.lit(_categories(batch, making.settings)), condor=pl.lit(_condor(megabytes, making.settings, avoid)),
    )  # fmt: skip


def _where(rows: npt.NDArray[np.bool_], text: pl.Expr) -> pl.Expr:
    """Give a text in some rows, and nothing in the others."""
    if not rows.any():
        return pl.lit("")
    return text if rows.all() else pl.when(pl.lit(pl.Series(rows))).then(text).otherwise(pl.lit(""))


def _column(jobs: pl.DataFrame, name: str) -> Amounts:
    """Give what jobs need of one thing, NaN where nothing is said."""
    if name not in jobs.columns:
        return np.full(jobs.height, np.nan)
    return jobs[name].cast(pl.Float64).to_numpy().copy()


def _changes(names: pl.Series, changes: Mapping[str, Change]) -> dict[int, Change]:
    if not changes:
        return {}
    rows = names.is_in(list(changes)).arg_true().to_list()
    return {row: changes[names[row]] for row in rows}


def _tries(batch: Batch, pipeline: Pipeline) -> tuple[Numbers, Numbers]:
    """Give how often each job is tried: by Pegasus, and by itself (0 if it is not)."""
    tolerated = np.array([t.on_failure is OnFailure.TOLERATE for t in pipeline.tasks], np.bool_)
    tries = np.array([t.tries for t in pipeline.tasks], np.int64)
    return (
        _most(batch, np.where(tolerated, 1, tries), 1),
        _most(batch, np.where(tolerated, tries, 0), 0),
    )


def _most(batch: Batch, by_task: Numbers, least: int) -> Numbers:
    """Give the most that any task of each job has."""
    found = np.full(batch.jobs.height, least, np.int64)
    np.maximum.at(found, batch.quanta["job"].to_numpy(), by_task[batch.quanta["task"].to_numpy()])
    return found


def _categories(batch: Batch, settings: PegasusSettings) -> pl.Series:
    """Give the category of each job, null if it has none: that of its tightest throttle."""
    told = [category(settings, [task]) for task in batch.tasks]
    if not settings.throttle:
        return pl.Series([None], dtype=pl.String).new_from_index(0, batch.jobs.height)
    tightest = sorted(settings.throttle, key=lambda task: (settings.throttle[task], task))
    rank = np.array(
        [len(tightest) - tightest.index(t) if t in tightest else 0 for t in batch.tasks], np.int64
    )
    names = [None, *(told[batch.tasks.index(t)] if t in batch.tasks else None for t in reversed(tightest))]
    return pl.Series(names, dtype=pl.String)[_most(batch, rank, 0)]


def _held(batch: Batch, pipeline: Pipeline) -> Amounts:
    """Forecast what the directories of each job hold: inputs come here, then into its repository."""
    hints = {o.type: float(t.hints.get("output_bytes", 0.0)) for t in pipeline.tasks for o in outputs_of(t)}
    d = batch.datasets
    size = d["size"].cast(pl.Float64).to_numpy()
    if any(hints.values()):
        guess = d["type"].replace_strict(hints, default=0.0, return_dtype=pl.Float64).to_numpy()
        size = np.where(np.isnan(size) & d["receipt"].is_not_null().to_numpy(), guess, size)
    size = np.nan_to_num(size)
    known = np.bincount(
        batch.items["job"].to_numpy(), size[batch.items["dataset"].to_numpy()], minlength=batch.jobs.height
    )
    held: Amounts = SLACK * (known.astype(np.float64) + np.nan_to_num(_column(batch.jobs, "output_bytes")))
    return held


def _condor(megabytes: Numbers, settings: PegasusSettings, avoid: Mapping[int, str]) -> pl.Series:
    """Give what HTCondor alone is told of each job, as JSON; empty if nothing."""
    if not avoid and settings.memory_growth == 1:
        return repeated("", len(megabytes))
    known, which = np.unique(megabytes, return_inverse=True)
    grown = [memory_profile(settings, int(value)) for value in known]
    texts = [f',"condor":{one_line(told)}' if told else "" for told in grown]
    column = pl.Series(texts, dtype=pl.String)[which]
    for row, words in avoid.items():  # hardly any
        column = column.clone().scatter(
            row, f',"condor":{one_line({**grown[which[row]], "requirements": words})}'
        )
    return column


def _profiles(settings: PegasusSettings, clusters: pl.Series) -> pl.Expr:
    kind = pl.when(pl.col("category").is_null()).then(pl.lit("")).otherwise(
        pl.concat_str(pl.lit('"CATEGORY":"'), "category", pl.lit('",'))
    )  # fmt: skip
    return pl.concat_str(
        pl.lit('],"profiles":{"dagman":{'), *((kind,) if settings.throttle else ()), pl.lit('"PRIORITY":'), "priority",
        pl.lit(',"RETRY":'), "retry", pl.lit('},"pegasus":{"cores":'), "cores", pl.lit(',"diskspace":'), "disk",
        pl.lit(',"label":"'), clusters, pl.lit('","memory":'), "memory", "runtime", pl.lit("}"), "condor",
        pl.lit("}}"),
    ).alias("profiles")  # fmt: skip


def _machine(host: str) -> str:
    """Give a host's name as it may stand in a ClassAd."""
    return re.sub(r"[^A-Za-z0-9._-]", "", host)
