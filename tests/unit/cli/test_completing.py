"""What a shell offers: in a bash that runs, and as each shell would ask."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import prestow as face
from prestow.cli import main

ASK = """
eval "$(prestow completion bash)"
declare -F _prestow_completion > /dev/null || exit 3
compopt() { echo compopt "$@" >> "$OPTIONS"; }
while read -r -a COMP_WORDS; do
    [[ ${COMP_WORDS[-1]} == _ ]] && COMP_WORDS[-1]=""
    COMP_CWORD=$(( ${#COMP_WORDS[@]} - 1 )) COMPREPLY=()
    _prestow_completion prestow
    echo "${COMPREPLY[*]}"
done
"""
VISITS = "202611010001 202611010002 202611010003 202611010004"


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A project with a plan, and with a filter of an odd name."""
    root = tmp_path_factory.mktemp("completing") / "demo"
    face.create(root)
    for path in (root / "raw").iterdir():
        number, detector = path.stem.split("-")[2:]
        if int(number) > 4 or detector != "0":
            path.unlink()
    with face.open(root) as project:
        project.ingest_raw([root / "raw"], "simcam")
        project.plan()
        project.registry.insert_dimension_records("band", _band("B 600"))
    return root


def _band(name: str):
    import pyarrow as pa

    return pa.table({"band": [name]})


@pytest.fixture(scope="module")
def commands(tmp_path_factory) -> Path:
    """A directory with ``prestow``, as an installation has one."""
    directory = tmp_path_factory.mktemp("bin")
    command = directory / "prestow"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m prestow "$@"\n')
    command.chmod(0o755)
    return directory


def in_bash(root: Path, commands: Path, *asked: str) -> tuple[list[str], list[str]]:
    """Ask a bash for the completions of command lines, words as bash cuts them; ``_`` is an empty one."""
    options = commands / "options"
    options.unlink(missing_ok=True)
    environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", "OPTIONS": str(options)}
    done = subprocess.run(
        ["bash", "--norc", "-c", ASK], input="\n".join(asked) + "\n", cwd=root, env=environment, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines(), options.read_text().splitlines() if options.exists() else []


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
def test_a_real_bash_completes_types_keys_and_values(root: Path, commands: Path) -> None:
    asked = {
        "prestow find is": "isr",
        "prestow find isr v": "visit=",
        "prestow find isr visit = _": VISITS,
        "prestow find isr visit = 2026110100": VISITS,
        "prestow find isr visit =": VISITS,
        "prestow find isr band = g": "g",
        "prestow find isr band = B": "'B 600'",
        "prestow find isr visit = 202611010003 d": "detector= day_obs=",
        "prestow run --only cal": "calibrate",
        "prestow why coadd-": "coadd-g-0 coadd-r-0",
    }
    answers, options = in_bash(root, commands, *asked)
    assert [" ".join(answer.split()) for answer in answers] == [*asked.values()]
    assert options == ["compopt -o nospace"]  # after visit=


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_take_the_script(shell: str, root: Path, commands: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"there is no {shell} here: its script is printed, and was not run")
    environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}"}
    script = subprocess.run(
        ["prestow", "completion", shell], env=environment, capture_output=True, text=True, check=True
    ).stdout
    done = subprocess.run([shell, "-n"], input=script, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def ask(capsys, monkeypatch, root: Path, *words: str) -> list[str]:
    """Ask as zsh does: each word whole."""
    monkeypatch.chdir(root)
    monkeypatch.setenv("_PRESTOW_COMPLETE", "zsh_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(words))
    monkeypatch.setenv("COMP_CWORD", str(len(words) - 1))
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    lines = out.splitlines()
    return [value for kind, value in zip(lines[::3], lines[1::3]) if kind == "plain"]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (("find", "isr", "visit=20261101000"), [f"visit={v}" for v in VISITS.split()]),
        (("find", "isr", "c"), ["ccd="]),
        (("find", "isr", "filter=B"), ["filter=B 600"]),
        (("find", "raw", "vi"), ["visit="]),  # joined by a relation
        (("find", "no_such_type", "vi"), ["visit="]),
        (("find", "isr", "--run", "raw"), ["raw-simcam"]),
        (("find", "isr", "--plan", "la"), ["latest"]),
        (("id", "vi"), ["visit="]),
        (("id", "--type", "co"), ["coadd"]),
        (("show", "cal"), ["calibrate", "calexp"]),
        (("show", "cale"), ["calexp"]),
        (("show", "coadd-"), ["coadd-g-0", "coadd-r-0"]),
        (("debug", "coadd-g"), ["coadd-g-0"]),
        (("status", "lat"), ["latest"]),
        (("run", "lat"), ["latest"]),
        (("trace", "coa"), ["coadd"]),
        (("trace", "coadd", "band=g"), ["band=g"]),
        (("compare", "demo."), ["demo.all"]),
        (("find", "isr", "visit=%"), []),
    ],
)
def test_each_command_offers_what_it_takes(capsys, monkeypatch, root, words, answer) -> None:
    assert ask(capsys, monkeypatch, root, "prestow", *words) == answer


def test_where_there_is_no_project_nothing_is_offered_and_nothing_said(capsys, monkeypatch, tmp_path) -> None:
    assert ask(capsys, monkeypatch, tmp_path, "prestow", "find", "i") == []
    (tmp_path / "prestow.yaml").write_text("schema: [")
    assert ask(capsys, monkeypatch, tmp_path, "prestow", "find", "i") == []


def test_a_damaged_plan_offers_nothing(capsys, monkeypatch, root, tmp_path) -> None:
    copy = Path(shutil.copytree(root, tmp_path / "demo"))
    (plan,) = (copy / "plans").glob("?" * 32)
    (plan / "plan.yaml").write_text("pipeline: 3")
    assert ask(capsys, monkeypatch, copy, "prestow", "find", "i") == []
    (plan / "jobs.parquet").write_bytes(b"no")
    assert ask(capsys, monkeypatch, copy, "prestow", "debug", "coadd") == []


def test_completing_loads_no_dataframes(root: Path) -> None:
    code = (
        "import os, sys\n"
        "os.environ.update(_PRESTOW_COMPLETE='bash_complete', COMP_WORDS='prestow find isr visit=', COMP_CWORD='3')\n"
        "from prestow.cli import main\n"
        "assert main([]) == 0\n"
        "print(sorted({'polars', 'pyarrow', 'dask', 'astropy', 'sqlalchemy', 'adbc_driver_sqlite'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "plain,visit=202611010001" in done.stdout
