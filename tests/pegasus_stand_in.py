"""A stand-in for Pegasus's programs, for tests of `prestow submit`: the shim runs the jobs, and papers are left as Pegasus does.

``pegasus-plan`` makes a submit directory, ``pegasus-run`` runs the workflow to its end in it and leaves a log of states,
a database, what jobs printed, HTCondor's log and what was recorded of files. Everything is written here, by what is known
of their forms; nothing is copied from Pegasus.
"""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import sys
from pathlib import Path

TABLES = """
CREATE TABLE workflow (wf_id INTEGER PRIMARY KEY, wf_uuid TEXT, dag_file_name TEXT);
CREATE TABLE job (job_id INTEGER PRIMARY KEY, wf_id INTEGER, exec_job_id TEXT, type_desc TEXT);
CREATE TABLE task (task_id INTEGER PRIMARY KEY, wf_id INTEGER, job_id INTEGER, abs_task_id TEXT);
CREATE TABLE host (host_id INTEGER PRIMARY KEY, hostname TEXT, ip TEXT);
CREATE TABLE job_instance (job_instance_id INTEGER PRIMARY KEY, job_id INTEGER, host_id INTEGER, job_submit_seq INTEGER);
"""

BEGAN = 1_790_000_000


def install(directory: Path, version: str = "5.0.9", *, says: str = "", breaks_off: bool = False) -> Path:
    """Write the programs; give the directory to put on the path.

    Parameters
    ----------
    says : str
        What the planner says, and refuses to plan.
    breaks_off : bool
        DAGMan never comes to its end.
    """
    directory.mkdir(parents=True, exist_ok=True)
    facts = json.dumps({"version": version, "says": says, "breaks_off": breaks_off})
    for name in ("pegasus-version", "pegasus-plan", "pegasus-run"):
        path = directory / name
        here = Path(__file__).resolve().parent
        path.write_text(
            f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(here)!r})\n"
            f"import pegasus_stand_in\nsys.exit(pegasus_stand_in.main({name!r}, sys.argv[1:], {facts!r}))\n"
        )
        path.chmod(0o755)
    return directory


def main(name: str, arguments: list[str], facts: str) -> int:
    said = json.loads(facts)
    if name == "pegasus-version":
        print(said["version"])
        return 0
    assert os.environ["PEGASUS_METRICS"] == "false"
    if name == "pegasus-plan":
        return plan(arguments, said["says"])
    return run(Path(arguments[-1]), breaks_off=said["breaks_off"])


def plan(arguments: list[str], says: str) -> int:
    print("2026.01.01 00:00:00.000 UTC:   Pegasus begins")
    if says:
        print(says)
        return 1
    options = dict(zip(arguments[:-1:2], arguments[1::2], strict=True))
    assert Path(options["--conf"]).is_file()
    assert Path(options["--input-dir"]).is_dir()
    submit = Path(options["--dir"], options["--relative-dir"])
    submit.mkdir(parents=True)
    (submit / "braindump.yml").write_text('root_wf_uuid: "00000000-0000-0000-0000-000000000001"\n')
    (submit / "emission.txt").write_text(os.getcwd())
    (submit / "output.txt").write_text(options.get("--output-dir", ""))
    return 0


def run(submit: Path, *, breaks_off: bool) -> int:
    from prestow.testing.pegasus_shim import Shim

    shim = Shim(Path((submit / "emission.txt").read_text()), submit / "work")
    shim.run()
    jobs = [job["id"] for job in shim.jobs]
    if output := (submit / "output.txt").read_text():
        shim.land(Path(output))
    leave(submit, jobs, shim.codes, shim.logs, ended=not breaks_off)
    record_files(submit, shim.work / "made")
    return 0


