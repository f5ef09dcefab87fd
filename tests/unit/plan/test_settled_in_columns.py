"""What is settled, in columns: ids matched by short keys, states by row, the registry beside receipts."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.engines.submission import Submission
from prestow.errors import PlanRefusedError
from prestow.model import State
from prestow.plan import open_plan, write_plan
from prestow.plan.matched_ids import match_ids, words_of
from prestow.plan.settled import read_settled
from prestow.plan.states import RowSet, States
from prestow.stores import open_store
from prestow.testing.surveys import UNIVERSE, Request, Survey, build_plan, reduction

# Ids of few beginnings, so that short keys are equal where ids are not.
ids = st.builds(lambda a, b: bytes([a]) * 8 + bytes([b]) * 8, st.integers(0, 3), st.integers(0, 5))


@settings(deadline=None, max_examples=40)
@given(st.lists(ids, unique=True), st.lists(ids, unique=True))
def test_ids_are_matched_as_a_join_matches_them(left, right):
    ours, theirs = match_ids(*(words_of(pl.Series("id", x, pl.Binary)) for x in (left, right)))
    expected = [(i, right.index(one)) for i, one in enumerate(left) if one in right]
    assert list(zip(ours.tolist(), theirs.tolist(), strict=True)) == expected


def test_a_column_that_begins_later_keeps_its_rows():
    column = pl.Series("id", [bytes([i]) * 16 for i in range(5)])
    assert words_of(column.slice(2)).tolist() == words_of(column).tolist()[2:]


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(st.integers(0, 9), st.sampled_from([State.MADE, State.LOST, State.BLOCKED])))
def test_states_behave_as_a_dictionary(known):
    states = States(10)
    states.update(known)
    assert states == known
    assert {row: states.get(row) for row in range(10)} == {row: known.get(row) for row in range(10)}
    for row in known:
        del states[row]
    assert not states


@settings(deadline=None, max_examples=40)
@given(st.sets(st.integers(0, 9)), st.sets(st.integers(0, 9)))
def test_sets_of_rows_behave_as_sets(one, other):
    rows = RowSet.of(one, 10)
    assert (rows, len(rows)) == (one, len(one))
    assert rows - RowSet.of(other, 10) == one - other
    assert [row for row in range(10) if row in rows] == sorted(one)


class Registered:
    """A registry that has taken in these quanta of a plan."""

    def __init__(self, plan, rows, state="made", recipe=None):
        quanta = plan.tables["quanta"][list(rows)]
        planned = quanta["recipe"] if recipe is None else pl.Series([recipe] * quanta.height, dtype=pl.Binary)
        self.table = pl.DataFrame({"id": quanta["id"], "planned_recipe": planned}).with_columns(
            state=pl.lit(state)
        )

    def settled(self, run):
        assert run == "demo"
        return self.table.to_arrow().cast(self._schema())

    @staticmethod
    def _schema():
        import pyarrow as pa

        return pa.schema({"id": pa.binary(), "planned_recipe": pa.binary(), "state": pa.string()})


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    made = build_plan(Request("demo", reduction(), UNIVERSE, ("raw",)), Survey.make(4, 3))
    return open_plan(write_plan(made, tmp_path_factory.mktemp("plans")))


@pytest.fixture
def store(tmp_path: Path):
    return open_store(f"file://{tmp_path}")


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_what_remains_is_what_nobody_settled_or_has_elsewhere(plan, tmp_path_factory, data):
    rows = range(plan.tables["quanta"].height)
    known, taken = (data.draw(st.sets(st.sampled_from(rows))) for _ in range(2))
    store = open_store(f"file://{tmp_path_factory.mktemp('store')}")
    settled = read_settled(plan, store, registry=Registered(plan, sorted(known)))
    reuse = pl.DataFrame(
        {"quantum": sorted(taken), "dataset": sorted(taken), "sha256": ["x"] * len(taken)},
        {"quantum": pl.UInt32, "dataset": pl.UInt32, "sha256": pl.String},
    )
    only = data.draw(st.sets(st.sampled_from(["isr", "align", "coadd", "measure"])))
    submission = Submission.of(plan, settled, reuse=reuse, only=sorted(only))
    # The same, a quantum at a time.
    left = [row for row in rows if row not in known and row not in taken]
    maker = dict(enumerate(plan.tables["datasets"]["producer"].to_list()))
    reads: dict[int, set[int]] = {row: set() for row in rows}
    for quantum, dataset in plan.tables["inputs"].select("quantum", "dataset").iter_rows():
        if maker[dataset] is not None:
            reads[quantum].add(maker[dataset])
    tasks, job = (plan.tables["quanta"][name].to_list() for name in ("task", "job"))
    wanted = {row for row in left if not only or tasks[row] in only}
    for row in reversed(rows):
        if row in wanted:
            wanted |= reads[row] & set(left)
    assert submission.rows == sorted(wanted)
    assert submission.unasked == sorted(set(left) - wanted)
    assert submission.jobs == sorted({job[row] for row in wanted})
    waits: dict[int, set[int]] = {}
    for row in left:
        for producer in reads[row] & set(left):
            if job[producer] != job[row]:
                waits.setdefault(job[row], set()).add(producer)
    assert submission.waits == {j: sorted(producers) for j, producers in waits.items()}


def test_another_recipe_in_the_registry_is_refused(plan, store):
    with pytest.raises(PlanRefusedError) as caught:
        read_settled(plan, store, registry=Registered(plan, range(12), recipe=bytes(16)))
    assert {problem.code for problem in caught.value.problems} == {"PST-P005"}
    assert "and 2 quanta more" in caught.value.problems[-1].what
    assert bytes(16).hex() in caught.value.problems[0].what


def test_a_state_that_is_unknown_is_looked_up_in_the_receipts(plan, store):
    settled = read_settled(plan, store, registry=Registered(plan, range(3), state="odd"))
    assert not settled.states
    assert len(Submission.of(plan, settled).rows) == plan.tables["quanta"].height
    assert np.count_nonzero(settled.states.codes) == 0
