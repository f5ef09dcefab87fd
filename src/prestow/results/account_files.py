"""Every file found, in one class: by its full path and what is in it, never by its last part or a clock."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl

from prestow.commit import deleted_name
from prestow.errors import ObjectNotFoundError, PrestowError, StoreError
from prestow.formats import Format, Story, open_format
from prestow.model import DataId
from prestow.model.hashing import dataset_id
from prestow.results.account_listing import FILE, LINK
from prestow.stores import TEMPORARY, Linkable, Store
from prestow.stores.local import local_file

if TYPE_CHECKING:
    from prestow.results.account_levels import Depth

EXPECTED, MISSING, UNEXPECTED, MISPLACED, FAULTY = CLASSES = (
    "expected", "missing", "unexpected", "misplaced", "faulty",
)  # fmt: skip
"""What a file found is; *missing* is what a planned name is where none is found."""

_MAGIC = ((b"SIMPLE  =", "fits"), (b"PAR1", "parquet"), (b"\x89PNG", "png"), (b"{", "json"))
_SUFFIXES = {".fits": "fits", ".parquet": "parquet", ".png": "png", ".json": "json", ".yaml": "yaml"}


class Note(NamedTuple):
    """A file that is not as expected.

    Parameters
    ----------
    kind : str
        Its class.
    path : str
        Where it is, or, if it is missing, ought to be.
    why : str
        One word or two: ``torn``, ``changed``, ``wrong name``, ``wrong story``, ``link``, ``story``, ``content``, ….
    what : str
        The same for people.
    of : str
        The planned name of the product that it is, if it is one.
    size : int
        Bytes.
    planned : bool
        Whether this is a planned name: what is there is never deleted.
    """

    kind: str
    path: str
    why: str
    what: str
    of: str = ""
    size: int = 0
    planned: bool = False


class Product(NamedTuple):
    """What a receipt commits of one product, and what lies at its name."""

    id: bytes
    path: str
    size: int
    sha256: bytes
    format: str
    recipe: bytes | None
    planned_recipe: bytes | None
    aside: str | None


class FileLook:
    """Looks into the files of one store; one without local files is read through a temporary copy."""

    def __init__(self, store: Store, depth: Depth) -> None:
        self.store = store
        self.depth = depth
        self._formats: dict[str, Format] = {}

    def fault(self, product: Product, size: int, kind: str, target: str | None) -> tuple[str, str] | None:
        """Say in a word and in a sentence what is wrong with the file at a product's name; None if nothing is.

        Raises
        ------
        ObjectNotFoundError
            If it has gone since it was listed.
        """
        if kind != FILE:
            return _no_file(kind, target, self.store)
        if size == product.size and self.depth.digests(product.id):
            found = self.store.digest(product.path)
            if found is None:
                raise ObjectNotFoundError
            if found == (product.size, product.sha256.hex()):
                return None  # all its bytes are those committed; so is its story
        story, wrong = self._story(product.path, product.format)
        other = "" if story is None else _other_story(story, product)
        if story is not None and story.id != str(uuid.UUID(bytes=product.id)):
            return "wrong name", f"its story says that it is {_shown(story)} of run {story.run}"
        if size < product.size:
            return "torn", f"{size:,} bytes, not {product.size:,}"
        if size > product.size:
            return "changed", f"{size:,} bytes, not {product.size:,}"
        if story is None:
            return ("wrong story", wrong) if wrong == _NO_STORY else ("torn", wrong)
        if other:
            return "wrong story", other
        if self.depth.digests(product.id):
            return "changed", "its bytes have another digest than those committed"
        return None

    def identity(self, name: str) -> Story | None:
        """Give the story of any file, whatever it is called; None if it has none that can be read."""
        tried = set()
        with local_file(self.store, name) as path:
            try:
                with open(path, "rb") as file:
                    head = file.read(9)
            except OSError:
                return None
            guesses = [_SUFFIXES.get(os.path.splitext(name)[1], "")]
            guesses += [kind for magic, kind in _MAGIC if head.startswith(magic)]
            for kind in guesses:
                if kind and kind not in tried:
                    tried.add(kind)
                    story, _ = self._read(path, kind)
                    if story is not None:
                        return story
        return None

    def _story(self, name: str, kind: str) -> tuple[Story | None, str]:
        with local_file(self.store, name) as path:
            return self._read(path, kind)

    def _read(self, path: Path, kind: str) -> tuple[Story | None, str]:
        try:
            if kind not in self._formats:
                self._formats[kind] = open_format(kind)
            story = self._formats[kind].read_story(path)
        except FileNotFoundError as error:
            raise ObjectNotFoundError from error
        except PrestowError as error:
            if not path.exists():
                raise ObjectNotFoundError from error
            return None, error.problems[0].what if error.problems else str(error)
        except Exception as error:  # noqa: BLE001 - whatever a library says of a file that may be anything
            return None, f"it cannot be read: {type(error).__name__}"
        return (story, "") if story is not None else (None, _NO_STORY)


_NO_STORY = "it has no story: another program wrote it, or wrote it again"


def _other_story(story: Story, product: Product) -> str:
    """Say where a story of the right identity says other things than the receipt."""
    try:
        true = dataset_id(story.type, story.run, _values(story.data_id))
    except (ValueError, TypeError, AttributeError):
        true = ""
    if true != story.id:
        return "its story's type, run and data ID are not those of its id"
    for name, recipe in (("recipe", product.recipe), ("planned_recipe", product.planned_recipe)):
        if recipe is not None and getattr(story, name) != recipe.hex():
            return f"its story says {name} {getattr(story, name)[:12]}…, its receipt {recipe.hex()[:12]}…"
    return ""


def _shown(story: Story) -> str:
    try:
        return f"{story.type}{{{DataId(_values(story.data_id))}}}"
    except (ValueError, TypeError, AttributeError):
        return f"{story.type} {story.data_id}"


def _values(text: str) -> dict[str, Any]:  # Any: JSON values
    import json

    values: dict[str, Any] = json.loads(text)
    return values


def _no_file(kind: str, target: str | None, store: Store) -> tuple[str, str]:
    if kind != LINK:
        return kind, target or "this is no file"
    root = os.path.realpath(store.local_path("x").parent) if isinstance(store, Linkable) else ""
    return "link", f"a link to {target}, and no file{_where(target or '', root)}"


def _where(target: str, root: str) -> str:
    if os.path.isabs(target) and not os.path.realpath(target).startswith(f"{root}/"):
        return "; it leads out of the store"
    return ""


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of names: committed products, planned names, what was deleted, and what prestow keeps.

    ``planned`` has ``path`` and ``id`` of every planned output of every plan of the run.
    """

    products: pl.DataFrame
    planned: pl.DataFrame
    deleted: pl.Series
    own: pl.DataFrame  # name, size, sha256: what prestow itself put there
    elsewhere: Callable[[str], str] = field(default=lambda _: "")  # a dataset's id -> what the registry knows


