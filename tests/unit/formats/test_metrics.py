"""The key ``metrics`` of a document: numbers by name, or a refusal."""

import io
import json
from pathlib import Path

import pytest

from prestow.errors import TaskError
from prestow.formats import Measuring, open_format
from prestow.formats.metrics import metrics_of
from prestow.testing.formats import STORY

BOTH = pytest.mark.parametrize("name", ["json", "yaml"])
BAD = {
    "a list": ([1, 2], "a list"),
    "a number": (3, "not a number"),
    "text": ("good", "not text"),
    "nothing": (None, "nothing"),
    "one name twice": ({"a": {"b": 1}, "a.b": 2}, "'a.b' stands twice"),
    "beyond a double": ({"a": 10**400}, "'a' is too large"),
}


def test_numbers_are_taken_and_the_rest_stays_in_the_document():
    block = {
        "i": 3,
        "x": -0.5,
        "ok": True,
        "not": False,
        "text": "1",
        "none": None,
        "list": [1],
        "deep": {"er": {"y": 2}},
    }
    assert metrics_of({"metrics": block}, Path("a")) == {"i": 3, "x": -0.5, "ok": 1, "not": 0, "deep.er.y": 2}
    assert metrics_of({"metrics": {}}, Path("a")) == metrics_of({"other": 1}, Path("a")) == {}


@BOTH
@pytest.mark.parametrize("case", list(BAD))
def test_metrics_that_are_not_numbers_by_name_are_refused_before_the_commit(name, case, tmp_path):
    block, words = BAD[case]
    form, path = open_format(name), tmp_path / "a"
    path.write_text(json.dumps({"metrics": block}))
    for act in (
        lambda: form.check(path),
        lambda: form.stamp(path, io.BytesIO(), STORY),
        lambda: form.inspect(path),
    ):
        with pytest.raises(TaskError, match=words) as caught:
            act()
        (problem,) = caught.value.problems
        assert (problem.code, problem.where) == ("PST-N011", str(path))
        assert problem.fix
    assert form.read(path) == {"metrics": block}


@BOTH
def test_one_reading_gives_story_content_and_metrics(name, tmp_path):
    form, path = open_format(name), tmp_path / "a"
    form.write(path, {"metrics": {"seeing": 1.5}})
    with (tmp_path / "b").open("wb") as sink:
        said = form.stamp(path, sink, STORY)
    assert isinstance(form, Measuring)
    found = form.inspect(tmp_path / "b")
    assert (found.story, found.content, found.metrics) == (STORY, said.content, {"seeing": 1.5})
    assert form.inspect(path).story is None


def test_formats_of_pixels_have_no_metrics():
    assert not isinstance(open_format("fits"), Measuring)
    assert not isinstance(open_format("parquet"), Measuring)
