"""What ``make acceptance`` runs: real campaigns from raw frames to their products, one line a figure.

The frames are looked for in ``$PRESTOW_TEST_DATA`` (default ``../shared/data`` beside the repository). Each
line is ``ok|FAIL name value bar``; exit 1 when one falls short. A campaign without its data is skipped aloud.
"""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile
from pathlib import Path

from accepting import CommandFailedError
from demo import Bar, say

HERE = Path(__file__).resolve().parent
CAMPAIGNS = {
    "cafos": ("acceptance_cafos", "uam-ngc2420"),
    "huntsman": ("acceptance_huntsman", "huntsman"),
    "sdss": ("acceptance_sdss", "sdss-stripe82"),
}
"""Name -> (module with ``accept(directory, data)`` that gives bars, folder that ``data`` must have)."""


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Run real campaigns and judge them.")
    parser.add_argument("--require", action="store_true", help="fail when data are absent")
    parser.add_argument(
        "--only", choices=list(CAMPAIGNS), action="append", help="this campaign; may be repeated"
    )
    parser.add_argument(
        "--directory", type=Path, help="work here and keep it; default: a temporary directory"
    )
    given = parser.parse_args(arguments)
    root = Path(os.environ.get("PRESTOW_TEST_DATA") or HERE.parent.parent / "shared" / "data").absolute()
    wanted = {name: CAMPAIGNS[name] for name in given.only or CAMPAIGNS}
    absent = {name: folder for name, (_, folder) in wanted.items() if not (root / folder).is_dir()}
    if given.directory:
        given.directory.mkdir(parents=True, exist_ok=True)
        code = judge(given.directory.absolute(), root, wanted, absent)
    else:
        with tempfile.TemporaryDirectory(prefix="prestow-acceptance-") as scratch:
            code = judge(Path(scratch), root, wanted, absent)
    for name, folder in absent.items():
        say(
            f"SKIPPED: no acceptance of {name} was run. Its frames are not in {root / folder}; set PRESTOW_TEST_DATA to where they are."
        )
    return 1 if absent and given.require else code


def judge(directory: Path, root: Path, wanted: dict[str, tuple[str, str]], absent: dict[str, str]) -> int:
    """Run each campaign in a directory of its own, then print all figures."""
    bars: dict[str, list[Bar]] = {}
    failed = []
    for name, (module, _) in wanted.items():
        if name in absent:
            continue
        own = directory / name
        own.mkdir(exist_ok=True)
        say(f"\n=== {name}")
        try:
            bars[name] = importlib.import_module(module).accept(own, root)
        except CommandFailedError as error:
            failed.append(f"FAIL {name}: {error}")
    for name, some in bars.items():
        say(f"\n{name}")
        for bar in some:
            say(str(bar))
    for line in failed:
        say(line)
    every = [bar for some in bars.values() for bar in some]
    short = sum(not bar.ok for bar in every) + len(failed)
    if every or failed:
        say(
            f"\n{len(every) + len(failed) - short} of {len(every) + len(failed)} figures hold"
            + (f"; {short} FALL SHORT" if short else "")
        )
    return 1 if short else 0


if __name__ == "__main__":
    raise SystemExit(main())
