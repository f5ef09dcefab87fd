"""``python -m prestow.node MANIFEST``: run one job here.

Exit codes: 0 all settled, 1 something failed, 2 not a manifest, 75 an input is not settled yet.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

NOT_YET = 75
USAGE = "usage: python -m prestow.node MANIFEST [--final] [--scratch DIR] [--keep] [--debug]"


def main(arguments: list[str]) -> int:
    """Run the manifest named by the arguments; give the exit code."""
    flags = {"--final": False, "--keep": False, "--debug": False}
    scratch: Path | None = None
    names: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word in flags:
            flags[word] = True
        elif word == "--scratch" or word.startswith("--scratch="):
            value = word.partition("=")[2] or next(rest, "")
            if not value:
                return _misused("--scratch needs a directory")
            scratch = Path(value).absolute()
        elif word in ("-h", "--help"):
            print(USAGE)
            return 0
        elif word.startswith("-") and word != "-":
            return _misused(f"unknown option {word}")
        else:
            names.append(word)
    if len(names) != 1:
        return _misused("name one manifest")
    from prestow.errors import CODES, PrestowError
    from prestow.node.execute import FIXED
    from prestow.node.run import parse, run_manifest

    try:
        text = sys.stdin.read() if names[0] == "-" else Path(names[0]).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        return _misused(f"cannot read {names[0]}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}")
    # a process of its own: as commands have it (the hash seed is too late here)
    os.environ.update(FIXED)
    time.tzset()
    try:
        outcome = run_manifest(
            parse(text),
            final=flags["--final"],
            scratch=scratch,
            keep=flags["--keep"],
            debugger=flags["--debug"],
        )
    except PrestowError as error:
        print(error, file=sys.stderr)
        return 2 if error.problems and error.problems[0].code == "PST-N009" else 1
    for failure in outcome.failures:
        where = ",".join(f"{k}={v}" for k, v in failure.data_id.items())
        print(
            f"error[{failure.code}]: {CODES[failure.code][0]}: {failure.message}\n  --> {failure.task}{{{where}}}",
            file=sys.stderr,
        )
        for line in failure.log_tail:
            print(f"  | {line}", file=sys.stderr)
    for quantum, state in outcome.states.items():
        print(f"{quantum} {state}")
    if "kept" in outcome.report:
        print(f"the local repository is kept: {outcome.report['kept']}", file=sys.stderr)
    if outcome.not_yet:
        print(
            f"not yet: {len(outcome.not_yet)} input quanta are not settled, first {outcome.not_yet[0]}",
            file=sys.stderr,
        )
        return NOT_YET
    return 0 if outcome.settled and not outcome.failures else 1


def _misused(what: str) -> int:
    print(f"error: {what}\n{USAGE}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
