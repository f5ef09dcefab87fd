"""Pegasus's own programs: where they are, which version, and what they say, in words."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from prestow.errors import PrestowError, Problem

LEAST = 5
"""The first version whose planner reads what is emitted."""

_VERSION = re.compile(r"\b([0-9]+)\.[0-9]+[0-9A-Za-z.+-]*")
_FATAL = re.compile(r"\[?\b(?:FATAL ERROR|FATAL|CRITICAL|ERROR)\b\]?:?\s*(.*)")
_STAMP = re.compile(r"^[0-9]{4}[.-][0-9]{2}[.-][0-9]{2}\s+[0-9:.,]+(?:\s+[A-Z]{3,4})?:?\s*")
_NO_REPLICAS = "Replica Catalog is either down or connection to it was never opened"
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Tools:
    """Programs of a Pegasus that is fit.

    Parameters
    ----------
    plan, run : Path
        ``pegasus-plan`` and ``pegasus-run``.
    version : str
        What it calls itself.
    condor_q : Path or None
        HTCondor's, where it is on the path.
    """

    plan: Path
    run: Path
    version: str
    condor_q: Path | None = None


def find_tools(home: str | None = None) -> Tools:
    """Find the programs of Pegasus: below ``PEGASUS_HOME``, on the path, or below ``home``.

    Parameters
    ----------
    home : str or None
        Where a site says that Pegasus is.

    Raises
    ------
    PrestowError
        PST-E070 if one is missing, or is older than `LEAST`.
    """
    places = [os.path.join(top, "bin") for top in (os.environ.get("PEGASUS_HOME"),) if top]
    places += os.environ.get("PATH", os.defpath).split(os.pathsep)
    places += [os.path.join(home, "bin")] if home else []
    path = os.pathsep.join(places)
    plan = shutil.which("pegasus-plan", path=path)
    if plan is None:
        set_to = os.environ.get("PEGASUS_HOME")
        looked = f"{set_to}/bin (PEGASUS_HOME), PATH" if set_to else "PEGASUS_HOME (not set), PATH"
        looked += f", {home}/bin (home)" if home else ""
        raise _unfit("there is no pegasus-plan", looked)
    run = shutil.which("pegasus-run", path=os.pathsep.join([os.path.dirname(plan), path]))
    if run is None:
        raise _unfit("there is no pegasus-run", f"beside {plan}")
    queue = shutil.which("condor_q", path=path)
    return Tools(Path(plan), Path(run), _version(Path(plan)), None if queue is None else Path(queue))


def _version(plan: Path) -> str:
    """Ask for the version; the small program for that answers at once, the planner starts a machine of Java."""
    said = ""
    for command in ([str(plan.with_name("pegasus-version"))], [str(plan), "--version"]):
        try:
            done = call(command)
        except OSError:
            continue
        said = done.stdout + done.stderr
        match = _VERSION.search(said)
        if done.returncode == 0 and match is not None:
            if int(match[1]) < LEAST:
                raise _unfit(f"this is Pegasus {match[0]}", str(plan))
            return match[0]
    last = said.strip().splitlines()[-1:] or ["it says nothing"]
    raise _unfit(f"its version cannot be told: {last[0]}", str(plan))


def _unfit(what: str, where: str) -> PrestowError:
    fix = f"install Pegasus {LEAST} or later, or say where it is: export PEGASUS_HOME=/opt/pegasus"
    return PrestowError(Problem("PST-E070", what, where, fix))


def environment() -> dict[str, str]:
    """Give the environment for Pegasus's programs: nothing is reported home, and its own Python is found.

    Its programs are started by the first ``python3`` of the path, which is not to be the one of the
    virtual environment that prestow is installed in.
    """
    values = {**os.environ, "PEGASUS_METRICS": "false"}
    for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"):
        values.pop(name, None)
    if sys.prefix != sys.base_prefix:
        own = os.path.realpath(os.path.join(sys.prefix, "bin"))
        places = values.get("PATH", os.defpath).split(os.pathsep)
        values["PATH"] = os.pathsep.join(p for p in places if os.path.realpath(p) != own)
    return values


def call(command: Sequence[str], *, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run one of these programs to its end and give what it said."""
    return subprocess.run(
        command, cwd=cwd, env=environment(), capture_output=True, text=True, errors="replace", check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip


def plan_workflow(
    tools: Tools,
    emission: Path,
    words: Sequence[str],
    *,
    base: Path,
    relative: str,
    log: Path,
    cluster: bool = False,
) -> Path:
    """Let the planner make an emitted workflow ready for HTCondor; give the submit directory.

    Parameters
    ----------
    emission : Path
        What `prestow.engines.pegasus.emit` wrote.
    words : sequence of str
        What `prestow.engines.pegasus.readme.planner_words` gives.
    base, relative : Path, str
        The submit directory is ``base/relative``; where jobs work has ``relative`` in its name, too, so no two
        submissions share it.
    log : Path
        Gets all that the planner says.
    cluster : bool
        Several short jobs run as one, by their labels.

    Raises
    ------
    PrestowError
        PST-E071 with what it said, if it refuses.
    """
    command = [str(tools.plan), *words, "--dir", str(base), "--relative-dir", relative]
    command += ["--cluster", "label"] if cluster else []
    submit = base / relative
    _logged([*command, "workflow.yml"], emission, log, "pegasus-plan")
    if not (submit / "braindump.yml").is_file():
        what = "pegasus-plan ended well and left no submit directory"
        raise PrestowError(Problem("PST-E071", what, str(submit), f"see what it said: less {log}"))
    return submit


def in_queue(tools: Tools | None, submit: Path) -> bool | None:
    """Say whether HTCondor's queue has anything of a workflow; None if it cannot be asked."""
    if tools is None or tools.condor_q is None:
        return None
    try:
        text = (submit / "braindump.yml").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    match = re.search(r'^root_wf_uuid: *"?([0-9a-f-]+)"?', text, re.MULTILINE)
    if match is None:
        return None
    try:
        done = call([
            str(tools.condor_q), "-allusers", "-constraint", f'pegasus_root_wf_uuid == "{match[1]}"', "-af", "ClusterId",
        ])  # fmt: skip
    except OSError:
        return None
    return bool(done.stdout.strip()) if done.returncode == 0 else None


def run_workflow(tools: Tools, submit: Path, log: Path) -> None:
    """Hand a submit directory to HTCondor.

    Raises
    ------
    PrestowError
        PST-E071 with what was said, if that cannot be done.
    """
    _logged([str(tools.run), str(submit)], submit, log, "pegasus-run")


def _logged(command: Sequence[str], cwd: Path, log: Path, name: str) -> None:
    try:
        done = call(command, cwd=cwd)
    except OSError as error:
        raise PrestowError(
            Problem("PST-E071", f"{name} cannot be started: {error.strerror}", command[0])
        ) from error
    with log.open("a", encoding="utf-8") as stream:
        stream.write(f"$ {' '.join(command)}\n{done.stdout}{done.stderr}\n")
    if done.returncode:
        lines = (done.stdout + "\n" + done.stderr).splitlines()
        said = in_words(lines) or [line.strip() for line in lines if line.strip()][-1:]
        what = f"{name} ended with {done.returncode}: " + ("; ".join(said) or "it does not say why")
        raise PrestowError(Problem("PST-E071", what, str(cwd), f"all that it said: less {log}"))


def in_words(lines: Iterable[str]) -> list[str]:
    """Give what stands in the way, of all that one of these programs said.

    Examples
    --------
    >>> in_words(["2026.11.22 01:59:22.422 UTC: [FATAL ERROR]", " [1] java.lang.RuntimeException: no site pool"])
    ['java.lang.RuntimeException: no site pool']
    >>> in_words(["2026.11.22 01:59:22.422 UTC: [WARNING]  Replica Catalog is either down or connection to it was never opened"])
    ['it could not read replicas.yml: one wrong entry, and it goes on as if there were none']
    """
    found: dict[str, None] = {}
    after = False
    for line in lines:
        text = _STAMP.sub("", line.strip())
        if _NO_REPLICAS in text:
            found["it could not read replicas.yml: one wrong entry, and it goes on as if there were none"] = (
                None
            )
            continue
        match = _FATAL.match(text)
        said = match[1].strip() if match else ""
        if (
            match is None
            and after
            and re.match(r"(?:\[[0-9]+\]|Caused by|[\w.]+(?:Exception|Error)\b)", text)
        ):
            said = re.sub(r"^\[[0-9]+\]:?\s*", "", text).removeprefix("Caused by: ")
        after = after or match is not None
        cut = re.split(r"\s+at [\w.$]+\(", said)[0].strip()
        if cut:
            found.setdefault(cut)
    return list(found)[:_SHOWN]
