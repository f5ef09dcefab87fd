"""JSON and YAML: what is one document, what is refused."""

import io
import json

import numpy as np
import pytest
import yaml

from prestow.errors import TaskError
from prestow.formats import open_format
from prestow.testing.formats import BARE, STORY

BOTH = pytest.mark.parametrize("name", ["json", "yaml"])


def problem_of(act):
    with pytest.raises(TaskError) as caught:
        act()
    return caught.value.problems[0]


@BOTH
def test_story_stands_under_its_key(name, tmp_path):
    path = tmp_path / "a"
    open_format(name).write(path, {"seeing": 1.5, "who": "é"})
    sink = io.BytesIO()
    open_format(name).stamp(path, sink, STORY)
    document = (json.loads if name == "json" else yaml.safe_load)(sink.getvalue())
    assert document["seeing"] == 1.5
    assert document["prestow"]["data_id"] == STORY.data_id
    assert [i["state"] for i in document["prestow"]["inputs"]] == ["made", "declined", "lost"]


@BOTH
def test_reading_gives_the_document_without_its_story(name, tmp_path):
    form = open_format(name)
    form.write(tmp_path / "a", {"seeing": 1.5})
    with (tmp_path / "b").open("wb") as sink:
        form.stamp(tmp_path / "a", sink, BARE)
    assert form.read(tmp_path / "b") == form.read(tmp_path / "a", "dict") == {"seeing": 1.5}


@BOTH
def test_order_and_layout_are_no_content(name, tmp_path):
    (tmp_path / "a").write_text('{"a": 1, "b": [1, 2]}')
    (tmp_path / "b").write_text('{"b":\n  [1,2], "a":   1}')
    form = open_format(name)
    assert form.content_digest(tmp_path / "a") == form.content_digest(tmp_path / "b")
    sinks = io.BytesIO(), io.BytesIO()
    for path, sink in zip("ab", sinks, strict=True):
        form.stamp(tmp_path / path, sink, STORY)
    assert sinks[0].getvalue() == sinks[1].getvalue()


def test_one_document_has_one_content_in_both(tmp_path):
    (tmp_path / "a").write_text('{"a": 1, "b": "2020-01-01", "c": 1.5, "d": null}')
    assert open_format("json").content_digest(tmp_path / "a") == open_format("yaml").content_digest(
        tmp_path / "a"
    )


@BOTH
def test_numpy_values_are_plain_values(name, tmp_path):
    values = {"n": np.int64(3), "f": np.float64(0.5), "a": np.array([[1, 2], [3, 4]]), "t": (1, np.bool_(1))}
    open_format(name).write(tmp_path / "a", values)
    assert open_format(name).read(tmp_path / "a") == {"n": 3, "f": 0.5, "a": [[1, 2], [3, 4]], "t": [1, True]}


@BOTH
@pytest.mark.parametrize(
    "value",
    [
        {"x": float("nan")},
        {"x": float("inf")},
        pytest.param({"x": object()}, id="object"),
        {"x": "\ud800"},
        {"x": {1, 2}},
        [1],
        "text",
        None,
        {"prestow": 1},
    ],
    ids=repr,
)
def test_what_no_document_holds_is_not_written(name, value, tmp_path):
    assert problem_of(lambda: open_format(name).write(tmp_path / "a", value)).code == "PST-N008"
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("json", "[1]", "must be an object, not list"),
        ("json", '{"x": NaN}', "NaN"),
        ("json", '{"x": 1e999}', "not valid JSON"),
        ("json", '{"x": 1', "line 1 column 8"),
        ("json", '{"x": "\\ud800"}', "not valid JSON"),
        ("json", "[" * 100_000, "not valid JSON"),
        ("json", "", "not valid JSON"),
        ("json", "é".encode("latin-1"), "utf-8"),
        ("yaml", "- 1", "must be a mapping, not list"),
        ("yaml", "", "must be a mapping"),
        ("yaml", "a: .nan", "JSON"),
        ("yaml", "a: 1\nb: 2\na: 3", "line 3, column 1: key 'a' stands twice"),
        ("yaml", "a: {b: 1, b: 2}", "'b' stands twice"),
        ("yaml", "1: a", "a key must be text, not 1"),
        ("yaml", "a: [1", "line"),
        ("yaml", "a: !!python/object/apply:os.getcwd []", "line 1, column 4"),
        ("yaml", "a: !!binary aGVsbG8=", "JSON"),
        ("yaml", "a: &x [*x]", "recursive"),
        ("yaml", "é".encode("latin-1"), "utf-8"),
    ],
)
def test_damage_says_what_and_where(name, text, what, tmp_path):
    path = tmp_path / "a"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    problem = problem_of(lambda: open_format(name).check(path))
    assert problem.code == "PST-N008"
    assert what in problem.what
    assert problem.where == str(path)


@BOTH
def test_a_key_that_is_no_story_is_told(name, tmp_path):
    for number, value in enumerate(['"mine"', "[1]", '{"schema": 1}', '{"schema": 99}']):
        path = tmp_path / f"{number}"
        path.write_text(f'{{"prestow": {value}}}')
        assert "reserved" in problem_of(lambda path=path: open_format(name).read_story(path)).what


def test_a_recipe_that_looks_like_a_number_is_quoted(tmp_path):
    (tmp_path / "a").write_text("x: 1")
    sink = io.BytesIO()
    open_format("yaml").stamp(tmp_path / "a", sink, STORY)
    assert f"planned_recipe: '{STORY.planned_recipe}'" in sink.getvalue().decode()


@BOTH
@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"metrics": {"psf": {"fwhm": float("nan")}}}, "'metrics.psf.fwhm' is nan"),
        ({"a": [1, {"b": np.float32("inf")}]}, "'a[1].b' is inf"),
        ({"a": np.array([1.0, np.nan])}, "'a[1]' is nan"),
        ({"a": {1, 2}}, "'a' is a set"),
        pytest.param({"a": object()}, "'a' is an object", id="object"),
        ({"a": 1j}, "'a' is a complex"),
    ],
)
def test_a_value_that_cannot_be_written_is_named_by_its_keys(name, document, says, tmp_path):
    problem = problem_of(lambda: open_format(name).write(tmp_path / "a", document))
    assert says in problem.what
    assert problem.fix == "write text, finite numbers, lists and mappings"
    assert not (tmp_path / "a").exists()
