"""What is wrong with an output or its receipt is refused one by one, with its reason; the rest goes in."""

import dataclasses
import hashlib
import importlib.util
import json
import zlib
from pathlib import Path

import pytest

from prestow.commit import receipt_name
from prestow.formats import Story, StoryInput, open_format
from prestow.formats.fits_cards import BLOCK, card
from prestow.formats.png_chunks import SIGNATURE, Chunk, chunks_of, joined
from prestow.ingest import ingest_outputs
from prestow.manifest import Receipt, ReceiptInput, ReceiptOutput
from prestow.model.hashing import canonical_json, dataset_id, digest128, quantum_id
from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.stores import open_store

spec = importlib.util.spec_from_file_location(
    "ingest_campaign", Path(__file__).parents[2] / "ingest_campaign.py"
)
ingest_campaign = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ingest_campaign)
make, RUN = ingest_campaign.make, ingest_campaign.RUN

UNIVERSE = load_universe()
FRAME = b"".join(
    (
        card("SIMPLE", True), card("BITPIX", 16), card("NAXIS", 2), card("NAXIS1", 20), card("NAXIS2", 30),
        b"END".ljust(80),
    )
).ljust(BLOCK) + bytes(range(200)) * 6 + bytes(BLOCK - 1200)  # fmt: skip


class Place:
    """A store with a good FITS product of detector 0; `add` commits others, as a lying node would."""

    def __init__(self, root):
        self.root = root
        self.store = open_store(f"file://{root}/store")
        self.registry = Registry.open(f"sqlite:///{root}/r.db", UNIVERSE, create=True)
        self.good = self.add(0)

    def add(
        self,
        detector,
        *,
        format_="fits",
        source=FRAME,
        change=None,
        path=None,
        story=None,
        inputs=(),
        **facts,
    ):
        """Commit a product; ``change`` makes other bytes of the stamped ones, before they are digested."""
        data_id = {"instrument": "sim", "visit": 1, "detector": detector}
        quantum, ident = quantum_id("isr", RUN, data_id), dataset_id("postisr", RUN, data_id)
        recipe = digest128("test", canonical_json(data_id))
        told = Story(
            type="postisr", id=ident, run=RUN, data_id=canonical_json(data_id), task="isr", version="v1", recipe=recipe,
            planned_recipe=recipe, planned=len(inputs), used=len(inputs),
            inputs=tuple(
                StoryInput(i.connection, i.type, canonical_json(dict(i.data_id)), i.id, sha256=i.sha256, recipe=i.actual_recipe)
                for i in inputs
            ),
        )  # fmt: skip
        told = dataclasses.replace(told, **(story or {}))
        name = path or f"{RUN}/postisr/{detector}.{format_}"
        given = self.root / f"given.{format_}"
        given.write_bytes(source)
        with (self.root / "stamped").open("wb") as sink:
            stamped = open_format(format_).stamp(given, sink, told)
        data = (self.root / "stamped").read_bytes()
        data = data if change is None else change(data)
        output = ReceiptOutput(
            ident, "postisr", data_id, format_, name, "made", None, len(data), hashlib.sha256(data).hexdigest(), stamped.content
        )  # fmt: skip
        receipt = Receipt(
            quantum=quantum, task="isr", run=RUN, data_id=data_id, job="j", state="made", planned_recipe=recipe,
            actual_recipe=recipe, attempt="a", version="v1", inputs=tuple(inputs), outputs=(output,),
        )  # fmt: skip
        receipt = dataclasses.replace(receipt, **facts)
        if path is None:
            self.store.put_if_absent(name, data)
        self.store.put_if_absent(receipt_name(RUN, "isr", quantum), receipt.to_json().encode())
        return receipt

    def refused(self, level="full", **how):
        """Take in; one product must be refused and the good one be in. Give the one reason."""
        report = ingest_outputs(self.registry, self.store, level=level, **how)
        assert self.registry.counts()["dataset"] == 1
        assert self.good.outputs[0].path in self.registry.datasets(["postisr"], [RUN])["path"].to_pylist()
        (problem,) = {(p.where, p.code): p for p in report.problems}.values()
        assert problem.fix
        return problem


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    place.registry.close()


