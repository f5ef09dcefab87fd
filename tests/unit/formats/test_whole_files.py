"""A format from three functions keeps the contract, and tells what is not its own."""

import json
from pathlib import Path

import pytest

from prestow.errors import TaskError
from prestow.formats.whole import WholeFile
from prestow.testing.formats import FormatContract


class Notes(WholeFile):
    name, suffix = "notes", ".notes"

    def load(self, data):
        return json.loads(data)

    def dump(self, value):
        return json.dumps(value, sort_keys=True).encode()

    def meta(self, value):
        return value["about"]


class TestNotes(FormatContract):
    @pytest.fixture
    def format_(self):
        return Notes()

    @pytest.fixture
    def values(self):
        return [{"text": text, "about": {"by": "é"}} for text in ("one", "two")]


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '{"about": {}, "x": 1}x', '{"other": 1}'])
def test_what_is_not_of_the_format_is_told_with_its_name(tmp_path, text):
    (tmp_path / "a").write_text(text)
    with pytest.raises(TaskError, match="not a valid notes file"):
        Notes().check(tmp_path / "a")


@pytest.mark.parametrize("value", [{"about": {}, "x": object()}, {"about": {"prestow": {}}}])
def test_what_cannot_be_written_leaves_nothing(tmp_path, value):
    with pytest.raises(TaskError) as caught:
        Notes().write(tmp_path / "a", value)
    assert caught.value.problems[0].fix
    assert not (tmp_path / "a").exists()


def test_a_foreign_use_of_the_key_is_told(tmp_path):
    (tmp_path / "a").write_text('{"about": {"prestow": "mine"}}')
    with pytest.raises(TaskError, match="reserved"):
        Notes().read_story(Path(tmp_path, "a"))
