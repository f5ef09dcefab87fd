"""What the abstract workflow says besides its jobs: how they are called, and who waits for whom."""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from prestow.plan.pieces import Texts, codes_of, joined, later

NAMESPACE, TRANSFORMATION = "prestow", "node"


def job_ids(names: pl.Series) -> pl.Series:
    """Give the ids of jobs by their names: letters, digits, ``-`` and ``_``, each once.

    Examples
    --------
    >>> job_ids(pl.Series(["isr-1", "isr-1.5", "isr-1_5"])).to_list()
    ['isr-1', 'isr-1_5-1', 'isr-1_5-2']
    """
    ids = names.alias("id")
    if ids.str.contains(r"[^A-Za-z0-9_-]").any():
        ids = ids.str.replace_all(r"[^A-Za-z0-9_-]", "_")
    if ids.n_unique() == len(ids):
        return ids
    frame = ids.to_frame().with_row_index("job")
    twin = pl.col("id").is_duplicated()
    numbered = pl.concat_str("id", "job", separator="-")
    frame = frame.with_columns(id=pl.when(twin).then(numbered).otherwise("id"))
    if frame["id"].is_duplicated().any():  # 'a-1' stood there by itself, too
        frame = frame.with_columns(id=pl.concat_str(pl.lit("job"), pl.col("job"), separator="-"))
    return frame["id"]


def cluster_labels(jobs: pl.DataFrame, size: int) -> pl.Series:
    """Give the label of each job: so many of one kind and depth share one, in order.

    Whoever plans with ``--cluster label`` has them run as one; else it says nothing.
    """
    labels = jobs["label"].unique(maintain_order=True).to_list()
    label, depth = codes_of(jobs["label"], labels).astype(np.int64), jobs["depth"].to_numpy().astype(np.int64)
    kind = label * (int(depth.max(initial=0)) + 1) + depth
    order = np.argsort(kind, kind="stable")
    starts = np.searchsorted(kind[order], kind[order])
    number = np.empty(len(kind), np.int64)
    number[order] = np.arange(len(kind)) - starts
    clean = pl.Series([re.sub(r"[^A-Za-z0-9_-]", "_", name) for name in labels], dtype=pl.String)
    parts = (pl.lit(clean[label]), pl.lit(jobs["depth"]), pl.lit(pl.Series(number // size)))
    return pl.select(pl.concat_str(*parts, separator="-").alias("cluster")).to_series()


def workflow_name(run: str, plan: str) -> str:
    """Give the name of the workflow: the run, and the beginning of the plan's id.

    Examples
    --------
    >>> workflow_name("night.2+1", "0f3a99c177aa")
    'night_2_1-0f3a99c1'
    """
    return f"{re.sub(r'[^A-Za-z0-9_-]', '_', run)}-{plan[:8]}"


def dependencies(edges: pl.DataFrame, ids: pl.Series) -> Texts:
    """Give the children of each job that has some, each with a comma and a line feed before it; edges are of jobs' numbers.

    Examples
    --------
    >>> edges = pl.DataFrame({"parent": [1, 0, 0], "child": [2, 2, 1]})
    >>> print("".join(dependencies(edges, pl.Series(["a", "b", "c"])).series()))
    ,
    {"id":"a","children":["b","c"]},
    {"id":"b","children":["c"]}
    """
    ordered = edges.sort("parent", "child")
    parents = ordered["parent"].to_numpy()
    another = ~later(parents)
    known, which = parents[another], np.cumsum(another) - 1
    head = pl.select(pl.concat_str(pl.lit(',\n{"id":"'), ids[known], pl.lit('","children":["'))).to_series()
    between = pl.Series(["", '","'])[later(which).astype(np.uint32)]
    children = pl.select(pl.concat_str(between, ids[ordered["child"]])).to_series()
    return joined(len(known), [head, (which, children), '"]}'])
