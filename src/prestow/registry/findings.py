"""Findings: what a person has to look at, each a record and a row, put once.

A finding of kind *irreproducible* says that an attempt made other content than the committed one; one
of kind *contradictory* that committed facts disagree. A person settles a finding by a record of kind
*settled*, which names it and says why; then it counts no more.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prestow.errors import Problem, ProjectError
from prestow.model.hashing import canonical_json, sha256_hex
from prestow.registry.database import Database
from prestow.registry.records import put_record

if TYPE_CHECKING:
    from prestow.stores import Store

IRREPRODUCIBLE = "irreproducible"
CONTRADICTORY = "contradictory"
KINDS = (IRREPRODUCIBLE, CONTRADICTORY)

_SETTLED = "settled"
_SHORTEST = 4


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that disagrees.

    Parameters
    ----------
    kind, key : str
        ``irreproducible`` or ``contradictory``; and what names it: the kind, a dot, and 16 digits.
    facts : mapping
        What disagrees with what, and where.
    because : str or None
        Why a person settled it; None while nobody has.
    """

    kind: str
    key: str
    facts: Mapping[str, Any]  # Any: JSON values
    because: str | None = None

    @property
    def run(self) -> str:
        """The run that it is about, or nothing."""
        return str(self.facts.get("run", ""))

    @property
    def open(self) -> bool:
        """Whether it still counts."""
        return self.because is None


def finding_key(facts: Mapping[str, Any]) -> str:  # Any: JSON values
    """Give the key of a finding: of its facts alone, so that finding it again is finding it once.

    Examples
    --------
    >>> finding_key({"kind": "contradictory", "what": "two of one name"})
    'contradictory.9b64dc5c81062b2d'
    """
    return f"{facts['kind']}.{sha256_hex(canonical_json(dict(facts)).encode())[:16]}"


class Findings:
    """The findings of a registry."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def all(self, run: str | None = None, *, kinds: Iterable[str] = KINDS) -> tuple[Finding, ...]:
        """Give all findings, or those of a run, sorted by key; settled ones too."""
        rows = self._db.rows("SELECT kind, key, facts FROM finding ORDER BY kind, key")
        parsed = [(kind, key, json.loads(facts)) for kind, key, facts in rows]
        settled = {facts["key"]: facts["because"] for kind, _, facts in parsed if kind == _SETTLED}
        wanted = set(kinds)
        found = [Finding(kind, key, facts, settled.get(key)) for kind, key, facts in parsed if kind in wanted]
        return tuple(one for one in found if run is None or one.run == run)

    def open(self, run: str | None = None) -> tuple[Finding, ...]:
        """Give those that nobody has settled: the account does not close over them."""
        return tuple(one for one in self.all(run) if one.open)

    def add(self, store: Store, found: Iterable[Mapping[str, Any]]) -> int:  # Any: JSON values
        """Note findings, by their facts: first by record, then by row. Give how many are new here."""
        new = 0
        for facts in found:
            key = finding_key(facts)
            put_record(store, "finding", key, facts)
            new += self._put(str(facts["kind"]), key, facts)
        return new

    def settle(self, store: Store, key: str, because: str) -> Finding:
        """Note that a person has looked at a finding, and why it counts no more; once and for all.

        Parameters
        ----------
        key : str
            Its key, or the beginning of its digits (four at least).

        Raises
        ------
        ProjectError
            PST-I035 if there is no such finding, more than one is meant, or it was settled for another reason.
        """
        digits = key.rpartition(".")[2]
        known = self.all()
        meant = [
            one
            for one in known
            if one.key == key or (len(digits) >= _SHORTEST and one.key.rpartition(".")[2].startswith(digits))
        ]
        if len(meant) != 1:
            what = f"{len(meant)} findings begin with '{key}'" if meant else f"no finding '{key}'"
            names = ", ".join(one.key for one in (meant or known)[:5]) or "none"
            raise ProjectError(Problem("PST-I035", what, "--settle", f"findings: {names}"))
        (one,) = meant
        if not one.open and one.because != because:
            raise ProjectError(
                Problem(
                    "PST-I035",
                    f"{one.key} was settled already: {one.because}",
                    "--settle",
                    "what a person has settled stays so",
                )
            )
        facts = {"kind": _SETTLED, "key": one.key, "because": because}
        name = f"{_SETTLED}.{sha256_hex(one.key.encode())[:16]}"
        put_record(store, "finding", name, facts)
        self._put(_SETTLED, name, facts)
        return Finding(one.kind, one.key, one.facts, because)

    def _put(self, kind: str, key: str, facts: Mapping[str, Any]) -> bool:  # Any: JSON values
        with self._db.transaction():
            known = self._db.rows("SELECT 1 FROM finding WHERE kind = $1 AND key = $2", kind, key)
            if not known:
                self._db.execute(
                    "INSERT INTO finding (kind, key, facts) VALUES ($1, $2, $3) ON CONFLICT (kind, key) DO NOTHING",
                    kind,
                    key,
                    canonical_json(dict(facts)),
                )
        return not known
