import subprocess
import sys

import pytest

from prestow.documents import parse_document, read_document
from prestow.errors import ConfigurationError


def problems(text):
    with pytest.raises(ConfigurationError) as caught:
        parse_document(text, "x.yaml")
    return [(p.code, p.where) for p in caught.value.problems]


def test_each_value_and_key_has_its_place():
    document = parse_document("a:\n  b: [1, {c: x}]\n")
    assert document.data == {"a": {"b": [1, {"c": "x"}]}}
    assert document.marks["a", "b", 1, "c"] == (2, 14)
    assert document.key_marks["a", "b"] == (2, 3)


def test_a_problem_shows_the_line_and_points_at_it():
    problem = parse_document("a:\n  b: 3\n", "x.yaml").problem(
        "PST-C011", ("a", "b"), "must be text", "quote it"
    )
    assert problem.where == "x.yaml:2:6"
    assert problem.excerpt == "   2|   b: 3\n    |      ^"


def test_a_place_that_is_not_there_falls_back_to_what_holds_it():
    assert (
        parse_document("a: {b: 1}", "x.yaml").problem("PST-C012", ("a", "c"), "missing").where == "x.yaml:1:4"
    )


def test_every_key_that_stands_twice_is_named():
    assert problems("a: 1\na: 2\nb: {c: 1, c: 2}\n") == [
        ("PST-C003", "x.yaml:2:1"),
        ("PST-C003", "x.yaml:3:11"),
    ]


@pytest.mark.parametrize(
    ("text", "code", "where"),
    [
        ("a: [1, 2\n", "PST-C002", "x.yaml:1:4"),
        ("a: b: c\n", "PST-C002", "x.yaml:1:5"),
        ("a: 'x\n", "PST-C002", "x.yaml:1:4"),
        ("1.5: x\n", "PST-C011", "x.yaml:1:1"),
    ],
)
def test_text_that_is_not_yaml_is_named_at_its_place(text, code, where):
    assert problems(text) == [(code, where)]


def test_an_alias_without_end_is_no_crash():
    assert problems("a: &x [*x]\n")[0][0] == "PST-C002"


def test_an_empty_file_is_an_empty_mapping():
    assert parse_document("").data == {}


def test_a_file_that_cannot_be_read_says_why(tmp_path):
    for path, reason in ((tmp_path / "no.yaml", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigurationError, match=reason) as caught:
            read_document(path)
        assert caught.value.problems[0].code == "PST-C001"
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\xff\xfe\x00a")
    with pytest.raises(ConfigurationError, match="not UTF-8"):
        read_document(binary)


def test_keys_are_checked_with_suggestions():
    document = parse_document("commandx: x\n", "x.yaml")
    found = document.check_keys((), document.data, required=("name",), optional=("command",))
    assert [(p.code, p.fix) for p in found] == [
        ("PST-C010", "did you mean 'command'?"),
        ("PST-C012", "add 'name:'"),
    ]


def test_true_is_not_an_integer():
    document = parse_document("a: true\n", "x.yaml")
    assert [p.what for p in document.check_type(("a",), True, int)] == [
        "a: must be an integer, not true or false (True)"
    ]
    assert document.check_type(("a",), True, bool) == []


def test_a_library_that_changes_yaml_for_all_changes_no_document():
    # Pegasus's API takes "off" and dates for texts, in PyYAML's own loader, for the whole process
    program = """
import sys
if sys.argv[1] == "first":
    import Pegasus.api
from prestow.documents import parse_document
import Pegasus.api
print(parse_document("a: off\\nb: 2026-01-01").data)
"""
    for when in ("first", "last"):
        done = subprocess.run(
            [sys.executable, "-c", program, when], capture_output=True, text=True, check=True
        )
        assert done.stdout == "{'a': False, 'b': datetime.date(2026, 1, 1)}\n"


def test_what_is_not_closed_is_shown_where_it_begins():
    with pytest.raises(ConfigurationError) as caught:
        parse_document("name: x\nstores: {archive: file:///s\n", "site.yaml")
    (problem,) = caught.value.problems
    assert problem.where == "site.yaml:2:9"
    assert problem.what.endswith("to the end of the file, for what begins here")
    assert problem.excerpt.splitlines()[0].endswith("stores: {archive: file:///s")
