"""``python -m prestow.node MANIFEST``: run one job here.

With ``--job NAME`` the file is a pack of manifests, and the job one of it. With ``--carry DIR``
an engine moves the files: inputs and parents' receipts lie in DIR, and the job's own receipts are
left there (see `prestow.node.packed`). With ``--tries N`` a job that failed is tried again here;
``--final`` then is of the last try.

Exit codes: 0 all settled, 1 something failed, 2 not a manifest, 75 an input is not settled yet.
With ``--carry``, a failure that was sealed as lost is settled, too: what needs it can go on.
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prestow.node.outcome import Outcome

NOT_YET = 75
USAGE = (
    "usage: python -m prestow.node MANIFEST [--job NAME] [--carry DIR] [--tries N] [--final] "
    "[--scratch DIR] [--keep] [--debug]"
)


def main(arguments: list[str]) -> int:
    """Run the manifest named by the arguments; give the exit code."""
    flags = {"--final": False, "--keep": False, "--debug": False}
    values = dict.fromkeys(("--scratch", "--job", "--carry", "--tries"), "")
    names: list[str] = []
    rest = iter(arguments)
    for word in rest:
        if word in flags:
            flags[word] = True
        elif word.partition("=")[0] in values:
            option, _, value = word.partition("=")
            values[option] = value or next(rest, "")
            if not values[option]:
                return _misused(f"{option} needs a value")
        elif word in ("-h", "--help"):
            print(USAGE)
            return 0
        elif word.startswith("-") and word != "-":
            return _misused(f"unknown option {word}")
        else:
            names.append(word)
    if len(names) != 1:
        return _misused("name one manifest")
    tries = values["--tries"] or "1"
    if not tries.isdecimal() or int(tries) < 1:
        return _misused("--tries needs a number, 1 or more")
    from prestow.errors import PrestowError
    from prestow.node.execute import FIXED

    # a process of its own: as commands have it (the hash seed is too late here)
    os.environ.update(FIXED)
    time.tzset()
    try:
        text = _text(names[0], values["--job"])
    except (OSError, UnicodeDecodeError) as error:
        return _misused(f"cannot read {names[0]}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}")
    except PrestowError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        return _run(text, values, flags, int(tries))
    except PrestowError as error:
        print(error, file=sys.stderr)
        return 2 if error.problems and error.problems[0].code == "PST-N009" else 1


def _text(name: str, job: str) -> str:
    """Give the text of the manifest: of a file, of the standard input, or of one job of a pack."""
    if job:
        from prestow.node.packed import read_packed

        return read_packed(Path(name), job)
    return sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8")


def _run(text: str, values: dict[str, str], flags: dict[str, bool], tries: int) -> int:
    from prestow.node.run import parse, run_manifest

    manifest = parse(text)
    directory = Path(values["--carry"]) if values["--carry"] else None
    receipts = {}
    if directory is not None:
        from prestow.node.packed import carried, carried_receipts

        manifest = carried(manifest, directory)
        receipts = carried_receipts(manifest, directory)
    for left in reversed(range(tries)):
        outcome = run_manifest(
            manifest,
            receipts=receipts,
            final=flags["--final"] and not left,
            scratch=Path(values["--scratch"]).absolute() if values["--scratch"] else None,
            keep=flags["--keep"],
            debugger=flags["--debug"],
        )
        _tell(outcome)
        if outcome.settled or outcome.not_yet:
            break
    if directory is not None:
        from prestow.node.packed import leave_receipts

        leave_receipts(manifest, outcome.receipts.values(), directory)
    if outcome.not_yet:
        return NOT_YET
    return 0 if outcome.settled and (directory is not None or not outcome.failures) else 1


def _tell(outcome: Outcome) -> None:
    from prestow.errors import CODES

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


def _misused(what: str) -> int:
    print(f"error: {what}\n{USAGE}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
