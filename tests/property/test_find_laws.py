"""Laws of finding: the normal form is a fixed point; a partial data ID finds what has its values."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import PrestowError
from prestow.plan import build_plan
from prestow.registry import Registry
from prestow.results.datasets import Sources
from prestow.results.finding import expand, find
from prestow.results.identifying import identify
from prestow.results.naming_words import parse_dataset
from prestow.testing.surveys import UNIVERSE, Request, Survey, fill, reduction

VISITS, DETECTORS, BANDS = 6, 2, ("g", "r", "i")
LAWS = settings(max_examples=60, deadline=None)
TYPES = reduction().dataset_types


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A registry with one instrument, and a plan."""
    directory = tmp_path_factory.mktemp("laws")
    with Registry.open(f"sqlite:///{directory}/registry.db", UNIVERSE, create=True) as registry:
        fill(registry, Survey.make(VISITS, DETECTORS, bands=BANDS))
        plan = build_plan(Request("demo", reduction(), UNIVERSE, ("raw",)), registry)
        yield Sources(UNIVERSE, registry, (plan,))


def spelled(numbers):
    """An integer as it is, as text, or with zeros before it."""
    return numbers.flatmap(lambda n: st.sampled_from([n, str(n), f"{n:04d}"]))


values = st.fixed_dictionaries(
    {},
    optional={
        "visit": spelled(st.integers(0, VISITS + 1)),
        "ccd": spelled(st.integers(0, DETECTORS)),
        "filter": st.sampled_from(BANDS),
        "night": spelled(st.just(20260000)),
        "instrument": st.sampled_from(["sim", " sim "]),
        "physical_filter": st.sampled_from([f"{b}_sim" for b in BANDS]),
        "exposure": spelled(st.integers(0, VISITS)),
    },
)


@LAWS
@given(typed=values, kind=st.sampled_from([None, "isr", "raw", "coadd", "flat"]))
def test_the_normal_form_of_a_normal_form_is_itself(sources, typed, kind):
    kind = TYPES[kind] if kind else None
    try:
        once = identify(typed.items(), UNIVERSE, sources.registry, kind)
    except PrestowError:
        return  # contradictory, or not of this type: there is no normal form
    again = identify(once.data_id.items(), UNIVERSE, sources.registry, kind)
    assert again.data_id == once.data_id
    assert again.missing == once.missing
    known = {v.name: v.value for v in once.values}
    assert {v.name: v.value for v in again.values}.items() <= known.items()
    if kind is None:
        assert {v.name: v.value for v in again.values if v.name in once.data_id} == dict(once.data_id)


@LAWS
@given(
    visit=st.none() | st.integers(1, VISITS + 1),
    detector=st.none() | st.integers(0, DETECTORS),
    band=st.none() | st.sampled_from(BANDS),
    least=st.none() | st.integers(0, 70),
)
def test_what_is_found_is_what_has_the_values(sources, visit, detector, band, least):
    facts = {  # by hand, from how the survey is made
        (v, d): (BANDS[v % len(BANDS)], 10 * v) for v in range(1, VISITS + 1) for d in range(DETECTORS)
    }
    expected = sorted(
        (d, v)
        for (v, d), (b, seconds) in facts.items()
        if visit in (None, v) and detector in (None, d) and band in (None, b) and seconds >= (least or 0)
    )
    partial = {k: v for k, v in (("visit", visit), ("ccd", detector), ("filter", band)) if v is not None}
    where = f"exposure_time >= {least}" if least is not None else ""
    try:
        found = find(sources, "isr", where, partial.items())
    except PrestowError as error:
        assert not expected
        assert {problem.code for problem in error.problems} == {"PST-G008"}
        return
    assert [(r.data_id["detector"], r.data_id["visit"]) for r in found] == expected
    if least is None:
        assert [r.data_id for r in found] == list(expand(sources, "isr", partial))


@LAWS
@given(
    kind=st.sampled_from(sorted(TYPES)),
    values=st.fixed_dictionaries(
        {},
        optional={
            "visit": st.integers(-5, 10**12),
            "detector": st.integers(0, 200),
            "band": st.from_regex(r"[A-Za-z0-9._+-]([A-Za-z0-9 ._+/-]{0,8}[A-Za-z0-9._+-])?", fullmatch=True),
        },
    ),
)
def test_all_forms_of_a_name_mean_the_same(kind, values):
    by_words = parse_dataset([kind, *(f"{k}={v}" for k, v in values.items())], UNIVERSE)
    in_braces = parse_dataset([str(by_words)], UNIVERSE)
    assert (in_braces.type, in_braces.data_id) == (kind, by_words.data_id)
    assert dict(by_words.data_id) == values