@dataclass(slots=True)
class Sorted:
    """All files, sorted: notes of what is not as expected, and counts of what is."""

    found: int = 0
    expected: int = 0
    size: int = 0
    to_promote: int = 0
    notes: list[Note] = field(default_factory=list)


def sort_files(listing: pl.DataFrame, known: Known, look: FileLook, again: Callable[[str], Any]) -> Sorted:
    """Put every file of a listing in one class, and say which products are missing.

    Parameters
    ----------
    again : callable
        Looks at one name once more, as `account_listing.look_again`.
    """
    result = Sorted()
    gone = known.products["id"].is_in(known.deleted.implode())
    products = known.products.filter(~gone)
    _at_their_names(listing, products, look, again, result)
    _not_listed(listing, products, look, again, result)
    _others(listing, known, products, look, result)
    there = {note.of: note.path for note in result.notes if note.kind == MISPLACED}
    result.notes = [
        note._replace(what=f"{note.what}; {there[note.path]} is it")
        if note.kind == MISSING and note.path in there
        else note
        for note in result.notes
    ]
    return result


_COLUMNS = ("id", "path", "size", "sha256", "format", "recipe", "planned_recipe", "aside")


def _at_their_names(
    listing: pl.DataFrame, products: pl.DataFrame, look: FileLook, again: Callable[[str], Any], result: Sorted
) -> None:
    found = products.join(
        listing.select(path="name", there="size", kind="kind", target="target"), on="path"
    ).sort("path")
    # Each file is opened here: what that costs is far above the cost of a row.
    for row in found.select(*_COLUMNS, "there", "kind", "target").iter_rows():
        size, kind, target = row[len(_COLUMNS) :]
        _one(Product(*row[: len(_COLUMNS)]), size, kind, target, look, again, result)


def _one(
    product: Product, size: int, kind: str, target: str | None, look: FileLook, again: Callable[[str], Any], result: Sorted
) -> None:  # fmt: skip
    try:
        wrong = look.fault(product, size, kind, target)
        if wrong is not None and kind == FILE:  # it may have been promoted while it was looked at
            now = again(product.path)
            if now is None:
                raise ObjectNotFoundError  # noqa: TRY301 - as if the look had said so
            if now[1] != size:
                size = now[1]
                wrong = look.fault(product, size, now[2], now[3])
    except ObjectNotFoundError:
        _absent(product, look, result)
        return
    except StoreError as error:
        wrong = "unreadable", error.problems[0].what
    result.found += 1
    if wrong is None:
        result.expected += 1
        result.size += size
        return
    if product.aside is not None and look.store.size(product.aside) == product.size:
        result.to_promote += 1
        what = "nothing committed it, and what is committed still waits aside: taking it in puts that here"
        result.notes.append(Note(UNEXPECTED, product.path, "debris", what, "", size, planned=True))
        return
    result.notes.append(Note(FAULTY, product.path, *wrong, product.path, size, planned=True))


