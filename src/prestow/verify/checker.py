"""All checks in order, over a plan on disk."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prestow.verify import rules
from prestow.verify.account import check_account
from prestow.verify.findings import Finding, Findings
from prestow.verify.graph import check_graph
from prestow.verify.identity import check_identity
from prestow.verify.names import check_names
from prestow.verify.numbering import check_numbers
from prestow.verify.paper import Paper, open_paper


@dataclass(frozen=True, slots=True)
class Report:
    """What was checked, and what is wrong with it.

    Parameters
    ----------
    plan, run : str
        Empty if the document cannot be read.
    totals : dict of table to int
        Rows of the tables that were checked.
    findings : tuple of Finding
        By code; none: the plan is proved.
    """

    plan: str
    run: str
    totals: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def proved(self) -> bool:
        """Whether nothing is wrong."""
        return not self.findings

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "plan": self.plan, "run": self.run, "proved": self.proved, "totals": dict(self.totals),
            "findings": [
                {"code": f.code, "what": f.meaning, "count": f.count, "examples": list(f.examples)} for f in self.findings
            ],
        }  # fmt: skip


def verify(directory: str | Path, *, plan_id: bool = True) -> Report:
    """Prove a plan on disk again, from its files alone.

    Parameters
    ----------
    directory : path
        Of the plan.
    plan_id : bool
        Whether to compute the plan's id, too; tests of the other checks go without.

    Returns
    -------
    Report
        Never raises for what is wrong with the plan.
    """
    findings = Findings()
    place = Path(directory).resolve()
    paper = open_paper(place, findings)
    if paper is None:
        return Report("", "", {}, findings.all())
    try:
        _check(paper, findings)
        if plan_id:
            _check_id(paper, findings)
        totals = {name: paper.height(name) for name in rules.LOGICAL}
    finally:
        paper.close()
    return Report(str(paper.document["id"]), paper.run, totals, findings.all())


def _check(paper: Paper, findings: Findings) -> None:
    check_numbers(paper, findings)
    ends = check_graph(paper, findings)
    check_names(paper, ends, findings)
    check_identity(paper, ends, findings)
    check_account(paper, ends, findings)


def _check_id(paper: Paper, findings: Findings) -> None:
    expected = rules.plan_id(paper)
    if expected != paper.document["id"]:
        findings.add("PST-V003", [f"{paper.document['id']}, and the content gives {expected}"])
