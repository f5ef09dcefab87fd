"""Reservations: of two plans that want one name under different recipes, never are both accepted."""

import threading

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import PlanRefusedError
from prestow.registry import reservations as res
from prestow.stores import Put, open_store
from prestow.stores.memory import MemoryStore

LOW, HIGH = "1" * 32, "e" * 32


def claim(names, plan="p", run="demo"):
    """Give a claim: name (a number) -> recipe (a byte)."""
    return res.pack(
        pa.array(list(names), pa.uint64()),
        pa.array([bytes([r]) * 8 for r in names.values()], pa.binary()),
        run,
        plan,
    )


def reserve(store, plan, names, run="demo", *, inside=True, free=lambda _: False, sleep=lambda _: None):
    return res.reserve(
        store,
        run,
        plan,
        lambda: claim(names, plan, run),
        inside=inside,
        shown=lambda hashes: [f"demo/{h}.fits" for h in sorted(hashes)],
        free=free,
        sleep=sleep,
    )


@pytest.fixture
def store(tmp_path):
    return open_store(f"file://{tmp_path}/store")


def names_in(store):
    return [name for name, _ in store.walk("_reservations")]


def test_a_plan_is_reserved_once(store):
    assert reserve(store, LOW, {1: 1, 2: 2}) is True
    assert reserve(store, LOW, {1: 1, 2: 2}) is False
    (held,) = res.reservations(store)
    assert (held.run, held.plan, held.inside, held.accepted) == ("demo", LOW, True, True)
    assert len(names_in(store)) == 2


def test_a_second_plan_with_another_recipe_is_refused_and_leaves_nothing(store):
    reserve(store, LOW, {1: 1, 2: 2, 3: 3, 4: 4, 5: 5})
    before = names_in(store)
    with pytest.raises(PlanRefusedError) as caught:
        reserve(store, HIGH, {1: 1, 2: 9, 3: 9, 4: 9, 5: 9})
    (problem,) = caught.value.problems
    assert problem.code == "PST-P031"
    assert LOW[:8] in problem.what
    assert HIGH[:8] in problem.what
    assert "demo/2.fits, demo/3.fits, demo/4.fits and 1 more" in problem.what
    assert problem.fix.endswith(f"prestow drop {LOW[:8]}")
    assert names_in(store) == before


def test_the_same_file_by_the_same_recipe_is_no_clash(store):
    reserve(store, LOW, {1: 1, 2: 2})
    assert reserve(store, HIGH, {2: 2, 3: 3})


def test_names_of_other_runs_count_where_they_could_be_equal(store):
    reserve(store, LOW, {1: 1}, run="Demo")
    reserve(store, "2" * 32, {1: 7}, run="other")  # each inside its own run
    with pytest.raises(PlanRefusedError):
        reserve(store, HIGH, {1: 2}, run="demo")  # one directory, where case is not told apart
    with pytest.raises(PlanRefusedError):
        reserve(store, HIGH, {1: 2}, run="third", inside=False)
    reserve(store, HIGH, {5: 5}, run="third", inside=False)
    with pytest.raises(PlanRefusedError):
        reserve(store, "3" * 32, {5: 6}, run="fourth")


def test_what_is_released_can_be_had_by_others(store):
    reserve(store, LOW, {1: 1})
    assert res.release(store, "demo", LOW) is True
    assert res.release(store, "demo", LOW) is False
    assert names_in(store) == []
    assert reserve(store, HIGH, {1: 2})
    assert res.release_run(store, "demo") == 1
    assert res.reservations(store) == ()


def test_what_is_settled_is_released_when_somebody_wants_the_name(store):
    reserve(store, LOW, {1: 1, 2: 2})
    settled = pa.table({"planned_recipe": pa.array([bytes([1]) * 16, bytes([2]) * 16], pa.binary())})
    assert res.release_settled(store, "demo", settled.slice(0, 1)) == ()
    asked = []

    def free(run):
        asked.append(run)
        return bool(res.release_settled(store, run, settled))

    assert reserve(store, HIGH, {1: 9}, free=free)
    assert asked == ["demo"]
    assert [held.plan for held in res.reservations(store)] == [HIGH]


