"""``python -m prestow.node MANIFEST``: run one job here.

With ``--job NAME`` the file is a pack of manifests, and the job one of it. With ``--carry DIR``
an engine moves the files: inputs and parents' receipts lie in DIR, and the job's own receipts are
left there (see `prestow.node.packed`). With ``--land`` also all that the job makes is left there, and no
store is asked for anything (see `prestow.node.landing`). With ``--tries N`` a job that failed is tried again
here; ``--final`` then is of the last try.

Exit codes: 0 all settled, 1 something failed, 2 not a manifest, 75 an input is not settled yet.
With ``--carry``, a failure that was sealed as lost is settled, too: what needs it can go on. The reports of
all tries then end the standard output, between markers (see `prestow.node.reporting`).
"""

# ruff: noqa: T201 - a command prints

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from prestow.manifest import Manifest
    from prestow.node.outcome import Outcome

NOT_YET = 75
USAGE = (
    "usage: python -m prestow.node MANIFEST [--job NAME] [--carry DIR [--land]] [--tries N] "
    "[--final] [--scratch DIR] [--keep] [--debug]"
)


def main(arguments: list[str]) -> int:
    """Run the manifest named by the arguments; give the exit code."""
    flags = {"--final": False, "--keep": False, "--debug": False, "--land": False}
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
    if flags["--land"] and not values["--carry"]:
        return _misused("--land needs --carry DIR: where products are left")
    from prestow.errors import PrestowError
    from prestow.node.execute import FIXED

    # a process of its own: as commands have it (the hash seed is too late here)
    os.environ.update(FIXED)
    time.tzset()
    try:
        manifest = _manifest(names[0], values["--job"])
    except (OSError, UnicodeDecodeError) as error:
        return _misused(f"cannot read {names[0]}: {getattr(error, 'strerror', None) or 'not UTF-8 text'}")
    except PrestowError as error:
        print(error, file=sys.stderr)
        return 2
    try:
        return _run(manifest, values, flags, int(tries))
    except PrestowError as error:
        print(error, file=sys.stderr)
        return 2 if error.problems and error.problems[0].code == "PST-N009" else 1


def _manifest(name: str, job: str) -> Manifest:
    """Give the manifest: of a file, of the standard input, or of one job of a pack."""
    if job:
        from prestow.node.packed import read_packed

        return read_packed(Path(name), job)
    from prestow.node.run import parse

    return parse(sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8"))


def _run(manifest: Manifest, values: dict[str, str], flags: dict[str, bool], tries: int) -> int:
    from prestow.node.run import run_manifest

    if values["--carry"]:
        return _run_carried(manifest, values, flags, tries)
    for left in reversed(range(tries)):
        outcome = run_manifest(manifest, **_how(values, flags, left))
        _tell(outcome)
        if outcome.settled or outcome.not_yet:
            break
    if outcome.not_yet:
        return NOT_YET
    return 0 if outcome.settled and not outcome.failures else 1


def _run_carried(manifest: Manifest, values: dict[str, str], flags: dict[str, bool], tries: int) -> int:
    from prestow.node.packed import carried, carried_receipts, leave_receipts
    from prestow.node.reporting import MOST, block
    from prestow.node.run import run_manifest

    directory = Path(values["--carry"])
    manifest, store = carried(manifest, directory), None
    if flags["--land"]:
        from prestow.node.landing import landing_of, start_anew

        manifest, store = landing_of(manifest, directory)
        start_anew(manifest, store)
    receipts = carried_receipts(manifest, directory)
    blocks = []
    for left in reversed(range(tries)):
        outcome = run_manifest(manifest, receipts=receipts, output=store, **_how(values, flags, left))
        _tell(outcome)
        if outcome.report:
            blocks.append(block(outcome.report, MOST // tries))
        if outcome.settled or outcome.not_yet:
            break
    missing: list[str] = []
    if store is None:
        leave_receipts(manifest, outcome.receipts.values(), directory)
    else:
        from prestow.node.landing import leave

        missing = leave(manifest, outcome.receipts, store)
        for name in missing:
            print(f"error: {name} was made, and is not in {directory}", file=sys.stderr)
    sys.stdout.write("".join(blocks))
    if outcome.not_yet:
        return NOT_YET
    return 0 if outcome.settled and not missing else 1


def _how(values: dict[str, str], flags: dict[str, bool], left: int) -> dict[str, Any]:  # Any: options
    return {
        "final": flags["--final"] and not left,
        "scratch": Path(values["--scratch"]).absolute() if values["--scratch"] else None,
        "keep": flags["--keep"],
        "debugger": flags["--debug"],
    }


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
