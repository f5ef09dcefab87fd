from dataclasses import MISSING, fields, replace

import msgspec
import pytest

from prestow.ingest.reading import DataIds, TypedInput, TypedOutput, TypedReceipt, TypedRoot, typed
from prestow.manifest import Receipt, ReceiptInput, ReceiptOutput, Root

WHOLE = Receipt(
    quantum="q", task="isr", run="demo", data_id={"visit": 12, "instrument": "sim"}, job="isr-1", state="made",
    planned_recipe="0" * 32, actual_recipe="0" * 32, attempt="a", version="v",
    inputs=(ReceiptInput("raw", "i", "raw", {"visit": 12}, "raw", "made", None, "f" * 64, "1" * 32, None),),
    outputs=(ReceiptOutput("o", "image", {"visit": 12}, "fits", "a/b.fits", "made", "_aside/q/a/0", 5, "e" * 64, "d" * 64),),
    roots=(Root("raw", {"visit": 12}, "i"),), measures={"cpu_seconds": 1.5, "host": "é"},
)  # fmt: skip


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(TypedReceipt, Receipt), (TypedInput, ReceiptInput), (TypedOutput, ReceiptOutput), (TypedRoot, Root)],
)
def test_the_two_readings_of_a_receipt_know_the_same_fields(ours, theirs):
    own = {field.name: field.required for field in msgspec.structs.fields(ours)}
    assert own.pop("schema", True)
    assert own == {
        field.name: field.default is MISSING and field.default_factory is MISSING for field in fields(theirs)
    }


def test_a_receipt_is_read_as_its_class_reads_it():
    receipt = typed(WHOLE.to_json().encode())
    for name in (
        "quantum",
        "task",
        "run",
        "job",
        "state",
        "planned_recipe",
        "actual_recipe",
        "attempt",
        "adopted",
    ):
        assert getattr(receipt, name) == getattr(WHOLE, name)
    assert [output.path for output in receipt.outputs] == ["a/b.fits"]
    assert bytes(receipt.outputs[0].data_id) == b'{"visit":12}'


def test_metrics_stand_in_a_receipt_or_do_not():
    for metrics in ({"noise": 1.5}, {}, None):
        output = replace(WHOLE.outputs[0], metrics=metrics)
        assert typed(replace(WHOLE, outputs=(output,)).to_json().encode()).outputs[0].id == output.id


@pytest.mark.parametrize(
    "text",
    [
        "", "[]", "{}", '{"schema":"prestow.receipt/1"}', WHOLE.to_json().replace('"sim"', '"\\u0000"'),
        WHOLE.to_json().replace('"sim"', '"\\ud800"'), WHOLE.to_json().replace("receipt/1", "receipt/2"),
        WHOLE.to_json().replace('"job"', '"jobs"'), WHOLE.to_json()[:-1], "[" * 5000,
    ],
)  # fmt: skip
def test_what_is_no_receipt_is_refused(text):
    with pytest.raises(ValueError, match="."):
        typed(text.encode())


def test_a_data_id_is_canonical_whatever_its_order_and_says_what_does_not_fit():
    known = DataIds({"visit": True, "instrument": False})
    plain = known(msgspec.Raw(b'{"instrument":"a\\u0062","visit":3}'))
    assert (plain.text, plain.pairs) == ('{"instrument":"ab","visit":3}', ",instrument=ab,visit=3")
    assert (plain.dimensions, plain.values, plain.strange) == (("instrument", "visit"), ("ab", 3), ())
    assert known(msgspec.Raw(b'{"visit":3,"instrument":"ab"}')) == plain
    odd = known(msgspec.Raw(b'{"visit":"3","instrument":true,"patch":1}'))
    assert odd.strange == ("instrument", "patch", "visit")
    assert known(msgspec.Raw(b'{"visit":9223372036854775808}')).strange == ("visit",)
    with pytest.raises(ValueError, match="not a data ID"):
        known(msgspec.Raw(b"[1]"))
