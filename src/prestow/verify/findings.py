"""What a plan can be wrong in, and what was found: all of it, the first few of each kind by name."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

SHOWN = 5

KINDS = {
    "PST-V001": "a file of the plan is missing or cannot be read",
    "PST-V002": "a file of the plan has another schema",
    "PST-V003": "the plan's id does not follow from its content",
    "PST-V004": "the plan lies under another id, or its two documents differ",
    "PST-V005": "rows of a table are not numbered from 0 on",
    "PST-V006": "rows of a table are not in their order",
    "PST-V007": "a job does not hold the quanta that it says",
    "PST-V008": "a job's name or label is no name, or stands twice",
    "PST-V009": "jobs wait for each other",
    "PST-V010": "a quantum reads what is made later, or by itself",
    "PST-V011": "a job does not stand deeper than those that it waits for",
    "PST-V012": "a job reads what another makes, and does not wait for it",
    "PST-V013": "a job waits for another of which it reads nothing",
    "PST-V014": "an edge is soft where it must be hard, or hard where it may be soft",
    "PST-V015": "two datasets have one name",
    "PST-V016": "names differ only in case",
    "PST-V017": "two datasets have one base name where the layout is flat",
    "PST-V018": "a name is also a directory of another",
    "PST-V019": "a name that no rule can give",
    "PST-V020": "too many entries in one directory",
    "PST-V021": "a name is not what its template says",
    "PST-V022": "a name does not read back",
    "PST-V023": "the id of a dataset does not follow from type, run and data ID",
    "PST-V024": "the id of a quantum does not follow from task, run and data ID",
    "PST-V025": "a data ID is not in its normal form, or differs from its columns",
    "PST-V026": "a planned recipe does not follow from task and inputs",
    "PST-V027": "a dataset has another recipe than the quantum that makes it",
    "PST-V028": "the recipe of a root is not its content",
    "PST-V029": "a row refers to what is not there",
    "PST-V030": "a planned dataset that nothing makes, or more than one quantum",
    "PST-V031": "an output and its dataset name different quanta",
    "PST-V032": "an existing input without a place",
    "PST-V033": "the place of an existing input lacks name, size or digest",
    "PST-V034": "a quantum reads what its task does not",
    "PST-V035": "a quantum reads a dataset twice under one connection",
    "PST-V036": "a quantum has too few inputs under a connection",
    "PST-V037": "a quantum does not make what its task declares",
    "PST-V038": "an output that nothing could take in: type, format or template is missing",
    "PST-V039": "a quantum without a receipt of its own",
    "PST-V040": "a total of the document is not that of the tables",
    "PST-V041": "a count of a task is not that of the tables",
    "PST-V042": "what is left out is not counted",
    "PST-V043": "something grave is left out, and nobody waived it",
    "PST-V044": "an existing dataset that nothing reads",
    "PST-V045": "the code beside the plan is not the plan's",
    "PST-V046": "an output of another run",
    "PST-V047": "a quantum of a task that the pipeline does not have",
    "PST-V048": "the digest of the pipeline does not follow from the pipeline",
    "PST-V049": "a dataset stands twice",
    "PST-V050": "a file of an emission is missing or cannot be read",
    "PST-V051": "an emission of another plan, or of quanta that the plan does not have",
    "PST-V052": "the jobs of an emission are not those of the plan",
    "PST-V053": "a job stands twice in an emission, or its id is none",
    "PST-V054": "who waits for whom is not as in the plan",
    "PST-V055": "emitted jobs or parts wait for each other",
    "PST-V056": "a job is brought other files than it needs",
    "PST-V057": "a job is said to make other files than it makes",
    "PST-V058": "a file has more than one origin",
    "PST-V059": "a file that is to be brought is nowhere",
    "PST-V060": "manifests of a pack are damaged, or not those of its jobs",
    "PST-V061": "a manifest says something else than the plan",
    "PST-V062": "a replica has another size, digest or place than in the plan",
    "PST-V063": "a name in an emission that would not arrive as it is",
    "PST-V064": "a count of an emission is not that of its files",
    "PST-V065": "a replica that no job reads",
    "PST-V066": "a tar holds something else than its job's inputs",
}
"""Code -> what it means. The same codes stand in the table of problem codes of the whole."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of damage: how often, and the first places."""

    code: str
    count: int
    examples: tuple[str, ...]

    @property
    def meaning(self) -> str:
        """What the code means."""
        return KINDS[self.code]

    def __str__(self) -> str:
        more = (
            f"\n  … and {self.count - len(self.examples):,} more" if self.count > len(self.examples) else ""
        )
        places = "".join(f"\n  {text}" for text in self.examples)
        return f"error[{self.code}]: {self.meaning} ({self.count:,}){places}{more}"


@dataclass(slots=True)
class Findings:
    """Collects; never stops at the first."""

    found: dict[str, tuple[int, list[str]]] = field(default_factory=dict)

    def add(self, code: str, examples: Iterable[str], count: int | None = None) -> None:
        """Note so many of a kind; ``count`` may be more than there are examples."""
        shown = list(examples)
        number = len(shown) if count is None else count
        if not number:
            return
        before, places = self.found.get(code, (0, []))
        self.found[code] = (before + number, [*places, *shown][:SHOWN])

    def rows(self, code: str, mask: Any, show: Callable[[int], str]) -> bool:  # Any: an Arrow array
        """Note the rows for which a mask is true or null; say whether there are any."""
        at = nonzero(mask)
        self.add(code, [show(i) for i in at[:SHOWN].to_pylist()], len(at))
        return bool(len(at))

    def all(self) -> tuple[Finding, ...]:
        """Give what was found, by code."""
        return tuple(Finding(code, *_frozen(self.found[code])) for code in sorted(self.found))


def _frozen(entry: tuple[int, list[str]]) -> tuple[int, tuple[str, ...]]:
    return entry[0], tuple(entry[1])


def nonzero(mask: Any) -> Any:  # Any: Arrow arrays
    """Give the rows for which a mask is true or null."""
    return pc.indices_nonzero(pc.fill_null(mask, fill_value=True)).cast(pa.int64())
