"""Landings are committed where the store is seen: by their claims, parents first, whatever an engine left there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from prestow.commit import clean, each_receipt, landing_name, read_receipt, receipt_name, settle
from prestow.errors import CODES
from prestow.ingest.landing import Landed, land
from prestow.ingest.landing_folder import landings
from prestow.manifest import Receipt, ReceiptInput, ReceiptOutput
from prestow.model.flat import flat_name
from prestow.model.hashing import quantum_id, sha256_hex
from prestow.stores import Store, open_store
from prestow.tombstone import tombstone_of

RUN, PLAN = "demo", "0f" * 16
FOLDER = landing_name(PLAN, 1)


class Landing:
    """What an engine lands: claims, products and tombstones, as executions left them."""

    def __init__(self, store: Store, submission: int = 1, *, flat: bool = False) -> None:
        self.store = store
        self.folder = landing_name(PLAN, submission)
        self.name: Callable[[str], str] = flat_name if flat else str

    def put(self, name: str, data: bytes) -> None:
        path = self.store.local_path(f"{self.folder}/{self.name(name)}")  # type: ignore[attr-defined]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def quantum(
        self, task: str, visit: int, attempt: str = "A", *, data: str | None = "", inputs: tuple[Receipt, ...] = (),
        state: str = "made", files: bool = True,
    ) -> Receipt:  # fmt: skip
        """Land one quantum with one output, made with these bytes; ``data`` None: another state."""
        claim = claim_of(task, visit, attempt, data=data, inputs=inputs, state=state)
        if files:
            content = bytes_of(task, visit, attempt, data)
            stone = tombstone_of(claim, dataset(task, visit), task, {"visit": visit}).to_json().encode()
            self.put(path_of(task, visit), content if claim.state == "made" else stone)
        self.put(receipt_name(RUN, task, claim.quantum), claim.to_json().encode())
        return claim


def dataset(task: str, visit: int) -> str:
    return quantum_id(f"{task}-product", RUN, {"visit": visit})


def path_of(task: str, visit: int) -> str:
    return f"{RUN}/{task}/{visit}.json"


def bytes_of(task: str, visit: int, attempt: str, data: str | None) -> bytes:
    return (data or f"{task}{visit} of {attempt}").encode()


def claim_of(
    task: str, visit: int, attempt: str = "A", *, data: str | None = "", inputs: tuple[Receipt, ...] = (), state: str = "made"
) -> Receipt:  # fmt: skip
    outputs: tuple[ReceiptOutput, ...] = ()
    if state == "made":
        content = bytes_of(task, visit, attempt, data)
        outputs = (
            ReceiptOutput(
                dataset(task, visit), task, {"visit": visit}, "json", path_of(task, visit), "made", None, len(content),
                sha256_hex(content), "c",
            ),
        )  # fmt: skip
    given = tuple(
        ReceiptInput(
            "x", dataset(i.task, int(i.data_id["visit"])), i.task, i.data_id, RUN, i.state, i.code,
            i.outputs[0].sha256 if i.outputs else None, "P", i.actual_recipe,
        )
        for i in inputs
    )  # fmt: skip
    quantum = quantum_id(task, RUN, {"visit": visit})
    recipe = None if state in ("lost", "blocked") else "A"
    return Receipt(
        quantum, task, RUN, {"visit": visit}, f"{task}-{visit}", state, "P", recipe, attempt=attempt, inputs=given,
        outputs=outputs,
    )  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(f"file://{tmp_path}/store")


def go(store: Store, submission: int = 1, **options: object) -> Landed:
    found = land(store, PLAN, submission, **options)  # type: ignore[arg-type]
    assert all(p.code in CODES for p in found.findings)
    return found


def products(store: Store) -> dict[str, bytes]:
    return {name: store.read(name) for name, _ in store.walk(RUN)}  # type: ignore[attr-defined]


def left(store: Store) -> list[str]:
    return [name for name, _ in store.walk("_landing")]  # type: ignore[attr-defined]


def codes(landed: Landed) -> list[str]:
    return sorted(p.code for p in landed.findings)


@pytest.mark.parametrize("flat", [False, True], ids=["tree", "flat"])
@pytest.mark.parametrize("threads", [1, 8])
def test_a_whole_landing_is_committed_and_nothing_is_left(store: Store, flat: bool, threads: int) -> None:
    landing = Landing(store, flat=flat)
    visits = range(1, 21)
    first = {
        visit: landing.quantum(
            "z_first", visit, state="declined" if visit == 3 else "lost" if visit == 4 else "made"
        )
        for visit in visits
    }
    second = [
        landing.quantum("second", visit, inputs=(first[visit],)) for visit in visits if visit not in (3, 4)
    ]
    landing.quantum("second", 3, inputs=(first[3],), state="declined")
    landing.quantum("second", 4, inputs=(first[4],), state="blocked")
    landing.quantum("a_gather", 0, inputs=(*second, first[3], first[4]))
    assert landings(store) == [(PLAN, 1)]
    landed = go(store, threads=threads)
    assert dict(landed.states) == {"made": 37, "declined": 2, "lost": 1, "blocked": 1}
    assert landed.findings == ()
    assert left(store) == []
    assert landings(store) == []
    assert len(products(store)) == 37
    receipts = [receipt for _, receipt in each_receipt(store, RUN)]
    assert {(r.attempt, r.sealer) for r in receipts} == {("A", None)}
    assert all(str(o.aside).startswith(f"{FOLDER}/") for r in receipts for o in r.outputs)
    assert go(store).committed == 0


def test_the_bytes_of_two_executions_are_not_committed_and_are_named(store: Store) -> None:
    landing = Landing(store)
    landing.quantum("part", 1, "A")
    landing.put(path_of("part", 1), b"part1 of B")
    landing.quantum("part", 2, "A", files=False)
    landing.quantum("part", 3, "A")
    landing.put(path_of("part", 3), b"part3 o")
    claim = landing.quantum("part", 4, "A")
    stone = tombstone_of(replace(claim, state="lost"), dataset("part", 4), "part", {"visit": 4})
    landing.put(path_of("part", 4), stone.to_json().encode())
    whole = landing.quantum("part", 5, "A")
    before = left(store)
    landed = go(store)
    assert dict(landed.states) == {"made": 1}
    assert codes(landed) == ["PST-I040", "PST-I041", "PST-I041", "PST-I041"]
    told = {p.where: p.what for p in landed.findings}
    assert "other bytes" in told["part{visit=1}"]
    assert "has not landed" in told["part{visit=2}"]
    assert "7 bytes" in told["part{visit=3}"]
    assert "a tombstone of another execution (lost)" in told["part{visit=4}"]
    assert products(store) == {path_of("part", 5): b"part5 of A"}
    assert left(store) == [n for n in before if n not in (f"{FOLDER}/{path_of('part', 5)}", f"{FOLDER}/{receipt_name(RUN, 'part', whole.quantum)}")]  # fmt: skip
    landing.put(path_of("part", 1), b"part1 of A")  # the rest of it comes
    landing.put(path_of("part", 2), b"part2 of A")
    assert dict(go(store).states) == {"made": 2}


def test_a_child_of_bytes_that_were_not_committed_is_not_either(store: Store) -> None:
    elsewhere = claim_of("part", 1, "S", data="settled by somebody else")
    settle(
        store, replace(elsewhere, outputs=tuple(replace(o, aside="_aside/q/S/0") for o in elsewhere.outputs))
    )
    landing = Landing(store)
    part = landing.quantum("part", 1, "A")
    child = landing.quantum("child", 1, inputs=(part,))
    landing.quantum("grandchild", 1, inputs=(child,))
    same = landing.quantum("part", 2, "A")
    landing.quantum("child", 2, inputs=(same,))
    landed = go(store)
    assert dict(landed.states) == {"made": 2}
    assert (landed.elsewhere, landed.differing) == (1, 1)
    assert {p.where: p.code for p in landed.findings} == {
        "child{visit=1}": "PST-I021",
        "grandchild{visit=1}": "PST-I043",
    }
    assert read_receipt(store, receipt_name(RUN, "child", child.quantum)) is None
    (difference,) = [n for n, _ in store.walk("_differences")]  # type: ignore[attr-defined]
    assert json.loads(store.read(difference))["attempt"]["attempt"] == "A"
    (report,) = [n for n, _ in store.walk("_attempts/child-1")]  # type: ignore[attr-defined]
    (failure,) = json.loads(store.read(report))["quanta"][0]["failures"]
    assert failure["code"] == "PST-I021"


@pytest.mark.parametrize("with_plan", [False, True])
@pytest.mark.parametrize("parent", ["made", "declined", "lost"])
def test_parents_of_an_earlier_submission_are_held_to_their_receipts(
    store: Store, with_plan: bool, parent: str
) -> None:
    first = Landing(store, 1)
    part = first.quantum("part", 1, "A", state=parent)
    other = first.quantum("part", 2, "A")
    assert go(store, 1).committed == 2
    asked: list[str] = []

    def producers(datasets: object) -> dict[str, str]:
        asked.extend(datasets)  # type: ignore[call-overload]
        return {
            dataset("part", v): receipt_name(RUN, "part", quantum_id("part", RUN, {"visit": v}))
            for v in (1, 2)
        }

    second = Landing(store, 2)
    second.quantum("child", 1, "B", inputs=(part,))
    second.quantum("child", 2, "B", inputs=(claim_of("part", 2, "X"),))
    second.quantum("child", 3, "B", inputs=(other, claim_of("part", 1, state="blocked")))
    landed = go(store, 2, producers=producers if with_plan else None)
    known = with_plan or parent == "made"  # without the plan nobody says who would have made what is not made
    assert dict(landed.states) == ({"made": 1} if known else {})
    assert {p.where: p.code for p in landed.findings} == {
        **({} if known else {"child{visit=1}": "PST-I043"}),
        "child{visit=2}": "PST-I021",
        "child{visit=3}": "PST-I021" if known else "PST-I043",
    }
    assert bool(asked) == with_plan


def test_what_is_settled_stays_whatever_lands_later(store: Store) -> None:
    Landing(store, 1).quantum("part", 1, "A")
    go(store, 1)
    before = products(store)
    second = Landing(store, 2)
    second.quantum("part", 1, "B", state="lost")  # a tombstone for a file that exists
    assert go(store, 2).elsewhere == 1
    third = Landing(store, 3)
    third.quantum("part", 1, "C")
    third.put(path_of("part", 9), b"nobody claims this")
    landed = go(store, 3)
    assert (landed.committed, landed.elsewhere, landed.differing) == (0, 1, 1)
    assert products(store) == before
    assert len(left(store)) == 4 or len(left(store)) == 5
    clean(store)
    assert left(store) == [f"{landing_name(PLAN, 3)}/{path_of('part', 9)}"]
    assert products(store) == before


def test_nothing_is_cleaned_that_is_not_settled(store: Store) -> None:
    landing = Landing(store)
    landing.quantum("part", 1, "A", files=False)
    landing.put(path_of("part", 1), b"torn")
    landing.quantum("part", 2, "A")
    before = left(store)
    assert clean(store) == ()
    go(store)
    clean(store)
    assert left(store) == [name for name in before if "/2.json" not in name and quantum_id("part", RUN, {"visit": 2}) not in name]  # fmt: skip


@pytest.mark.parametrize(
    "damage",
    [
        lambda claim: b"not json",
        lambda claim: claim.to_json().encode().replace(b'"state":"made"', b'"state":"perhaps"'),
        lambda claim: replace(claim, attempt=None, sealer="engine").to_json().encode(),
        lambda claim: claim.to_json().encode().replace(b"demo/part/1.json", b"../../part.json"),
        lambda claim: claim.to_json().encode().replace(b"demo/part/1.json", b"_receipts/1.json"),
        lambda claim: replace(claim, quantum=quantum_id("part", RUN, {"visit": 9})).to_json().encode(),
        lambda claim: b"\xff\xfe",
    ],
)
def test_what_is_no_claim_is_named_and_left(store: Store, damage: Callable[[Receipt], bytes]) -> None:
    landing = Landing(store)
    claim = landing.quantum("part", 1)
    landing.put(receipt_name(RUN, "part", claim.quantum), damage(claim))
    landing.quantum("part", 2)
    landed = go(store)
    assert dict(landed.states) == {"made": 1}
    assert codes(landed) == ["PST-I042"]
    assert set(products(store)) == {path_of("part", 2)}


def test_a_dataset_that_was_deleted_on_purpose_does_not_come_back(store: Store) -> None:
    from prestow.commit import deleted_name

    landing = Landing(store)
    claim = landing.quantum("part", 1)
    go(store)
    store.delete(path_of("part", 1))
    store.put_if_absent(deleted_name(dataset("part", 1)), b"{}")
    landing.quantum("part", 1)
    landed = go(store)
    assert (landed.known, landed.findings) == (1, ())
    assert products(store) == {}
    assert left(store) == []
    assert claim.state == "made"


@pytest.mark.parametrize("attempt", ["A", "B"])
def test_committed_bytes_that_are_gone_are_put_back_from_what_lands_again(store: Store, attempt: str) -> None:
    first = Landing(store, 1)
    first.quantum("part", 1, "A", data="the same")
    first.quantum("part", 2, "A", data="the same")
    go(store, 1)
    before = products(store)
    for name in before:
        store.delete(name)
    second = Landing(store, 2)
    second.quantum("part", 1, attempt, data="the same")
    second.quantum("part", 2, attempt, data="others")
    landed = go(store, 2)
    assert landed.committed == 0
    assert codes(landed) == (["PST-I044"] if attempt == "A" else [])
    assert products(store) == {path_of("part", 1): before[path_of("part", 1)]}


def test_landed_bytes_and_their_names_are_durable_before_the_receipt_is(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    Landing(store).quantum("part", 1)
    landed = store.local_path(f"{FOLDER}/{path_of('part', 1)}")  # type: ignore[attr-defined]
    file, synced, before = landed.stat().st_ino, list[int](), list[int]()
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    put = type(store).put_if_absent

    def put_if_absent(self: Store, name: str, data: bytes) -> object:
        if name.startswith("_receipts/"):
            before.extend(synced)
            aside = Receipt.from_json(data.decode()).outputs[0].aside
            before.append(-store.local_path(str(aside)).parent.stat().st_ino)  # type: ignore[attr-defined]
        return put(self, name, data)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(type(store), "put_if_absent", put_if_absent)
    assert go(store).committed == 1
    assert file in before
    assert -before[-1] in before[:-1]
