"""What a manifest costs at the node: CPU of whole processes, beside the bare interpreter.

Prints one JSON object a line; other output goes to stderr.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[1] / "src"
sys.path.insert(0, str(SOURCE))

from prestow.testing.jobs import Jobs  # noqa: E402 - the house beside this file, installed or not

REPEAT = 9
BYTECODE = Path(tempfile.gettempdir()) / f"prestow-bench-{os.getpid()}"
TASK = """
def run(quantum):
    quantum.put("y", {"flux": 2 * quantum.get("x")["flux"]})
"""
COMMAND = """
import sys
cards = ["SIMPLE  =                    T", "BITPIX  =                   16", "NAXIS   =                    2",
         "NAXIS1  =                  512", "NAXIS2  =                  512", "BUNIT   = 'adu     '", "END"]
with open(sys.argv[2], "xb") as file:
    file.write("".join(card.ljust(80) for card in cards).ljust(2880).encode())
    file.write(bytes(-(-512 * 512 * 2 // 2880) * 2880))
"""


def cpu(words: list[str]) -> float:
    """Give user and system seconds of a process and what it waited for."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"PYTHONPATH": str(SOURCE), "PYTHONPYCACHEPREFIX": str(BYTECODE)}
    pid = os.posix_spawn(words[0], words, environment, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
    _, status, usage = os.wait4(pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)}: exit {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime


def node(directory: Path, n: int, make) -> float:
    """Give the CPU of one fresh manifest, its code unpacked already as on a worker's disk."""
    jobs = Jobs(directory / str(n))
    make(jobs)
    path = jobs.directory / "manifest.json"
    path.write_text(jobs.manifest().to_json())
    return cpu([sys.executable, "-m", "prestow.node", str(path), "--scratch", str(directory / "scratch")])


def json_job(jobs: Jobs) -> None:
    """One linked input, one JSON product, made by a Python task."""
    jobs.code(double=TASK)
    raw = jobs.existing("raw", {"visit": 1}, {"flux": 2})
    jobs.quantum("double", {"visit": 1}, entry="double:run", inputs={"x": [raw]}, outputs={"y": "json"})


def fits_job(jobs: Jobs) -> None:
    """One linked input, one FITS product, made by a command line."""
    raw = jobs.existing("raw", {"visit": 1}, {"flux": 2})
    jobs.quantum(
        "image", {"visit": 1}, command=["python", str(jobs.directory.parent / "command.py"), "{inputs.x}", "{outputs.y}"],
        inputs={"x": [raw]}, outputs={"y": "fits"},
    )  # fmt: skip


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        (directory / "command.py").write_text(COMMAND)
        bare, whole, alone, fits = [], [], [], []
        for n in range(REPEAT):
            bare.append(cpu([sys.executable, "-c", "pass"]))
            whole.append(node(directory, n, json_job))
            alone.append(
                cpu([sys.executable, str(directory / "command.py"), "-", str(directory / f"alone-{n}.fits")])
            )
            fits.append(node(directory, n + REPEAT, fits_job))
    median = {
        k: statistics.median(v)
        for k, v in {"bare": bare, "whole": whole, "alone": alone, "fits": fits}.items()
    }
    tell(
        "node-json-cpu-s",
        median["whole"],
        median["bare"],
        f"whole process, median of {REPEAT}; beside: the bare interpreter",
    )
    tell(
        "node-fits-cpu-s", median["fits"] - median["alone"], median["bare"],
        f"beyond the command's own {median['alone']:.3f} s, median of {REPEAT}; beside: the bare interpreter",
    )  # fmt: skip


def tell(name: str, value: float, beside: float, note: str) -> None:
    """Print one figure."""
    figure = {
        "name": name,
        "value": round(value, 4),
        "unit": "s",
        "beside": round(beside, 4),
        "ratio": round(value / beside, 2),
        "note": note,
    }
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
