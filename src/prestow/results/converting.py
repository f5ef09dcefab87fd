"""One product in another format: tables among each other, documents among each other.

Nothing is converted that would not be the same: what was written is read again and compared with the
source. The copy carries the source's story. That it is a copy is said where the story says what made the
file: its task ends in ``+convert``, which no task of a pipeline does. So the story's schema is as it was, and
nothing takes the copy for the product; it is not registered.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.errors import PrestowError, Problem, ProjectError
from prestow.formats import CONVERTED, Story, open_format
from prestow.plugins import names
from prestow.results.across import NotOneTableError, compare_across, kind_of, table_of
from prestow.results.differences import Part, quiet
from prestow.results.numbers import Tolerance
from prestow.results.places import file_of
from prestow.results.resolving import find_dataset, name_in_store
from prestow.results.sides import format_of

if TYPE_CHECKING:
    from prestow.results.recorded import Recorded

SHOWN = 5  # differences named in one problem

_STRUCTURE = (
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "EXTEND", "CHECKSUM", "DATASUM", "PCOUNT", "GCOUNT", "TFIELDS", "EXTNAME",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Converted:
    """A copy in another format.

    Parameters
    ----------
    source, into : str
        The file that was read, and the new one.
    formats : tuple of two str
        Of both.
    size : int
        Of the new file, in bytes.
    story : bool
        Whether the source carried a story, and so the copy does.
    left : tuple of str
        What the source says beside its columns and the new format does not.
    """

    source: str
    into: str
    formats: tuple[str, str]
    size: int
    story: bool
    left: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {**{n: getattr(self, n) for n in self.__dataclass_fields__}, "formats": list(self.formats), "left": list(self.left)}  # fmt: skip


def convert_words(
    recorded: Recorded,
    stores: Mapping[str, str],
    words: Sequence[str],
    *,
    to: str,
    into: Path,
    run: str | None = None,
) -> Converted:
    """Convert what some words mean; see `convert`.

    Raises
    ------
    ProjectError
        PST-G030 if there is no file of it; PST-G032 for a place inside the store.
    """
    if to not in names("formats"):
        raise ProjectError(Problem("PST-G030", f"unknown format '{to}'", "--to", _able("")))
    if name_in_store(recorded, into.absolute()):
        fix = "write it elsewhere; to plan with it: prestow ingest --as TYPE FILE"
        raise ProjectError(
            Problem("PST-G032", "this is inside the store, where products stand alone", str(into), fix)
        )
    found = find_dataset(recorded, words, run=run)
    point = found.point
    if found.file is not None:
        known = point.format if point is not None and found.story is None else ""
        return convert(found.file, format_of(found.file) or known, to, into)
    assert point is not None, "what is no file is a dataset"
    with file_of(point, stores, words, title=str(point), code="PST-G030") as path:
        return convert(path, point.format, to, into)


def convert(source: Path, form: str, to: str, into: Path) -> Converted:
    """Write a file in another format to a new one, with its story.

    Parameters
    ----------
    form, to : str
        The format that it has, and the one that it gets.
    into : Path
        The new file; in a directory it keeps its name and gets the new suffix.

    Raises
    ------
    ProjectError
        PST-G030 if nothing converts this; PST-G031 if the copy would not be equal; PST-G032, PST-G004 if
        it cannot stand there. Nothing is written then.
    TaskError
        PST-N008 if the source is damaged.
    """
    _refuse_pair(source, form, to)
    target = _target(source, form, to, into)
    opened, reader = open_format(to), open_format(form)
    story = reader.read_story(source)
    value = _value(source, form, to)
    with tempfile.TemporaryDirectory(prefix="prestow-convert-") as directory:
        bare = Path(directory, f"bare{opened.suffix}")
        try:
            with quiet():  # what is left behind is told below
                opened.write(bare, value)
        except (PrestowError, ValueError, TypeError, NotImplementedError, OverflowError) as error:
            what = f"{to} cannot hold it: {_first(error)}"
            raise ProjectError(Problem("PST-G030", what, str(source), "choose another format")) from error
        parts = compare_across((form, to), source, bare, Tolerance())
        if parts:
            raise _not_same(source, to, parts)
        left = tuple(_left(source, form, bare, to))
        size = _put(bare, target, to, story)
    return Converted(str(source), str(target), (form, to), size, story is not None, left)


def _refuse_pair(source: Path, form: str, to: str) -> None:
    if not form:
        what = "what format this is cannot be told from its name"
        raise ProjectError(Problem("PST-G030", what, str(source), "see: prestow formats"))
    if form == to:
        raise ProjectError(Problem("PST-G030", f"it is {to} already", str(source), "copy it"))
    kind = kind_of(form)
    if kind and kind == kind_of(to):
        return
    what = f"nothing converts {form} to {to}"
    picture = to == "png" and form == "fits"
    fix = f"a picture of it: prestow look {source} --into NEW.png" if picture else _able(kind)
    raise ProjectError(Problem("PST-G030", what, str(source), fix))


def _able(kind: str) -> str:
    groups = [
        [n for n in names("formats") if kind_of(n) == k] for k in ("table", "document") if kind in ("", k)
    ]
    return f"converted are, among each other: {'; '.join(', '.join(group) for group in groups)}"


def _target(source: Path, form: str, to: str, into: Path) -> Path:
    suffix = open_format(to).suffix
    if into.is_dir():
        stem = source.name
        for ending in (".gz", ".fz", open_format(form).suffix, source.suffix):
            stem = stem.removesuffix(ending) if ending and stem != ending else stem
        into = into / f"{stem}{suffix}"
    elif format_of(into) != to:
        what = f"the name of a {to} file ends in {suffix}"
        raise ProjectError(Problem("PST-G032", what, str(into), f"write --into {into.with_suffix(suffix)}"))
    if os.path.lexists(into):
        raise _taken(into)
    if not into.parent.is_dir():
        raise ProjectError(Problem("PST-G032", "there is no such directory", str(into.parent), "make it"))
    return into


def _taken(into: Path) -> ProjectError:
    what = "something is there already, and is not overwritten"
    return ProjectError(Problem("PST-G004", what, str(into), "give another name, or move it away"))


def _value(source: Path, form: str, to: str) -> Any:  # Any: what a format writes
    if kind_of(form) == "document":
        return open_format(form).read(source)
    try:
        table_of(form, source)
    except NotOneTableError as error:
        plane = form == "fits" and not str(error).endswith("planes: 0")
        picture = f"a picture of a plane: prestow look {source} --into NEW.png"
        fix = picture if plane else "write a task that says which table it is"
        what = f"one table alone is converted to {to}; {error}"
        raise ProjectError(Problem("PST-G030", what, str(source), fix)) from error
    return astropy_table(source, form)


def astropy_table(path: Path, form: str) -> Any:  # Any: astropy has no types
    """Give the one table of a file, its nulls masked: in FITS only integers have any."""
    from astropy.io import fits
    from astropy.table import Table

    if form == "fits":
        with quiet(), fits.open(path, memmap=False) as hdus:
            index = next(n for n, h in enumerate(hdus) if not h.is_image and not h.name.startswith("PST"))
            table = Table.read(hdus, hdu=index, mask_invalid=False)
            table.meta = {k: v for k, v in table.meta.items() if k not in _STRUCTURE}
            return table
    value = open_format(form).read(path)
    if hasattr(value, "column_names") and not hasattr(value, "itercols"):
        from prestow.formats.parquet_values import READERS

        value = READERS["astropy"](value)
    for column in value.itercols():
        if hasattr(column, "mask") and column.dtype.kind in "fcUS":
            column[column.mask] = float("nan") if column.dtype.kind in "fc" else ""
    return value


def _not_same(source: Path, to: str, parts: Sequence[Part]) -> ProjectError:
    told = "; ".join(part.text for part in parts[:SHOWN])
    more = f"; and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
    what = f"as {to} it would say other things: {told}{more}"
    return ProjectError(
        Problem("PST-G031", what, str(source), "write a task that says what is to become of it")
    )


def _left(source: Path, form: str, made: Path, to: str) -> Iterator[str]:
    """Give what stands beside the columns of the source, and not of the copy."""
    if kind_of(form) != "table":
        return
    one, other = astropy_table(source, form), astropy_table(made, to)
    keys = {str(k).upper() for k in other.meta}
    lost = [str(k) for k in one.meta if str(k).upper() not in keys]
    if lost:
        yield f"notes of the table: {', '.join(lost)}"
    if form == "fits":
        cards = open_format("fits").read(source, "header")
        beside = [k for k in dict.fromkeys(cards) if k and not k.startswith(("PST", *_STRUCTURE))]
        if beside:
            yield f"keywords of the primary header: {', '.join(beside)}"
    lost = [
        c.info.name for c in one.itercols() if c.info.description and not other[c.info.name].info.description
    ]
    if lost:
        yield f"descriptions of columns: {', '.join(lost)}"


def _put(bare: Path, target: Path, to: str, story: Story | None) -> int:
    """Write the copy to its place, whole or not at all, and never over something."""
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with temporary.open("xb") as file:
            if story is None:
                file.write(bare.read_bytes())
            else:
                open_format(to).stamp(bare, file, replace(story, task=f"{story.task}{CONVERTED}"))
        _place(temporary, target)
        return target.stat().st_size
    except OSError as error:
        what = f"it cannot be written: {error.strerror or error}"
        raise ProjectError(Problem("PST-G032", what, str(target), "choose another directory")) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _place(temporary: Path, target: Path) -> None:
    try:
        os.link(temporary, target)
    except FileExistsError as error:
        raise _taken(target) from error
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise _taken(target) from None
        temporary.rename(target)


def _first(error: Exception) -> str:
    return error.problems[0].what if isinstance(error, PrestowError) else str(error)
