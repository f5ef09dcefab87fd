"""Several stores into one: what two sites made under one plan of names, with every disagreement named.

Every quantum goes by the commit protocol: its outputs are copied aside, its receipt is put if absent, then they
are promoted. So whatever interrupts it, the same again ends where one merge does, and a store that is
written to at the same time loses nothing. The sources are only read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from prestow.commit import code_name, deleted_name, promote, read_receipt, settle, verifies
from prestow.errors import PrestowError, Problem
from prestow.ingest.merging_bytes import copy_object
from prestow.ingest.merging_records import Conflict, Wanted, merge_records
from prestow.ingest.rebuilding_receipts import each_in_order, find_receipts, named
from prestow.ingest.verifying import says_what_its_name_says
from prestow.manifest import Receipt, ReceiptOutput
from prestow.registry import put_record
from prestow.stores import Store, Walkable

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Merged:
    """What merging came to.

    Parameters
    ----------
    sources : tuple of str
        Their URIs, in the order in which they count.
    taken, known : mapping of str to int
        What was taken, and what was there already: ``quanta``, ``files``, ``bytes``, ``records``, ``raw`` and ``other`` files.
    conflicts : tuple of Conflict
        What the sources disagree in; nothing of it was taken from the later one.
    problems : tuple of Problem
        Receipts and records that are none.
    """

    sources: tuple[str, ...]
    taken: dict[str, int]
    known: dict[str, int]
    conflicts: tuple[Conflict, ...] = ()
    problems: tuple[Problem, ...] = ()

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "sources": list(self.sources), "taken": self.taken, "known": self.known,
            "conflicts": [conflict.as_dict() for conflict in self.conflicts],
            "problems": [problem.as_dict() for problem in self.problems],
        }  # fmt: skip


@dataclass(slots=True)
class _Merging:
    """One merge on its way."""

    sources: list[Store]
    into: Store
    dry_run: bool
    link: bool
    taken: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    conflicts: list[Conflict] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    planned: dict[str, tuple[Receipt, Store]] = field(
        default_factory=dict
    )  # of a dry run: what would be there
    origin: dict[str, str] = field(default_factory=dict)  # receipt -> the source that it was taken from

    copied: set[str] = field(default_factory=set)

    def made(self, receipt: Receipt) -> list[ReceiptOutput]:
        """Give the made outputs of a receipt that nobody deleted on purpose."""
        made = receipt.outputs if receipt.state == "made" else ()
        stores = (self.into, *self.sources)
        return [
            output
            for output in made
            if output.state == "made" and all(store.size(deleted_name(output.id)) is None for store in stores)
        ]


def merge(
    sources: list[Store],
    into: Store,
    *,
    store_name: str = "archive",
    link: bool = False,
    dry_run: bool = False,
    wanted: Wanted | None = None,
    progress: Progress | None = None,
) -> Merged:
    """Merge stores into one, the first source first. Twice is once.

    A dataset that two of them have with the same bytes is taken once. One that they have with other
    bytes is refused, and with it all outputs of its quantum, and what was made from it.

    Parameters
    ----------
    link : bool
        Give files that nobody can write a second name, where the file system allows it; else copy.
    dry_run : bool
        Write nothing; the report is that of a merge.
    wanted : Wanted, optional
        Only these quanta and files, with the records that they need; all, if not given.

    Raises
    ------
    StoreError
        If a store cannot be listed, read or written. What was taken until then stays; say the same again.
    """
    work = _Merging(sources, into, dry_run, link)
    tell = progress or (lambda _what, _done, _total: None)
    records = merge_records(
        sources, into, store_name=store_name, link=link, dry_run=dry_run, wanted=wanted, progress=tell
    )
    work.conflicts += records.conflicts
    work.problems += records.problems
    work.taken.update(records.taken)
    work.known.update(records.known)
    for source in sources:
        _merge_code(work, source)
        refused: set[str] = set(records.refused[source.uri])
        if wanted is None:
            found = find_receipts(source)
            receipts, count = each_in_order(source, found, work.problems.append), found.count
        else:
            receipts, count = (
                named(source, sorted(wanted.receipts), work.problems.append),
                len(wanted.receipts),
            )
        for done, (name, receipt) in enumerate(receipts, 1):
            _merge_quantum(work, source, name, receipt, refused, records.runs[source.uri])
            tell("receipts", done, count)
        if wanted is None:
            _merge_reports(work, source)
    return Merged(
        tuple(source.uri for source in sources), dict(sorted(work.taken.items())), dict(sorted(work.known.items())),
        tuple(work.conflicts), tuple(work.problems),
    )  # fmt: skip


def _merge_quantum(
    work: _Merging, source: Store, name: str, receipt: Receipt, refused: set[str], other_runs: set[str]
) -> None:
    """Take one quantum, or say why not; datasets that are not taken are added to ``refused``."""
    wrong = says_what_its_name_says(receipt, name)
    if wrong:
        work.problems.append(Problem("PST-I006", wrong, f"{source.uri}: {name}", "find out who wrote it"))
        return
    standing, where = _standing(work, name)
    if standing is not None and _same(standing, receipt):
        work.known["quanta"] += 1
        _bring_home(work, source, standing)
        return
    if receipt.run in other_runs:
        refused.update(output.id for output in receipt.outputs)
        return  # said once, for the run
    conflict = (
        _other_inputs(source, name, receipt, refused)
        if standing is None
        else _disagreement(work, source, name, receipt, standing, where)
    )
    if conflict is not None:
        refused.update(output.id for output in receipt.outputs)
    else:
        conflict = _lacking(work, source, name, receipt)  # what was made of it is as good as ever
    if conflict is not None:
        work.conflicts.append(conflict)
        return
    _take(work, source, name, receipt)


def _standing(work: _Merging, name: str) -> tuple[Receipt | None, Store]:
    standing = read_receipt(work.into, name)
    if standing is None and name in work.planned:
        return work.planned[name]
    return standing, work.into


def _same(one: Receipt, other: Receipt) -> bool:
    """Say whether two receipts commit to the same: state, recipe and bytes. Who made it does not matter."""
    if (one.state, one.planned_recipe, one.actual_recipe) != (
        other.state,
        other.planned_recipe,
        other.actual_recipe,
    ):
        return False
    return _committed(one) == _committed(other)


def _committed(receipt: Receipt) -> dict[str, tuple[str, str, str | None]]:
    return {output.id: (output.state, output.path, output.sha256) for output in receipt.outputs}


def _disagreement(
    work: _Merging, source: Store, name: str, receipt: Receipt, standing: Receipt, where: Store
) -> Conflict:
    ours, theirs = _committed(standing), _committed(receipt)
    differing = [o for o in receipt.outputs if ours.get(o.id) != theirs[o.id]]
    words = ", ".join(f"{o.type}{{{_data_id(o)}}}" for o in differing) or f"task {receipt.task}"
    origin = work.origin.get(name, where.uri)
    a, b = (_told(one, differing) for one in (standing, receipt))
    return Conflict("quantum", f"{words} of run {receipt.run}", f"{origin}: {a}", f"{source.uri}: {b}", name)


def _told(receipt: Receipt, differing: list[ReceiptOutput]) -> str:
    if receipt.state != "made":
        return receipt.state
    ids = {output.id for output in differing}
    told = [f"{o.path} sha256 {str(o.sha256)[:12]}" for o in receipt.outputs if o.id in ids]
    return ", ".join(told) or f"made by recipe {receipt.actual_recipe}"


def _data_id(output: ReceiptOutput) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(output.data_id.items()))


def _other_inputs(source: Store, name: str, receipt: Receipt, refused: set[str]) -> Conflict | None:
    """Refuse what was made from something that was refused: its bytes would go back to what is not there."""
    gone = [i for i in receipt.inputs if i.state == "made" and i.id in refused]
    if not gone:
        return None
    words = f"task {receipt.task}, run {receipt.run}"
    read = f"{source.uri}: made from a {gone[0].type} that was refused"
    return Conflict("input", words, "not taken", read, name)


def _lacking(work: _Merging, source: Store, name: str, receipt: Receipt) -> Conflict | None:
    for output in work.made(receipt):
        if verifies(work.into, output.path, output):
            continue
        if output.aside is None and work.into.size(output.path) is not None:
            words = f"{output.path}, which no receipt there commits"
            return Conflict("file", words, f"{work.into.uri}: other bytes", f"{source.uri}: a product", name)
        if _source_name(source, output) is None:
            words = f"{output.type}{{{_data_id(output)}}} of run {receipt.run}"
            told = f"{source.uri}: the bytes of {output.path} are gone, or are others"
            return Conflict("bytes", words, "not taken", told, name)
    return None


def _source_name(source: Store, output: ReceiptOutput) -> str | None:
    """Give the name under which a source has the committed bytes, or None."""
    names = [output.path] if output.aside is None else [output.path, output.aside]
    return next((name for name in names if source.digest(name) == (output.size, output.sha256)), None)


def _take(work: _Merging, source: Store, name: str, receipt: Receipt) -> None:
    work.origin[name] = source.uri
    work.taken["quanta"] += 1
    made = work.made(receipt)
    work.taken["files"] += len(made)
    work.taken["bytes"] += sum(output.size or 0 for output in made)
    if work.dry_run:
        work.planned[name] = (receipt, source)
        return
    _bring(work, source, made)
    for output in receipt.outputs:
        if source.size(deleted_name(output.id)) is not None:
            put_record(work.into, "deleted", output.id, {"dataset": output.id})
    settle(work.into, receipt)
    promote(work.into, receipt, deleted={o.id for o in receipt.outputs} - {o.id for o in made})


def _bring(work: _Merging, source: Store, made: list[ReceiptOutput]) -> None:
    """Copy outputs aside; where a receipt names no aside, to the planned name, which nothing else may hold."""
    for output in made:
        at = _source_name(source, output)
        if at is None or verifies(work.into, output.path, output):
            continue
        target = output.aside or output.path
        copy_object(source, at, work.into, target, link=work.link)
        if not verifies(work.into, target, output):
            raise _changed(source, at)


def _bring_home(work: _Merging, source: Store, standing: Receipt) -> None:
    """Make good what an interrupted merge, or a loss since, left: the bytes of a receipt that is there."""
    made = work.made(standing)
    lacking = [o for o in made if work.into.size(o.path) != o.size]
    if work.dry_run or not lacking:
        return
    for output in lacking:
        if output.aside is None or work.into.size(output.aside) is None:
            _bring(work, source, [output])
    promote(work.into, standing, deleted={o.id for o in standing.outputs} - {o.id for o in made})


def _changed(source: Store, name: str) -> PrestowError:
    what = "it changed while it was copied"
    return PrestowError(Problem("PST-B005", what, f"{source.uri}: {name}", "say the same again"))


def _merge_code(work: _Merging, source: Store) -> None:
    _copy_all(work, source, code_name("").rpartition("/")[0])


def _merge_reports(work: _Merging, source: Store) -> None:
    _copy_all(work, source, "_attempts")


def _copy_all(work: _Merging, source: Store, prefix: str) -> None:
    """Copy what is known by its content or by a name that is used once: whoever has it has the same."""
    assert isinstance(source, Walkable)
    for name, size in source.walk(prefix):
        if work.into.size(name) == size or name in work.copied:
            work.known["other"] += 1
            continue
        work.copied.add(name)
        work.taken["other"] += 1
        if not work.dry_run:
            work.into.put_if_absent(name, source.read(name))
