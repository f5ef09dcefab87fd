"""Chains as records: every order that a chain ever had is a numbered record, and the last one counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from prestow.errors import ObjectNotFoundError
from prestow.registry.records import put_record, read_record
from prestow.registry.registry import Registry
from prestow.stores import Put, Store

KIND = "chain"


def put_in_front(registry: Registry, store: Store, chain: str, members: Sequence[str]) -> None:
    """Make a chain end with these runs, in this order; others that it has stay before them.

    A record says what the chain is from then on, and the registry follows it. Of several that do
    this at once each sees the record of the one before.
    """
    while True:
        known = registry.chain_members(chain) if chain in registry.collections() else ()
        wanted = (*(m for m in known if m not in members), *members)
        number, standing = _last(store, chain)
        if standing != wanted:
            number += 1
            facts = {"chain": chain, "number": number, "members": list(wanted)}
            if put_record(store, KIND, f"{chain} {number}", facts) is not Put.YES:
                continue
        registry.register_chain(chain, wanted)
        if _last(store, chain)[0] == number:
            return


def last_chains(facts: Iterable[Mapping[str, Any]]) -> dict[str, tuple[str, ...]]:  # Any: JSON values
    """Give the members of each chain by its last record, in whatever order the records are read.

    Examples
    --------
    >>> one, two = ({"chain": "c", "number": n, "members": ["b", "a"][-n:]} for n in (1, 2))
    >>> last_chains([two, one])
    {'c': ('b', 'a')}
    """
    best: dict[str, tuple[int, tuple[str, ...]]] = {}
    for one in facts:
        found = (int(one.get("number", 0)), tuple(one["members"]))
        best[one["chain"]] = max(best.get(one["chain"], found), found)
    return {chain: members for chain, (_, members) in sorted(best.items())}


def _last(store: Store, chain: str) -> tuple[int, tuple[str, ...]]:
    number, members = 0, ()
    while True:
        try:
            members = tuple(read_record(store, KIND, f"{chain} {number + 1}")["members"])
        except ObjectNotFoundError:
            return number, members
        number += 1
