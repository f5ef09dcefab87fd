"""Plan one survey here and with lsst-pipe-base: one JSON object a line.

    python benchmarks/gen3.py

Three tasks: isr by exposure and detector, from raw, bias and flat; calibrate by visit and detector; gather by
visit. 50 detectors, so a visit is 101 quanta. Both sides read a SQLite registry and write their plan, each in a
new process of a small script; its CPU is user and system time of all of it, from its start to its end. There
1,010 and 10,100 quanta, here 10,100 and 101,000: so the marginal cost of a quantum, where the start counts no
more. Ours has the names of all that will be written; theirs has ids, and a name costs 0.3 ms more when asked for.

The other side runs in an environment of its own, made once in the scratch directory by ``python3.12 -m venv``
from pinned versions; without a Python 3.12 or without the packages nothing is measured, and stderr says so.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import survey

HERE = Path(__file__).resolve().parent
VERSION = "30.2026.4300"
PACKAGES = (
    *(f"lsst-{name}=={VERSION}" for name in ("daf-butler", "pipe-base", "pex-config", "utils")),
    "lsst-resources==30.2026.4200",
    "lsst-sphgeom==30.2026.4000",
)
DETECTORS = 50
REPEATS = 3


@dataclass(frozen=True)
class Cost:
    """What one process took."""

    cpu: float
    wall: float
    rss: float  # GiB


def say(name: str, value: float, unit: str, *, beside: float | None = None, note: str = "") -> None:
    """Print one fact; ``beside`` is the bound."""
    ratio = None if not beside else round(value / beside, 3)
    facts = {"name": name, "value": round(value, 3), "unit": unit, "beside": beside, "ratio": ratio}
    print(json.dumps({**facts, "note": note}), flush=True)


def environment() -> Path | None:
    """Give the interpreter of the other side, made if it is not there; None if it cannot be."""
    path = survey.scratch() / f"gen3-{VERSION}"
    python = path / "bin" / "python"
    if (path / "whole").is_file():
        return python
    base = next((found for name in ("python3.12", "python3.13") if (found := _works(name))), None)
    if base is None:
        print("error: gen3 is left out: there is no python3.12 on the PATH", file=sys.stderr)
        return None
    shutil.rmtree(path, ignore_errors=True)
    print(f"# making the environment of {', '.join(PACKAGES)}", file=sys.stderr)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *PACKAGES]
    for words in ([base, "-m", "venv", path], pip):
        if subprocess.run(words, check=False, stdout=sys.stderr).returncode:
            print("error: gen3 is left out: its environment could not be made", file=sys.stderr)
            return None
    (path / "whole").touch()
    return python


def _works(name: str) -> str | None:
    """Give a command of that name that runs: a shim of a version that is not there does not."""
    found = shutil.which(name)
    homes = sorted(
        Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")).glob(f"versions/{name[6:]}.*/bin/python")
    )
    for path in (found, *homes):
        if path and subprocess.run([path, "-c", ""], check=False, capture_output=True).returncode == 0:
            return str(path)
    return None


def ran(words: list[str | Path], paths: str = "") -> Cost:
    """Run a command to its end; give what it took."""
    begin = time.perf_counter()
    env = {**os.environ, "PYTHONPATH": paths, "LSST_LIBRARY_VERSION": ""}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.Popen(words, env=env, stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"error: {words[0]} ended with {process.returncode}")
    return Cost(usage.ru_utime + usage.ru_stime, time.perf_counter() - begin, usage.ru_maxrss / 2**20)


def theirs(python: Path, visits: int, into: Path) -> list[Cost]:
    """Build their graph of so many visits."""
    root = into / f"repo-{visits}"
    call = [python, "-c", "import gen3_theirs; gen3_theirs.main()"]
    ran([*call, "make", root, str(visits), str(DETECTORS)], str(HERE))
    return [ran([*call, "build", root, into / f"graph-{visits}-{i}.qg"], str(HERE)) for i in range(REPEATS)]


def ours(visits: int, into: Path) -> list[Cost]:
    """Make our plan of so many visits."""
    folder = into / f"ours-{visits}"
    folder.mkdir()
    script = HERE / "gen3_ours.py"
    ran([sys.executable, script, "make", folder, str(visits), str(DETECTORS)])
    return [ran([sys.executable, script, "build", folder, folder / f"plans-{i}"]) for i in range(REPEATS)]


def best(costs: list[Cost]) -> Cost:
    """Give the run of the least CPU: what else runs can only add to it."""
    return min(costs, key=lambda cost: cost.cpu)


def main() -> int:
    """Measure; give the exit code."""
    python = environment()
    if python is None:
        return 1
    visit = 2 * DETECTORS + 1
    with tempfile.TemporaryDirectory(prefix="gen3-", dir=survey.scratch()) as scratch:
        into = Path(scratch)
        there = {n: best(theirs(python, n, into)) for n in (10, 100)}
        here = {n: best(ours(n, into)) for n in (100, 1000)}
    for side, costs in (("gen3", there), ("prestow", here)):
        for n, cost in costs.items():
            note = f"least of {REPEATS}; {cost.wall:.2f} s wall, {cost.rss:.2f} GiB"
            say(f"{side}-{n * visit}-quanta-s", cost.cpu, "s CPU", note=note)
    more_there = (there[100].cpu - there[10].cpu) / (90 * visit)
    more_here = (here[1000].cpu - here[100].cpu) / (900 * visit)
    note = f"a further quantum: {1e6 * more_there:.0f} us CPU there, {1e6 * more_here:.2f} us here, names and all"
    say("gen3-over-prestow-marginal", more_there / more_here, "times", beside=200, note=note)
    note = (
        f"whole command, CPU, {100 * visit:,} quanta: {there[100].cpu:.2f} s there, {here[100].cpu:.2f} s here; "
        f"wall {there[100].wall:.2f} s and {here[100].wall:.2f} s; lsst-pipe-base {VERSION}"
    )
    say("gen3-over-prestow-10k", there[100].cpu / here[100].cpu, "times", beside=15, note=note)
    return 0


if __name__ == "__main__":
    sys.exit(main())
