"""What every format must do.

Subclass `FormatContract` in a test module and override its fixtures::

    class TestMine(FormatContract):
        @pytest.fixture
        def format_(self):
            return Mine()
        @pytest.fixture
        def values(self):
            return [first, second]   # two values that `write` takes
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prestow.errors import PrestowError, TaskError
from prestow.formats import Format, Story, StoryInput, StoryRoot
from prestow.model import DataId

STORY = Story(
    type="coadd",
    id="ea49c55a-3728-50b9-9dcd-9f79a977abc2",
    run="night+1",
    data_id=DataId({"band": "r", "tract": 12}).json(),
    task="make_coadd",
    version="ab" * 32,
    recipe="0123456789abcdef0123456789abcdef",
    planned_recipe="12345678901234567890123456e54321",
    planned=3,
    used=1,
    inputs=(
        StoryInput("frames", "isr", DataId({"visit": 1}).json(), "id-1", sha256="0" * 64, recipe="1" * 32),
        StoryInput(
            "frames",
            "isr",
            DataId({"visit": 2, "object": "it's l'été; 日本"}).json(),
            "id-2",
            "declined",
            "cloudy",
        ),
        StoryInput("frames", "isr", DataId({"visit": 3}).json(), "id-3", "lost"),
    ),
    roots=(StoryRoot("raw", DataId({"exposure": 1, "instrument": "sim cam"}).json(), "id-4"),),
)
"""A story with a bit of everything."""

BARE = Story("config", "id", "r", "{}", "t", "", "a" * 32, "a" * 32, 0, 0)
"""A story of a product that was made from nothing."""


class FormatContract:
    """The contract, over a format and two values that differ in content."""

    @pytest.fixture
    def format_(self) -> Format:
        """Give the format; override this."""
        pytest.fail("a subclass of FormatContract gives the fixture 'format_'")

    @pytest.fixture
    def values(self) -> Sequence[Any]:  # Any: what the format writes
        """Give two values that `write` takes; override this."""
        pytest.fail("a subclass of FormatContract gives the fixture 'values'")

    @pytest.fixture
    def tells_a_cut(self) -> bool:
        """Whether half a file can be told from a whole one; in YAML it cannot."""
        return True

    @pytest.fixture
    def product(self, format_: Format, values: Sequence[Any], tmp_path: Path) -> Path:
        """Give a file as a task leaves it."""
        path = tmp_path / f"product{format_.suffix}"
        format_.write(path, values[0])
        return path

    def stamped(self, format_: Format, path: Path, story: Story = STORY) -> Path:
        """Stamp beside, and check what is said about it."""
        target = path.with_name(f"stamped-{len(list(path.parent.iterdir()))}{format_.suffix}")
        with target.open("xb") as sink:
            said = format_.stamp(path, sink, story)
        data = target.read_bytes()
        assert (said.size, said.sha256) == (len(data), hashlib.sha256(data).hexdigest())
        assert said.content == format_.content_digest(target)
        return target

    def test_suffix_is_one(self, format_: Format) -> None:
        """Default templates end in it."""
        assert format_.suffix.startswith(".")
        assert format_.name

    @pytest.mark.parametrize("story", [STORY, BARE], ids=["full", "bare"])
    def test_story_is_read_as_stamped(self, format_: Format, product: Path, story: Story) -> None:
        """Every field of it."""
        assert format_.read_story(self.stamped(format_, product, story)) == story

    def test_plain_file_has_no_story(self, format_: Format, product: Path) -> None:
        """And that is no error."""
        assert format_.read_story(product) is None

    def test_stamping_reads_and_never_writes_its_source(self, format_: Format, product: Path) -> None:
        """The task's file stays as it is."""
        before = product.read_bytes()
        self.stamped(format_, product)
        assert product.read_bytes() == before

    def test_content_is_that_before_stamping(self, format_: Format, product: Path) -> None:
        """And does not depend on the story."""
        content = format_.content_digest(product)
        other = replace(STORY, run="other", id="other", inputs=(), planned=1)
        assert format_.content_digest(self.stamped(format_, product)) == content
        assert format_.content_digest(self.stamped(format_, product, other)) == content

    def test_content_differs_where_values_do(
        self, format_: Format, values: Sequence[Any], product: Path
    ) -> None:
        """One value is enough."""
        other = product.with_name(f"other{format_.suffix}")
        format_.write(other, values[1])
        assert format_.content_digest(other) != format_.content_digest(product)

    def test_same_story_gives_same_bytes(self, format_: Format, values: Sequence[Any], product: Path) -> None:
        """Also when everything is made again."""
        again = product.with_name(f"again{format_.suffix}")
        format_.write(again, values[0])
        assert self.stamped(format_, product).read_bytes() == self.stamped(format_, again).read_bytes()

    def test_stamping_again_replaces_the_story(self, format_: Format, product: Path) -> None:
        """Nothing of the first stays."""
        first = self.stamped(format_, product)
        assert self.stamped(format_, first).read_bytes() == first.read_bytes()
        assert (
            self.stamped(format_, first, BARE).read_bytes()
            == self.stamped(format_, product, BARE).read_bytes()
        )

    def test_stamped_file_is_whole_and_readable(self, format_: Format, product: Path) -> None:
        """By the format's own means."""
        path = self.stamped(format_, product)
        format_.check(path)
        assert format_.read(path) is not None

    def test_writing_replaces_nothing(self, format_: Format, values: Sequence[Any], product: Path) -> None:
        """A file that is there stays."""
        before = product.read_bytes()
        with pytest.raises(FileExistsError):
            format_.write(product, values[1])
        assert product.read_bytes() == before

    def test_unknown_reading_is_refused(self, format_: Format, product: Path) -> None:
        """With what there is."""
        with pytest.raises(PrestowError):
            format_.read(product, "no such thing")

    def test_half_a_file_is_damaged(self, format_: Format, product: Path, *, tells_a_cut: bool) -> None:
        """For every operation of the node, with its path."""
        whole = product.read_bytes()
        for length in (0, 1, *([len(whole) // 2] if tells_a_cut else [])):
            half = product.with_name(f"half-{length}{format_.suffix}")
            half.write_bytes(whole[:length])
            self.refused(format_, half)

    def test_other_bytes_are_damaged(self, format_: Format, tmp_path: Path) -> None:
        """Whatever they are."""
        path = tmp_path / f"noise{format_.suffix}"
        path.write_bytes(bytes(range(256)) * 100)
        self.refused(format_, path)

    def test_absent_file_is_told(self, format_: Format, tmp_path: Path) -> None:
        """As the same error."""
        self.refused(format_, tmp_path / f"absent{format_.suffix}")

    def refused(self, format_: Format, path: Path) -> None:
        """Expect PST-N008 that names the file from each way of reading it."""
        for act in (
            lambda: format_.stamp(path, io.BytesIO(), STORY),
            lambda: format_.check(path),
            lambda: format_.content_digest(path),
        ):
            with pytest.raises(TaskError) as caught:
                act()
            assert caught.value.problems[0].code == "PST-N008"
            assert str(path) in caught.value.problems[0].where
