"""The environment of every quantum of a task as a planned product, and a repair in another one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from prestow.formats import open_format
from prestow.node import environment as room


@pytest.fixture
def project(tmp_path: Path, inside: Any, small: Any) -> Path:
    inside("init", "demo", cwd=tmp_path)
    root: Path = small(tmp_path / "demo")
    text = (root / "pipeline.yaml").read_text()
    assert text.count("    outputs: {isr: isr}\n") == 1
    text = text.replace(
        "    outputs: {isr: isr}\n", "    outputs: {isr: isr}\n    prototypes: [environment]\n"
    )
    (root / "pipeline.yaml").write_text(text)
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    inside("run", "--engine", "local", cwd=root)
    return root


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let a package be installed that was not there before."""

    def change() -> None:
        info = tmp_path / "site" / "newcomer-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: newcomer\nVersion: 1.5\n")
        monkeypatch.syspath_prepend(str(info.parent))
        room._packages.cache_clear()

    yield change
    room._packages.cache_clear()


def products(root: Path, run: str, name: str) -> list[Path]:
    return sorted((root / "store" / run / name).rglob(f"{name}-*"))


def test_each_quantum_has_one_and_all_say_the_same(project: Path, inside: Any) -> None:
    found = products(project, "demo", "isr_environment")
    values = [open_format("json").read(path) for path in found]
    assert len(found) == len(products(project, "demo", "isr")) == 4
    assert values == [values[0]] * 4
    inside("ingest", cwd=project)
    job = "isr-0-202611010001"
    (shown,) = inside("show", job, "--environment", "--json", cwd=project).json["environment"]
    assert shown["value"] == values[0]
    assert shown["source"].startswith("archive:demo/")
    text = inside("show", job, "--environment", cwd=project).out
    assert f"numpy {values[0]['packages']['numpy']}" in text


def test_a_run_that_goes_on_and_a_repair_in_another_environment_succeed(
    project: Path, inside: Any, elsewhere: Any
) -> None:
    """The frame that was lost is made again in a child run; the others, and their environment, stand."""
    isr, environment = (products(project, "demo", name)[0] for name in ("isr", "isr_environment"))
    before, digest = environment.read_bytes(), open_format("fits").content_digest(isr)
    isr.unlink()
    elsewhere()
    assert inside("run", "--engine", "local", "--json", cwd=project).json["jobs"] == 0
    assert environment.read_bytes() == before
    told = inside("ingest", "--json", cwd=project, ok=False).json
    assert "PST-I003" in [problem["code"] for problem in told["problems"]]
    inside("plan", "--child-of", "demo", cwd=project)
    assert inside("run", "--engine", "local", cwd=project).code == 0
    assert inside("ingest", cwd=project).code == 0
    (again,) = products(project, "demo+1", "isr_environment")
    assert open_format("json").read(again)["packages"]["newcomer"] == "1.5"
    assert open_format("json").content_digest(again) != open_format("json").content_digest(environment)
    (frame,) = products(project, "demo+1", "isr")
    assert open_format("fits").content_digest(frame) == digest
