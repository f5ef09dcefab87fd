"""Bad input: one clear error each, with its place; all at once; nothing half-written."""

import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import prestow as face

Edit = Callable[[str], str]


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory, inside: Any, small: Any) -> Path:
    """A project whose raw frames are in; each test has a copy."""
    base = tmp_path_factory.mktemp("bad")
    inside("init", "demo", cwd=base)
    root = small(base / "demo")
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    return root


@pytest.fixture
def root(ready: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ready, tmp_path / "demo"))


@pytest.fixture
def refused(inside: Any, tree: Any) -> Callable[..., list[dict[str, str]]]:
    """Run a command that must be refused, see that nothing changed, and give its problems."""

    def call(*words: object, root: Path, code: int) -> list[dict[str, str]]:
        before, registry = tree(root), content(root)
        text = inside(*words, cwd=root, ok=False)
        assert text.code == code, text.err
        assert text.out == ""
        answer = inside(*words, "--json", cwd=root, ok=False)
        assert answer.code == code
        problems = answer.json["problems"]
        assert text.err.count("error[PST-") == len(problems)
        assert all(problem["what"] and problem["code"] in text.err for problem in problems)
        assert all(problem["where"] for problem in problems)
        assert tree(root) == before
        assert content(root) == registry
        return problems

    return call


def content(root: Path) -> Any:
    if not (root / "registry.db").exists():
        return None
    with face.open(root) as project:
        return project.registry.dump()


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def place(path: Path, text: str) -> str:
    """Give ``file:line:column`` of a text in a file."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if text in line:
            return f"{path.name}:{number}:{line.index(text) + 1}"
    raise AssertionError(text)


# --- files that a person wrote -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "code", "at"),
    [
        ("hints: {cpu_seconds: 0.1, output_bytes: 12e3}", "hintz: {cpu_seconds: 1}", "PST-C010", "hintz"),
        ("config: {bias_level: 1000.0}", "config: {bias_level: [1]}", "PST-C011", "[1]"),
        ("config: {bias_level: 1000.0}", "config: {biaslevel: 1}", "PST-C010", "biaslevel"),
        ("inputs: {isr: isr}", "inputs: {isr: isrr}", "PST-C020", "isrr"),
        ("inputs: {raw: raw}", "inputs: {raw: raw, coadd: coadd}", "PST-C022", None),
        ("dimensions: [visit, detector], format: json", "dimensions: [vissit], format: json", "PST-C023", "vissit"),
        ("run: tasks.isr:run", "run: tasks.isr:walk", "PST-C025", "tasks.isr:walk"),
        ("name: demo", "name: demo\nname: demo", "PST-C003", None),
        ("name: demo", "name: [demo", "PST-C002", None),
        ("schema: prestow.pipeline/1", "schema: prestow.pipeline/9", "PST-C014", "prestow.pipeline/9"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_pipeline_is_told_at_its_place(
    root: Path, refused: Any, old: str, new: str, code: str, at: str | None
) -> None:
    edit(root / "pipeline.yaml", old, new)
    for command in ("check", "plan"):
        problems = refused(command, root=root, code=3)
        found = [problem for problem in problems if problem["code"] == code]
        assert found, problems
        if at is not None:
            assert found[0]["where"] == place(root / "pipeline.yaml", at)
        assert found[0]["where"].startswith("pipeline.yaml:")


def test_all_mistakes_are_told_at_once(root: Path, refused: Any) -> None:
    pipeline = root / "pipeline.yaml"
    edit(pipeline, "    hints: {cpu_seconds: 0.1, output_bytes: 8e3}", "    hintz: {}")
    edit(pipeline, "inputs: {isr: isr}", "inputs: {isr: isrr}")
    edit(pipeline, "{bias_level: 1000.0}", "{bias_level: high, gane: 2}")
    problems = refused("check", root=root, code=3)
    assert {problem["code"] for problem in problems} >= {"PST-C010", "PST-C011", "PST-C020"}
    assert len(problems) >= 4
    assert len({problem["where"] for problem in problems}) >= 4


def test_the_line_is_shown_with_a_mark_below_the_mistake(root: Path, inside: Any) -> None:
    edit(root / "pipeline.yaml", "hints:", "hintz:")
    err = inside("check", cwd=root, ok=False).err
    line = next(i for i, text in enumerate(err.splitlines()) if "hintz: {" in text)
    assert err.splitlines()[line].index("hintz") == err.splitlines()[line + 1].index("^")
    assert "did you mean 'hints'?" in err


def test_mistakes_in_the_project_file_are_told_at_their_places(root: Path, inside: Any, tree: Any) -> None:
    edit(root / "prestow.yaml", "workers: 2", "workers: many\nstoer: x")
    before = tree(root)
    answer = inside("plan", "--json", cwd=root, ok=False)
    assert (answer.code, sorted(answer.codes)) == (3, ["PST-C010", "PST-C011"])
    assert tree(root) == before


def test_a_template_without_a_dimension_names_two_datasets_and_the_field(root: Path, refused: Any) -> None:
    edit(root / "pipeline.yaml", "isr-{visit}-{detector:02d}.fits", "isr-{visit}.fits")
    (problem,) = refused("plan", root=root, code=4)
    assert problem["code"] == "PST-C030"
    assert problem["where"].startswith("pipeline.yaml:")
    told = problem["what"] + problem["fix"]
    assert "{detector" in told
    assert told.count("visit=") >= 2


@pytest.mark.parametrize("where", ["visit = ", "vissit = 3", "visit = 'x' and", "visit in (1, 2"])
def test_a_selection_that_cannot_be_understood_is_refused(root: Path, refused: Any, where: str) -> None:
    problems = refused("plan", "--where", where, root=root, code=3)
    assert {problem["code"] for problem in problems} <= {"PST-C027", "PST-C023"}


def test_a_request_that_matches_nothing_is_refused(root: Path, refused: Any) -> None:
    problems = refused("plan", "--where", "visit = 7", root=root, code=4)
    assert problems[0]["code"] in ("PST-P001", "PST-P002")


@pytest.mark.parametrize("run", ["a/b", "..", "-x", "a b", "é", "raw-x", "x" * 300])
def test_a_run_that_no_path_can_hold_is_refused(root: Path, refused: Any, run: str) -> None:
    (problem,) = refused("plan", f"--run={run}", root=root, code=4)
    assert problem["code"] == "PST-P003"


def test_a_name_no_rule_can_encode_is_refused_before_anything_is_written(
    root: Path, refused: Any, inside: Any
) -> None:
    simcam = (Path(face.__file__).parent / "instruments" / "simcam.yaml").read_text()
    (root / "long.yaml").write_text(
        simcam.replace("name: simcam", "name: long").replace("sim-r: r", f"sim-r: {'r' * 250}")
    )
    edit(root / "prestow.yaml", "workers: 2", "workers: 2\ninstruments: [long.yaml]")
    inside("ingest", "--raw", "raw", "--instrument", "long", cwd=root)
    (problem, *_) = refused("plan", "--where", "instrument = 'long'", root=root, code=4)
    assert problem["code"] == "PST-P003"
    assert "coadd" in problem["what"] + problem["where"]


# --- raw files ---------------------------------------------------------------------------------


def card(path: Path, key: str, value: str | None) -> None:
    """Set a header's value in place, or take its card out."""
    data = bytearray(path.read_bytes())
    at = data.index(f"{key:8}=".encode())
    text = f"COMMENT {key} was here" if value is None else f"{key:8}= {value}"
    data[at : at + 80] = text.ljust(80).encode()
    path.write_bytes(bytes(data))


