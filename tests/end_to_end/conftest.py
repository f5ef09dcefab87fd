"""The command as people run it: a process of its own, in a project's directory."""

import contextlib
import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from prestow.cli import main
from prestow.testing.campaigns import Campaign


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)

    @property
    def codes(self) -> list[str]:
        return [problem["code"] for problem in self.json["problems"]]


Prestow = Callable[..., Answer]


@pytest.fixture(scope="session")
def other_locale() -> str:
    """Give a locale that is not UTF-8, if Python itself starts in it.

    CPython cannot start in C from an environment whose path is not ASCII: it reads the path of an
    editable install in the locale's encoding.
    """
    return "C" if sys.prefix.isascii() else "C.UTF-8"


@pytest.fixture(scope="session")
def prestow() -> Prestow:
    """Run ``prestow WORDS`` in a directory; with ``ok`` it must succeed."""

    def call(*words: object, cwd: Path, ok: bool = True, env: dict[str, str] | None = None) -> Answer:
        command = [sys.executable, "-m", "prestow", *map(str, words)]
        environment = {**os.environ, **(env or {})}
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
        answer = Answer(done.returncode, done.stdout, done.stderr)
        if ok:
            assert answer.code == 0, f"{words}\n{answer.out}\n{answer.err}"
        assert "Traceback" not in answer.err.replace("    Traceback", "")  # a task's own log may hold one
        return answer

    return call


@pytest.fixture(scope="session")
def inside() -> Prestow:
    """The same in this process, where a process of its own would show nothing more."""

    def call(*words: object, cwd: Path, ok: bool = True) -> Answer:
        out, err = io.StringIO(), io.StringIO()
        with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(word) for word in words])
        answer = Answer(code, out.getvalue(), err.getvalue())
        if ok:
            assert answer.code == 0, f"{words}\n{answer.out}\n{answer.err}"
        assert "Traceback" not in answer.err.replace("    Traceback", "")  # a task's own log may hold one
        return answer

    return call


@pytest.fixture(scope="session")
def sit(inside: Prestow) -> Callable[[Path], Callable[..., Answer]]:
    """Sit down in a directory and type whole lines there, as a person would; each must exit as told (None: anyhow)."""

    def at(root: Path) -> Callable[..., Answer]:
        def typed(line: str, exits: int | None = 0) -> Answer:
            words = shlex.split(line)
            assert words[0] == "prestow"
            answer = inside(*words[1:], cwd=root, ok=False)
            assert exits in (None, answer.code), f"{line}\n{answer.out}\n{answer.err}"
            return answer

        return typed

    return at


@pytest.fixture(scope="session")
def small() -> Callable[[Path], Path]:
    """Make a project smaller: two frames of each filter, one detector."""

    def cut(root: Path) -> Path:
        for path in (root / "raw").iterdir():
            number, detector = path.stem.split("-")[2:]
            if int(number) > 4 or detector != "0":
                path.unlink()
        return root

    return cut


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, inside: Prestow, small: Callable[[Path], Path]) -> Path:
    """The project that `prestow init` makes, smaller, taken in and planned; for a module that leaves it as it is."""
    root = tmp_path_factory.mktemp("planned") / "demo"
    inside("init", "demo", cwd=root.parent)
    small(root)
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    return root


@pytest.fixture(scope="module")
def planned_campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One small planned campaign of JSON files, to be copied."""
    campaign = Campaign(tmp_path_factory.mktemp("planned") / "c", visits=1)
    campaign.plan()
    return campaign.directory


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes]]:
    """Give every file below a directory with its bytes, but for the database's own."""

    def look(root: Path) -> dict[str, bytes]:
        return {
            str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob("*"))
            if path.is_file() and not path.name.startswith("registry.db") and "__pycache__" not in path.parts
        }

    return look


SITE = """
schema: prestow.site/1
name: pool
engine: pegasus
stores: {stores}
pegasus:
  python: {python}
  work: /shared/pegasus
  profiles: {{condor: {{+ProjectName: survey}}}}
"""


@pytest.fixture(scope="session")
def site_file() -> Callable[..., Path]:
    """Write the site file of a project for Pegasus: nodes see its stores where they are."""

    def write(root: Path, **stores: str) -> Path:
        path = root / "pool.yaml"
        seen = {"archive": f"file://{root}/store", **stores}
        path.write_text(SITE.format(stores=json.dumps(seen), python=json.dumps(sys.executable)))
        return path

    return write
