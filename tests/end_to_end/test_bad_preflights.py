"""What a person types wrong before anything runs: one clear answer each, the right exit, nothing written."""

import hashlib
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prestow as face
from prestow.engines.journal import run_lock

Edit = Callable[[Path], None]
FIRST = 202611010001
TYPES = "dataset_types:\n  flat:    {dimensions: [detector, day_obs], format: fits, calibration: true}\n"
READS = "    inputs: {raw: raw, flat: flat}"
COADD = "coadd:   {dimensions: [instrument, detector, band], format: fits,"
COADDS = "  coadd:\n    dimensions: [instrument, detector, band]"
TOLD = "instrument=simcam exposure=9 visit=9 detector=0 physical_filter=sim-r band=r day_obs=20261101"
CALEXP = "{run}/calexp/{instrument}/{visit}/calexp-{visit}-{detector:02d}.fits"
ISR = "{run}/isr/{instrument}/{visit}/isr-{visit}-{detector:02d}.fits"
HOLE = """\
schema: prestow.skymap/1
name: all
version: 1
tracts: {healpix: {order: 3}}
patches: {columns: 3, rows: 3, inner: 1 deg, border: 30 arcsec}
"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, inside: Any, small: Any) -> Path:
    """A project of four frames and a flat, that is certified, with one plan: each case leaves it as it is."""
    base = tmp_path_factory.mktemp("bad preflights")
    inside("init", "demo", cwd=base)
    root = small(base / "demo")
    change("dataset_types:\n", TYPES)(root)
    change("    inputs: {raw: raw}", READS)(root)
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    shutil.copy(next((root / "raw").iterdir()), root / "flat.fits")
    words = ("--as", "flat", "flat.fits", "ccd=0", "instrument=simcam", "night=20261001")
    inside("ingest", *words, cwd=root)
    inside("calib", "certify", "calib", "flat", "night=20261001", "--begin", "2026-10-01", cwd=root)
    inside("plan", "--run", "kept", cwd=root)
    for name, text in (
        ("wrong.csv", f"vist,ccd\n{FIRST},0\n"),
        ("other.csv", f"visit,tract\n{FIRST},2\n"),
        ("hole.yaml", HOLE),
    ):
        (root / name).write_text(text)
    return root


@pytest.fixture
def own(root: Path, tmp_path: Path) -> Path:
    """Give a copy of the project, for what a person spoilt in it."""
    return Path(shutil.copytree(root, tmp_path / "demo", symlinks=True))


def listing(root: Path) -> dict[str, Any]:
    """Give every file and directory with its digest, and all rows of the registry; locks are empty files."""
    found: dict[str, Any] = {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in sorted(root.rglob("*"))
        if not path.name.startswith(("registry.db", "run.lock")) and "__pycache__" not in path.parts
    }
    with face.open(root) as project:
        found["registry"] = project.registry.dump()
    return found


@pytest.fixture
def refused(inside: Any) -> Callable[[str, Path, int, list[str]], str]:
    """Type a line that must be refused with these codes, and give what is told; nothing may have changed."""

    def call(line: str, root: Path, code: int, codes: list[str]) -> str:
        before = listing(root)
        answer = inside(*shlex.split(line), cwd=root, ok=False)
        told = answer.err
        assert (answer.code, answer.out) == (code, ""), told
        assert re.findall(r"^error\[(PST-[A-Z]\d+)\]: \S", told, re.MULTILINE) == codes, told
        assert told.count("\n  = help: ") == len(codes) - codes.count("PST-C011"), told  # a type says it all
        assert listing(root) == before
        return told

    return call


def change(old: str, new: str) -> Edit:
    """Give an edit of the pipeline."""

    def edit(root: Path) -> None:
        path = root / "pipeline.yaml"
        text = path.read_text()
        assert text.count(old) == 1, old
        path.write_text(text.replace(old, new))

    return edit


def runs_by(dimensions: str, template: str) -> Edit:
    """Give an edit that makes the coadd one of these dimensions."""

    def edit(root: Path) -> None:
        change(COADDS, f"  coadd:\n    dimensions: [{dimensions}]")(root)
        change(COADD, f"coadd:   {{dimensions: [{dimensions}], format: fits,")(root)
        change("coadd-{instrument}-{band}-{detector:02d}.fits", template)(root)

    return edit


def with_hook(text: str) -> Edit:
    """Give an edit that puts a pre-flight hook before the first task."""

    def edit(root: Path) -> None:
        change(READS, f"{READS}\n    preflight: tasks.checks:hook")(root)
        (root / "tasks" / "checks.py").write_text(text)

    return edit


# --- typed at the command line -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("where", "code", "codes", "says"),
    [
        ("vist = 3", 3, ["PST-C027"], "did you mean visit?"),
        ("visit = 3 and bnad = 'r'", 3, ["PST-C027"], "unknown name 'bnad'"),
        ("exposure.exp_time > 3", 3, ["PST-C027"], "did you mean 'exposure.exposure_time'?"),
        ("exposur.exposure_time > 3", 3, ["PST-C027"], "there is no dimension 'exposur' here"),
        ("band = r", 3, ["PST-C027"], "help: if it is text, write 'r'"),
        ("visit = '12'", 3, ["PST-C027"], "write 12 without quotes"),
        ("visit = 'x'", 3, ["PST-C027"], "write a number"),
        ("band = 'r", 3, ["PST-C027"], "the quote is not closed"),
        ("visit = 3 5", 3, ["PST-C027"], "join conditions with 'and' or 'or'"),
        ("visit in (9..3)", 3, ["PST-C027"], "nothing is in the range 9..3"),
        ("band in ()", 3, ["PST-C027"], "leave the condition out"),
        ("day_obs >= '2026-13-45'", 3, ["PST-C027"], "is not a date"),
        ("visit = 1; drop table run", 3, ["PST-C027"], "';' is not expected"),
        ("tract = 3 and visit > 1", 3, ["PST-C027"], "nothing that is read or made here has a tract"),
        ("visit > 3 and band = 'q' and detector = 0", 4, ["PST-P001"], """"band = 'q'": 0 left (band here: g, r)"""),
        ("visit > 3 and detector = 9", 4, ["PST-P001"], 'help: widen "detector = 9"'),
        (f"visit = {FIRST} and band = 'r'", 4, ["PST-P001"], "(band here: g)"),
        ("band = 'q' or visit = 1", 4, ["PST-P001"], "band here: g, r; visit here:"),
    ],
)  # fmt: skip
def test_a_selection(root: Path, refused: Any, where: str, code: int, codes: list[str], says: str) -> None:
    told = refused(f"plan --run x --where {shlex.quote(where)}", root, code, codes)
    assert says in told
    if code == 3 and "tract" not in where:  # its place is shown
        assert re.search(r"--> selection:\d+\n.*\n +\| +\^", told)


@pytest.mark.parametrize(
    ("line", "code", "codes", "says"),
    [
        ("--want coad", 4, ["PST-P050"], "did you mean 'coadd'?"),
        ("--want raw", 4, ["PST-P050"], "no task of demo writes 'raw'"),
        ("--want 'coadd{tract=0}'", 3, ["PST-C027"], "dimensions here: band, detector, instrument"),
        ("--want 'coadd{band=q}'", 4, ["PST-P051"], "0 left of 2 coadd (band here: g, r)"),
        ("--want 'coadd{band=r'", 4, ["PST-P050"], "write TYPE, TYPE{k=v,…}"),
        ("--part 3/2", 4, ["PST-P052"], "write K/N"),
        ("--part half", 4, ["PST-P052"], "write K/N"),
        ("--part 1/900", 4, ["PST-P052"], "the plan falls into 2 parts"),
        ("--exclude 'visit = 3'", 2, ["PST-C063"], "give each --exclude its --because"),
        ("--because clouds", 2, ["PST-C063"], "0 exclusions, and 1 reason"),
        ("--exclude 'vist = 3' --because clouds", 3, ["PST-C027"], "--> --exclude:1"),
        ("--exclude 'visit = 3' --because clouds", 4, ["PST-C062"], "0 left of 4 raw"),
        ("--exclude 'tract = 3' --because clouds", 4, ["PST-C062"], "nothing that is read here has tract"),
        ("--exclude 'visit > 3' --because clouds", 4, ["PST-P001"], "help: exclude less"),
        ("--waive nissing:flat", 2, ["PST-C071"], "did you mean 'missing'?"),
        ("--waive nonsense", 2, ["PST-C071"], "reasons begin with: missing, "),
        ("--waive missing:flat@irs", 2, ["PST-C071"], "did you mean 'isr'?"),
        ("--as-of yesterday", 4, ["PST-K002"], "write '2026-11-21'"),
        ("--as-of 2026-13-01", 4, ["PST-K002"], "month must be in 1..12"),
        ("--data-ids wrong.csv", 3, ["PST-C061"], "did you mean 'visit'?"),
        ("--data-ids other.csv", 4, ["PST-C064"], "nothing that is read or made here has a tract"),
        ("--data-ids none.csv", 3, ["PST-C060"], "No such file"),
        ("--set isr.bias=3", 3, ["PST-C010"], "bias_level"),
        ("--set irs.bias_level=3 --set isr.bias_level=high", 3, ["PST-C011", "PST-C010"], "must be a number, not text"),
        ("--input nobody", 4, ["PST-P001"], "known: calib, external-flat, kept, "),
        ("--reuse nobody", 2, ["PST-P042"], "there is no run 'nobody'"),
        ("--child-of nobody", 4, ["PST-P001"], "there is no run 'nobody'"),
        ("--site none.yaml", 3, ["PST-C001"], "none.yaml"),
        ("--sample 0", 2, ["PST-G005"], "x>=1"),
        ("extra", 2, ["PST-G005"], "prestow plan --help"),
    ],
)  # fmt: skip
def test_an_option_of_plan(
    root: Path, refused: Any, line: str, code: int, codes: list[str], says: str
) -> None:
    assert says in refused(f"plan --run x {line}", root, code, codes)


@pytest.mark.parametrize(
    ("line", "code", "codes", "says"),
    [
        ("calib certify calib flat night=20261001 --begin 2026-10-02 --end 2026-10-01", 4, ["PST-K001"], "exchange the two"),
        ("calib certify calib flat night=20261001 --begin 2026-10-01 --end 2026-10-01", 4, ["PST-K001"], "not after its begin"),
        ("calib certify calib flat night=20261001 --begin yesterday", 4, ["PST-K002"], "--> --begin"),
        ("calib certify calib flta night=20261001 --begin 2026-10-01", 2, ["PST-G007"], "did you mean 'flat'?"),
        ("calib certify calib flat nighd=20261001 --begin 2026-10-01", 3, ["PST-C023"], "did you mean 'night'?"),
        ("calib certify calib flat night=20270101 --begin 2026-10-01", 4, ["PST-K004"], "prestow find flat"),
        ("calib check nobody", 4, ["PST-K003"], "known: calib"),
        ("skymap register hole.yaml", 3, ["PST-S001"], "let 'inner' be"),
        ("skymap register none.yaml", 3, ["PST-C001"], "none.yaml"),
        (f"promise raw {TOLD} --by 2001-01-01", 3, ["PST-P055"], "the deadline is past"),
        (f"promise raw {TOLD} --by tomorrow", 4, ["PST-K002"], "--> --by"),
        (f"promise rwa {TOLD} --by 2100-01-01", 3, ["PST-P055"], "it reads: flat, raw"),
        ("promise raw instrument=simcam exposure=9 detectr=0 --by 2100-01-01", 3, ["PST-C023"], "did you mean 'detector'?"),
        ("diff kept nobody", 2, ["PST-P008"], "(run kept)"),
        ("diff kept", 2, ["PST-G005"], "Missing argument 'B'"),
        ("verify nobody", 2, ["PST-P008"], "no plan 'nobody'"),
        ("drop nobody", 2, ["PST-P008"], "no plan 'nobody'"),
        ("drop kept", 2, ["PST-P008"], "'kept' is a run; its plan is"),
    ],
)  # fmt: skip
def test_another_command(root: Path, refused: Any, line: str, code: int, codes: list[str], says: str) -> None:
    assert says in refused(line, root, code, codes)


# --- written in the pipeline, told by plan and check -------------------------------------------


@pytest.mark.parametrize(
    ("edit", "line", "code", "codes", "says"),
    [
        (change(READS, f'{READS}\n    where: "vist = 3"'), "plan", 3, ["PST-C027"], "pipeline.yaml:24:12"),
        (change(READS, f"{READS}\n    where: \"visit > 3 and band = 'q'\""), "plan --run x", 4, ["PST-P001"],
         """the selection of task isr: "visit > 3": 4 of 4 quanta left; "band = 'q'": 0 left (band here: g, r)"""),
        (change("{raw: raw, flat", "{raw: {type: raw, where: \"band = 'q'\"}, flat"), "plan --run x", 4, ["PST-P001"],
         """"band = 'q'": 0 left of 4 raw (band here: g, r)"""),
        (change("minimum: 2", "minimum: 99"), "plan --run x", 4, ["PST-P021"], "correct the minimum of calexp"),
        (change("minimum: 2", "minimum: 1.5"), "plan", 3, ["PST-C013"], "a fraction below 1"),
        (change(COADDS, f"{COADDS[:-1]}, tract]"), "plan", 3, ["PST-C013"], "quanta that differ in skymap, tract"),
        (runs_by("skymap, band", "coadd-{skymap}-{band}.fits"), "plan --run x", 4, ["PST-P002"],
         "coadd runs by skymap, of which none is known here"),
        (runs_by("tract, band", "coadd-{skymap}-{tract}-{band}.fits"), "plan --run x", 4, ["PST-P002"],
         "prestow skymap register FILE"),
        (change(CALEXP, CALEXP.replace("-{visit}", "")), "plan --run x --flat", 4, ["PST-P030"], "plan without --flat"),
        (change(ISR, ISR.replace("/{visit}/", "/{vist}/")), "plan", 4, ["PST-C030"], "unknown field {vist}"),
        (change(ISR, ISR.replace("-{visit}", "-{visit")), "plan", 4, ["PST-C030"], "'{' is not allowed"),
        (change(READS, f"{READS}\n    barrier: true"), "check", 3, ["PST-C013"], "nothing to wait for"),
        (change(READS, f'{READS}\n    resources: {{memory: "2 GB + 60 MB * n_inputz"}}'), "plan", 3, ["PST-C075"],
         "did you mean 'n_inputs'?"),
        (change(READS, f'{READS}\n    resources: {{memory: "2 GB +"}}'), "plan", 3, ["PST-C075"], "not the end"),
        (change(READS, f'{READS}\n    resources: {{memory: "2 GB / 0"}}'), "plan --run x", 4, ["PST-P040"], "pipeline.yaml:24"),
        (with_hook("def hook(view):\n    return 3\n"), "plan --run x", 4, ["PST-P022"], "it gave int, and not a Preflight"),
        (with_hook("def hook(view)\n    return 3\n"), "check", 3, ["PST-C072"], "checks.py:1 is not valid Python: expected ':'\n"),
        (with_hook("def hok(view):\n    return 3\n"), "check", 3, ["PST-C072"], "did you mean 'hok'?"),
    ],
)  # fmt: skip
def test_a_pipeline(
    own: Path, refused: Any, edit: Edit, line: str, code: int, codes: list[str], says: str
) -> None:
    edit(own)
    assert says in refused(line, own, code, codes)


@pytest.mark.parametrize(
    ("body", "says"),
    [("time.time()", "reads the clock"), ("open('/dev/null').close()", "opens a file (null)")],
)
def test_a_hook_that_looks_elsewhere_is_found_by_the_strict_check(
    own: Path, refused: Any, body: str, says: str
) -> None:
    head = "import time\nfrom prestow.tasks import Preflight\n\n"
    with_hook(f"{head}def hook(view):\n    {body}\n    return Preflight()\n")(own)
    told = refused("check --strict", own, 3, ["PST-C070"])
    assert says in told
    assert "--> tasks/checks.py:5" in told


def test_what_clashes_only_in_a_flat_layout_is_a_plan_otherwise(own: Path, inside: Any) -> None:
    change(CALEXP, CALEXP.replace("-{visit}", ""))(own)
    assert inside("plan", "--run", "x", "-n", cwd=own).code == 0


# --- plans that are damaged, or run ------------------------------------------------------------


def the_plan(root: Path) -> Path:
    return next((root / "plans").glob("?" * 32))


@pytest.mark.parametrize("name", ["inputs.parquet", "quanta.parquet", "plan.yaml"])
def test_a_damaged_plan_is_not_proved(own: Path, inside: Any, name: str) -> None:
    (the_plan(own) / name).write_bytes(b"{")
    before = listing(own)
    answer = inside("verify", cwd=own, ok=False)
    assert (answer.code, answer.err) == (4, "")
    assert answer.out.count("error[PST-V") == answer.out.count("error[PST-V001]") == 1
    assert f"  {name}: " in answer.out
    assert answer.out.splitlines()[-2].endswith(": damaged, in 1 way")
    assert answer.out.splitlines()[-1] == "next: prestow drop latest && prestow plan"
    assert listing(own) == before


@pytest.mark.parametrize("name", ["quanta.parquet", "plan.yaml"])
def test_a_damaged_plan_is_not_dropped_unseen(own: Path, refused: Any, name: str) -> None:
    (the_plan(own) / name).write_bytes(b"{")
    told = refused("drop latest", own, 2, ["PST-P008"])
    assert "the plan is damaged" in told
    assert f"remove {the_plan(own)}, then: prestow plan" in told


def test_a_plan_that_runs_is_not_dropped(own: Path, refused: Any) -> None:
    with run_lock(the_plan(own)):
        told = refused("drop latest", own, 7, ["PST-R005"])
    assert "another run of this plan is under way" in told