def _absent(product: Product, look: FileLook, result: Sorted) -> None:
    if product.aside is not None and look.store.size(product.aside) == product.size:
        result.to_promote += 1
        return
    if look.store.size(deleted_name(str(uuid.UUID(bytes=product.id)))) is not None:
        return
    what = "committed, and neither at its name nor aside"
    result.notes.append(Note(MISSING, product.path, "gone", what, product.path, product.size, planned=True))


def _not_listed(
    listing: pl.DataFrame, products: pl.DataFrame, look: FileLook, again: Callable[[str], Any], result: Sorted
) -> None:
    absent = products.join(listing.select(path="name"), on="path", how="anti").sort("path")
    for row in absent.select(_COLUMNS).iter_rows():
        product = Product(*row)
        now = again(product.path)
        if now is not None:
            _one(product, now[1], now[2], now[3], look, again, result)
        else:
            _absent(product, look, result)


def _others(
    listing: pl.DataFrame, known: Known, products: pl.DataFrame, look: FileLook, result: Sorted
) -> None:
    """Sort what lies at no committed name."""
    rest = listing.join(products.select(name="path"), on="name", how="anti")
    own = rest.join(known.own.rename({"size": "there"}), on="name", how="left")
    planned = dict(known.planned.join(rest.select(path="name"), on="path").select("path", "id").iter_rows())
    gone = set(known.deleted.to_list()) if planned else set()
    where = _Places(products, known, rest)
    for name, size, kind, target, there, digest in own.iter_rows():
        result.found += 1
        if digest is not None and kind == FILE:
            if size == there and (
                not look.depth.digests(digest) or look.store.digest(name) == (size, digest.hex())
            ):
                result.expected += 1
                result.size += size
            else:
                what = "what prestow kept here is no longer as it was written"
                result.notes.append(Note(FAULTY, name, "changed", what, name, size, planned=True))
        elif name in planned:
            why, what = "debris", "nothing committed it; what is committed later is put in its place"
            if planned[name] in gone:
                why, what = (
                    "deleted",
                    "deleted on purpose, and still here: whoever deleted it was interrupted",
                )
            result.notes.append(Note(UNEXPECTED, name, why, what, "", size, planned=True))
        elif name.startswith("_unexpected/"):
            what = "no record vouches for it: who put files away was interrupted, and deleted none"
            result.notes.append(Note(UNEXPECTED, name, "debris", what, "", size, planned=True))
        elif TEMPORARY in name:
            what = "a file in the making, or left by one who died"
            result.notes.append(Note(UNEXPECTED, name, "temporary", what, "", size, planned=True))
        elif kind != FILE:
            result.notes.append(Note(UNEXPECTED, name, *_no_file(kind, target, look.store), "", size))
        else:
            result.notes.append(where.sort(name, size, look))


class _Places:
    """Where products belong, by content and by story; the last part of a name is told, and decides nothing."""

    def __init__(self, products: pl.DataFrame, known: Known, rest: pl.DataFrame) -> None:
        # Only what may be needed: products of a size that a file in question has, and of its last part.
        last = pl.col("path").str.extract(r"([^/]*)$")
        few = products.filter(pl.col("size").is_in(rest["size"].unique().implode()))
        self._by_content = {
            (size, digest.hex()): path for size, digest, path in few.select("size", "sha256", "path").iter_rows()
        }  # fmt: skip
        self._sizes = {size for size, _ in self._by_content}
        names = rest.select(base=pl.col("name").str.extract(r"([^/]*)$")).unique()
        alike = products.with_columns(base=last).join(names, on="base").unique("base")
        self._by_last = dict(alike.select("base", "path").iter_rows())
        self._known = known
        self._products = products

    def sort(self, name: str, size: int, look: FileLook) -> Note:
        try:
            return self._sorted(name, size, look)
        except StoreError as error:  # it is there, and nobody may read it, or gone by now
            return Note(UNEXPECTED, name, "unreadable", error.problems[0].what, "", size)

    def _sorted(self, name: str, size: int, look: FileLook) -> Note:
        if size in self._sizes and size:
            found = look.store.digest(name)
            path = None if found is None else self._by_content.get(found)
            if path is not None:
                return Note(MISPLACED, name, "content", f"it has the bytes of {path}", path, size)
        story = look.identity(name) if size else None
        if story is not None:
            path = self._of(story)
            if path:
                return Note(MISPLACED, name, "story", f"its story says that it is {path}", path, size)
        twin = self._by_last.get(name.rpartition("/")[2])
        if not size:
            return Note(UNEXPECTED, name, "empty", "an empty file that nothing commits", "", size)
        if twin:
            what = f"nothing commits it; it is called as {twin} is, and is another file"
            return Note(UNEXPECTED, name, "same last part", what, "", size)
        return Note(UNEXPECTED, name, "unknown", "nothing commits it", "", size)

    def _of(self, story: Story) -> str:
        try:
            key = uuid.UUID(story.id).bytes
        except (ValueError, AttributeError):
            return ""
        for frame in (self._products, self._known.planned):  # a few stray files, each a look at a column
            rows = frame.filter(pl.col("id") == key)
            if rows.height:
                return str(rows["path"][0])
        return self._known.elsewhere(story.id)
