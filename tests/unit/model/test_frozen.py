"""A frozen value is a dataclass in all but the cost of defining it."""

import copy
import dataclasses
import pickle

import pytest

from prestow.manifest import Connection, Location, ReceiptOutput


def test_it_is_made_compared_and_shown_like_a_dataclass():
    one = Connection((1, 2), optional=True)

    assert one == Connection(datasets=(1, 2), minimum="all", optional=True)
    assert one != Connection((1, 2))
    assert one != ((1, 2), "all", True)
    assert hash(one) == hash(copy.copy(one))
    assert repr(Location("a", "b")) == "Location(store='a', path='b')"


def test_it_can_be_replaced_pickled_and_matched():
    one = Location("a", "b")

    assert dataclasses.replace(one, path="c") == Location("a", "c")
    assert [f.name for f in dataclasses.fields(one)] == ["store", "path"]
    assert pickle.loads(pickle.dumps(one)) == one
    match one:
        case Location(store, path):
            assert (store, path) == ("a", "b")


def test_nothing_of_it_can_be_changed():
    one = Location("a", "b")

    with pytest.raises(dataclasses.FrozenInstanceError):
        one.path = "c"
    with pytest.raises(dataclasses.FrozenInstanceError):
        del one.path
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.more = 1


@pytest.mark.parametrize(
    ("values", "named", "said"),
    [
        (("a",), {}, "lacks the value 'path'"),
        (("a", "b", "c"), {}, "takes 2 values"),
        (("a",), {"path": "b", "x": 1}, "'x'"),
        (("a", "b"), {"store": "c"}, "'store'"),
    ],
)
def test_wrong_values_are_told(values, named, said):
    with pytest.raises(TypeError, match=said):
        Location(*values, **named)


def test_defaults_are_those_of_the_class():
    output = ReceiptOutput("i", "t", {}, "json", "p", "declined")

    assert (output.aside, output.size) == (None, None)
