"""Manifests and receipts say the same after a trip through JSON."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.manifest import (
    Code,
    Connection,
    Location,
    Manifest,
    ManifestInput,
    ManifestOutput,
    ManifestQuantum,
    Receipt,
    ReceiptInput,
    ReceiptOutput,
    Root,
    needed,
)
from prestow.model.hashing import canonical_json

text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
values = st.dictionaries(text, text | st.integers(-(2**63), 2**63 - 1), max_size=2)
number = st.integers(0, 2**40)
maybe = st.none() | text
names = st.lists(text, max_size=2).map(tuple)
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(text, inner, max_size=2),
    max_leaves=4,
)
connections = st.dictionaries(
    text,
    st.builds(
        Connection,
        st.lists(st.integers(0, 9), max_size=2).map(tuple),
        st.just("all") | st.integers(0, 9) | st.floats(0.1, 0.9),
        st.booleans(),
    ),
    max_size=2,
)
quanta = st.builds(
    ManifestQuantum, text, text, values, text, text, connections, connections, maybe, st.none() | names, maybe,
    st.dictionaries(text, plain, max_size=2), st.booleans(), names, names,
)  # fmt: skip
inputs = st.builds(
    ManifestInput,
    text,
    text,
    values,
    text,
    text,
    text,
    text,
    maybe,
    maybe,
    st.none() | number,
    maybe,
    maybe,
    maybe,
)
outputs = st.builds(ManifestOutput, text, text, values, text, text, text)
manifests = st.builds(
    Manifest, text, text, text, st.lists(quanta, max_size=2).map(tuple), st.lists(inputs, max_size=2).map(tuple),
    st.lists(outputs, max_size=2).map(tuple), text, st.dictionaries(text, text, max_size=2),
    st.dictionaries(text, st.builds(Location, text, text), max_size=2), st.none() | st.builds(Code, text, text, text, number),
    st.dictionaries(text, plain, max_size=2),
)  # fmt: skip
receipts = st.builds(
    Receipt, text, text, text, values, text, text, text, maybe, maybe, maybe, maybe, maybe, maybe,
    st.lists(st.builds(ReceiptInput, text, text, text, values, text, text, maybe, maybe, text, maybe), max_size=2).map(tuple),
    st.lists(
        st.builds(ReceiptOutput, text, text, values, text, text, text, maybe, st.none() | number, maybe, maybe), max_size=2
    ).map(tuple),
    st.lists(st.builds(Root, text, values, text), max_size=2).map(tuple),
    st.dictionaries(text, st.floats(allow_nan=False, allow_infinity=False) | number | text | st.booleans(), max_size=2),
)  # fmt: skip


@given(manifests)
@settings(max_examples=60, deadline=None)
def test_a_manifest_comes_back_from_its_json(manifest):
    again = Manifest.from_json(manifest.to_json())

    assert again == manifest
    assert again.to_json() == manifest.to_json()


@given(receipts)
@settings(max_examples=60, deadline=None)
def test_a_receipt_comes_back_from_its_json_which_is_canonical(receipt):
    text = receipt.to_json()

    assert Receipt.from_json(text) == receipt
    assert canonical_json(json.loads(text)) == text


@pytest.mark.parametrize("paper", [Manifest, Receipt])
@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema":"prestow.manifest/2"}', '{"schema":"prestow.receipt/1"}', "{"]
)
def test_what_is_no_paper_of_this_schema_is_refused(paper, text):
    with pytest.raises(ValueError, match=r"not a|Expecting"):
        paper.from_json(text)


def test_minima_are_all_a_number_or_a_fraction():
    assert [needed("all", 7), needed(3, 7), needed(0, 7), needed(0.1, 30), needed(0.5, 3)] == [7, 3, 0, 3, 2]
    assert Connection((0, 1, 2), 2).met(2)
    assert not Connection((0, 1, 2)).met(2)
    assert Connection(()).met(0)
