"""What running a manifest came to, and the attempt report."""

from __future__ import annotations

import errno
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from prestow.errors import PrestowError, Problem
from prestow.manifest import REPORT_SCHEMA, Manifest, ManifestQuantum, Receipt, Values
from prestow.model import State
from prestow.model.frozen import frozen
from prestow.model.hashing import canonical_json
from prestow.stores import TEMPORARY, Linkable, Store

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says of a disk without space."""

VERSIONS = (
    "prestow", "numpy", "scipy", "astropy", "ccdproc", "astroalign", "sep", "photutils", "skimage", "pandas", "torch",
)  # fmt: skip
"""Libraries whose versions a report tells, where the task imported them; never the environment."""


@frozen
class Failure:
    """A quantum that failed in this attempt; it is not settled and can be tried again."""

    quantum: str
    task: str
    data_id: Values
    code: str
    message: str
    log_tail: tuple[str, ...] = ()
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give the failure as plain values."""
        return {
            "quantum": self.quantum, "task": self.task, "data_id": dict(self.data_id), "code": self.code,
            "message": self.message, "log_tail": list(self.log_tail), "seconds": round(self.seconds, 6),
        }  # fmt: skip


def failure_of(
    quantum: ManifestQuantum, error: BaseException, log: tuple[str, ...], seconds: float
) -> Failure:
    """Give the failure that an exception is: what is not one of ours is the task's own, or the disk's."""
    if isinstance(error, PrestowError) and error.problems:
        own = in_words(quantum.task, quantum.data_id)  # said anyway, wherever a failure is told
        lines = [p.what if p.where == own else _line(p) for p in error.problems]
        code, message = error.problems[0].code, "; ".join(lines)
        told = "\n".join(log)  # where the task was still running, the log has it
        log += tuple(
            f"  = help: {fix}"
            for fix in dict.fromkeys(p.fix for p in error.problems)
            if fix and fix not in told
        )
    elif isinstance(error, OSError) and error.errno in FULL:
        code, message = "PST-R002", f"no space left: {error.filename or error}"
    elif isinstance(error, OSError):
        code, message = "PST-R001", str(error)
    else:
        code, message = "PST-N007", f"{type(error).__name__}: {error}"
    return Failure(quantum.id, quantum.task, quantum.data_id, code, message, log, seconds)


def _line(problem: Problem) -> str:
    return (
        f"{problem.what} [{problem.where}]"
        if problem.where and problem.where not in problem.what
        else problem.what
    )


def in_words(name: str, data_id: Values) -> str:
    """Give a task or a dataset type with its data ID, for people."""
    return f"{name}{{{','.join(f'{k}={data_id[k]}' for k in sorted(data_id))}}}"


@frozen
class Outcome:
    """What one execution of a manifest came to.

    Parameters
    ----------
    job, attempt : str
        The job's name; the id of this execution.
    states : mapping of quantum id to State
        Of every quantum of the job, in order.
    receipts : mapping of quantum id to Receipt
        The winners' receipts of all settled ones, whoever made them.
    failures : tuple of Failure
        In order. A settled quantum may stand here too, when its bytes could not be promoted.
    not_yet : tuple of str
        Input quanta that are not settled: nothing was run.
    report : dict
        The attempt report, as it was put into the store.
    """

    job: str
    attempt: str
    states: Mapping[str, State]
    receipts: Mapping[str, Receipt]
    failures: tuple[Failure, ...] = ()
    not_yet: tuple[str, ...] = ()
    report: Mapping[str, Any] = field(default_factory=dict)  # Any: JSON values

    @property
    def settled(self) -> bool:
        """Whether every quantum of the job is settled."""
        return all(state.settled for state in self.states.values())


def make_report(
    manifest: Manifest,
    attempt: str,
    seconds: float,
    quanta: Sequence[Mapping[str, Any]],
    findings: Sequence[str],
) -> dict[str, Any]:  # Any: JSON values
    """Give what an attempt went through. Information for people, never truth."""
    import resource

    usage = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "schema": REPORT_SCHEMA,
        "job": manifest.job,
        "plan": manifest.plan,
        "run": manifest.run,
        "attempt": attempt,
        "host": host_name(),
        "pid": os.getpid(),
        "seconds": round(seconds, 6),
        "cpu_seconds_of_process": round(usage.ru_utime + usage.ru_stime, 6),
        "peak_memory": max(usage.ru_maxrss, children.ru_maxrss) * 1024,
        "versions": versions(),
        "quanta": list(quanta),
        "findings": list(findings),
    }


def host_name() -> str:
    """Give what this host is called in reports: ``PRESTOW_HOST``, where a site sets it, or its own name."""
    return os.environ.get("PRESTOW_HOST") or os.uname().nodename


def cpu_seconds() -> float:
    """Give the CPU that this process has used, and its children that have ended: to take differences of."""
    import resource

    return sum(
        usage.ru_utime + usage.ru_stime
        for usage in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def put_report(store: Store, name: str, report: Mapping[str, Any]) -> None:  # Any: JSON values
    """Put a report into the store, if that can be done; it is not worth waiting for a disk."""
    try:
        data = canonical_json(report).encode()
        if not isinstance(store, Linkable):
            store.put_if_absent(name, data)
            return
        path = os.fspath(store.local_path(name))
        directory, _, last = path.rpartition("/")
        os.makedirs(directory, exist_ok=True)
        temporary = f"{directory}/{TEMPORARY}{last}"
        with open(temporary, "xb") as file:
            file.write(data)
        os.rename(temporary, path)  # whole or not at all
    except (OSError, ValueError):
        return


def versions() -> dict[str, str]:
    """Give the versions of Python and of those listed libraries that are imported already."""
    found = {"python": ".".join(str(n) for n in sys.version_info[:3])}
    for name in VERSIONS:
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            found[name] = version
    return found


def printable(text: str) -> str:
    r"""Give text that no terminal takes for orders: without colours, other control characters spelt out.

    Examples
    --------
    >>> printable("\x1b[31mred\x1b[0m\ttwo\nlines\x07")
    'red\ttwo\nlines\\x07'
    """
    return _CONTROL.sub(lambda match: repr(match[0])[1:-1], _COLOUR.sub("", text))


_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
