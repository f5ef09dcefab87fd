"""The example: the same bytes everywhere, and FITS that astropy takes."""

import hashlib
from pathlib import Path

import pytest

from prestow.errors import ProjectError
from prestow.project.example import create_example


def digest(root: Path) -> str:
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return hashlib.sha256(
        b"".join(str(p.relative_to(root)).encode() + p.read_bytes() for p in files)
    ).hexdigest()


def test_the_example_is_the_same_twice(tmp_path: Path) -> None:
    example = create_example(tmp_path / "a")
    create_example(tmp_path / "b")
    assert digest(tmp_path / "a") == digest(tmp_path / "b")
    assert (example.exposures, example.detectors, example.raw_files, example.tasks) == (10, 2, 20, 3)


def test_the_raw_frames_are_good_fits(tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    create_example(tmp_path)
    for path in (tmp_path / "raw").iterdir():
        with fits.open(path) as hdus:
            hdus.verify("exception")
            assert hdus[0].data.shape == (32, 32)
            assert hdus[0].header["INSTRUME"] == "SIMCAM"


def test_everything_in_the_way_is_named_and_nothing_written(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "isr.py").touch()
    (tmp_path / "prestow.yaml").symlink_to("nowhere")
    with pytest.raises(ProjectError) as caught:
        create_example(tmp_path)
    assert len(caught.value.problems) == 2
    assert {p.name for p in tmp_path.iterdir()} == {"tasks", "prestow.yaml"}
