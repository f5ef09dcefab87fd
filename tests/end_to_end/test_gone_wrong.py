"""Tasks that do what they must not, and losses that are made good."""

from pathlib import Path
from typing import Any

import pytest

import prestow as face

NAUGHTY = """
    visit = int(quantum.data_id["visit"]) % 100
    if visit == 1:
        quantum.get("raw")
    if visit == 2:
        quantum.put("summary", {}, visit=7)
    if visit == 3:
        quantum.put("calexp", np.zeros((2, 2), np.float32))
        return
    if visit == 4:
        open("stray.txt", "w").close()
    if visit == 5:
        path = quantum.path("isr")
        try:
            with path.open("ab") as file:
                file.write(b"more")
        except OSError:
            path.chmod(0o644)
            with path.open("ab") as file:
                file.write(b"more")
    if visit == 6:
        raise NothingToDo("cloudy")
"""

LOSSY = """
    from pathlib import Path
    if int(quantum.data_id["visit"]) % 100 == 3 and Path(MARK).exists():
        raise RuntimeError("no stars")
"""


def project(base: Path, inside: Any, code: str, *, tolerate: bool) -> Path:
    inside("init", "demo", cwd=base)
    root = base / "demo"
    for path in (root / "raw").glob("*-1.fits"):
        path.unlink()
    task = root / "tasks" / "calibrate.py"
    before = "    pixels = "
    task.write_text(task.read_text().replace(before, code.lstrip("\n") + before, 1))
    if not tolerate:
        pipeline = root / "pipeline.yaml"
        pipeline.write_text(pipeline.read_text().replace("    on_failure: tolerate\n", ""))
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    return root


def test_five_ways_to_misbehave_are_five_clear_errors_and_the_rest_is_unharmed(
    tmp_path: Path, prestow: Any, inside: Any
) -> None:
    root = project(tmp_path, inside, NAUGHTY, tolerate=False)
    inside("plan", cwd=root)
    answer = prestow("run", "--engine", "local", "--json", cwd=root, ok=False)
    failures = {
        failure["data_id"].rpartition("=")[2][-2:]: failure["code"] for failure in answer.json["failures"]
    }
    assert answer.code == 5
    assert failures == {
        "01": "PST-N001",
        "02": "PST-N002",
        "03": "PST-N003",
        "04": "PST-N004",
        "05": "PST-N005",
    }
    standing = inside("status", "--json", cwd=root).json["tasks"]
    assert {state: n for state, n in standing["calibrate"].items() if n} == {
        "made": 4,
        "declined": 1,
        "failed": 5,
    }
    assert standing["isr"]["made"] == 10
    assert standing["coadd"]["made"] == 0
    assert sum(sum(states.values()) for states in standing.values()) == 22
    assert inside("ingest", "--json", "--level", "full", cwd=root).json["added"] == 10 + 2 * 4
    with face.open(root) as opened:
        found = opened.registry.datasets(["calexp"], ["demo"])["visit"].to_pylist()
    assert sorted(visit % 100 for visit in found) == [7, 8, 9, 10]


def test_a_tolerated_loss_is_told_in_the_coadd_and_made_good_in_a_child_run(
    tmp_path: Path, prestow: Any, inside: Any
) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    mark = tmp_path / "fails"
    mark.touch()
    root = project(tmp_path, inside, LOSSY.replace("MARK", repr(str(mark))), tolerate=True)
    inside("plan", cwd=root)
    answer = prestow("run", "--engine", "local", "--json", cwd=root, ok=False)
    assert (answer.code, answer.json["counts"]) == (10, {"made": 21, "lost": 1})
    with fits.open(root / "store/demo/coadd/coadd-simcam-g-00.fits") as hdus:
        assert (hdus[0].header["PSTNPLAN"], hdus[0].header["PSTNUSED"]) == (5, 4)
        assert "lost" in {str(row["state"]).strip() for row in hdus["PSTINPUT"].data}
    early = inside("plan", "--child-of", "demo", "--json", cwd=root, ok=False)
    assert (early.code, early.codes) == (4, ["PST-P001"])
    inside("ingest", cwd=root)
    mark.unlink()
    child = inside("plan", "--child-of", "demo", "--json", cwd=root).json
    assert (child["run"], child["reused"]) == ("demo+1", 20)
    assert inside("plan", "--run", "demo+1", "--json", cwd=root).json["plan"] == child["plan"]
    answer = prestow("run", "--engine", "local", "--json", cwd=root)
    assert answer.json["counts"] == {"reused": 20, "made": 2}
    assert inside("ingest", "--json", cwd=root).json["added"] == 3
    made = {str(p.relative_to(root / "store")) for p in (root / "store" / "demo+1").rglob("*") if p.is_file()}
    assert made == {
        "demo+1/calexp/simcam/202611010003/calexp-202611010003-00.fits",
        "demo+1/summary/simcam/202611010003/summary-202611010003-00.json",
        "demo+1/coadd/coadd-simcam-g-00.fits",
    }
    with fits.open(root / "store/demo+1/coadd/coadd-simcam-g-00.fits") as hdus:
        assert (hdus[0].header["PSTNPLAN"], hdus[0].header["PSTNUSED"]) == (5, 5)
    with face.open(root) as opened:
        assert opened.registry.chain_members("demo.all") == ("demo+1", "demo")
    assert inside("plan", "--child-of", "demo", "--json", cwd=root).json["plan"] == child["plan"]
