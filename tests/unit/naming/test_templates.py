import pytest

from prestow.errors import ConfigurationError, Exit, PlanRefusedError
from prestow.naming.templates import compile_template, default_template
from prestow.naming.universe import load_universe

UNIVERSE = load_universe()


def compiled(text, dimensions=("visit", "detector"), **options):
    return compile_template(text, UNIVERSE.close(dimensions), UNIVERSE, dataset_type="isr", **options)


def refusal(text, **options):
    with pytest.raises(ConfigurationError) as caught:
        compiled(text, **options)
    assert {p.code for p in caught.value.problems} == {"PST-C030"}
    assert caught.value.exit_code == Exit.REFUSED
    return [p.what.removeprefix(f"'{text}': ") for p in caught.value.problems]


def test_a_missing_dimension_names_two_datasets_and_the_field():
    (what,) = refusal("{run}/{instrument}/isr-{visit}.fits")
    assert what.startswith("isr{detector=0,instrument=a,visit=0} and isr{detector=1,instrument=a,visit=0} ")
    assert what.endswith("would have one name: {detector} is missing")


def test_an_implied_dimension_does_not_stand_for_a_required_one():
    assert "{visit} is missing" in refusal("{run}/{instrument}-{detector}-{day_obs}.fits")[0]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("{run}/{instrument}/{visit}{detector}", "{visit}{detector} cannot be read back"),
        ("{run}/{instrument}/{visit}0{detector}", "{visit}0 cannot be read back"),
        ("{run}/{instrument}/{visit}-{detector}-{foo}", "unknown field {foo}"),
        ("{run}/{instrument}/{visit}-{detector}-{tract}", "unknown field {tract}"),
        ("{run}/{instrument}/{visit}-{detector}-{Visit!r}", "{Visit!r} is not a field"),
        ("{run}/{instrument:03d}/{instrument}/{visit}-{detector}", "is text, and has no digits"),
        ("{run}/../{instrument}/{visit}-{detector}", "'..' cannot be part of a name"),
        ("{run}//{instrument}/{visit}-{detector}", "'' cannot be part of a name"),
        ("{run}/{instrument}/{visit}-{detector}/", "'' cannot be part of a name"),
        ("/{run}/{instrument}/{visit}-{detector}", "it is absolute"),
        ("{run}/-x/{instrument}/{visit}-{detector}", "'-x' begins with '-'"),
        ("_receipts/{run}/{instrument}/{visit}-{detector}", "the store's own"),
        ("{run}/a b/{instrument}/{visit}-{detector}", "' ' is not allowed"),
        ("{run}/{instrument}/{visit}-{detector}}", "'}' is not allowed"),
        ("isr/{instrument}/{visit}-{detector}", "it has no {run}"),
    ],
)
def test_a_template_is_refused(text, what):
    assert any(what in line for line in refusal(text)), refusal(text)


def test_everything_wrong_is_said_at_once():
    assert len(refusal("x//{visit}{visit}:{foo}")) == 7


def test_a_type_without_dimensions_has_a_path():
    template = compiled(default_template("isr", (), ".json"), ())
    assert template.path("demo", {}) == "demo/isr/isr.json"
    assert template.parse("demo/isr/isr.json") == ("demo", {})


def test_another_spelling_is_not_read_back():
    template = compiled("{run}/{instrument}/{visit:03d}-{detector}.fits")
    assert template.parse("demo/sim/012-3.fits") == (
        "demo",
        {"instrument": "sim", "visit": 12, "detector": 3},
    )
    for other in (
        "demo/sim/12-3.fits",
        "demo/sim/012-03.fits",
        "demo/s%41/012-3.fits",
        "demo/sim/012-3.fits/x",
    ):
        assert template.parse(other) is None


def test_numbers_wider_than_the_template_keep_all_digits():
    template = compiled("{run}/{instrument}/v{visit:03d}-{detector:02d}.fits")
    path = template.path("demo", {"instrument": "sim", "visit": -12345, "detector": 100})
    assert path == "demo/sim/v-12345-100.fits"
    assert template.parse(path) == ("demo", {"instrument": "sim", "visit": -12345, "detector": 100})


def test_a_negative_number_at_the_head_of_a_component_is_refused():
    template = compiled("{run}/{instrument}/{visit:03d}-{detector:02d}.fits")
    with pytest.raises(PlanRefusedError, match="begins with '-'"):
        template.path("demo", {"instrument": "sim", "visit": -1, "detector": 0})


def test_a_missing_implied_value_is_refused():
    template = compiled("{run}/{instrument}/{physical_filter}-{visit:03d}-{detector:02d}.fits")
    with pytest.raises(PlanRefusedError, match="no value for physical_filter"):
        template.path("demo", {"instrument": "sim", "visit": 1, "detector": 0})
