import json
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.errors import ConfigurationError
from prestow.model import DataId, Dataset, hashing
from prestow.model.data_id import check_value
from prestow.model.universe import RawDataId
from prestow.naming.universe import load_universe

UNIVERSE = load_universe()
WORDS = st.text(max_size=12).filter(lambda text: check_value(text) is None) | st.sampled_from(
    ["12", "-3", "a,b", "a=b", "1e5", "null", "a b", "B-600", "NGC 2420"]
)
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1)
NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,6}", fullmatch=True)
DATA_IDS = st.dictionaries(NAMES, WORDS | NUMBERS, max_size=5).map(DataId)
SETS = st.lists(st.sampled_from(sorted(UNIVERSE.dimensions)), max_size=4)


@given(DATA_IDS)
def test_a_data_id_is_read_back_from_its_text_and_its_json(data_id):
    assert DataId.parse(str(data_id)) == data_id
    assert DataId.from_json(data_id.json()) == data_id
    assert json.loads(data_id.json()) == dict(data_id)


@given(DATA_IDS)
def test_order_of_names_does_not_matter(data_id):
    turned = DataId(dict(reversed(list(data_id.items()))))
    assert (turned, hash(turned), str(turned)) == (data_id, hash(data_id), str(data_id))


@given(st.text(max_size=30))
def test_any_text_is_a_data_id_or_one_of_our_errors(text):
    try:
        assert DataId.parse(str(DataId.parse(text))) == DataId.parse(text)
    except ConfigurationError as error:
        assert {p.code for p in error.problems} == {"PST-C026"}


@pytest.mark.parametrize(
    "value", ["", " a", "a\n", 'a"b', "a\\b", "a\x00", "\ud800", 1 << 63, True, 1.5, None]
)
def test_a_value_that_cannot_name_is_refused(value):
    with pytest.raises(ConfigurationError, match="PST-C026"):
        DataId({"a": value})


@given(WORDS, NUMBERS, NUMBERS)
def test_normalising_twice_is_normalising_once(name, visit, detector):
    once = UNIVERSE.normalise(RawDataId({"ccd": str(detector), "instrument": name, "visit": visit}))
    assert UNIVERSE.normalise(RawDataId(dict(once))) == once
    assert once == DataId({"detector": detector, "instrument": name, "visit": visit})


def test_every_fault_of_what_a_person_typed_is_named():
    with pytest.raises(ConfigurationError) as caught:
        UNIVERSE.normalise(RawDataId({"vissit": 1, "ccd": 1, "detector": 2, "exposure": "x", "band": 3}))
    assert [p.code for p in caught.value.problems] == ["PST-C023", "PST-C026", "PST-C026", "PST-C026"]
    with pytest.raises(ConfigurationError) as caught:
        UNIVERSE.normalise(RawDataId({"instrument": "a", "band": "r"}), ["detector"])
    assert [p.what for p in caught.value.problems] == ["no value for detector", "band does not belong here"]


@given(SETS, SETS)
def test_closing_and_expanding_are_closures(some, others):
    for closure in (UNIVERSE.close, UNIVERSE.expand):
        found = closure(some)
        assert set(some) <= set(found)
        assert closure(found) == found == tuple(sorted(set(found)))
        assert set(found) <= set(closure([*some, *others]))
    assert set(UNIVERSE.close(some)) <= set(UNIVERSE.expand(some))


def test_an_unknown_dimension_is_named_with_the_nearest():
    with pytest.raises(ConfigurationError, match="did you mean 'visit'"):
        UNIVERSE.close(["vissit"])


@given(DATA_IDS, NAMES)
def test_ids_are_true_uuids_of_version_5_in_rubins_namespace(data_id, name):
    namespace = uuid.uuid5(uuid.NAMESPACE_DNS, "lsst.org")
    assert namespace.bytes == hashing.NAMESPACE
    text = f"dataset_type={name},run=demo" + "".join(f",{k}={v}" for k, v in sorted(data_id.items()))
    assert Dataset(name, data_id, "demo").id == str(uuid.uuid5(namespace, text))


@given(st.lists(st.integers(0, (1 << 128) - 1), max_size=5))
def test_a_planned_recipe_does_not_depend_on_the_order_of_inputs(terms):
    assert hashing.planned_recipe("t", "{}", terms) == hashing.planned_recipe("t", "{}", reversed(terms))


def test_an_actual_recipe_is_the_planned_one_unless_an_input_deviates():
    assert hashing.actual_recipe("p", []) == "p"
    rows = [("a", "{}", "lost", ""), ("b", "{}", "made", "x")]
    assert hashing.actual_recipe("p", rows) == hashing.actual_recipe("p", rows[::-1]) != "p"
