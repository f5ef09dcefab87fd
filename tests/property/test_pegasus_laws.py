"""Laws of what is written for Pegasus: strings stay strings, ids are legal and differ, cycles are found."""

from __future__ import annotations

import io
import json
import re

import numpy as np
import polars as pl
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.engines.pegasus.knots import knot
from prestow.engines.pegasus.text import Document
from prestow.engines.pegasus.workflow import cluster_labels, dependencies, job_ids, workflow_name

# YAML 1.1 takes these for numbers, dates, truth values or nothing
TRAPS = [
    "0000e7",
    "1e5",
    "12e03",
    "0x1F",
    "0o17",
    "1_000",
    "190:20:30",
    "yes",
    "NO",
    "null",
    "~",
    "",
    ".inf",
    "2026-11-21",
    "=",
    "<<",
    "- a",
    "a: b",
    "#x",
]
ANY = st.text(st.characters(exclude_categories=("Cs",)))
TEXTS = st.sampled_from(TRAPS) | ANY | st.text("0123456789abcdef", min_size=8, max_size=64)
VALUES = st.recursive(
    TEXTS | st.integers(-(10**12), 10**12) | st.booleans(),
    lambda v: st.lists(v) | st.dictionaries(TEXTS, v),
    max_leaves=6,
)


@settings(max_examples=60)
@given(
    st.dictionaries(TEXTS, VALUES, min_size=1, max_size=5),
    st.lists(VALUES, max_size=4),
    st.lists(VALUES, max_size=4),
)
def test_yaml_reads_what_was_written(
    head: dict[str, object], first: list[object], second: list[object]
) -> None:
    stream = io.StringIO()
    with Document(stream, {"pegasus": "5", "head": head}) as document:
        document.entries("jobs", iter(first))
        document.entries("more", iter(second))
    wanted = {"pegasus": "5", "head": head, "jobs": first, "more": second}
    assert json.loads(stream.getvalue()) == wanted
    assert yaml.load(stream.getvalue(), yaml.CSafeLoader) == wanted


@given(st.lists(st.text("ab.1-_+", max_size=5), max_size=30, unique=True))
def test_ids_of_jobs_are_legal_and_differ(names: list[str]) -> None:
    ids = job_ids(pl.Series("name", names, dtype=pl.String)).to_list()
    assert len(set(ids)) == len(names)
    assert all(re.fullmatch(r"[-0-9a-zA-Z_]+", name) for name, given in zip(ids, names, strict=True) if given)


@given(st.text("aZ0._+-", min_size=1), st.text("0123456789abcdef", min_size=32, max_size=32))
def test_the_name_of_a_workflow_is_one_of_a_file(run: str, plan: str) -> None:
    assert re.fullmatch(r"[-0-9a-zA-Z_]+", workflow_name(run, plan))


PAIRS = st.lists(
    st.tuples(st.integers(0, 9), st.integers(0, 9)).filter(lambda p: p[0] != p[1]), unique=True, max_size=25
)


def waits_for_itself(pairs: list[tuple[int, int]]) -> set[int]:
    """Give the nodes that can be reached from themselves, and those between two such, the slow way."""
    after = {n: {c for p, c in pairs if p == n} for n in range(10)}
    for _ in range(10):
        after = {n: reached.union(*(after[c] for c in reached)) for n, reached in after.items()}
    tied = {n for n, reached in after.items() if n in reached}
    return {n for n in range(10) if n in tied or (after[n] & tied and any(n in after[t] for t in tied))}


@given(PAIRS, st.sampled_from([1, 2, 200]))
def test_a_knot_is_found_where_there_is_one(pairs: list[tuple[int, int]], levels: int) -> None:
    ends = np.array(pairs, np.uint32).reshape(-1, 2)
    assert set(knot(ends[:, 0], ends[:, 1], levels=levels).tolist()) == waits_for_itself(pairs)


def test_a_long_chain_is_no_knot_and_a_ring_is() -> None:
    n = 50_000
    down = np.arange(n, 0, -1, dtype=np.uint32)
    assert not len(knot(down, down - 1))
    ring = knot(np.append(down, 0), np.append(down - 1, n))
    assert len(ring) == n + 1


@given(PAIRS)
def test_dependencies_are_the_edges(pairs: list[tuple[int, int]]) -> None:
    ids = pl.Series("id", [f"job-{n}" for n in range(10)])
    edges = pl.DataFrame(pairs, schema={"parent": pl.UInt32, "child": pl.UInt32}, orient="row")
    text = "".join(dependencies(edges, ids).series())
    entries = json.loads(f"[{text[1:]}]")
    assert [e["id"] for e in entries] == [f"job-{p}" for p in sorted({p for p, _ in pairs})]
    assert {(e["id"], c) for e in entries for c in e["children"]} == {
        (f"job-{p}", f"job-{c}") for p, c in pairs
    }


@given(st.lists(st.tuples(st.sampled_from(["isr", "coadd.x"]), st.integers(0, 2))), st.integers(1, 5))
def test_jobs_of_one_label_are_of_one_kind_and_depth_and_not_too_many(
    kinds: list[tuple[str, int]], size: int
) -> None:
    jobs = pl.DataFrame(kinds, schema={"label": pl.String, "depth": pl.UInt16}, orient="row")
    labels = cluster_labels(jobs, size)
    together = (
        jobs.with_columns(cluster=labels)
        .group_by("cluster")
        .agg(pl.len(), pl.struct("label", "depth").n_unique().alias("kinds"))
    )
    assert (together["len"] <= size).all()
    assert (together["kinds"] == 1).all()
