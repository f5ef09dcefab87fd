"""Foreign files to the registry: what another pipeline or a person made, under a dataset type and data ID.

Nothing in such a file is believed but its bytes: which dataset it is, whoever takes it in says.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prestow import plugins
from prestow.commit import deleted_name
from prestow.errors import IngestError, PrestowError, Problem, ProjectError, TaskError, raise_all
from prestow.formats import Format, open_format
from prestow.ingest.carrying import Transfer, carry, in_place_store, place_in_store
from prestow.ingest.files import is_fits_name, unreadable
from prestow.ingest.looking import RAW
from prestow.ingest.registered import load_registered
from prestow.model import DataId, Dataset, DatasetType
from prestow.model.dataset import EXTERNAL_RUN
from prestow.registry import Registry, StoreKind, put_record
from prestow.registry.records import read_record
from prestow.stores import Put, Store

DIRECTORY = "external"


@dataclass(frozen=True, slots=True)
class FilesReport:
    """What taking foreign files in came to.

    Parameters
    ----------
    type : DatasetType
        What they are, with the dimensions and the format that they have.
    dataset : Dataset
        The dataset, in run ``external-<type>``.
    added, known, deleted : int
        Datasets that are new, that were there before with the same bytes, that were deleted on
        purpose, which stays so.
    size : int
        Bytes of the new one.
    path : str
        Where it is, in its store.
    """

    type: DatasetType
    dataset: Dataset
    added: int = 0
    known: int = 0
    deleted: int = 0
    size: int = 0
    path: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    size: int
    sha256: str
    content: str


def ingest_files(
    files: Sequence[str | os.PathLike[str]],
    dataset_type: str,
    data_id: DataId,
    registry: Registry,
    store: Store,
    *,
    format_name: str | None = None,
    declared: Iterable[DatasetType] = (),
    transfer: Transfer = Transfer.COPY,
    store_name: str = "archive",
) -> FilesReport:
    """Take in a foreign file as the dataset of a type with a data ID. Twice is once.

    Parameters
    ----------
    files : sequence of path
        One file; or several of the same bytes, since they would be one dataset.
    dataset_type : str
        Its name; a type that is not known yet gets the dimensions of the data ID.
    data_id : DataId
        Normalised, with all that its dimensions require; empty is legal.
    format_name : str, optional
        By the name of the file, if not given.
    declared : iterable of DatasetType
        What the pipeline says of dataset types.

    Raises
    ------
    ProjectError
        PST-I008 if a file cannot be taken in so, as for other columns than the pipeline declares;
        PST-C035 if the type has other dimensions, or another format, in the pipeline or in the registry.
    IngestError
        PST-I004 for damaged files, PST-I005 for those that cannot be read, PST-I009 where the
        dataset is there with other bytes. In all cases nothing was written.
    """
    form = _format(files, dataset_type, format_name)
    kind = DatasetType(dataset_type, registry.universe.close(data_id), form.name)
    declared = [other for other in declared if other.name == kind.name]
    _refuse_other_type(kind, declared, registry)
    looked = _look_at(files, form, next((other.columns for other in declared), ()))
    first = looked[0]
    dataset = Dataset(kind.name, data_id, f"{EXTERNAL_RUN}{kind.name}")
    raise_all(
        (_two_files(file, first, dataset) for file in looked if file.sha256 != first.sha256), ProjectError
    )
    if dataset.id in registry.deleted() or store.size(deleted_name(dataset.id)) is not None:
        return FilesReport(kind, dataset, deleted=1)
    key = bytes.fromhex(dataset.id.replace("-", ""))
    standing = registry.known([key]).get(key)
    if standing is not None:
        places = registry.places(key)
        if standing != first.sha256:
            there = " and ".join(f"{name}:{path}" for name, path in places)
            raise IngestError(_other_bytes(first, dataset, f"the registered {there}"))
        return FilesReport(kind, dataset, known=1, path=places[0][1] if places else "")
    return _take(first, kind, dataset, registry, store, transfer, store_name)


# --- looking -------------------------------------------------------------------------------------


def _format(files: Sequence[str | os.PathLike[str]], dataset_type: str, name: str | None) -> Format:
    if dataset_type == RAW:
        what = f"'{RAW}' is what raw files are, by their headers"
        raise ProjectError(Problem("PST-I008", what, "--as", "prestow ingest --raw FILES --instrument NAME"))
    if not files:
        what = "no file is given"
        raise ProjectError(Problem("PST-I008", what, fix=f"prestow ingest --as {dataset_type} FILE [k=v …]"))
    if name is not None:
        return open_format(name)
    found = {os.fspath(file): format_of_name(os.fspath(file)) for file in files}
    fix = f"say --format, of: {', '.join(plugins.names('formats'))}; what is none of them must be converted first"
    raise_all(
        (
            Problem("PST-I008", "its name does not tell its format", path, fix)
            for path, format_ in found.items()
            if format_ is None
        ),
        ProjectError,
    )
    first, *others = dict.fromkeys(name for name in found.values() if name)
    if others:
        what = f"files of several formats: {', '.join((first, *others))}"
        raise ProjectError(Problem("PST-I008", what, "--as", "a dataset is one file: take each in by itself"))
    return open_format(first)


def format_of_name(path: str) -> str | None:
    """Give the format that a file has by its name, or None.

    Examples
    --------
    >>> [format_of_name(name) for name in ("stars.fit.gz", "x.yml", "refcat.csv")]
    ['fits', 'yaml', None]
    """
    name = os.path.basename(path).lower()
    if is_fits_name(path):
        return "fits"
    if name.endswith(".yml"):
        return "yaml"
    for known in plugins.names("formats"):
        try:
            suffix = plugins.load("formats", known).suffix
        except (PrestowError, ImportError, AttributeError):
            continue  # another's plug-in that does not load here: nobody asked for it
        if suffix and name.endswith(suffix):
            return known
    return None


def _look_at(
    files: Sequence[str | os.PathLike[str]], form: Format, columns: Sequence[tuple[str, str]]
) -> list[_File]:
    check_columns = getattr(form, "check_columns", None) if columns else None
    looked: list[_File] = []
    problems: list[Problem] = []
    for given in files:
        path = os.path.abspath(given)
        if os.path.isdir(path):
            fix = "name its files; directories are for --raw"
            problems.append(Problem("PST-I005", "is a directory", path, fix))
            continue
        try:
            with open(path, "rb") as stream:
                sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
                size = stream.tell()
            form.check(Path(path))
            looked.append(_File(path, size, sha256, form.content_digest(Path(path))))
            if check_columns is not None:
                problems += _other_columns(path, check_columns, columns)
        except OSError as error:
            problems.append(unreadable(path, error))
        except TaskError as error:
            fix = "leave it out, or mend it"
            problems += [Problem("PST-I004", p.what, p.where or path, p.fix or fix) for p in error.problems]
    raise_all(problems, IngestError)
    return looked


def _other_columns(
    path: str, check: Callable[..., None], columns: Sequence[tuple[str, str]]
) -> list[Problem]:
    try:
        check(Path(path), columns)
    except TaskError as error:
        fix = "write it with the columns that the pipeline declares, or take another type"
        return [Problem("PST-I008", p.what, path, fix) for p in error.problems]
    return []


def _two_files(file: _File, first: _File, dataset: Dataset) -> Problem:
    return Problem(
        "PST-I008", f"it and {first.path} would both be {dataset}, and their bytes differ", file.path,
        "a data ID names one file: give each its own k=v",
    )  # fmt: skip


def _refuse_other_type(kind: DatasetType, declared: Iterable[DatasetType], registry: Registry) -> None:
    """Refuse dimensions or a format that the type does not have, by the pipeline or by the registry."""
    known = registry.dataset_types().get(kind.name)
    standing = [("the pipeline", other) for other in declared if other.name == kind.name]
    standing += [] if known is None else [("the registry", known)]
    raise_all(
        (problem for who, other in standing for problem in type_conflicts(kind, other, who)), ProjectError
    )


def type_conflicts(kind: DatasetType, other: DatasetType, who: str) -> list[Problem]:
    """Give what is wrong with a file's dimensions and format, by what a type has elsewhere."""
    problems = []
    if kind.dimensions != other.dimensions:
        lacking = [d for d in other.dimensions if d not in kind.dimensions]
        more = [d for d in kind.dimensions if d not in other.dimensions]
        fixes = [f"add {' '.join(f'{d}=…' for d in lacking)}"] if lacking else []
        fixes += [f"leave out {', '.join(more)}"] if more else []
        what = f"{who} has '{kind.name}' with {_listed(other.dimensions)}, and here it is given {_listed(kind.dimensions)}"
        problems.append(
            Problem(
                "PST-C035", what, f"dataset type {kind.name}", " and ".join(fixes) + ", or take another type"
            )
        )
    if kind.format != other.format:
        what = f"{who} has '{kind.name}' in format {other.format}, and the file is {kind.format}"
        problems.append(
            Problem(
                "PST-C035",
                what,
                f"dataset type {kind.name}",
                f"convert the file (prestow convert FILE --to {other.format} --into NEW), or take another type",
            )
        )
    return problems


