"""The map in ``prestow/__init__`` is the house, and the face is lazy."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import prestow

HOUSE = Path(prestow.__file__).parent
HEAVY = ("polars", "pyarrow", "dask", "distributed", "sqlalchemy", "astropy", "numpy", "yaml", "click")


def run(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def rooms_in_the_docstring() -> list[str]:
    return re.findall(r"^- ``([a-z]+)``:", prestow.__doc__ or "", re.MULTILINE)


def rooms_in_the_folder() -> set[str]:
    modules = {p.stem for p in HOUSE.glob("*.py") if not p.stem.startswith("_")}
    return modules | {p.parent.name for p in HOUSE.glob("*/__init__.py")}


def test_the_docstring_lists_the_rooms_of_the_folder() -> None:
    listed = rooms_in_the_docstring()
    assert len(listed) == len(set(listed))
    assert set(listed) == rooms_in_the_folder()


def test_the_docstring_lists_the_rooms_in_flow_order() -> None:
    """A room stands after those that the floors of pyproject.toml put below it."""
    import tomllib

    project = HOUSE.parent.parent / "pyproject.toml"
    if not project.exists():
        pytest.skip("not a checkout")
    contracts = tomllib.loads(project.read_text())["tool"]["importlinter"]["contracts"]
    layers = next(c["layers"] for c in contracts if c["type"] == "layers")
    floor = {room: -i for i, layer in enumerate(layers) for room in re.findall(r"[a-z]+", layer)}
    floors = [floor[room] for room in rooms_in_the_docstring() if room != "testing"]
    assert floors == sorted(floors)


@pytest.mark.parametrize("module", ["prestow", "prestow.errors"])
def test_importing_the_face_loads_nothing_heavy(module: str) -> None:
    loaded = run(f"import sys, {module}; print(*sorted(m.partition('.')[0] for m in sys.modules))").split()
    assert not set(loaded) & set(HEAVY)


def test_help_loads_click_and_no_library_of_the_submit_side() -> None:
    code = "import sys; from prestow.cli import main; main(['--help']); print(*sys.modules, file=sys.stderr)"
    result = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = {m.partition(".")[0] for m in result.stderr.split()}
    assert "click" in loaded
    assert not loaded & (set(HEAVY) - {"click"})
    assert "prestow.cli.plan" not in result.stderr.split()


def test_every_name_of_the_face_is_there() -> None:
    assert run("import prestow; print(all(getattr(prestow, n) for n in prestow.__all__))") == "True"
    assert set(prestow.__all__) <= set(dir(prestow))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'butler'"):
        prestow.butler  # noqa: B018
