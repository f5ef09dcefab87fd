"""What disagrees becomes a finding: a record and a row, the same however often it is found."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from prestow.commit import DIFFERENCES, RECEIPTS
from prestow.errors import Problem
from prestow.registry import Registry
from prestow.registry.findings import CONTRADICTORY, IRREPRODUCIBLE
from prestow.stores import Store, Walkable

SCHEMA = "prestow.difference/1"
"""Of what an attempt notes; see `prestow.node.differing`."""

_RUN = re.compile(r"\brun (\S+)$")


def note_findings(
    registry: Registry, store: Store, runs: Sequence[str], contradictory: Iterable[Problem] = ()
) -> dict[str, int]:
    """Note what attempts of these runs left and what ingest found contradictory; give how many are open, by kind.

    What is noted already is not noted again.
    """
    found = [*_differences(store, runs), *(_contradiction(problem, runs) for problem in contradictory)]
    registry.findings.add(store, found)
    still = [one for one in registry.findings.open() if one.run in runs]
    return {kind: sum(one.kind == kind for one in still) for kind in (IRREPRODUCIBLE, CONTRADICTORY)}


def _differences(store: Store, runs: Iterable[str]) -> Iterator[dict[str, Any]]:  # Any: JSON values
    if not isinstance(store, Walkable):
        return
    for run in runs:
        for name, _ in store.walk(f"{DIFFERENCES}/{run}"):
            try:
                facts = json.loads(store.read(name))
            except ValueError:
                continue  # no paper of ours; the account names it
            if isinstance(facts, dict) and facts.pop("schema", None) == SCHEMA and facts.get("run") == run:
                yield {"kind": IRREPRODUCIBLE, **facts}


def _contradiction(problem: Problem, runs: Sequence[str]) -> dict[str, Any]:  # Any: JSON values
    parts = problem.where.split("/")
    match = _RUN.search(problem.where)
    run = parts[1] if parts[0] == RECEIPTS and len(parts) > 1 else match[1] if match else parts[0]
    if run not in runs:
        run = runs[0] if len(runs) == 1 else ""
    return {
        "kind": CONTRADICTORY,
        "run": run,
        "what": problem.what,
        "where": problem.where,
    }
