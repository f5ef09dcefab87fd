import pytest

from prestow.documents import parse_document
from prestow.errors import ConfigurationError
from prestow.naming.universe import load_universe, read_universe
from prestow.plan.document import universe_from_plain, universe_to_plain

HEAD = "schema: prestow.universe/1\nname: toy\nversion: 1\ndimensions:\n"


def problems(text):
    with pytest.raises(ConfigurationError) as caught:
        read_universe(parse_document(text, "u.yaml"))
    return [(p.where, p.code) for p in caught.value.problems]


def test_the_survey_universe_requires_implies_and_knows_aliases():
    universe = load_universe()
    assert universe.close(["patch"]) == ("patch", "skymap", "tract")
    assert universe.expand(["exposure"]) == ("band", "day_obs", "exposure", "instrument", "physical_filter")
    assert [universe.canonical(n) for n in ("ccd", "night", "filter", "x")] == [
        "detector",
        "day_obs",
        "band",
        None,
    ]
    assert universe.relations["visit_definition"].between == (("visit",), ("exposure",))


def test_a_universe_of_ones_own_is_read_from_a_file(tmp_path):
    path = tmp_path / "u.yaml"
    path.write_text(
        HEAD + "  a: {type: str}\n  b: {type: int, requires: [a]}\n  c: {type: int, requires: [b]}\n"
    )
    universe = load_universe(path)
    assert universe.close(["c"]) == ("a", "b", "c")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ("  a: {type: str, colour: red}\n", [("u.yaml:5:18", "PST-C010")]),
        ("  a: {type: float}\n", [("u.yaml:5:13", "PST-C013")]),
        ("  a: {type: str, requires: [b]}\n", [("u.yaml:5:29", "PST-C023")]),
        ("  a: {type: str, requires: a}\n", [("u.yaml:5:28", "PST-C011")]),
        ("  a: {type: str}\n  b: {type: str, aliases: [a]}\n", [("u.yaml:6:28", "PST-C013")]),
        ("  a: {type: str, metadata: {x: text}}\n", [("u.yaml:5:32", "PST-C013")]),
        ("  a: {type: str, metadata: {a: str}}\n", [("u.yaml:5:29", "PST-C013")]),
        ("  run: {type: str}\n", [("u.yaml:5:3", "PST-C013")]),
        ("  Ab: {type: str}\n", [("u.yaml:5:3", "PST-C013")]),
        ("  a: {type: str, implies: [a]}\n", [("u.yaml:5:27", "PST-C013")]),
        (
            "  a: {type: str, requires: [b]}\n  b: {type: str, requires: [a]}\n",
            [("u.yaml:5:28", "PST-C013"), ("u.yaml:6:28", "PST-C013")],
        ),
        (
            "  a: {type: str}\n  b: {type: str, requires: [a]}\n  c: {type: str, implies: [b]}\n",
            [("u.yaml:7:28", "PST-C013")],
        ),
        ("  a: {type: str}\nrelations:\n  r: {between: [a, b]}\n", [("u.yaml:7:20", "PST-C023")]),
        ("  a: {type: str}\nrelations:\n  r: {between: [a]}\n", [("u.yaml:7:16", "PST-C013")]),
    ],
)
def test_a_fault_is_named_at_its_place(lines, expected):
    assert problems(HEAD + lines) == expected


def test_all_faults_are_named_at_once():
    found = problems("schema: prestow.universe/9\nname: 3\ndimensions:\n  a: {}\n  b: []\nextra: 1\n")
    assert [code for _, code in found] == [
        "PST-C010", "PST-C012", "PST-C014", "PST-C011", "PST-C012", "PST-C011",
    ]  # fmt: skip


def test_a_side_of_a_relation_may_have_several_dimensions(tmp_path):
    path = tmp_path / "u.yaml"
    path.write_text(
        HEAD + "  a: {type: str}\n  b: {type: int}\n  c: {type: int}\n"
        "relations:\n  r: {between: [[a, b], c], version: 2, metadata: {separation: float}}\n  s: {between: [a, c]}\n"
    )
    universe = load_universe(path)
    wide = universe.relations["r"]
    assert (wide.between, wide.version, wide.metadata) == ((("a", "b"), ("c",)), 2, {"separation": "float"})
    assert wide.plain() == ["r", ["a", "b"], "c", 2, {"separation": "float"}]
    # A plain one is told as it ever was: what is bound to it stays so.
    assert universe.relations["s"].plain() == ["s", "a", "c"]
    assert universe_from_plain(universe_to_plain(universe)) == universe


@pytest.mark.parametrize(
    ("relation", "expected"),
    [
        ("{between: [[a, x], b]}", ["PST-C023"]),
        ("{between: [[a, b], b]}", ["PST-C013"]),
        ("{between: [a, b, c]}", ["PST-C013"]),
        ("{between: [a, []]}", ["PST-C013"]),
        ("{between: [a, b], metadata: {c: int}}", ["PST-C013"]),
        ("{between: [a, b], metadata: {x: text}}", ["PST-C013"]),
        ("{between: [a, b], version: two}", ["PST-C011"]),
        ("{between: ab}", ["PST-C011"]),
        ("{between: [a, b], betwen: 3}", ["PST-C010"]),
    ],
)
def test_a_wrong_relation_is_told(relation, expected):
    text = HEAD + f"  a: {{type: str}}\n  b: {{type: int}}\n  c: {{type: int}}\nrelations:\n  r: {relation}\n"
    assert [code for _, code in problems(text)] == expected
