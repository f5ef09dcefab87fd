"""What a job is told when Pegasus carries its files: the same manifest, with places of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace

from prestow.manifest import CARRIED, Location, Manifest

EXTERNAL = "_external"
"""Where files of other stores than the output store stand among the logical names."""

PACK_JOBS = 500
PACK_BYTES = 1 << 20
"""How much one pack holds: each job is brought the pack that it is in."""

INPUTS = "inputs"
"""The directory of the emission that the planner takes for one of inputs, by their names in it."""


@dataclass(frozen=True, slots=True)
class Replica:
    """A file that exists: its store and path there, and size and digest where they are known."""

    store: str
    path: str
    size: int | None = None
    sha256: str | None = None


def logical_name(store: str, path: str, output: str) -> str:
    """Give the logical name of a file that exists: its path, if it is in the output store.

    Examples
    --------
    >>> logical_name("archive", "raw/a.fits", "archive"), logical_name("nights", "a.fits", "archive")
    ('raw/a.fits', '_external/nights/a.fits')
    """
    return path if store == output else f"{EXTERNAL}/{store}/{path}"


def for_carrying(manifest: Manifest) -> tuple[Manifest, dict[str, Replica]]:
    """Give the manifest with all that exists as carried, and the replicas of that by logical name.

    Receipts of products that exist are carried, too: they say which raw data these go back to.
    """
    output = manifest.store
    replicas: dict[str, Replica] = {}
    locations: dict[str, Location] = {}
    for item in manifest.inputs:
        place = manifest.locations.get(item.id)
        if place is None:
            continue
        name = logical_name(place.store, place.path, output)
        replicas[name] = Replica(place.store, place.path, item.size, item.sha256)
        locations[item.id] = Location(CARRIED, name)
        if item.receipt is not None:
            replicas[item.receipt] = Replica(place.store, item.receipt)
    code = manifest.code
    if code is not None:
        name = logical_name(code.store, code.path, output)
        replicas[name] = Replica(code.store, code.path, code.size, code.sha256)
        code = replace(code, store=CARRIED, path=name)
    stores = {output: manifest.stores[output]}
    return replace(manifest, locations=locations, code=code, stores=stores), replicas
