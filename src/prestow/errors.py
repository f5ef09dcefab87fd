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
    "PST-C060": ("a table of data IDs cannot be read", Exit.CONFIGURATION),
    "PST-C061": ("a table of data IDs says what cannot be", Exit.CONFIGURATION),
    "PST-C062": ("an exclusion matches nothing", Exit.REFUSED),
    "PST-C063": ("an exclusion without a reason", Exit.USAGE),
    "PST-C064": ("data IDs that fit nothing", Exit.REFUSED),
    "PST-C070": ("a pre-flight hook is no pure function of what it is given", Exit.CONFIGURATION),
    "PST-C071": ("a waiver that cannot be understood", Exit.USAGE),
    "PST-C072": ("a pre-flight hook cannot be found or called", Exit.CONFIGURATION),
    "PST-C075": ("an expression for resources or hints that cannot be understood", Exit.CONFIGURATION),
    "PST-C076": ("a maximum of a cluster that says nothing", Exit.CONFIGURATION),
    "PST-C080": ("the site file does not give what the plan asks for", Exit.CONFIGURATION),
    "PST-C081": ("a place that a site file names cannot be reached", Exit.ENVIRONMENT),
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
    # what a plan needs of stores
    "PST-F001": ("the store has no room for what would be written", Exit.REFUSED),
    "PST-F002": ("the store does not take so many files", Exit.REFUSED),
    "PST-F003": ("a store of inputs cannot be reached", Exit.REFUSED),
    "PST-F004": ("inputs are not where the registry says", Exit.REFUSED),
    "PST-F005": ("the output store cannot be written", Exit.REFUSED),
    "PST-P020": ("quanta would be left out, and nobody waived it", Exit.REFUSED),
    "PST-P021": ("quanta can never be made", Exit.REFUSED),
    "PST-P022": ("a pre-flight hook failed", Exit.REFUSED),
    "PST-P029": (
        "quanta are vetoed by a hook; told where a plan is refused for something else",
        Exit.REFUSED,
    ),
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
    # how inputs are laid out for a job
    "PST-N070": ("a flat name that no file can have", Exit.REFUSED),
    "PST-N071": ("a tar that is not unpacked", Exit.FAILED),
    "PST-N072": ("not a flat name", Exit.USAGE),
    "PST-N073": ("flat names that make no tree", Exit.USAGE),
    "PST-N074": ("no such layout", Exit.USAGE),
    "PST-N075": ("no place has an input as it is known", Exit.ENVIRONMENT),
    "PST-N076": ("the directory holds something else", Exit.USAGE),
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
    "PST-R010": ("no workers can be started", Exit.ENVIRONMENT),
    # the account
    "PST-A001": ("nothing is known of this run", Exit.USAGE),
    "PST-A002": ("a directory cannot be looked at", Exit.ENVIRONMENT),
    "PST-A003": ("no such level", Exit.USAGE),
    "PST-A004": ("unexpected files may be another plan's", Exit.ACCOUNT),
    "PST-A010": ("an unexpected file", Exit.ACCOUNT),
    "PST-A011": ("unexpected files cannot be saved", Exit.ACCOUNT),
    "PST-A012": ("products may be needed by a plan that is not here", Exit.REFUSED),
    # the sky
    "PST-S001": ("the sky map has a hole", Exit.CONFIGURATION),
    "PST-S002": ("the sky map is too large", Exit.CONFIGURATION),
    "PST-S003": ("another sky map of this name is registered", Exit.USAGE),
    "PST-S004": ("no such sky map, tract or patch", Exit.USAGE),
    "PST-S005": ("a footprint cannot be found", Exit.INGEST),
    "PST-S006": ("a footprint is not a convex polygon", Exit.INGEST),
    "PST-S007": ("overlaps have not been computed", Exit.REFUSED),
    "PST-S008": ("a padding beyond what was computed", Exit.REFUSED),
    "PST-S010": ("what sky maps need is not installed", Exit.CONFIGURATION),
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
    # files and registry: made again, compared, shared
    "PST-B001": ("the registry cannot be made there", Exit.USAGE),
    "PST-B002": ("somebody else is doing this now", Exit.ENVIRONMENT),
    "PST-B003": ("a record cannot be read", Exit.ACCOUNT),
    "PST-B004": ("these cannot be merged", Exit.USAGE),
    "PST-B006": ("these catalogues are not one table", Exit.USAGE),
    "PST-B007": ("it cannot be written there", Exit.ENVIRONMENT),
    "PST-B008": ("no export is there", Exit.USAGE),
    "PST-B009": ("the export did not come whole", Exit.ACCOUNT),
    "PST-B005": ("a file changed while it was copied", Exit.INGEST),
    "PST-I020": ("a process that verifies files ended", Exit.ENVIRONMENT),
    "PST-I021": ("a product was made from other bytes of an input than those committed", Exit.ACCOUNT),
    "PST-I030": ("the collection is frozen", Exit.REFUSED),
    "PST-I031": ("the run is closed", Exit.REFUSED),
    "PST-I032": ("the run cannot be closed yet", Exit.REFUSED),
    "PST-I033": ("packed receipts cannot be read back", Exit.ENVIRONMENT),
    "PST-I034": ("a file cannot be adopted", Exit.INGEST),
    "PST-I035": ("no such finding", Exit.USAGE),
    "PST-I036": ("not a file of this registry's events", Exit.USAGE),
    "PST-I037": ("modes or group of archived files cannot be set", Exit.ENVIRONMENT),
    "PST-I040": ("a landed file is missing", Exit.INGEST),
    "PST-I041": ("a landed file is not the one that its claim names", Exit.INGEST),
    "PST-I042": ("not a claim", Exit.INGEST),
    "PST-I043": ("a landed quantum has an input that is not settled", Exit.INGEST),
    "PST-I044": ("committed bytes are gone", Exit.ACCOUNT),
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
    "PST-G025": ("the registry cannot be upgraded", Exit.ENVIRONMENT),
    # converting things
    # a dataset brought elsewhere, and made again
    "PST-T001": ("a sandbox cannot stand here", Exit.USAGE),
    "PST-T002": ("the directory holds something else", Exit.USAGE),
    "PST-T003": ("a sandbox of another source", Exit.USAGE),
    "PST-T004": ("this is no sandbox", Exit.USAGE),
    "PST-T005": ("what was made in a sandbox is taken in nowhere else", Exit.INGEST),
    "PST-T006": ("the sandbox is in use", Exit.ENVIRONMENT),
    "PST-T007": ("it cannot be made again", Exit.REFUSED),
    "PST-T020": ("what is not taken in cannot be tainted", Exit.USAGE),
    "PST-T021": ("everything of a type is meant", Exit.USAGE),
    "PST-T022": ("nobody says why", Exit.USAGE),
    "PST-T023": ("nothing was made from what is tainted", Exit.REFUSED),
    "PST-T024": ("several runs were touched by what is tainted", Exit.USAGE),
    "PST-T025": ("no contact sheet of so many", Exit.USAGE),
    "PST-G030": ("it cannot be converted", Exit.USAGE),
    "PST-G031": ("converted, it would not be the same", Exit.REFUSED),
    "PST-G032": ("a converted file cannot stand here", Exit.USAGE),
    # handing a plan to another system
    "PST-W001": ("something that is no report is there", Exit.USAGE),
    "PST-W002": ("the report cannot be written", Exit.ENVIRONMENT),
    "PST-E001": ("the directory holds something else", Exit.ENVIRONMENT),
    "PST-E002": ("the site file does not say what is needed", Exit.CONFIGURATION),
    "PST-E003": ("plans cannot be written for this system", Exit.USAGE),
    "PST-E004": ("a name that the other system would not carry as it is", Exit.REFUSED),
    "PST-E005": ("two inputs of a job would arrive as one file", Exit.REFUSED),
    "PST-E006": ("a job or file that stands twice", Exit.REFUSED),
    "PST-E007": ("an input that nobody makes", Exit.REFUSED),
    "PST-E008": ("jobs wait for each other, or for none that is there", Exit.REFUSED),
    "PST-E009": ("there is nothing to hand over", Exit.REFUSED),
    "PST-E050": ("nobody says where products land", Exit.CONFIGURATION),
    "PST-E051": ("an input that cannot be put into a tar", Exit.REFUSED),
    "PST-E060": ("a name that is also a directory of another", Exit.REFUSED),
    "PST-E061": ("names that are one where all lie together", Exit.REFUSED),
    "PST-E062": ("a size or digest that is none", Exit.REFUSED),
    "PST-E063": ("a name that is too long", Exit.REFUSED),
    "PST-E064": ("an emitted directory that cannot be read", Exit.USAGE),
    "PST-E070": ("Pegasus is missing, or too old", Exit.ENVIRONMENT),
    "PST-E071": ("Pegasus refuses", Exit.ENVIRONMENT),
    "PST-E072": ("an earlier submission still runs", Exit.ENVIRONMENT),
    "PST-E073": ("a job was killed and left no report", Exit.FAILED),
    "PST-E074": ("an input is not what its checksum says", Exit.FAILED),
    "PST-E075": ("a job was held, and removed", Exit.FAILED),
    "PST-E076": ("a store is not where the site says", Exit.ENVIRONMENT),
    "PST-E077": ("a job ended without a report", Exit.FAILED),
    "PST-E078": ("the plan is older than its inputs", Exit.ENVIRONMENT),
    "PST-E079": ("the record of a submission cannot be used", Exit.ENVIRONMENT),
    # putting back, repairing
    "PST-E040": ("what is settled cannot be put back", Exit.REFUSED),
    "PST-E041": ("this job has not failed", Exit.USAGE),
    "PST-E042": ("a size, share or number that says nothing", Exit.USAGE),
    "PST-E043": ("nothing is known that a factor could be taken of", Exit.USAGE),
    "PST-E044": ("a run that cannot be repaired yet", Exit.REFUSED),
    "PST-E045": ("a repair would make more than what the losses touched", Exit.REFUSED),
    "PST-E046": ("what was asked for beside the plan cannot be read", Exit.CONFIGURATION),
    "PST-E047": ("there is no host left to run on", Exit.ENVIRONMENT),
    # calibrations
    "PST-K001": ("a validity that ends before it begins", Exit.REFUSED),
    "PST-K002": ("not a time", Exit.REFUSED),
    "PST-K003": ("no such calibration collection", Exit.REFUSED),
    "PST-K004": ("there is nothing to certify", Exit.REFUSED),
    "PST-K005": ("several calibrations of one data ID for one validity", Exit.REFUSED),
    "PST-K006": ("known from a time that has not come", Exit.REFUSED),
    "PST-K007": ("a task without a moment reads calibrations", Exit.REFUSED),
    "PST-K008": ("a label stands for another version", Exit.REFUSED),
    "PST-K009": ("not the name of a calibration collection or label", Exit.REFUSED),
    "PST-K010": ("what a dataset type certifies is not allowed here", Exit.CONFIGURATION),
    # names of plans in flight
    "PST-P030": ("two files would have one base name where the layout is flat", Exit.REFUSED),
    "PST-P031": ("another plan in flight has reserved the name", Exit.REFUSED),
    "PST-P032": ("something was made of the plan, or it is running", Exit.REFUSED),
    "PST-P040": ("resources of a quantum are no number", Exit.REFUSED),
    "PST-P050": ("what is wanted is nothing that the pipeline makes", Exit.REFUSED),
    "PST-P051": ("nothing makes what is wanted", Exit.REFUSED),
    "PST-P052": ("there is no such part of the plan", Exit.REFUSED),
    "PST-P042": ("nothing can be reused, forced or kept so", Exit.USAGE),
    "PST-P041": ("a cluster is limited by what nobody knows", Exit.REFUSED),
    "PST-P055": ("a promise of inputs says what cannot be", Exit.CONFIGURATION),
    "PST-P056": ("an input is only promised", Exit.REFUSED),
    # a plan proved again, by a checker of its own
    "PST-V001": ("a file of the plan is missing or cannot be read", Exit.REFUSED),
    "PST-V002": ("a file of the plan has another schema", Exit.REFUSED),
    "PST-V003": ("the plan's id does not follow from its content", Exit.REFUSED),
    "PST-V004": ("the plan lies under another id, or its two documents differ", Exit.REFUSED),
    "PST-V005": ("rows of a table are not numbered from 0 on", Exit.REFUSED),
    "PST-V006": ("rows of a table are not in their order", Exit.REFUSED),
    "PST-V007": ("a job does not hold the quanta that it says", Exit.REFUSED),
    "PST-V008": ("a job's name or label is no name, or stands twice", Exit.REFUSED),
    "PST-V009": ("jobs wait for each other", Exit.REFUSED),
    "PST-V010": ("a quantum reads what is made later, or by itself", Exit.REFUSED),
    "PST-V011": ("a job does not stand deeper than those that it waits for", Exit.REFUSED),
    "PST-V012": ("a job reads what another makes, and does not wait for it", Exit.REFUSED),
    "PST-V013": ("a job waits for another of which it reads nothing", Exit.REFUSED),
    "PST-V014": ("an edge is soft where it must be hard, or hard where it may be soft", Exit.REFUSED),
    "PST-V015": ("two datasets have one name", Exit.REFUSED),
    "PST-V016": ("names differ only in case", Exit.REFUSED),
    "PST-V017": ("two datasets have one base name where the layout is flat", Exit.REFUSED),
    "PST-V018": ("a name is also a directory of another", Exit.REFUSED),
    "PST-V019": ("a name that no rule can give", Exit.REFUSED),
    "PST-V020": ("too many entries in one directory", Exit.REFUSED),
    "PST-V021": ("a name is not what its template says", Exit.REFUSED),
    "PST-V022": ("a name does not read back", Exit.REFUSED),
    "PST-V023": ("the id of a dataset does not follow from type, run and data ID", Exit.REFUSED),
    "PST-V024": ("the id of a quantum does not follow from task, run and data ID", Exit.REFUSED),
    "PST-V025": ("a data ID is not in its normal form, or differs from its columns", Exit.REFUSED),
    "PST-V026": ("a planned recipe does not follow from task and inputs", Exit.REFUSED),
    "PST-V027": ("a dataset has another recipe than the quantum that makes it", Exit.REFUSED),
    "PST-V028": ("the recipe of a root is not its content", Exit.REFUSED),
    "PST-V029": ("a row refers to what is not there", Exit.REFUSED),
    "PST-V030": ("a planned dataset that nothing makes, or more than one quantum", Exit.REFUSED),
    "PST-V031": ("an output and its dataset name different quanta", Exit.REFUSED),
    "PST-V032": ("an existing input without a place", Exit.REFUSED),
    "PST-V033": ("the place of an existing input lacks name, size or digest", Exit.REFUSED),
    "PST-V034": ("a quantum reads what its task does not", Exit.REFUSED),
    "PST-V035": ("a quantum reads a dataset twice under one connection", Exit.REFUSED),
    "PST-V036": ("a quantum has too few inputs under a connection", Exit.REFUSED),
    "PST-V037": ("a quantum does not make what its task declares", Exit.REFUSED),
    "PST-V038": ("an output that nothing could take in: type, format or template is missing", Exit.REFUSED),
    "PST-V039": ("a quantum without a receipt of its own", Exit.REFUSED),
    "PST-V040": ("a total of the document is not that of the tables", Exit.REFUSED),
    "PST-V041": ("a count of a task is not that of the tables", Exit.REFUSED),
    "PST-V042": ("what is left out is not counted", Exit.REFUSED),
    "PST-V043": ("something grave is left out, and nobody waived it", Exit.REFUSED),
    "PST-V044": ("an existing dataset that nothing reads", Exit.REFUSED),
    "PST-V045": ("the code beside the plan is not the plan's", Exit.REFUSED),
    "PST-V046": ("an output of another run", Exit.REFUSED),
    "PST-V047": ("a quantum of a task that the pipeline does not have", Exit.REFUSED),
    "PST-V048": ("the digest of the pipeline does not follow from the pipeline", Exit.REFUSED),
    "PST-V049": ("a dataset stands twice", Exit.REFUSED),
    "PST-V050": ("a file of an emission is missing or cannot be read", Exit.REFUSED),
    "PST-V051": ("an emission of another plan, or of quanta that the plan does not have", Exit.REFUSED),
    "PST-V052": ("the jobs of an emission are not those of the plan", Exit.REFUSED),
    "PST-V053": ("a job stands twice in an emission, or its id is none", Exit.REFUSED),
    "PST-V054": ("who waits for whom is not as in the plan", Exit.REFUSED),
    "PST-V055": ("emitted jobs or parts wait for each other", Exit.REFUSED),
    "PST-V056": ("a job is brought other files than it needs", Exit.REFUSED),
    "PST-V057": ("a job is said to make other files than it makes", Exit.REFUSED),
    "PST-V058": ("a file has more than one origin", Exit.REFUSED),
    "PST-V059": ("a file that is to be brought is nowhere", Exit.REFUSED),
    "PST-V060": ("manifests of a pack are damaged, or not those of its jobs", Exit.REFUSED),
    "PST-V061": ("a manifest says something else than the plan", Exit.REFUSED),
    "PST-V062": ("a replica has another size, digest or place than in the plan", Exit.REFUSED),
    "PST-V063": ("a name in an emission that would not arrive as it is", Exit.REFUSED),
    "PST-V064": ("a count of an emission is not that of its files", Exit.REFUSED),
    "PST-V065": ("a replica that no job reads", Exit.REFUSED),
    "PST-V066": ("a tar holds something else than its job's inputs", Exit.REFUSED),
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


class InputError(TaskError):
    """An input, or the code, is not what was committed: no failure of a task, so no loss that may be tolerated."""


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
