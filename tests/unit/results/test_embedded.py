"""What a file tells by itself, in every format."""

from pathlib import Path

import numpy as np
import pytest

from prestow.errors import ProjectError
from prestow.formats import Story, StoryInput, StoryRoot, open_format
from prestow.results.embedded import roots_told, story_of, told_by
from prestow.results.tracing import tree_lines

STORY = Story(
    "coadd", "c" * 8 + "-cccc" * 3 + "-" + "c" * 12, "demo", '{"band":"r"}', "stack", "", "a" * 32, "b" * 32, 3, 1,
    (
        StoryInput("frames", "isr", '{"visit":1}', "1" * 8 + "-1111" * 3 + "-" + "1" * 12, sha256="d" * 64, recipe="e" * 32),
        StoryInput("frames", "isr", '{"visit":2}', "2" * 8 + "-2222" * 3 + "-" + "2" * 12, "declined", "cloudy"),
        StoryInput("frames", "isr", '{"visit":3}', "3" * 8 + "-3333" * 3 + "-" + "3" * 12, "lost"),
    ),
    (StoryRoot("raw", '{"exposure":1}', "4" * 8 + "-4444" * 3 + "-" + "4" * 12),),
)  # fmt: skip
VALUES = {
    "fits": np.zeros((4, 4), np.float32),
    "json": {"flux": 1.5},
    "yaml": {"flux": 1.5},
    "parquet": {"flux": np.array([1.5, 2.5])},
    "png": np.zeros((4, 4), np.uint8),
}


@pytest.fixture(params=VALUES)
def files(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """The same product without and with its story."""
    format_ = open_format(request.param)
    bare, told = tmp_path / f"bare{format_.suffix}", tmp_path / f"told{format_.suffix}"
    format_.write(bare, VALUES[request.param])
    with told.open("wb") as sink:
        format_.stamp(bare, sink, STORY)
    return bare, told


def test_every_format_tells_its_story(files: tuple[Path, Path]) -> None:
    bare, told = files
    assert story_of(bare) is None
    assert story_of(told) == STORY
    renamed = told.rename(told.with_suffix(".copy"))
    assert story_of(renamed) == STORY


def test_a_torn_file_is_one_clear_error_or_has_no_story(files: tuple[Path, Path]) -> None:
    _, told = files
    told.write_bytes(told.read_bytes()[: told.stat().st_size // 3])
    try:
        assert story_of(told) is None
    except ProjectError as error:
        (problem,) = error.problems
        assert (problem.code, problem.where) == ("PST-G011", str(told))


def test_one_level_is_told_with_what_was_absent_and_the_roots(files: tuple[Path, Path]) -> None:
    _, told = files
    story = story_of(told)
    assert story is not None
    head, *rest = tree_lines(told_by(story, told))
    assert "planned 3, used 1: declined:cloudy, lost" in head
    assert [line.split("  ")[1] for line in rest] == ["made", "declined:cloudy", "lost"]
    assert [str(root) for root in roots_told(story)] == ["raw{exposure=1}"]
