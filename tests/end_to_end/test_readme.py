"""What the README shows is what happens."""

import os
import re
import subprocess
import sys
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text()
VARIES = [
    (r"\d+\.\d+ (s|ms)\b", "T"),
    (r"free here: .*", "free"),
    (r"\b[0-9a-f]{8}\b|@ [0-9a-f]{7}\b", "ID"),
    (r" +", " "),
]


def plain(text: str) -> list[str]:
    for pattern, word in VARIES:
        text = re.sub(pattern, word, text)
    return [line.strip() for line in text.strip().splitlines()]


def test_the_ten_lines_and_the_python_do_what_they_show(tmp_path: Path) -> None:
    here = tmp_path
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "NO_COLOR": "1",
    }
    block = re.search(r"```console\n(.*?)```", README, re.DOTALL)
    assert block is not None
    steps = re.split(r"^\$ ", block[1], flags=re.MULTILINE)[1:]
    assert len(steps) == 6
    for step in steps:
        command, _, shown = step.partition("\n")
        done = subprocess.run(
            command, shell=True, cwd=here, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert plain(done.stdout) == plain(shown), command
        if command.endswith("cd demo"):
            here = tmp_path / "demo"
    code = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert code is not None
    done = subprocess.run(
        [sys.executable, "-c", code[1]],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "only-g/coadd/coadd-simcam-g-01.fits"