def frames(root: Path) -> list[Path]:
    return sorted((root / "raw").iterdir())


def new(root: Path, number: int, name: str | None = None) -> Path:
    """Make a frame of another exposure out of the first one."""
    path = root / "raw" / (name or f"new-{number}.fits")
    shutil.copy(frames(root)[0], path)
    card(path, "OBSID", f"{202611020000 + number}".rjust(20))
    return path


def test_a_header_without_the_keyword_is_told_with_the_file_and_the_keyword(root: Path, refused: Any) -> None:
    path = new(root, 1)
    card(path, "DETECTOR", None)
    (problem,) = refused("ingest", "--raw", "raw", "--instrument", "simcam", root=root, code=8)
    assert problem["code"] == "PST-I001"
    assert str(path) in problem["where"]
    assert "DETECTOR" in problem["what"]


def test_two_files_of_one_identity_with_other_bytes_are_both_named(root: Path, refused: Any) -> None:
    first = frames(root)[0]
    path = root / "raw" / "twin.fits"
    data = bytearray(first.read_bytes())
    data[2880 + 7] ^= 1
    path.write_bytes(bytes(data))
    (problem,) = refused("ingest", "--raw", path, "--instrument", "simcam", root=root, code=8)
    assert problem["code"] == "PST-I002"
    told = " ".join(problem.values())
    assert path.name in told
    assert first.name in told


def test_a_truncated_file_is_told(root: Path, refused: Any) -> None:
    path = new(root, 2)
    path.write_bytes(path.read_bytes()[:4000])
    (problem,) = refused("ingest", "--raw", path, "--instrument", "simcam", root=root, code=8)
    assert (problem["code"], str(path) in problem["where"]) == ("PST-I004", True)