def _listed(dimensions: Sequence[str]) -> str:
    return f"dimensions {', '.join(dimensions)}" if dimensions else "no dimensions"


def _other_bytes(file: _File, dataset: Dataset, there: str) -> Problem:
    return Problem(
        "PST-I009", f"it would be {dataset}, and so is {there}, with other bytes", file.path,
        "a dataset never changes: take the new one in under another type, or with another data ID",
    )  # fmt: skip


# --- taking --------------------------------------------------------------------------------------


def _take(
    file: _File,
    kind: DatasetType,
    dataset: Dataset,
    registry: Registry,
    store: Store,
    transfer: Transfer,
    store_name: str,
) -> FilesReport:
    registry.register_store(store_name, store.uri, StoreKind.OUTPUT)
    registry.register_dataset_type(kind)
    registry.register_run(dataset.run)
    put_record(store, "run", dataset.run, {"name": dataset.run})
    facts_of_type = {"name": kind.name, "dimensions": list(kind.dimensions), "format": kind.format}
    put_record(store, "dataset-type", kind.name, facts_of_type)
    place = store_name
    if transfer is Transfer.IN_PLACE:
        place, root = in_place_store(registry, store, dataset.run, [file.path])
        path = os.path.relpath(file.path, root)
        if not path.isprintable():
            what = "its name is not UTF-8, so it cannot stay where it is"
            raise IngestError(Problem("PST-I005", what, file.path, "copy it"))
    else:
        path = place_in_store(store, f"{DIRECTORY}/{kind.name}", file.path, file.sha256)
        wrong = carry(file.path, store, path, size=file.size, sha256=file.sha256, transfer=transfer)
        if wrong is not None:
            raise IngestError(wrong)
    facts: dict[str, Any] = {  # Any: JSON values
        "type": kind.name, "run": dataset.run, "data_id": dict(dataset.data_id), "id": dataset.id,
        "size": file.size, "sha256": file.sha256, "content": file.content, "format": kind.format,
        "store": place, "path": path,
    }  # fmt: skip
    if put_record(store, "registered", dataset.id, facts) is not Put.YES:
        standing = read_record(store, "registered", dataset.id)
        if standing.get("sha256") != file.sha256:
            raise IngestError(_other_bytes(file, dataset, f"the recorded {standing.get('path')}"))
        if transfer is not Transfer.IN_PLACE and standing.get("store") == place:
            facts["path"] = path = standing["path"]
    added = load_registered(registry, [facts]).datasets
    return FilesReport(kind, dataset, added=added, known=1 - added, size=file.size * added, path=path)
