"""Closing a run is killed at each of its calls of the store: nothing is lost, and the next call ends it."""

from dataclasses import replace

import pytest

from prestow import packs
from prestow.commit import each_receipt, read_receipt, receipt_name, settle
from prestow.ingest import packing
from prestow.ingest.packing import remove_singles, write_packs
from prestow.manifest import Receipt
from prestow.model.hashing import quantum_id
from prestow.stores.memory import MemoryStore

COUNT = 12


class Killed(BaseException):
    """As SIGKILL: nothing is tidied up."""


def close(store):
    found = packs.Packed.of(store, "run")
    remove_singles(store, found if found is not None else write_packs(store, "run"))


def receipts():
    for number in range(COUNT):
        data_id = {"visit": number}
        quantum = quantum_id("isr", "run", data_id)
        yield Receipt(quantum, "isr", "run", data_id, "job", "declined", "p" * 32, None, "A")


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "SIZE", 1500)
    found = MemoryStore(f"memory://{tmp_path}/killed")
    found.restore({})
    for one in receipts():
        settle(found, one)
    return found


def killed_at(store, last, act):
    """Do something, and die before call number ``last``; say whether it died."""
    seen = 0

    def step(operation, name):
        nonlocal seen
        if seen == last:
            raise Killed
        seen += 1

    store.on_call = step
    try:
        act(store)
    except Killed:
        return True
    finally:
        store.on_call = None
    return False


def test_killed_at_any_call_everybody_sees_what_was_settled_and_the_next_call_ends_it(store):
    begin = store.snapshot()
    wanted = list(each_receipt(store, "run"))
    close(store)
    end = store.snapshot()
    late = replace(wanted[5][1], attempt="late")
    number = 0

    while True:
        store.restore(begin)
        if not killed_at(store, number, close):
            break
        number += 1
        assert list(each_receipt(store, "run")) == wanted
        assert all(read_receipt(store, name) == one for name, one in wanted)
        # a late attempt loses, whether its quantum is packed or not
        assert settle(store, late) == (wanted[5][1], False)
        # and what one that was killed has put does not count, nor stay
        if packs.is_packed(store, "run"):
            store.put_if_absent(wanted[5][0], late.to_json().encode())
            assert dict(each_receipt(store, "run"))[wanted[5][0]] == wanted[5][1]
        close(store)
        assert store.snapshot() == end

    assert number > 4 * COUNT
    assert packs.is_packed(store, "run")


def test_two_who_close_at_once_come_to_one_end(store):
    begin = store.snapshot()
    close(store)
    end = store.snapshot()
    other = MemoryStore(store.uri)
    number, met = 0, True

    while met:
        store.restore(begin)
        seen = met = 0

        def step(operation, name):
            nonlocal seen, met
            if seen == number and not met:  # noqa: B023 - used up in this turn
                met = 1
                close(other)
            seen += 1

        store.on_call = step
        close(store)
        store.on_call = None
        number += 1
        close(store)
        assert store.snapshot() == end

    assert number > 4 * COUNT


def test_a_late_attempt_killed_at_any_call_changes_nothing(store):
    (name, winner), *_ = each_receipt(store, "run")
    close(store)
    begin = store.snapshot()
    number = 0

    while True:
        store.restore(begin)
        if not killed_at(store, number, lambda there: settle(there, replace(winner, attempt="late"))):
            break
        number += 1
        assert read_receipt(store, name) == winner
        close(store)
        assert store.snapshot() == begin

    assert number >= 4
    assert receipt_name(winner.run, winner.task, winner.quantum) == name
