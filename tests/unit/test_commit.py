"""Settle and promote over real stores, with the answers that real stores give on bad days."""

import hashlib
from dataclasses import replace

import pytest

from prestow import commit
from prestow.commit import Promoted, aside_name, clean, promote, read_receipt, receipt_name, settle
from prestow.errors import StoreError
from prestow.manifest import Receipt, ReceiptOutput
from prestow.stores import Put
from prestow.stores.file import FileStore
from prestow.stores.memory import MemoryStore

Q = "0f000000-0000-5000-8000-000000000000"
NAME = receipt_name("run", "isr", Q)


class Deaf:
    """A store that does the first puts, and then says something else."""

    def __init__(self, store, *answers, done=True):
        self._store = store
        self._answers = list(answers)
        self._done = done

    def __getattr__(self, name):
        return getattr(self._store, name)

    def put_if_absent(self, name, data):
        if not self._answers:
            return self._store.put_if_absent(name, data)
        if self._done:
            self._store.put_if_absent(name, data)
        return self._answers.pop(0)


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path):
    if request.param == "file":
        return FileStore(f"file://{tmp_path}/store")
    found = MemoryStore(f"memory://{tmp_path}")
    found.restore({})
    return found


def made(attempt, data=b"pixels"):
    output = ReceiptOutput(
        "d", "isr", {"visit": 1}, "json", "run/isr.json", "made", aside_name(Q, attempt, 0), len(data),
        hashlib.sha256(data).hexdigest(), "c",
    )  # fmt: skip
    return Receipt(
        Q, "isr", "run", {"visit": 1}, "job", "made", "p" * 32, "p" * 32, attempt, outputs=(output,)
    )


def put_aside(store, receipt, data=b"pixels"):
    with store.create(receipt.outputs[0].aside) as sink:
        sink.write(data)


def test_the_first_receipt_wins_and_everybody_gets_it(store):
    first = settle(store, made("A"))
    second = settle(store, made("B", b"other"))

    assert first == (made("A"), True)
    assert second == (made("A"), False)
    assert read_receipt(store, NAME) == made("A")


@pytest.mark.parametrize("answer", [Put.EXISTS, Put.UNKNOWN])
def test_the_winner_knows_that_it_won_when_the_answer_is_lost(store, answer):
    winner, mine = settle(Deaf(store, answer), made("A"), sleep=lambda _: None)

    assert (winner, mine) == (made("A"), True)


def test_a_put_that_never_happened_is_done_again(store):
    winner, mine = settle(Deaf(store, Put.UNKNOWN, Put.UNKNOWN, done=False), made("A"), sleep=lambda _: None)

    assert mine
    assert read_receipt(store, NAME) == winner


def test_a_store_that_neither_takes_nor_shows_a_receipt_is_an_error_with_its_place(store):
    waits = []

    with pytest.raises(StoreError) as caught:
        settle(Deaf(store, *[Put.EXISTS] * 99, done=False), made("A"), sleep=waits.append)

    assert caught.value.problems[0].code == "PST-R001"
    assert NAME in str(caught.value)
    assert sum(waits) >= 60  # as long as a network file system may hide a name


def test_a_receipt_that_is_no_receipt_is_an_error_and_stays(store):
    store.put_if_absent(NAME, b"{}")

    with pytest.raises(StoreError, match="not a receipt"):
        settle(store, made("A"))
    assert store.read(NAME) == b"{}"


def test_a_late_seal_does_not_undo_a_success_nor_the_other_way_round(store):
    lost = replace(made("A"), state="lost", attempt=None, sealer="engine", outputs=())

    assert settle(store, lost) == (lost, True)
    assert settle(store, made("B")) == (lost, False)
    assert settle(store, lost) == (lost, True)  # the engine's own, said twice


def test_promoting_moves_once_and_then_finds_it_done(store):
    receipt, _ = settle(store, made("A")) if not put_aside(store, made("A")) else None

    assert [p.result for p in promote(store, receipt)] == [Promoted.MOVED]
    assert [p.result for p in promote(store, receipt)] == [Promoted.DONE]
    assert store.read("run/isr.json") == b"pixels"
    assert store.size(receipt.outputs[0].aside) is None


def test_debris_at_a_planned_name_gives_way_to_what_is_committed(store):
    for junk in (b"junk", b"PIXELS"):  # of another size, and of the same
        with store.create("run/isr.json") as sink:
            sink.write(junk)
        put_aside(store, made("A"))

        promote(store, made("A"))

        assert store.read("run/isr.json") == b"pixels"


def test_bytes_that_are_nowhere_are_to_restore_unless_deleted_on_purpose(store):
    assert [p.result for p in promote(store, made("A"))] == [Promoted.TO_RESTORE]
    assert [p.result for p in promote(store, made("A"), deleted={"d"})] == [Promoted.DELETED]


def test_what_was_not_made_promotes_nothing(store):
    assert promote(store, replace(made("A"), state="lost")) == []


def test_an_unsettled_aside_is_never_cleaned_however_old(store):
    put_aside(store, made("A"))

    assert clean(store) == ()
    assert store.read(made("A").outputs[0].aside) == b"pixels"


def test_cleaning_takes_the_losers_aside_and_leaves_the_winners_until_promoted(store):
    for attempt in "AB":
        put_aside(store, made(attempt))
    settle(store, made("A"))

    assert clean(store) == (aside_name(Q, "B", 0),)
    promote(store, made("A"))
    put_aside(store, made("A"))  # left behind by a copy that was cut short

    assert clean(store) == (aside_name(Q, "A", 0),)
    assert store.read("run/isr.json") == b"pixels"


def test_an_attempt_that_slept_while_it_was_cleaned_can_still_commit(store):
    put_aside(store, made("A"))
    clean(store)
    winner, mine = settle(store, made("A"))

    assert mine
    assert [p.result for p in promote(store, winner)] == [Promoted.MOVED]


def test_cleaning_can_be_held_to_some_runs(store):
    for attempt in "AB":
        put_aside(store, made(attempt))
    settle(store, made("A"))

    assert clean(store, runs=["another"]) == ()
    assert clean(store, runs=["run"]) == (aside_name(Q, "B", 0),)


def test_names_are_a_function_of_the_quantum_and_not_of_job_or_plan():
    assert NAME == f"_receipts/run/isr/0f/{Q}.json"
    assert aside_name(Q, "A", 2) == f"_aside/{Q}/A/2"
    assert commit.report_name("isr-1", "A") == "_attempts/isr-1/A.json"
