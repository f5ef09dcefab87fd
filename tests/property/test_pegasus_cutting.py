"""Laws of cutting: every job in one part, parts not too large, no circle of parts, every crossing file named."""

from __future__ import annotations

import graphlib
import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.engines.pegasus import cutting
from prestow.engines.pegasus.cutting import between, crossing, parts


@st.composite
def graphs(draw: st.DrawFn) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Draw jobs with gaps in their numbers, and edges that lead deeper."""
    numbers = draw(st.lists(st.integers(0, 99), unique=True, max_size=40))
    depths = draw(st.lists(st.integers(0, 5), min_size=len(numbers), max_size=len(numbers)))
    depth = dict(zip(numbers, depths, strict=True))
    pairs = draw(st.lists(st.tuples(*[st.sampled_from(numbers)] * 2), max_size=60)) if numbers else []
    edges = sorted({(a, b) for a, b in pairs if depth[a] < depth[b]})
    schema = {"parent": pl.UInt32, "child": pl.UInt32}
    jobs = pl.DataFrame([numbers, depths], schema={"job": pl.UInt32, "depth": pl.UInt16})
    return jobs, pl.DataFrame(edges, schema=schema, orient="row")


def cut(jobs: pl.DataFrame, edges: pl.DataFrame, most: int) -> dict[int, int]:
    return dict(zip(jobs["job"], parts(jobs, edges, most), strict=True))


def connected(jobs: pl.DataFrame, edges: pl.DataFrame) -> list[set[int]]:
    """Give the components, the slow way."""
    groups = [{job} for job in jobs["job"]]
    for a, b in edges.iter_rows():
        one = next(g for g in groups if a in g)
        other = next(g for g in groups if b in g)
        if one is not other:
            one |= other
            groups.remove(other)
    return groups


@settings(max_examples=80)
@given(graphs(), st.integers(1, 12), st.sampled_from([0, 1, 8]))
def test_parts_hold_each_job_once_are_small_enough_and_wait_for_lower_ones(
    graph: tuple[pl.DataFrame, pl.DataFrame], most: int, rounds: int
) -> None:
    jobs, edges = graph
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cutting, "ROUNDS", rounds)
        part = cut(jobs, edges, most)
    assert len(part) == jobs.height
    sizes = [list(part.values()).count(number) for number in set(part.values())]
    assert set(part.values()) == set(range(len(sizes)))
    assert all(size <= most for size in sizes)
    assert all(part[a] <= part[b] for a, b in edges.iter_rows())


@given(graphs(), st.integers(1, 12), st.randoms(use_true_random=False))
def test_the_order_of_rows_says_nothing(
    graph: tuple[pl.DataFrame, pl.DataFrame], most: int, chance: random.Random
) -> None:
    jobs, edges = graph
    rows, pairs = list(range(jobs.height)), list(range(edges.height))
    chance.shuffle(rows)
    chance.shuffle(pairs)
    assert cut(jobs, edges, most) == cut(jobs[rows], edges[pairs], most)


@given(graphs(), st.integers(1, 12))
def test_what_is_connected_and_fits_stays_together(
    graph: tuple[pl.DataFrame, pl.DataFrame], most: int
) -> None:
    jobs, edges = graph
    part = cut(jobs, edges, most)
    for group in connected(jobs, edges):
        if len(group) <= most:
            assert len({part[job] for job in group}) == 1


@given(graphs(), st.integers(1, 6))
def test_every_file_that_crosses_is_named_and_no_other(
    graph: tuple[pl.DataFrame, pl.DataFrame], most: int
) -> None:
    jobs, edges = graph
    part = cut(jobs, edges, most)
    uses = [(job, f"made/{job}", True) for job in jobs["job"]]
    uses += [(child, f"made/{parent}", False) for parent, child in edges.iter_rows()]
    uses += [(job, "raw/1", False) for job in jobs["job"]]
    frame = pl.DataFrame(
        uses, schema={"job": pl.UInt32, "name": pl.String, "output": pl.Boolean}, orient="row"
    )
    placed = jobs.select("job", part=parts(jobs, edges, most))
    expected: dict[str, tuple[int, set[int]]] = {}
    for parent, child in edges.iter_rows():
        if part[parent] != part[child]:
            expected.setdefault(f"made/{parent}", (part[parent], set()))[1].add(part[child])
    found = {name: (maker, readers) for name, maker, readers in crossing(frame, placed).iter_rows()}
    assert found == {name: (maker, sorted(readers)) for name, (maker, readers) in expected.items()}
    pairs = set(between(edges, placed).iter_rows())
    assert pairs == {(maker, reader) for maker, readers in expected.values() for reader in readers}
    graphlib.TopologicalSorter({b: {a for a, c in pairs if c == b} for _, b in pairs}).prepare()


def test_chains_stay_whole_and_what_gathers_them_follows() -> None:
    # a bias (0) for all; isr and char of six visits; three coadds of two visits each; one summary
    depth = [0, *[1] * 6, *[2] * 6, *[3] * 3, 4]
    edges = [(0, 1 + v) for v in range(6)]
    edges += [(1 + v, 7 + v) for v in range(6)]
    edges += [(7 + v, 13 + v // 2) for v in range(6)]
    edges += [(13 + c, 16) for c in range(3)]
    jobs = pl.DataFrame({"job": range(17), "depth": depth})
    found = parts(jobs, pl.DataFrame(edges, schema=["parent", "child"], orient="row"), 5).to_list()
    assert found == [0, *[1, 1, 2, 2, 3, 3], *[1, 1, 2, 2, 3, 3], *[1, 2, 3], 4]


def test_a_chain_that_is_too_deep_for_any_survey_is_cut_too() -> None:
    n = 1000
    jobs = pl.DataFrame({"job": range(n), "depth": range(n)})
    edges = pl.DataFrame({"parent": range(n - 1), "child": range(1, n)})
    assert parts(jobs, edges, 300).to_list() == [k // 300 for k in range(n)]


@pytest.mark.parametrize(
    ("edge", "most", "match"),
    [((0, 7), 1, "not there"), ((1, 0), 1, "not deeper"), ((0, 1), 0, "one job at least")],
)
def test_what_is_no_plan_is_refused(edge: tuple[int, int], most: int, match: str) -> None:
    jobs = pl.DataFrame({"job": [0, 1], "depth": [0, 1]})
    with pytest.raises(ValueError, match=match):
        parts(jobs, pl.DataFrame([edge], schema=["parent", "child"], orient="row"), most)
