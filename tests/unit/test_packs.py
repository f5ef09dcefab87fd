"""Packed receipts are read as single ones are, whoever packs, comes late, or looks meanwhile."""

from dataclasses import replace

import pytest

from prestow import commit, packs
from prestow.commit import each_receipt, read_receipt, receipt_name, receipt_names, receipt_texts, settle
from prestow.errors import IngestError, StoreError
from prestow.ingest import packing
from prestow.ingest.packing import remove_singles, write_packs
from prestow.manifest import Receipt
from prestow.model.hashing import quantum_id
from prestow.stores.file import FileStore
from prestow.stores.memory import MemoryStore


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path):
    if request.param == "file":
        return FileStore(f"file://{tmp_path}/store")
    found = MemoryStore(f"memory://{tmp_path}")
    found.restore({})
    return found


def receipt(number, task="isr", attempt="A"):
    data_id = {"visit": number}
    quantum = quantum_id(task, "run", data_id)
    return Receipt(quantum, task, "run", data_id, "job", "declined", "p" * 32, None, attempt)


def settled(store, count, task="isr"):
    found = [receipt(number, task) for number in range(count)]
    for one in found:
        settle(store, one)
    return found


def name_of(one):
    return receipt_name(one.run, one.task, one.quantum)


def everything(store):
    return list(receipt_names(store, "run")), dict(each_receipt(store, "run"))


def test_what_is_packed_is_read_as_before(store, monkeypatch):
    monkeypatch.setattr(packing, "SIZE", 5000)  # several packs
    made = [*settled(store, 40), *settled(store, 7, "warp")]
    before = everything(store)

    packed = write_packs(store, "run")

    assert everything(store) == before
    assert remove_singles(store, packed) == (47, 0)
    assert everything(store) == before
    assert len(packed.packs) > 2
    assert len(packed) == 47
    assert before[0] == sorted(map(name_of, made))
    assert {name_of(one): one for one in made} == before[1]
    assert [read_receipt(store, name_of(one)) for one in made] == made
    absent = name_of(receipt(99))
    assert read_receipt(store, absent) is None
    names = [before[0][3], absent, before[0][0]]
    assert [data is None for _, data in receipt_texts(store, "run", names)] == [False, True, False]
    assert {name for name, _ in store.walk("_receipts")} == {
        packs.index_name("run"),
        *(p.name for p in packed.packs),
    }


def test_a_run_that_nothing_is_packed_of_has_its_single_files(store):
    made = settled(store, 3)

    assert everything(store)[1] == {name_of(one): one for one in made}
    assert everything(MemoryStore("memory://nothing-at-all")) == ([], {})


def test_a_late_attempt_of_a_packed_quantum_loses_and_leaves_nothing(store):
    (winner, *_) = settled(store, 3)
    remove_singles(store, write_packs(store, "run"))

    answer, mine = settle(store, replace(winner, attempt="late"))

    assert (answer, mine) == (winner, False)
    assert store.size(name_of(winner)) is None
    assert settle(store, winner) == (winner, True)  # its own, told again after a lost answer


def test_what_a_killed_late_attempt_has_put_never_counts_and_goes(store):
    (winner, *_) = settled(store, 3)
    packed = write_packs(store, "run")
    remove_singles(store, packed)
    store.put_if_absent(name_of(winner), replace(winner, attempt="late").to_json().encode())

    assert read_receipt(store, name_of(winner)) == winner
    assert dict(each_receipt(store, "run"))[name_of(winner)] == winner
    assert len(list(receipt_names(store, "run"))) == 3
    assert remove_singles(store, packed) == (1, 1)
    assert store.size(name_of(winner)) is None


def test_a_quantum_that_no_pack_has_is_settled_by_a_single_file(store):
    settled(store, 3)
    remove_singles(store, write_packs(store, "run"))
    late = receipt(77)

    assert settle(store, late) == (late, True)
    assert read_receipt(store, name_of(late)) == late
    assert name_of(late) in everything(store)[0]
    assert len(everything(store)[1]) == 4


@pytest.mark.parametrize("calls", range(1, 14))
def test_a_run_that_is_packed_while_it_is_listed_is_listed_whole_and_once(tmp_path, monkeypatch, calls):
    """At each call of the reader the other does all of its work at once."""
    monkeypatch.setattr(commit, "_AT_ONCE", 4)
    store = MemoryStore(f"memory://{tmp_path}/raced")
    store.restore({})
    made = settled(store, 10)
    other = MemoryStore(store.uri)
    seen = 0

    def packs_now(operation, name):
        nonlocal seen
        seen += 1
        if seen == calls:
            remove_singles(other, write_packs(other, "run"))

    store.on_call = packs_now

    assert [one for _, one in each_receipt(store, "run")] == sorted(made, key=name_of)
    assert seen >= calls


def test_what_is_no_receipt_is_told_and_the_rest_goes_on(store):
    made = settled(store, 2)
    strange = "_receipts/run/isr/00/00torn.json"
    store.put_if_absent(strange, b'{"schema":')
    told = []

    found = dict(
        each_receipt(store, "run", wrong=lambda name, error: told.append((name, error.problems[0].code)))
    )

    assert set(found) == {name_of(one) for one in made}
    assert told == [(strange, "PST-R001")]
    with pytest.raises(StoreError):
        list(each_receipt(store, "run"))


@pytest.mark.parametrize("damage", ["index", "pack", "gone"])
def test_a_damaged_pack_is_told_and_never_taken_for_an_absence(tmp_path, damage):
    store = FileStore(f"file://{tmp_path}")
    (one, *_) = settled(store, 5)
    packed = write_packs(store, "run")
    remove_singles(store, packed)
    path = store.local_path(packs.index_name("run") if damage == "index" else packed.packs[0].name)
    data = path.read_bytes()
    path.unlink()
    if damage != "gone":
        path.write_bytes(data.replace(b'"A"', b'"B"') if damage == "pack" else data[:-9])

    for look in (lambda: read_receipt(store, name_of(one)), lambda: list(each_receipt(store, "run"))):
        with pytest.raises(StoreError) as caught:
            look()
        assert caught.value.problems[0].code == "PST-R001"


def test_a_pack_that_cannot_be_read_back_removes_nothing(tmp_path):
    class Forgetful(MemoryStore):
        """Says yes, and keeps other bytes."""

        def put_if_absent(self, name, data):
            return super().put_if_absent(name, data[:-1] if name.endswith(".pack") else data)

    store = Forgetful(f"memory://{tmp_path}/forgetful")
    store.restore({})
    settled(store, 4)

    with pytest.raises(IngestError) as caught:
        write_packs(store, "run")

    assert caught.value.problems[0].code == "PST-I033"
    assert not packs.is_packed(store, "run")
    assert len(list(receipt_names(store, "run"))) == 4


def test_asides_of_a_packed_run_are_cleaned_and_no_others(store):
    (one, *_) = settled(store, 2)
    remove_singles(store, write_packs(store, "run"))
    for quantum in (one.quantum, receipt(55).quantum):
        with store.create(commit.aside_name(quantum, "late", 0)) as sink:
            sink.write(b"x")

    assert commit.clean(store) == (commit.aside_name(one.quantum, "late", 0),)