def test_bad_raw_files_are_told_all_at_once_and_good_ones_taken_when_asked(
    root: Path, refused: Any, inside: Any
) -> None:
    new(root, 3)
    card(new(root, 4), "OBSID", "'abc'")
    (root / "raw" / "empty.fits").touch()
    (root / "raw" / "text.fits").write_text("no FITS at all")
    problems = refused("ingest", "--raw", "raw", "--instrument", "simcam", root=root, code=8)
    assert len({problem["where"] for problem in problems}) == 3
    answer = inside(
        "ingest", "--raw", "raw", "--instrument", "simcam", "--skip-bad", "--json", cwd=root, ok=False
    )
    assert (answer.code, answer.json["added"], len(answer.json["skipped"])) == (8, 1, len(problems))


def test_a_file_that_is_not_there_is_told(root: Path, refused: Any) -> None:
    (problem,) = refused("ingest", "--raw", "raw/none.fits", "--instrument", "simcam", root=root, code=8)
    assert (problem["code"], "none.fits" in problem["where"]) == ("PST-I005", True)


def test_paths_that_lead_nowhere_are_told_all_at_once(root: Path, refused: Any) -> None:
    (root / "raw" / "loop.fits").symlink_to("loop.fits")
    below = frames(root)[0] / "deeper"
    problems = refused(
        "ingest", "--raw", below, root / "raw" / "loop.fits", "--instrument", "simcam", root=root, code=8
    )
    assert [problem["code"] for problem in problems] == ["PST-I005", "PST-I005"]


def test_an_unknown_instrument_lists_those_there_are(root: Path, inside: Any, tree: Any) -> None:
    before = tree(root)
    answer = inside("ingest", "--raw", "raw", "--instrument", "hubble", "--json", cwd=root, ok=False)
    assert (answer.code, answer.codes) == (2, ["PST-I007"])
    assert "simcam" in answer.json["problems"][0]["fix"]
    assert tree(root) == before


def test_an_unreadable_directory_is_told(root: Path, prestow: Any, tree: Any) -> None:
    new(root, 5)
    closed = root / "raw" / "closed"
    closed.mkdir()
    before = tree(root)
    closed.chmod(0)
    try:
        if os.access(closed, os.R_OK):
            pytest.skip("this user may read everything (root)")
        answer = prestow("ingest", "--raw", "raw", "--instrument", "simcam", "--json", cwd=root, ok=False)
    finally:
        closed.chmod(0o755)
    assert (answer.code, answer.codes) == (8, ["PST-I005"])
    assert tree(root) == before


def test_a_file_where_the_store_should_be_is_told(root: Path, inside: Any) -> None:
    shutil.rmtree(root / "store")
    (root / "store").write_text("in the way")
    new(root, 6)
    answer = inside("ingest", "--raw", "raw", "--instrument", "simcam", "--json", cwd=root, ok=False)
    assert answer.code == 7
    assert str(root / "store") in answer.json["problems"][0]["where"]
    assert (root / "store").read_text() == "in the way"


def test_a_registry_that_is_none_is_told(root: Path, inside: Any) -> None:
    for path in root.glob("registry.db*"):
        path.unlink()
    (root / "registry.db").write_text("no database")
    for words in (("plan",), ("ingest", "--raw", "raw", "--instrument", "simcam")):
        answer = inside(*words, "--json", cwd=root, ok=False)
        assert (answer.code, answer.codes) == (7, ["PST-G002"])
    assert (root / "registry.db").read_text() == "no database"


# --- a full disk -------------------------------------------------------------------------------


