"""The errors of the house: one root, facts in fields, one table of codes and exit codes.

Owns the table of stable problem codes and of exit codes. Serves every room. Never prints.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum


class Exit(IntEnum):
    """What the exit code of a command means."""

    OK = 0  # all done, or nothing to do
    INTERNAL = 1  # a bug in prestow
    USAGE = 2  # the command line cannot be understood
    CONFIGURATION = 3  # a file a person wrote is invalid
    REFUSED = 4  # the plan is refused: missing inputs, colliding names
    FAILED = 5  # ended with failed or blocked jobs
    STOPPED = 6  # stopped by the user, or drained
    ENVIRONMENT = 7  # disk, site, scheduler
    INGEST = 8  # ingest refused: checksum, duplicate
    ACCOUNT = 9  # the account does not close
    LOSSES = 10  # finished, with tolerated losses
    DIFFERENT = 11  # a comparison found differences, asked to say so


CODES: dict[str, tuple[str, Exit]] = {
    # files a person wrote
    "PST-C001": ("the file cannot be read", Exit.CONFIGURATION),
    "PST-C002": ("the file is not valid YAML", Exit.CONFIGURATION),
    "PST-C003": ("a key stands twice", Exit.CONFIGURATION),
    "PST-C010": ("unknown key", Exit.CONFIGURATION),
    "PST-C011": ("wrong type of value", Exit.CONFIGURATION),
    "PST-C012": ("a required key is missing", Exit.CONFIGURATION),
    "PST-C013": ("value not allowed here", Exit.CONFIGURATION),
    "PST-C014": ("another schema version", Exit.CONFIGURATION),
    "PST-C020": ("unknown dataset type", Exit.CONFIGURATION),
    "PST-C021": ("two tasks write one dataset type", Exit.CONFIGURATION),
    "PST-C022": ("the tasks form a cycle", Exit.CONFIGURATION),
    "PST-C023": ("unknown dimension", Exit.CONFIGURATION),
    "PST-C024": ("unknown format", Exit.CONFIGURATION),
    "PST-C025": ("the task's code cannot be found or read", Exit.CONFIGURATION),
    "PST-C026": ("a data ID is not valid", Exit.CONFIGURATION),
    "PST-C027": ("a selection cannot be understood", Exit.CONFIGURATION),
    "PST-C030": ("a name template is refused", Exit.REFUSED),
    "PST-C031": ("two places say different things of one dataset type or task", Exit.CONFIGURATION),
    "PST-C032": ("a task's decorator cannot be read", Exit.CONFIGURATION),
    "PST-C033": ("columns are not allowed here", Exit.CONFIGURATION),
    "PST-C034": ("a rule that leaves files out is wrong", Exit.CONFIGURATION),
    "PST-C035": ("a dataset type stands with other dimensions or another format", Exit.CONFIGURATION),
    "PST-C036": ("the format or template of this dataset type cannot be chosen here", Exit.CONFIGURATION),
    # planning
    "PST-P001": ("nothing matches the request", Exit.REFUSED),
    "PST-P002": ("inputs are missing", Exit.REFUSED),
    "PST-P003": ("a name no rule can encode", Exit.REFUSED),
    "PST-P004": ("two datasets would have one name", Exit.REFUSED),
    "PST-P005": ("the name exists under another recipe", Exit.REFUSED),
    "PST-P006": ("the run is bound to another pipeline", Exit.REFUSED),
    "PST-P007": ("too many entries in one directory", Exit.REFUSED),
    "PST-P008": ("no such plan", Exit.USAGE),
    "PST-P009": ("the jobs form a cycle", Exit.REFUSED),
    # on the node
    "PST-N001": ("an input that the manifest does not name", Exit.FAILED),
    "PST-N002": ("an output that was not planned", Exit.FAILED),
    "PST-N003": ("a required output is missing", Exit.FAILED),
    "PST-N004": ("a file nobody planned", Exit.FAILED),
    "PST-N005": ("an input was changed", Exit.FAILED),
    "PST-N006": ("an input's bytes are not those of its receipt", Exit.FAILED),
    "PST-N007": ("the task failed", Exit.FAILED),
    "PST-N008": ("an output is not a valid file of its format", Exit.FAILED),
    "PST-N009": ("the manifest cannot be read", Exit.USAGE),
    "PST-N010": ("not reproducible: other bytes than those committed", Exit.FAILED),
    "PST-N012": ("a task gave what cannot be written", Exit.FAILED),
    "PST-N011": ("metrics that are not numbers by name", Exit.FAILED),
    # running
    "PST-R001": ("the store is not fit", Exit.ENVIRONMENT),
    "PST-R002": ("the disk is full", Exit.ENVIRONMENT),
    "PST-R003": ("a worker was lost again and again", Exit.FAILED),
    "PST-R004": ("no such job", Exit.USAGE),
    "PST-R005": ("another run of this plan is under way", Exit.ENVIRONMENT),
    "PST-R006": ("the engine cannot do this", Exit.USAGE),
    "PST-R007": ("no such object in the store", Exit.ENVIRONMENT),
    "PST-R008": ("not a name in a store", Exit.USAGE),
    "PST-R009": ("the system refuses a file operation", Exit.ENVIRONMENT),
    # taking in
    "PST-I001": ("a raw file lacks what its instrument asks for", Exit.INGEST),
    "PST-I002": ("two raw files of one identity with other bytes", Exit.INGEST),
    "PST-I003": ("content is not what its receipt says", Exit.INGEST),
    "PST-I004": ("the file is damaged", Exit.INGEST),
    "PST-I005": ("the file or directory cannot be read", Exit.INGEST),
    "PST-I006": ("committed facts disagree", Exit.ACCOUNT),
    "PST-I007": ("unknown instrument", Exit.USAGE),
    "PST-I008": ("a file cannot be taken in as this dataset type", Exit.USAGE),
    "PST-I009": ("a dataset of this identity has other bytes", Exit.INGEST),
    # registry and project
    "PST-G001": ("this is not a prestow project", Exit.USAGE),
    "PST-G002": ("the registry cannot be used", Exit.ENVIRONMENT),
    "PST-G003": ("no such dataset", Exit.USAGE),
    "PST-G004": ("something is there already", Exit.USAGE),
    "PST-G005": ("wrong usage", Exit.USAGE),
    "PST-G006": ("words that name no dataset", Exit.USAGE),
    "PST-G007": ("nothing knows this dataset type", Exit.USAGE),
    "PST-G008": ("a data ID that contradicts itself, or does not fit", Exit.USAGE),
    # following things
    "PST-G010": ("a file says otherwise than what is recorded", Exit.ACCOUNT),
    "PST-G011": ("a file without a story", Exit.USAGE),
    "PST-G012": ("nothing of this name", Exit.USAGE),
    "PST-G013": ("this is not a job's directory", Exit.USAGE),
    "PST-G014": ("more than one is meant", Exit.USAGE),
    # trying things
    "PST-G020": ("there is nothing to sample", Exit.REFUSED),
    "PST-G021": ("the two have nothing in common", Exit.USAGE),
    "PST-G022": ("something still depends on it", Exit.REFUSED),
    "PST-G023": ("this run cannot be removed", Exit.REFUSED),
    "PST-G024": ("it cannot be shown here", Exit.USAGE),
    # converting things
    "PST-G030": ("it cannot be converted", Exit.USAGE),
    "PST-G031": ("converted, it would not be the same", Exit.REFUSED),
    "PST-G032": ("a converted file cannot stand here", Exit.USAGE),
    # handing a plan to another system
    "PST-E001": ("the directory holds something else", Exit.USAGE),
    "PST-E002": ("the site file does not say what is needed", Exit.USAGE),
    "PST-E003": ("plans cannot be written for this system", Exit.USAGE),
    "PST-E004": ("a name that the other system would not carry as it is", Exit.REFUSED),
    "PST-E005": ("two inputs of a job would arrive as one file", Exit.REFUSED),
    "PST-E006": ("a job or file that stands twice", Exit.REFUSED),
    "PST-E007": ("an input that nobody makes", Exit.REFUSED),
    "PST-E008": ("jobs wait for each other, or for none that is there", Exit.REFUSED),
    "PST-E009": ("there is nothing to hand over", Exit.REFUSED),
    # a bug
    "PST-X001": ("an internal error", Exit.INTERNAL),
}
"""Stable code -> (what it means, exit code)."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: what, where, and what to do.

    Parameters
    ----------
    code : str
        A key of `CODES`.
    what : str
        What is wrong, with its facts.
    where : str
        ``file:line:column`` for a file a person wrote, else a data ID, path or job.
    fix : str
        What to do about it, as a command where there is one.
    excerpt : str
        The offending line with a caret below it, or empty.
    """

    code: str
    what: str
    where: str = ""
    fix: str = ""
    excerpt: str = ""

    def __str__(self) -> str:
        lines = [f"error[{self.code}]: {self.what}"]
        if self.where:
            lines.append(f"  --> {self.where}")
        lines.extend(f"  {line}" for line in self.excerpt.splitlines())
        if self.fix:
            lines.append(f"  = help: {self.fix}")
        return "\n".join(lines)

    def as_dict(self) -> dict[str, str]:
        """Give the problem as plain values, as ``--json`` prints it."""
        return {"code": self.code, "what": self.what, "where": self.where, "fix": self.fix}


class PrestowError(Exception):
    """The root of all errors that prestow raises on purpose; holds one or more problems.

    Examples
    --------
    >>> error = PrestowError(Problem("PST-C010", "unknown key 'comand'", "pipeline.yaml:9:5"))
    >>> int(error.exit_code), error.problems[0].code
    (3, 'PST-C010')
    """

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems: tuple[Problem, ...] = problems

    def __str__(self) -> str:
        return "\n".join(str(problem) for problem in self.problems)

    @property
    def exit_code(self) -> Exit:
        """The exit code of the first problem."""
        return CODES[self.problems[0].code][1] if self.problems else Exit.INTERNAL


class ConfigurationError(PrestowError, ValueError):
    """A file or value that a person wrote is invalid."""


class PlanRefusedError(PrestowError):
    """The plan cannot be made as asked; nothing was written."""


class NotInManifestError(PrestowError, LookupError):
    """A task asked for, or wrote, what its manifest does not name."""


class TaskError(PrestowError):
    """A quantum failed."""


class StoreError(PrestowError, OSError):
    """A store does not do what is asked of it."""


class ObjectNotFoundError(StoreError, FileNotFoundError):
    """There is no object of that name in the store."""


class IngestError(PrestowError):
    """Files cannot be taken in."""


class DatasetNotFoundError(PrestowError, LookupError):
    """No such dataset is known."""


class ProjectError(PrestowError):
    """The project, its registry or the command's arguments do not allow this."""


def raise_all(problems: Iterable[Problem], kind: type[PrestowError] = ConfigurationError) -> None:
    """Raise one error with all problems, if there are any."""
    found = tuple(problems)
    if found:
        raise kind(*found)
