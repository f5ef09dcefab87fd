"""Files that have stories and no receipts: held to their stories and to the plan, and given receipts.

A receipt is put for whole quanta only, as an attempt puts it: bytes aside, receipt if absent, promoted.
So two who adopt the same at once, or one who was interrupted, come to one end; and nothing that a receipt
commits is ever changed.
"""

from __future__ import annotations

import json
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from hashlib import sha256
from pathlib import Path

from prestow.commit import (
    Promoted,
    aside_name,
    deleted_name,
    promote,
    read_receipt,
    receipt_name,
    settle,
    verifies,
)
from prestow.errors import PrestowError, Problem, StoreError
from prestow.formats import CONVERTED, Format, Measuring, Story, StoryInput, open_format
from prestow.ingest.carrying import Transfer, carry
from prestow.ingest.external import format_of_name
from prestow.manifest import Receipt, ReceiptInput, ReceiptOutput, Root
from prestow.model.hashing import canonical_json, dataset_id, quantum_id
from prestow.stores import Linkable, Store, check_name

BLOCK = 1 << 20

_RUN = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9_.+-]*")  # narrower checks are the planner's
_RECIPE = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class Expected:
    """A quantum as a plan has it.

    Parameters
    ----------
    quantum, task, run, job, recipe : str
        Which, where, and by what planned recipe.
    data_id : mapping
        Its values.
    outputs : tuple of (ReceiptOutput, bool)
        As they are planned, still declined, each with whether it is optional.
    inputs : mapping of (connection, dataset id) to (run, planned recipe)
        What it is to read.
    """

    quantum: str
    task: str
    run: str
    job: str
    recipe: str
    data_id: Mapping[str, str | int]
    outputs: tuple[tuple[ReceiptOutput, bool], ...]
    inputs: Mapping[tuple[str, str], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Plans:
    """What plans know of some datasets: the quantum of each, by dataset id; and whose a path is."""

    quanta: Mapping[str, Expected] = field(default_factory=dict)
    paths: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Adopted:
    """A quantum that was adopted, or would be: its task, data ID, and files by planned name."""

    run: str
    task: str
    data_id: Mapping[str, str | int]
    receipt: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Adoption:
    """What adopting came to.

    Parameters
    ----------
    directory : str
        Where files were looked for.
    adopted : tuple of Adopted
        Quanta that have a receipt by it.
    known : int
        Quanta that had one, with these bytes.
    refused : tuple of Problem
        What is not adopted, and why (PST-I034).
    passed_over : int
        Files that are none of a run: those in directories that begin with ``_``.
    """

    directory: str
    adopted: tuple[Adopted, ...] = ()
    known: int = 0
    refused: tuple[Problem, ...] = ()
    passed_over: int = 0

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs of what was adopted."""
        return tuple(sorted({one.run for one in self.adopted}))

    def as_dict(self) -> dict[str, object]:
        """Give the facts by name."""
        return {
            "directory": self.directory, "adopted": [asdict(one) for one in self.adopted], "known": self.known,
            "refused": [problem.as_dict() for problem in self.refused], "passed_over": self.passed_over,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """A file with its story, held to itself: its identity is that of its type, run and data ID."""

    path: Path
    name: str  # below the directory that is adopted
    format: str
    story: Story
    size: int
    sha256: str
    content: str
    metrics: Mapping[str, float] | None = None  # of a document

    @property
    def data_id(self) -> dict[str, str | int]:
        """The values of its data ID."""
        values: dict[str, str | int] = json.loads(self.story.data_id)
        return values


def adopt(
    store: Store,
    directory: Path,
    *,
    run: str | None = None,
    lookup: Callable[[Sequence[Found]], Plans] = lambda _: Plans(),
    named: Callable[[Story], str | None] = lambda _: None,
    optional: Mapping[tuple[str, str], bool] | None = None,
    runs: Sequence[str] = (),
    refuse_run: Callable[[str], str] = lambda _: "",
    link: bool = False,
    dry_run: bool = False,
) -> Adoption:
    """Give receipts to files that have only their stories.

    Parameters
    ----------
    store : Store
        Where receipts and products go.
    directory : Path
        Where the files are. Within the store they must be at their planned names already.
    run : str, optional
        Only files of this run.
    lookup : callable
        Given files, tells what plans know of them. Of what no plan knows, outputs of one task and data ID are a
        quantum.
    named : callable
        Given the story of a file that no plan knows, gives its name by the pipeline's templates; where it cannot,
        the file's own name counts.
    optional : mapping of (task, dataset type) to bool, optional
        Of what no plan knows: the outputs of each task of the pipeline, and whether each is optional.
    runs : sequence of str
        Runs that inputs may be of, where no plan says it.
    refuse_run : callable
        Given a run, says why nothing is adopted into it, or nothing.
    link : bool
        Give files that nobody can write a second name instead of copying them.
    dry_run : bool
        Only look.
    """
    inside = _inside(store, directory)
    refused: list[Problem] = []
    files, passed_over = _files(directory, inside)
    found = [one for path, name in files if (one := _found(path, name, directory, refused)) is not None]
    if run is not None:
        found = [one for one in found if one.story.run == run]
    why = {one: refuse_run(one) for one in {f.story.run for f in found}}
    refused += [_refusal(one, why[one.story.run]) for one in found if why[one.story.run]]
    found = _once([one for one in found if not why[one.story.run]], refused)
    plans = lookup(found)
    groups: dict[tuple[str, str], list[tuple[Found, str]]] = defaultdict(list)
    for one in found:
        path = _planned_name(one, plans, named, inside, refused)
        if path is not None:
            known = plans.quanta.get(one.story.id)
            key = known.quantum if known else quantum_id(one.story.task, one.story.run, one.data_id)
            groups[one.story.run, key].append((one, path))
    adopted: list[Adopted] = []
    present = 0
    for (_, quantum), members in sorted(groups.items()):
        expected = plans.quanta.get(members[0][0].story.id)
        problems = list(_disagreeing(members, expected, optional or {}))
        receipt = _receipt(quantum, members, expected, runs)
        standing = None if problems else _standing(store, receipt, problems)
        if problems:
            refused += problems
        elif standing is not None:
            present += 1
            if not dry_run:
                promote(store, standing)
        else:
            if not dry_run:
                problem = _commit(store, receipt, members, inside=inside, link=link)
                if problem is not None:
                    refused.append(problem)
                    continue
            name = receipt_name(receipt.run, receipt.task, receipt.quantum)
            paths = {path: str(one.path) for one, path in members}
            adopted.append(Adopted(receipt.run, receipt.task, receipt.data_id, name, paths))
    return Adoption(str(directory), tuple(adopted), present, tuple(refused), passed_over)


# --- looking ---------------------------------------------------------------------------------------


def _inside(store: Store, directory: Path) -> str | None:
    """Give the name of a directory in the store, or None if it is elsewhere; nothing for the store itself."""
    if not isinstance(store, Linkable):
        return None
    root = store.local_path("x").parent.resolve()
    real = directory.resolve()
    return os.path.relpath(real, root).removeprefix(".") if real.is_relative_to(root) else None


def _files(directory: Path, inside: str | None) -> tuple[list[tuple[Path, str]], int]:
    """Give all files below a directory, sorted, with their names; and how many are prestow's own papers."""
    found: list[tuple[Path, str]] = []
    own = 0
    for folder, folders, names in os.walk(directory):  # links to directories are not followed
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            relative = path.relative_to(directory).as_posix()
            full = f"{inside}/{relative}" if inside else relative
            if full.startswith("_") or name.startswith("."):
                own += 1
            else:
                found.append((path, full))
    return found, own


def _found(path: Path, name: str, directory: Path, refused: list[Problem]) -> Found | None:
    """Look at a file as closely as can be; tell what is wrong with it."""
    where = str(path)
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(directory.resolve()):
        refused.append(_problem(where, f"a link leads out of the directory, to {real}"))
        return None
    if not real.is_file():
        refused.append(_problem(where, "it is no file that can be read"))
        return None
    form = format_of_name(where)
    if form is None:
        refused.append(_problem(where, "its name does not tell its format"))
        return None
    try:
        return _looked_at(path, name, open_format(form), form, refused)
    except PrestowError as error:
        refused += [_problem(where, problem.what) for problem in error.problems]
    except OSError as error:
        refused.append(_problem(where, f"it cannot be read: {error.strerror or error}"))
    return None


def _looked_at(path: Path, name: str, form: Format, format_: str, refused: list[Problem]) -> Found | None:
    form.check(path)
    seen = form.inspect(path) if isinstance(form, Measuring) else None
    story = form.read_story(path) if seen is None else seen.story
    if story is None:
        refused.append(_problem(str(path), "it carries no story: nothing says what it is"))
        return None
    wrong = wrong_with_story(story)
    if wrong:
        refused.append(_problem(str(path), wrong))
        return None
    digest = sha256()
    size = 0
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
    content = form.content_digest(path) if seen is None else seen.content
    metrics = None if seen is None else seen.metrics
    return Found(path, name, format_, story, size, digest.hexdigest(), content, metrics)


def wrong_with_story(story: Story) -> str:
    """Say why a story cannot be that of a product of ours, or nothing.

    Examples
    --------
    >>> wrong_with_story(Story("t", "x", "../up", "{}", "make", "", "", "", 0, 0))
    "its story's run cannot be a directory's name: '../up'"
    """
    if not _RUN.fullmatch(story.run) or ".." in story.run:
        return f"its story's run cannot be a directory's name: {story.run!r}"
    if not story.task or "/" in story.task or story.task.startswith((".", "_")):
        return f"its story's task cannot be a directory's name: {story.task!r}"
    if story.task.endswith(CONVERTED):
        return "it is a copy in another format, and no product; the product itself can be adopted"
    try:
        values = json.loads(story.data_id)
        plain = isinstance(values, dict) and all(
            isinstance(k, str) and isinstance(v, str | int) and not isinstance(v, bool)
            for k, v in values.items()
        )
    except ValueError:
        plain = False
    if not plain or canonical_json(values) != story.data_id:
        return f"its story's data ID cannot be read: {story.data_id[:100]!r}"
    if dataset_id(story.type, story.run, values) != story.id:
        return "the id in its story is not that of its type, run and data ID"
    if not _RECIPE.fullmatch(story.recipe) or not _RECIPE.fullmatch(story.planned_recipe):
        return "its story has no recipe"
    if len(story.inputs) != story.planned or sum(i.state == "made" for i in story.inputs) != story.used:
        return "its story is cut: it has not as many inputs as it says"
    return ""


def _once(found: Iterable[Found], refused: list[Problem]) -> list[Found]:
    """Give one file of each dataset; of several with other bytes none."""
    of: dict[str, list[Found]] = defaultdict(list)
    for one in found:
        of[one.story.id].append(one)
    chosen = []
    for several in of.values():
        if len({one.sha256 for one in several}) == 1:
            chosen.append(several[0])
            continue
        names = ", ".join(str(one.path) for one in several)
        refused += [
            _refusal(one, f"several files with other bytes say that they are this dataset: {names}")
            for one in several
        ]
    return chosen


def _planned_name(
    one: Found,
    plans: Plans,
    named: Callable[[Story], str | None],
    inside: str | None,
    refused: list[Problem],
) -> str | None:
    """Give the name that a file has, or is to have, in the store."""
    expected = plans.quanta.get(one.story.id)
    outer = one.name if one.name.startswith(f"{one.story.run}/") else f"{one.story.run}/{one.name}"
    if expected is not None:
        path = next(output.path for output, _ in expected.outputs if output.id == one.story.id)
    else:
        path = named(one.story) or (one.name if inside is not None else outer)
    what = ""
    if {plans.paths[name] for name in (one.name, outer) if name in plans.paths} - {one.story.id}:
        what = "its story says otherwise than its name, which is planned for another dataset"
    elif inside is not None and one.name != path:
        what = f"it is not at its planned name, {path}"
    elif not path.startswith(f"{one.story.run}/") and expected is None:
        what = f"it is not in the directory of its run, {one.story.run}"
    else:
        try:
            check_name(path)
        except StoreError as error:
            what = error.problems[0].what
    if what:
        refused.append(_refusal(one, what))
        return None
    return path


# --- judging ---------------------------------------------------------------------------------------


def _disagreeing(
    members: Sequence[tuple[Found, str]], expected: Expected | None, optional: Mapping[tuple[str, str], bool]
) -> Iterator[Problem]:
    """Tell why files of one quantum cannot be adopted: not whole, or not of one attempt."""
    first = members[0][0]
    same = _told(first.story)
    for one, _ in members[1:]:
        if _told(one.story) != same:
            yield _refusal(one, f"it and {first.path} are of one quantum, and their stories differ")
            return
    if expected is not None:
        if first.story.planned_recipe != expected.recipe:
            what = f"it was made under planned recipe {first.story.planned_recipe}, and the plan has {expected.recipe}"
            yield _refusal(first, what)
        if {(i.connection, i.id) for i in first.story.inputs} != set(expected.inputs):
            yield _refusal(first, "its story names other inputs than the plan")
        wanted = {output.type for output, may_lack in expected.outputs if not may_lack}
        forms = {output.id: output.format for output, _ in expected.outputs}
        for one, _ in members:
            if forms[one.story.id] != one.format:
                yield _refusal(one, f"it is {one.format}, and planned is {forms[one.story.id]}")
    else:
        wanted = {
            kind for (task, kind), may_lack in optional.items() if task == first.story.task and not may_lack
        }
    lacking = sorted(wanted - {one.story.type for one, _ in members})
    if lacking:
        where = ", ".join(str(one.path) for one, _ in members)
        what = f"of its quantum {_words(first)} other outputs are missing: {', '.join(lacking)}"
        yield _problem(where, what, "bring them, too; only whole quanta are adopted")


def _told(story: Story) -> tuple[object, ...]:
    return (
        story.version, story.recipe, story.planned_recipe, story.task, tuple(sorted(map(repr, story.inputs))),
        tuple(sorted(map(repr, story.roots))),
    )  # fmt: skip


def _receipt(
    quantum: str, members: Sequence[tuple[Found, str]], expected: Expected | None, runs: Sequence[str]
) -> Receipt:
    """Give the receipt of a quantum whose files these are: the same for the same files."""
    first = members[0][0].story
    made = {
        one.story.id: ReceiptOutput(
            one.story.id, one.story.type, one.data_id, one.format, path, "made", None, one.size, one.sha256, one.content,
            one.metrics,
        )
        for one, path in members
    }  # fmt: skip
    planned = [output for output, _ in expected.outputs] if expected else []
    outputs = [made.pop(output.id, output) for output in planned]
    outputs += [made[key] for key in sorted(made, key=lambda key: made[key].type)]
    reads = expected.inputs if expected else {}
    inputs = []
    for i in first.inputs:
        values = json.loads(i.data_id)
        run, recipe = reads.get((i.connection, i.id), (_run_of(i, values, (first.run, *runs)), i.recipe))
        inputs.append(
            ReceiptInput(
                i.connection, i.id, i.type, values, run, i.state, i.code or None,
                i.sha256 or None, recipe, i.recipe or None,
            )
        )  # fmt: skip
    receipt = Receipt(
        quantum=quantum, task=first.task, run=first.run,
        data_id=expected.data_id if expected else members[0][0].data_id, job=expected.job if expected else "adopted",
        state="made", planned_recipe=first.planned_recipe, actual_recipe=first.recipe, version=first.version or None,
        inputs=tuple(inputs), outputs=tuple(outputs),
        roots=tuple(Root(r.type, json.loads(r.data_id), r.id) for r in first.roots), adopted=True,
    )  # fmt: skip
    digest = sha256(receipt.to_json().encode()).hexdigest()
    return replace(receipt, attempt=f"adopted-{digest[:16]}")


def _run_of(one: StoryInput, data_id: Mapping[str, str | int], runs: Iterable[str]) -> str:
    """Give the run of an input: that with which its type and data ID have its id."""
    return next((run for run in runs if dataset_id(one.type, run, data_id) == one.id), "")


def _standing(store: Store, receipt: Receipt, problems: list[Problem]) -> Receipt | None:
    """Give the receipt that there is, if it commits these bytes; tell where it does not."""
    gone = [o for o in receipt.outputs if o.state == "made" and store.size(deleted_name(o.id)) is not None]
    problems += [_problem(o.path, "the dataset was deleted on purpose, and stays so") for o in gone]
    standing = read_receipt(store, receipt_name(receipt.run, receipt.task, receipt.quantum))
    if standing is None:
        return None
    there = {o.id: o.sha256 for o in standing.outputs if o.state == "made"}
    here = {o.id: o.sha256 for o in receipt.outputs if o.state == "made"}
    if there != here:
        what = f"a receipt says {standing.state}, with other bytes or outputs than these files"
        problems.append(_problem(", ".join(o.path for o in receipt.outputs), what, "what is committed stays"))
    return standing


# --- taking ----------------------------------------------------------------------------------------


def _commit(
    store: Store, receipt: Receipt, members: Sequence[tuple[Found, str]], *, inside: str | None, link: bool
) -> Problem | None:
    """Bring the bytes aside, settle, promote: as an attempt does."""
    files = {one.story.id: one for one, _ in members}
    outputs = []
    for n, output in enumerate(receipt.outputs):
        if output.state == "made" and inside is None:
            aside = aside_name(receipt.quantum, str(receipt.attempt), n)
            problem = _carry(store, files[output.id], aside, link=link)
            if problem is not None:
                return problem
            outputs.append(replace(output, aside=aside))
        else:
            outputs.append(output)
    receipt = replace(receipt, outputs=tuple(outputs))
    good = all(
        verifies(store, o.aside or o.path, o) or verifies(store, o.path, o)
        for o in outputs
        if o.state == "made"
    )
    if not good:
        return _problem(
            ", ".join(str(f.path) for f in files.values()), "it changed while it was adopted", "try again"
        )
    winner, mine = settle(store, receipt)
    if not mine:
        for o in outputs:
            if o.aside is not None:
                store.delete(o.aside)
        return _problem(
            outputs[0].path,
            f"somebody settled its quantum at this very moment as {winner.state}",
            "look again",
        )
    if any(p.result is Promoted.TO_RESTORE for p in promote(store, winner)):
        return _problem(outputs[0].path, "its bytes went while it was adopted", "adopt it again")
    return None


def _carry(store: Store, one: Found, name: str, *, link: bool) -> Problem | None:
    if link:
        path = os.fspath(one.path)
        return carry(path, store, name, size=one.size, sha256=one.sha256, transfer=Transfer.LINK)
    with one.path.open("rb") as source, store.create(name) as sink:
        while block := source.read(BLOCK):
            sink.write(block)
    return None


# --- telling ---------------------------------------------------------------------------------------


def _words(one: Found) -> str:
    values = ", ".join(f"{k}={v}" for k, v in one.data_id.items())
    return f"{one.story.task}({values})"


def _refusal(one: Found, what: str) -> Problem:
    return _problem(str(one.path), what)


def _problem(where: str, what: str, fix: str = "look at it: prestow why FILE") -> Problem:
    return Problem("PST-I034", what, where, fix)
