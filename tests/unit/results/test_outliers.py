"""Which of several siblings stands out."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestow.results.outliers import standings

near = st.lists(st.floats(0.99, 1.01), min_size=4, max_size=30)


def odd(values):
    found = standings({i: {"sky": v} for i, v in enumerate(values)})
    return [i for i, own in found.items() if any(s.stands_out for s in own)]


@given(near, st.sampled_from([1e-6, 1.0, -40.0, 1e7]))
def test_values_within_a_hundredth_never_stand_out(values, scale):
    assert odd([v * scale for v in values]) == []


@given(near, st.floats(2, 1e6), st.integers(0, 29))
def test_one_far_value_is_the_one_that_stands_out(values, far, place):
    place %= len(values) + 1
    values.insert(place, far)
    assert odd(values) == [place]


@given(st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=12), st.randoms())
def test_the_order_of_siblings_does_not_matter(values, rng):
    order = list(range(len(values)))
    rng.shuffle(order)
    before = odd(values)
    after = odd([values[i] for i in order])
    assert sorted(order[i] for i in after) == before


def test_few_siblings_prove_nothing():
    assert odd([1, 1, 1000]) == []


def test_noise_alone_does_not_alarm():
    rng = random.Random(4)
    assert odd([rng.gauss(200, 10) for _ in range(40)]) == []


@pytest.mark.parametrize("counts", [[5, 5, 5, 5, 6], [5] * 19 + [6], [0, 0, 0, 0, 1]])
def test_whole_numbers_one_apart_are_equal(counts):
    assert odd(counts) == []


def test_one_step_of_a_measure_in_steps_is_no_alarm():
    assert odd([23.722] * 4 + [20.756]) == []
    assert odd([23.722] * 20 + [20.756]) == []
    assert odd([23.722] * 20 + [237.22]) == [20]


def test_what_is_no_finite_number_is_not_compared():
    measures = {i: {"name": "x", "good": True, "fwhm": 2.0 + i / 100} for i in range(5)}
    measures[0]["fwhm"] = float("nan")
    found = standings(measures)
    assert found[0] == ()
    assert {s.name for own in found.values() for s in own} == {"fwhm"}


def test_a_measure_that_few_have_is_not_compared():
    measures = {i: {"sky": 200 + i} for i in range(6)}
    measures[0]["ghosts"] = 900
    assert [s.name for s in standings(measures)[0]] == ["sky"]


def test_the_words_tell_the_value_and_the_others_without_what_stands_out():
    sky = {"a": 201, "b": 207.5, "c": 214, "d": 812, "e": 203}
    found = standings({k: {"sky": v} for k, v in sky.items()})
    assert str(found["d"][0]) == "!! sky 812 (others 201 to 214)"
    assert str(found["a"][0]) == "sky 201 (others 203 to 214)"


@given(st.lists(st.integers(-5, 5) | st.floats(-1e3, 1e3), min_size=4, max_size=12))
def test_the_others_are_the_others(values):
    """Low and high are those of the siblings without it, and without what stands out; found here one by one."""
    found = {i: own[0] for i, own in standings({i: {"sky": v} for i, v in enumerate(values)}).items()}
    near = [i for i, one in found.items() if not one.stands_out] or list(found)
    for i, one in found.items():
        others = [values[j] for j in near if j != i] or [values[j] for j in found if j != i]
        assert (one.low, one.high) == (min(others), max(others))