@pytest.mark.parametrize("level", ["receipt", "full"])
@pytest.mark.parametrize(
    "story",
    [
        {"id": dataset_id("postisr", RUN, {"detector": 7})},
        {"data_id": '{"detector":7,"instrument":"sim","visit":1}'},
        {"run": "another"},
        {"type": "raw"},
        {"recipe": "0" * 32},
    ],
)
def test_a_file_that_claims_another_identity(place, story, level):
    place.add(1, story=story)
    problem = place.refused(level)
    assert (problem.code, problem.where) == ("PST-I003", f"{RUN}/postisr/1.fits")
    assert f"its story says {next(iter(story))}" in problem.what


def without_table(data):
    return data[: data.index(b"XTENSION= 'BINTABLE'")]


def cut_in_table(data):
    return data[: data.index(b"XTENSION= 'BINTABLE'") + 500]


@pytest.mark.parametrize("level", ["receipt", "full"])
@pytest.mark.parametrize(
    ("change", "said"),
    [(without_table, "PSTINPUT"), (cut_in_table, "no END"), (lambda d: d[:1000], "no END")],
)
def test_a_story_that_is_cut(place, change, said, level):
    place.add(1, change=change)
    assert said in place.refused(level).what


def twice(data):
    at = data.index(b"DATASUM ")
    return data[:at] + data[data.index(b"PSTID   ") :][:80] + data[at + 80 :]


@pytest.mark.parametrize("level", ["receipt", "full"])
def test_a_keyword_of_the_story_that_stands_twice(place, level):
    place.add(1, change=twice)
    assert "PSTID" in (what := place.refused(level).what)
    assert "twice" in what


def test_a_table_with_a_row_of_no_known_role(place):
    given = ReceiptInput(
        "in", dataset_id("raw", "raw", {}), "raw", {}, "raw", "made", None, "0" * 64, "1" * 32, "1" * 32
    )
    place.add(1, inputs=[given], change=lambda data: data.replace(b"parentin", b"cousinin"))
    assert "role is 'cousin'" in place.refused().what


def test_an_input_in_the_file_that_its_receipt_does_not_name(place):
    given = ReceiptInput(
        "in", dataset_id("raw", "raw", {}), "raw", {}, "raw", "made", None, "0" * 64, "1" * 32, "1" * 32
    )
    place.add(1, inputs=[given], story={"planned": 1, "used": 1})
    place.add(2, story={"inputs": (StoryInput("in", "raw", "{}", given.id),)})
    report = ingest_outputs(place.registry, place.store)
    assert [p.where for p in report.faulty] == [f"{RUN}/postisr/2.fits"]
    assert "names an input that its receipt does not" in report.faulty[0].what
    assert report.added == 2


def test_an_input_whose_digest_is_another_in_file_and_receipt(place):
    given = ReceiptInput(
        "in", dataset_id("raw", "raw", {}), "raw", {}, "raw", "made", None, "0" * 64, "1" * 32, "1" * 32
    )
    place.add(1, inputs=[given], change=lambda data: data.replace(b"0" * 64, b"2" * 64))
    assert "other digests of the input raw" in place.refused().what


def test_a_header_of_a_hundred_thousand_cards(place):
    cards = b"".join(b"HISTORY and so on".ljust(80) for _ in range(100_000))
    place.add(1, change=lambda data: data[:400] + cards + data[400:])
    assert "more than 72,000 cards" in place.refused().what


def test_a_yaml_bomb(place):
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
    )
    place.add(1, format_="yaml", source=b"a: 1\n", change=lambda data: data + bomb.encode())
    assert "values" in place.refused().what


def test_a_png_with_a_huge_text(place):
    from prestow.formats.png_chunks import encoded

    def blown_up(data):
        chunks = chunks_of(data)
        text = b"prestow\0\1\0\0\0" + zlib.compress(b" " * (300 << 20), 9)
        return joined(
            [c for c in chunks if c.kind not in (b"IEND", b"iTXt")]
            + [Chunk(b"iTXt", text), Chunk(b"IEND", b"")]
        )

    place.add(1, format_="png", source=encoded((2, 2), bytes(4)), change=blown_up)
    assert SIGNATURE
    assert "larger than" in place.refused().what


@pytest.mark.parametrize("level", ["receipt", "full"])
def test_a_link_out_of_the_tree(place, level):
    receipt = place.add(1)
    path = place.store.local_path(receipt.outputs[0].path)
    outside = place.root / "outside.fits"
    path.rename(outside)
    path.symlink_to(outside)
    assert "a link leads out of the store" in place.refused(level).what


