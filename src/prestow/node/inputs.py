"""The planned inputs of a job as they are now: receipts, states, sources, roots, minima."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from prestow.commit import promote, read_receipt
from prestow.errors import PrestowError, Problem, TaskError
from prestow.manifest import Connection, Manifest, ManifestInput, ManifestQuantum, Receipt, Root
from prestow.model import State
from prestow.model.hashing import actual_recipe, canonical_json
from prestow.node.outcome import in_words
from prestow.node.repository import Source, lost_input
from prestow.stores import Store

if TYPE_CHECKING:
    from prestow.manifest import Location
    from prestow.node.tars import Members

TAR = "tar"


class Seen(NamedTuple):
    """One planned input of a quantum, as it is now."""

    item: ManifestInput
    connection: str
    state: str
    code: str
    sha256: str
    size: int
    actual: str
    sources: tuple[Source, ...]
    roots: tuple[Root, ...]

    @property
    def deviates(self) -> bool:
        """Whether it is an accident that it is not what was planned."""
        return self.state in (State.LOST, State.BLOCKED) or self.actual != self.item.recipe

    @property
    def told(self) -> str:
        """Its actual recipe as recipes and stories tell it: none of what was lost."""
        return "" if self.state in (State.LOST, State.BLOCKED) else self.actual


class Inputs:
    """What the quanta of a job read, by the receipts of those who made it.

    ``settled`` are the committed receipts of the job's own quanta; they become more as it runs.
    """

    def __init__(
        self,
        manifest: Manifest,
        given: Mapping[str, Receipt],
        settled: Mapping[str, Receipt],
        findings: list[str],
        open_named: Callable[[str], Store],
        scratch: str = "",
    ) -> None:
        self.manifest = manifest
        self.given = given
        self.settled = settled
        self.findings = findings
        self.open = open_named
        self.store = open_named(manifest.store)
        self.own = {q.id for q in manifest.quanta}
        self.outside: dict[str, Receipt] = {}  # by receipt name
        self.scratch = scratch
        self._tars: dict[tuple[str, str], Members] = {}

    def of(self, quantum: ManifestQuantum) -> Iterator[tuple[str, ManifestInput]]:
        """Give the planned inputs of a quantum with their connections, in order."""
        for name, connection in quantum.inputs.items():
            for i in connection.datasets:
                yield name, self.manifest.inputs[i]

    def unsettled(self, quantum: ManifestQuantum) -> Iterator[str]:
        """Read the receipts of a quantum's inputs from outside; give the producers that have none."""
        for _, item in self.of(quantum):
            if item.receipt is None or item.receipt in self.outside or item.producer in self.own:
                continue
            key = item.producer or item.receipt.rsplit("/", 1)[-1].removesuffix(".json")
            receipt = self.given.get(key) or self._find(item)
            if receipt is not None:
                self.outside[item.receipt] = receipt
            elif item.sha256 is None:
                yield key

    def _find(self, item: ManifestInput) -> Receipt | None:
        place = self.manifest.locations.get(item.id)
        names = [self.manifest.store]
        if place is not None and place.store != self.manifest.store:
            names.insert(0, place.store)
        for name in names:
            receipt = read_receipt(self.open(name), str(item.receipt))
            if receipt is not None:
                return receipt
        return None

    def waits(self, quantum: ManifestQuantum) -> bool:
        """Whether an input of this very job is not settled."""
        return any(
            item.producer in self.own and item.producer not in self.settled for _, item in self.of(quantum)
        )

    def see(self, connection: str, item: ManifestInput) -> Seen:
        """Give an input as its receipt says it is."""
        receipt = (
            self.settled.get(item.producer)
            if item.producer in self.own
            else self.outside.get(item.receipt or "")
        )
        if item.sha256 is not None:
            if item.receipt is not None and receipt is None:
                raise lost_input(f"its receipt {item.receipt} cannot be read", input_in_words(item))
            place = self.manifest.locations.get(item.id)
            if place is None:
                raise lost_input("the manifest does not say where it lies", input_in_words(item))
            roots = receipt.roots if receipt is not None else (Root(item.type, item.data_id, item.id),)
            there = (self._source(place),)
            return Seen(
                item, connection, State.MADE, "", item.sha256, item.size or 0, item.recipe, there, roots
            )
        if receipt is None:
            raise TaskError(Problem("PST-N009", "a planned input names no receipt", item.id))
        if receipt.planned_recipe != item.recipe:
            raise other_recipe(receipt.quantum, receipt.planned_recipe, item.recipe, str(item.receipt))
        actual = receipt.actual_recipe or ""
        if receipt.state != State.MADE:
            code = (receipt.code or "") if receipt.state == State.DECLINED else ""
            return Seen(item, connection, receipt.state, code, "", 0, actual, (), ())
        output = next((o for o in receipt.outputs if o.id == item.id), None)
        if output is None or output.state != State.MADE:
            return Seen(item, connection, State.DECLINED, "not_made", "", 0, actual, (), ())
        place = self.manifest.locations.get(item.id)
        if place is None and output.aside is not None and self.store.size(output.path) != output.size:
            try:
                promote(self.store, receipt)  # whoever made it did not come so far; anybody may
            except PrestowError as error:
                self.findings.append(f"cannot promote {output.path}: {error.problems[0].what}")
        sources: tuple[Source, ...] = (Source(self.store, output.path),)
        if place is not None:  # somebody brought it
            sources = (self._source(place),)
        elif output.aside is not None:
            # once more the planned name: it may be promoted between the first look and the second
            sources = (*sources, Source(self.store, output.aside, moves=True), *sources)
        return Seen(
            item,
            connection,
            State.MADE,
            "",
            str(output.sha256),
            output.size or 0,
            actual,
            sources,
            receipt.roots,
        )

    def _source(self, place: Location) -> Source:
        """Give where an input's bytes are: a file, or a member of a tar."""
        if self.manifest.layout != TAR:
            return Source(self.open(place.store), place.path)
        from prestow.node.tars import Members, split_place  # a job that has no tar does without

        found = split_place(place)
        if found is None:
            return Source(self.open(place.store), place.path)
        tar, member = found
        key = place.store, tar
        if key not in self._tars:
            self._tars[key] = Members(self.open(place.store), tar, self.scratch)
        return Source(self._tars[key], member)

    def stale(self, seen: Sequence[Seen]) -> bool:
        """Whether an input of this very job is no longer what was read."""
        return any(
            self._settled_digest(s) != s.sha256
            for s in seen
            if s.item.producer in self.own and s.state == State.MADE
        )

    def _settled_digest(self, seen: Seen) -> str:
        receipt = self.settled.get(str(seen.item.producer))
        return next((str(o.sha256) for o in receipt.outputs if o.id == seen.item.id), "") if receipt else ""


