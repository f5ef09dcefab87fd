"""The normal form of a data ID, and where each value came from."""

import pytest

from prestow.errors import PrestowError
from prestow.registry import Registry
from prestow.results.identifying import Origin, identify
from prestow.testing.surveys import UNIVERSE, Survey, fill, reduction

TYPES = reduction().dataset_types


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    with Registry.open(f"sqlite:///{tmp_path_factory.mktemp('r')}/r.db", UNIVERSE, create=True) as registry:
        fill(registry, Survey.make(visits=4, detectors=2))
        yield registry


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    with Registry.open(f"sqlite:///{tmp_path_factory.mktemp('r')}/r.db", UNIVERSE, create=True) as registry:
        fill(registry, Survey.make(visits=4, detectors=2).and_of(Survey.make(2, 1, instrument="other")))
        yield registry


def test_every_value_says_where_it_came_from(one):
    found = identify([("visit", "2"), ("ccd", "01")], UNIVERSE, one)
    assert str(found) == "detector=1,instrument=sim,visit=2"
    assert {v.name: (v.value, v.origin) for v in found.values} == {
        "visit": (2, Origin.GIVEN),
        "detector": (1, Origin.ALIAS),
        "instrument": ("sim", Origin.CONSTANT),
        "physical_filter": ("g_sim", Origin.LOOKED_UP),
        "day_obs": (20260000, Origin.LOOKED_UP),
        "band": ("g", Origin.LOOKED_UP),
    }
    (band,) = [v for v in found.values if v.name == "band"]
    assert band.detail == "physical_filter{instrument=sim,physical_filter=g_sim}"


def test_each_rule_is_told_in_the_order_in_which_it_fired(one):
    found = identify([("ccd", "01"), ("visit", "2"), ("filter", "g")], UNIVERSE, one, TYPES["isr"])
    rules = [step.partition(":")[0] for step in found.steps]
    assert rules == [
        "type", "alias", "given", "alias", "constant", "looked up", "looked up", "agrees", "left out",
    ]  # fmt: skip
    assert str(found) == "isr{detector=1,instrument=sim,visit=2}"


def test_what_a_type_still_lacks_is_told(one):
    flat = identify([("physical_filter", "r_sim"), ("ccd", 1)], UNIVERSE, one, TYPES["flat"])
    assert flat.missing == ()
    part = identify([("visit", 1)], UNIVERSE, one, TYPES["isr"])
    assert part.missing == ("detector",)
    assert str(part) == "isr{instrument=sim,visit=1}"


def test_of_two_instruments_none_is_filled_in(two):
    found = identify([("visit", 1)], UNIVERSE, two)
    assert str(found) == "visit=1"
    assert found.missing == ("instrument",)
    assert any(step.startswith("not filled in: instrument") for step in found.steps)
    assert str(identify([("visit", 1), ("instrument", "other")], UNIVERSE, two)) == "instrument=other,visit=1"


def test_what_has_no_record_is_said(one):
    found = identify([("visit", 99)], UNIVERSE, one)
    assert "not looked up: there is no record visit{instrument=sim,visit=99}" in found.steps


def test_a_record_may_lack_a_value(one):
    found = identify([("exposure", 0)], UNIVERSE, one)
    assert "looked up: the record exposure{exposure=0,instrument=sim} has no physical_filter" in found.steps


@pytest.mark.parametrize(
    ("pairs", "kind", "codes"),
    [
        ([("visit", 1), ("band", "g")], None, ["PST-G008"]),
        ([("visit", 1), ("band", "g"), ("night", 1)], None, ["PST-G008", "PST-G008"]),
        ([("band", "r"), ("filter", "g")], None, ["PST-G008"]),
        ([("tract", 1)], "isr", ["PST-G008"]),
        ([("vist", 1), ("ccd", "x")], None, ["PST-C023", "PST-C026"]),
    ],
)
def test_contradictions_are_refused_all_at_once(one, pairs, kind, codes):
    with pytest.raises(PrestowError) as error:
        identify(pairs, UNIVERSE, one, TYPES[kind] if kind else None)
    assert [problem.code for problem in error.value.problems] == codes