def leave(
    submit: Path, jobs: list[str], codes: dict[str, int], logs: dict[str, str], *, ended: bool = True
) -> None:
    """Leave the papers of jobs that ended with these codes and said this; those without a code never began."""
    lines = [f"{BEGAN} INTERNAL *** MONITORD_STARTED ***", f"{BEGAN} INTERNAL *** DAGMAN_STARTED 7.0 ***"]
    place = submit / "00" / "00"
    place.mkdir(parents=True)
    (submit / "w-0.dag").write_text("".join(f"JOB node_{job} 00/00/node_{job}.sub\n" for job in jobs))
    log = []
    for seq, job in enumerate(jobs, 1):
        (place / f"node_{job}.sub").touch()
        if job not in codes:
            continue
        node, at, code = f"node_{job}", BEGAN + 10 * seq, codes[job]
        raw = 128 - code if code < 0 else code
        good = code == 0
        (place / f"{node}.out.000").write_text(kickstart(logs[job], code))
        (place / f"{node}.err.000").write_text(f"PegasusLite: exitcode {raw}\n")
        log.append(
            f"005 ({100 + seq:03d}.000.000) 2026-01-01 00:00:00 Job terminated.\n\t(1) Normal termination (return value {raw})\n...\n"
        )
        lines += [
            f"{at} {node} SUBMIT {100 + seq}.0 pool - {seq}",
            f"{at + 1} {node} EXECUTE {100 + seq}.0 pool - {seq}",
            f"{at + 5} {node} JOB_TERMINATED {100 + seq}.0 pool - {seq}",
            f"{at + 5} {node} {'JOB_SUCCESS' if good else 'JOB_FAILURE'} {raw} pool - {seq}",
            f"{at + 5} {node} POST_SCRIPT_STARTED {100 + seq}.0 pool - {seq}",
            f"{at + 6} {node} POST_SCRIPT_TERMINATED {100 + seq}.0 pool - {seq}",
            f"{at + 6} {node} {'POST_SCRIPT_SUCCESS 0' if good else 'POST_SCRIPT_FAILURE 1'} pool - {seq}",
        ]
    if ended:
        lines.append(f"{BEGAN + 1000} INTERNAL *** DAGMAN_FINISHED {int(any(codes.values()))} ***")
    (submit / "jobstate.log").write_text("\n".join(lines) + "\n")
    (submit / "w-0.dag.nodes.log").write_text("".join(log))
    with sqlite3.connect(submit / "w-0.stampede.db") as database:
        database.executescript(TABLES)
        database.execute("INSERT INTO workflow VALUES (1, 'u', 'w-0.dag')")
        database.execute("INSERT INTO host VALUES (1, 'unknown', '192.0.2.7')")
        for number, job in enumerate(jobs, 1):
            database.execute("INSERT INTO job VALUES (?, 1, ?, 'compute')", (number, f"node_{job}"))
            database.execute("INSERT INTO task VALUES (?, 1, ?, ?)", (number, number, job))
            if job in codes:
                database.execute("INSERT INTO job_instance VALUES (?, ?, 1, ?)", (number, number, number))
    database.close()


def kickstart(said: str, code: int) -> str:
    """Give what a wrapper brings home of a program: its words, indented."""
    status = f"      signalled: {-code}\n" if code < 0 else f"      regular_exitcode: {code}\n"
    words = "".join(f"        {line}\n" for line in said.splitlines())
    return (
        f"- invocation: True\n  mainjob:\n    status:\n      raw: {code}\n{status}  machine:\n    uname_nodename: n1\n"
        f"  files:\n    stdout:\n      size: {len(said)}\n      data: |\n{words}"
    )


def record_files(submit: Path, made: Path) -> None:
    """Leave what is recorded of the files that jobs made."""
    lines = []
    for path in sorted(p for p in made.rglob("*") if p.is_file()):
        data = path.read_bytes()
        lines.append(
            f'{path.relative_to(made)} @@PFN@@ user="x" size="{len(data)}" ctime="2026-01-01T00:00:00+00:00" '
            f'checksum.type="sha256" checksum.value="{hashlib.sha256(data).hexdigest()}" checksum.timing="0.0"\n'
        )
    (submit / "w-0.cache.meta").write_text("".join(lines))