def recipe_of(quantum: ManifestQuantum, seen: Sequence[Seen]) -> str:
    """Give the actual recipe: the planned one with what deviates."""
    return actual_recipe(
        quantum.recipe,
        ((s.connection, canonical_json(dict(s.item.data_id)), s.state, s.told) for s in seen if s.deviates),
    )


def roots_of(seen: Sequence[Seen]) -> tuple[Root, ...]:
    """Give the raw data that inputs go back to, in order."""
    found = {r.id: r for s in seen if s.state == State.MADE for r in s.roots}
    return tuple(sorted(found.values(), key=lambda r: (r.type, canonical_json(dict(r.data_id)), r.id)))


def unmet(connections: Mapping[str, Connection], seen: Sequence[Seen]) -> tuple[State, str | None] | None:
    """Say how a quantum ends whose inputs are too few, or None if they are enough."""
    blocked, short, codes = False, False, set()
    for name, connection in connections.items():
        here = [s for s in seen if s.connection == name]
        if connection.met(sum(s.state == State.MADE for s in here)):
            continue
        short = True
        absent = [s for s in here if s.state != State.MADE]
        blocked = blocked or any(s.deviates for s in absent)
        codes |= {s.code for s in absent}
    if not short:
        return None
    if blocked:
        return State.BLOCKED, None
    return State.DECLINED, codes.pop() if len(codes) == 1 and codes != {""} else "no_inputs"


def input_in_words(item: ManifestInput) -> str:
    """Give an input's type and data ID for people."""
    return in_words(item.type, item.data_id)


def other_recipe(quantum: str, found: str, wanted: str, name: str) -> TaskError:
    """Say that a quantum is settled under a recipe nobody asked for here (PST-P005)."""
    return TaskError(
        Problem(
            "PST-P005",
            f"quantum {quantum} is settled under recipe {found}, and this plan asks for {wanted}",
            name,
            "plan it in another run, or in a child run",
        )
    )