def test_a_dry_look_reserves_nothing(store):
    reserve(store, LOW, {1: 1})
    before = names_in(store)

    def look(names):
        res.refuse_clashes(
            store, "demo", HIGH, claim(names), inside=True, shown=lambda h: [str(x) for x in h]
        )

    look({1: 1, 2: 2})
    with pytest.raises(PlanRefusedError, match="PST-P031"):
        look({1: 2})
    assert names_in(store) == before


def test_a_claim_that_a_killed_plan_left_holds_until_it_is_dropped_or_planned_again(store):
    name = f"_reservations/demo/{LOW}.abc.inside"
    store.put_if_absent(name, claim({1: 1}))
    with pytest.raises(PlanRefusedError, match="is reserving at this moment"):
        reserve(store, HIGH, {1: 2})
    assert reserve(store, LOW, {1: 1})
    res.release(store, "demo", LOW)
    assert names_in(store) == []
    assert reserve(store, HIGH, {1: 2})


def test_a_put_whose_answer_is_lost_counts():
    class Lost(MemoryStore):
        def put_if_absent(self, name, data):
            super().put_if_absent(name, data)
            return Put.UNKNOWN

    store = Lost("memory://lost-answers")
    assert reserve(store, LOW, {1: 1})
    with pytest.raises(PlanRefusedError):
        reserve(store, HIGH, {1: 2})


class Stepping:
    """A store whose calls wait for their turn: the schedule says who goes next."""

    def __init__(self, store, schedule, players):
        self.store, self.schedule, self.players = store, list(schedule), set(players)
        self.turn = threading.Condition()
        self.waiting = set()

    def step(self, who):
        with self.turn:
            self.waiting.add(who)
            self.turn.notify_all()
            self.turn.wait_for(lambda: self.waiting >= self.players and self.next() == who, timeout=20)
            self.waiting.discard(who)
            if self.schedule:
                self.schedule.pop(0)
            self.turn.notify_all()

    def next(self):
        while self.schedule and self.schedule[0] not in self.players:
            self.schedule.pop(0)
        return self.schedule[0] if self.schedule else min(self.players)

    def leave(self, who):
        with self.turn:
            self.players.discard(who)
            self.turn.notify_all()


class View:
    """One planner's view of a stepping store."""

    def __init__(self, stepping, who):
        self._stepping, self._who = stepping, who
        self.uri = stepping.store.uri

    def __getattr__(self, name):
        def call(*args):
            self._stepping.step(self._who)
            found = getattr(self._stepping.store, name)(*args)
            return iter(list(found)) if name == "walk" else found

        return call

    def walk(self, prefix=""):
        self._stepping.step(self._who)
        return iter(list(self._stepping.store.walk(prefix)))


@given(st.lists(st.sampled_from("ab"), max_size=40), st.booleans())
@settings(max_examples=120, deadline=None)
def test_in_no_order_of_steps_are_both_accepted(schedule, swapped):
    store = MemoryStore("memory://race")
    for name, _ in list(store.walk()):
        store.delete(name)
    stepping = Stepping(store, schedule, "ab")
    plans = {"a": HIGH if swapped else LOW, "b": LOW if swapped else HIGH}
    outcome = {}

    def plan(who, recipe):
        try:
            # Who waits lets the other go on: it is that one's turn then.
            reserve(
                View(stepping, who),
                plans[who],
                {1: recipe},
                sleep=lambda _: stepping.schedule.insert(0, "ab"[who == "a"]),
            )
            outcome[who] = "accepted"
        except PlanRefusedError:
            outcome[who] = "refused"
        finally:
            stepping.leave(who)

    threads = [threading.Thread(target=plan, args=(who, n)) for n, who in enumerate("ab")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    accepted = [who for who in "ab" if outcome[who] == "accepted"]
    assert len(accepted) == 1  # never both; and one of them, since the other gives way
    assert [held.plan for held in res.reservations(store)] == [plans[who] for who in accepted]
