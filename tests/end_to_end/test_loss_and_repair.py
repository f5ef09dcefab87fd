"""A visit that fails for ever is tolerated, told in the coadd, and made good in a child run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prestow as face
from prestow.formats import open_format

FAILING = """
import os

if os.path.exists({flag!r}) and quantum.data_id["visit"] % 100 == 1:
    raise RuntimeError("the shutter was closed")
"""


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory, inside: Any) -> Path:
    """Three visits of one band; the first fails as long as a flag lies outside the project."""
    base = tmp_path_factory.mktemp("lossy")
    inside("init", "demo", cwd=base)
    root = base / "demo"
    for path in (root / "raw").iterdir():
        number, detector = path.stem.split("-")[2:]
        if int(number) not in (1, 3, 5) or detector != "0":
            path.unlink()
    flag = base / "flag"
    flag.touch()
    task = root / "tasks" / "calibrate.py"
    head = "    pixels = np.asarray(quantum.get("
    body = "".join(f"    {line}\n" if line else "\n" for line in FAILING.format(flag=str(flag)).splitlines())
    text = task.read_text()
    assert text.count(head) == 1
    task.write_text(text.replace(head, body + head))
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    run = inside("run", "--engine", "local", "--json", cwd=root, ok=False)
    assert run.code == 10, run.err
    assert run.json["counts"] == {"made": 6, "lost": 1}
    inside("ingest", cwd=root)
    flag.unlink()
    return root


def test_the_coadd_tells_what_it_went_without(lossy: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    header = fits.getheader(lossy / "store/demo/coadd/coadd-simcam-g-00.fits")
    assert (header["PSTNPLAN"], header["PSTNUSED"]) == (3, 2)
    assert header["PSTAB001"].endswith("lost")
    assert "visit" in header["PSTAB001"]
    assert header["PSTRCPE"] != header["PSTPRCP"]


def test_the_same_command_does_not_try_again_what_is_settled(lossy: Path, inside: Callable[..., Any]) -> None:
    again = inside("run", "--engine", "local", "--json", cwd=lossy, ok=False)
    assert (again.code, again.json["jobs"]) == (10, 0)


def test_a_child_run_makes_exactly_what_the_loss_touched(lossy: Path, inside: Callable[..., Any]) -> None:
    plan = inside("plan", "--child-of", "demo", "--json", cwd=lossy).json
    assert plan["run"] == "demo+1"
    run = inside("run", "--engine", "local", "--json", cwd=lossy)
    assert run.json["counts"] == {"made": 2, "reused": 5}
    made = sorted(
        str(p.relative_to(lossy / "store/demo+1")) for p in (lossy / "store/demo+1").rglob("*") if p.is_file()
    )
    assert [name.split("/")[0] for name in made] == ["calexp", "coadd", "summary"]
    story = open_format("fits").read_story(lossy / "store/demo+1/coadd/coadd-simcam-g-00.fits")
    assert story is not None
    assert (story.planned, story.used, story.recipe) == (3, 3, story.planned_recipe)
    inside("ingest", cwd=lossy)
    with face.open(lossy) as project:
        rows = project.registry.datasets(["coadd"], ["demo+1", "demo"]).to_pylist()
    assert [row["run"] for row in rows] == ["demo+1"]
    assert inside("run", "--engine", "local", "--json", cwd=lossy).json["jobs"] == 0
