import pytest

from prestow.documents import parse_document
from prestow.errors import ConfigurationError
from prestow.naming.universe import load_universe, read_universe

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