@pytest.fixture
def little_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of two megabytes."""
    mount = tmp_path / "disk"
    mount.mkdir()
    made = (
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(mount)], capture_output=True, check=False
        )
        if shutil.which("mount")
        else None
    )
    if made is None or made.returncode:
        pytest.skip("a disk of one's own can only be had by root")
    try:
        yield mount
    finally:
        subprocess.run(["umount", "-l", str(mount)], check=True)


def fill(disk: Path, leave: int) -> Path:
    """Use all but a few bytes of a disk."""
    filler = disk / "filler"
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    filler.write_bytes(b"\0" * max(0, free - leave))
    return filler


def test_a_full_disk_is_told_and_the_same_command_goes_on_afterwards(
    ready: Path, little_disk: Path, prestow: Any, inside: Any, tree: Any
) -> None:
    root = Path(shutil.copytree(ready, little_disk / "demo"))
    filler = fill(little_disk, 20_000)
    before = tree(root)
    answer = prestow("plan", "--json", cwd=root, ok=False)
    assert (answer.code, answer.codes) == (7, ["PST-R002"])
    assert tree(root) == before
    filler.unlink()
    plan = inside("plan", "--json", cwd=root).json
    filler = fill(little_disk, 40_000)
    run = prestow("run", "--engine", "local", "--json", cwd=root, ok=False)
    assert run.code == 7
    filler.unlink()
    assert inside("run", "--engine", "local", "--json", cwd=root).json["counts"] == {
        "made": plan["total"]["quanta"]
    }
    filler = fill(little_disk, 4_000)
    taken = prestow("ingest", "--json", cwd=root, ok=False)
    assert (taken.code, taken.codes) == (7, ["PST-R002"])
    filler.unlink()
    assert inside("ingest", "--json", cwd=root).json["added"] == plan["total"]["outputs"]


# --- the command line --------------------------------------------------------------------------


def test_what_is_wrong_at_the_command_line_says_how_it_is_right(root: Path, inside: Any) -> None:
    answer = inside("ingest", "--raw", "--instrument", "simcam", "--json", cwd=root, ok=False)
    assert (answer.code, answer.codes) == (2, ["PST-G005"])
    answer = inside("run", "ffffffff", "--json", cwd=root, ok=False)
    assert (answer.code, answer.codes) == (2, ["PST-P008"])
    inside("plan", cwd=root)
    answer = inside("run", "--engine", "slrum", "--json", cwd=root, ok=False)
    assert (answer.code, answer.codes) == (3, ["PST-C013"])
    assert "dask" in answer.json["problems"][0]["fix"]
    answer = inside("plan", "--child-of", "nobody", "--json", cwd=root, ok=False)
    assert (answer.code, answer.codes) == (4, ["PST-P001"])


def test_a_word_that_nothing_knows_is_answered_with_the_nearest(root: Path, inside: Any) -> None:
    inside("plan", cwd=root)
    for words, code, says in (
        (("stauts",), "PST-G005", "Did you mean 'status'?"),
        (("ingest", "--run", "deno"), "PST-G003", "did you mean 'demo'?"),
        (("-C", "nowhere", "status"), "PST-G001", "no such directory"),
        (("status", "demo"), "PST-P008", "'demo' is a run; its plan is"),
        (("-C", "prestow.yaml", "status"), "PST-G001", "no directory"),
    ):
        answer = inside(*words, "--json", cwd=root, ok=False)
        assert (answer.code, answer.codes) == (2, [code])
        assert says in f"{answer.json['problems'][0]['what']} {answer.json['problems'][0]['fix']}"
    # a run that is planned, and has no receipt yet, is no mistake
    assert inside("ingest", "--run", "demo", "--json", cwd=root).json["added"] == 0
    assert "deno" not in inside("find", "raw", "--run", "deno", cwd=root, ok=False).err.split("help")[
        1
    ].split("'")


def test_a_next_command_can_be_typed_as_it_stands(inside: Any, tmp_path: Path) -> None:
    root = tmp_path / "my survey"
    answer = inside("init", root.name, cwd=tmp_path)
    assert f"cd '{root.name}' && prestow ingest" in answer.out
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    answer = inside("ingest", "--as", "refcat", "pipeline.yaml", "detector=1", "--json", cwd=root, ok=False)
    assert answer.json["problems"][0]["where"] == "data ID detector=1"
    for typed in ("detector=1", "visit=202611010001", "band=g"):
        last = inside("id", typed, cwd=root).out.splitlines()[-1]
        words = shlex.split(last.removeprefix("next: prestow "))
        assert inside(*words, "--json", cwd=root).json["count"] > 0
    (root / "registry.db").unlink()
    raw = next((root / "store" / "raw").rglob("*.fits"))
    assert "int16" in inside("look", raw, cwd=root).out


def test_a_child_of_a_run_that_was_not_taken_in_is_refused(root: Path, refused: Any, inside: Any) -> None:
    inside("plan", cwd=root)
    (problem,) = refused("plan", "--child-of", "demo", root=root, code=4)
    assert (problem["code"], problem["fix"]) == ("PST-P001", "prestow ingest --run demo")


def test_a_damaged_plan_is_told(root: Path, inside: Any) -> None:
    plan = inside("plan", "--json", cwd=root).json["plan"]
    table = root / "plans" / plan / "quanta.parquet"
    for damage in (lambda: table.write_bytes(b"PAR1"), table.unlink):
        damage()
        answer = inside("show", "--json", cwd=root, ok=False)
        assert (answer.code, answer.codes) == (2, ["PST-P008"])
        assert str(table) in answer.json["problems"][0]["where"]