@pytest.mark.parametrize("level", ["receipt", "full"])
def test_a_directory_that_is_a_link_out_of_the_tree(place, level):
    outside = place.root / "elsewhere"
    outside.mkdir()
    place.store.local_path(f"{RUN}/linked").symlink_to(outside)
    place.add(1, path=f"{RUN}/linked/x.fits")
    (outside / "x.fits").write_bytes((place.root / "stamped").read_bytes())
    assert "a link leads out of the store" in place.refused(level).what


@pytest.mark.parametrize("path", ["../outside.fits", f"{RUN}/../../x.fits", "/etc/passwd", "a//b"])
def test_a_name_that_climbs(place, path):
    place.add(1, path=path)
    problem = place.refused()
    assert problem.code == "PST-I006"
    assert "not a name in a store" in problem.what


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"run": "another"}, "not that of its task, run and data ID"),
        ({"task": "other"}, "not that of its task, run and data ID"),
        ({"state": "perhaps"}, "is no state of a receipt"),
        ({"job": 5}, "Expected `str`, got `int`"),
        ({"planned_recipe": "12"}, "no id or recipe"),
        ({"planned_recipe": "no digits"}, "not a receipt"),
        ({"version": "a\0b"}, "NUL"),
    ],
)
def test_a_receipt_that_is_of_something_else(place, facts, said):
    place.add(1, **facts)
    problem = place.refused()
    assert problem.code == "PST-I006"
    assert said in problem.what


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"{}", b'{"schema": "prestow.receipt/1"}', b"\xff\xfe", b'{"schema": 1' * 9, b"[" * 100_000],
)
def test_what_is_no_receipt(place, text):
    name = receipt_name(RUN, "isr", quantum_id("isr", RUN, {"visit": 99}))
    place.store.put_if_absent(name, text)
    problem = place.refused()
    assert (problem.code, problem.where) == ("PST-I006", name)


def test_half_a_character(place):
    receipt = place.add(1)
    name = receipt_name(RUN, "isr", receipt.quantum)
    path = place.store.local_path(name)
    path.chmod(0o644)
    path.write_text(path.read_text().replace('"job":"j"', '"job":"\\ud800"'))
    assert "not a receipt" in place.refused().what


def test_a_child_of_other_bytes_than_its_parent_committed(place):
    """In one ingest, in a later one, and where the parent itself is faulty."""
    parent = place.good.outputs[0]
    wrong = ReceiptInput(
        "in", parent.id, "postisr", parent.data_id, RUN, "made", None, "0" * 64, place.good.planned_recipe,
        place.good.actual_recipe,
    )  # fmt: skip
    right = dataclasses.replace(wrong, sha256=parent.sha256)
    other = open_store(place.store.uri)

    def child(number, given):
        ids = {"instrument": "sim", "visit": 1, "detector": number}
        receipt = make(other, "calibrate", ids, ["calexp"])
        quantum = receipt_name(RUN, "calibrate", receipt.quantum)
        path = place.store.local_path(quantum)
        path.chmod(0o644)
        plain = json.loads(path.read_text())
        plain["inputs"] = [json.loads(json.dumps(dataclasses.asdict(given)))]
        path.write_text(json.dumps(plain))
        return receipt

    bad, good = child(1, wrong), child(2, right)
    report = ingest_outputs(place.registry, place.store)
    assert [(p.code, p.where) for p in report.problems] == [
        ("PST-I021", f"task calibrate, run {RUN}, data ID {canonical_json(dict(bad.data_id))}")
    ]
    there = place.registry.datasets(["calexp"], [RUN])["path"].to_pylist()
    assert there == [good.outputs[0].path]
    later = child(3, wrong)
    report = ingest_outputs(place.registry, place.store)
    assert len(report.problems) == 2
    assert later.outputs[0].path not in place.registry.datasets(["calexp"], [RUN])["path"].to_pylist()


def test_a_child_of_other_bytes_of_a_parent_that_is_faulty(place):
    parent = place.add(1, change=lambda data: data[:1000])
    given = ReceiptInput(
        "in", parent.outputs[0].id, "postisr", parent.data_id, RUN, "made", None, "0" * 64, parent.planned_recipe,
        parent.actual_recipe,
    )  # fmt: skip
    place.add(2, inputs=[given])
    report = ingest_outputs(place.registry, place.store)
    assert sorted(p.code for p in report.problems) == ["PST-I003", "PST-I021"]
    assert report.added == 1
