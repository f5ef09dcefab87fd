"""Losses that are kept in a child run, and what then need not be made, because nothing of it is retained."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prestow.errors import Exit

FAILING = """\
    import os

    if os.path.exists({flag!r}) and quantum.data_id["visit"] % 100 == 1:
        raise RuntimeError("the shutter was closed")
"""


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory, inside: Callable[..., Any]) -> Path:
    """Three visits of one band; isr of the first was lost, so it is lacking in the coadd."""
    base = tmp_path_factory.mktemp("kept")
    inside("init", "demo", cwd=base)
    root = base / "demo"
    for path in (root / "raw").iterdir():
        number, detector = path.stem.split("-")[2:]
        if int(number) not in (1, 3, 5) or detector != "0":
            path.unlink()
    flag = base / "flag"
    flag.touch()
    task = root / "tasks" / "isr.py"
    head = "    counts = np.asarray(quantum.get("
    text = task.read_text()
    assert text.count(head) == 1
    task.write_text(text.replace(head, FAILING.format(flag=str(flag)) + head))
    pipeline = root / "pipeline.yaml"
    said = "    outputs: {isr: isr}\n"
    text = pipeline.read_text()
    assert text.count(said) == 1
    pipeline.write_text(text.replace(said, said + "    on_failure: tolerate\n"))
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    run = inside("run", "--engine", "local", "--json", cwd=root, ok=False)
    assert (run.code, run.json["counts"]) == (10, {"made": 5, "lost": 1, "blocked": 1})
    inside("ingest", cwd=root)
    flag.unlink()
    return root


def tasks(answer: Any) -> dict[str, dict[str, int]]:
    return {task: {k: n for k, n in counts.items() if n} for task, counts in answer.json["tasks"].items()}


def test_what_is_kept_stays_lost_and_the_rest_goes_on_without_it(
    lossy: Path, inside: Callable[..., Any]
) -> None:
    """The coadd is made again without the visit; isr of it, which is not kept, is made for nobody."""
    inside("plan", "--child-of", "demo", "--run", "kept", cwd=lossy)
    run = inside("run", "--engine", "local", "--keep", "calibrate", "--json", cwd=lossy, ok=False)
    assert tasks(run) == {"isr": {"reused": 2, "made": 1}, "calibrate": {"reused": 3}, "coadd": {"made": 1}}
    fits = pytest.importorskip("astropy.io.fits")
    (coadd,) = (lossy / "store/kept/coadd").glob("*.fits")
    header = fits.getheader(coadd)
    assert (header["PSTNPLAN"], header["PSTNUSED"]) == (3, 2)
    assert not (lossy / "store/kept/calexp").exists()
    # What was said holds: the same command has nothing to do.
    again = inside("run", "--engine", "local", "--json", cwd=lossy, ok=False)
    assert (again.json["jobs"], tasks(again)) == (0, tasks(run))


def test_what_is_not_retained_is_not_made_for_nobody(lossy: Path, inside: Callable[..., Any]) -> None:
    pipeline = lossy / "pipeline.yaml"
    before = pipeline.read_text()
    pipeline.write_text(before.replace("outputs: {isr: isr}", "outputs: {isr: {type: isr, retained: false}}"))
    assert pipeline.read_text() != before
    planned = inside("plan", "--child-of", "demo", "--run", "lean", "--json", cwd=lossy).json
    run = inside("run", "--engine", "local", "--keep", "calibrate", "--json", cwd=lossy, ok=False)
    assert tasks(run) == {
        "isr": {"reused": 2, "unneeded": 1},
        "calibrate": {"reused": 3},
        "coadd": {"made": 1},
    }
    assert run.json["jobs"] == 1
    assert not (lossy / "store/lean/isr").exists()
    status = inside("status", "--json", cwd=lossy)
    assert tasks(status) == tasks(run)
    assert status.json["total"] == planned["total"]["quanta"] == 7
    shown = inside("status", cwd=lossy)
    assert "unneeded" in shown.out.splitlines()[1].split()
    assert "next: prestow ingest" in shown.out
    inside("ingest", cwd=lossy)
    assert inside("status", "--exit-code", cwd=lossy).code == Exit.OK
    # Without the loss kept its readers need it, and it is made.
    inside("plan", "--child-of", "demo", "--run", "whole", cwd=lossy)
    assert tasks(inside("run", "--engine", "local", "--json", cwd=lossy)) == {
        "isr": {"reused": 2, "made": 1},
        "calibrate": {"reused": 2, "made": 1},
        "coadd": {"made": 1},
    }
