"""What is asked of a project's files and registry together: made again, held against each other, shared with others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.project.on_sky import ProjectWithSky

if TYPE_CHECKING:
    from prestow.project.rebuilding import Rebuilding
    from prestow.project.subsetting import Subset
    from prestow.results.exporting import Exported
    from prestow.results.fsck import Checked as FsckReport
    from prestow.results.source_table_sinks import Written


class ProjectWithFiles(ProjectWithSky):
    """A project, and what its files say without a registry, or against one."""

    def rebuild(
        self,
        *,
        into: str = "",
        compare: str = "",
        resume: bool = False,
        dry_run: bool = False,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Rebuilding:
        """Make the registry again from the records and receipts of the store; see `prestow.ingest.rebuilding`.

        Parameters
        ----------
        into : str
            The URL of the new registry, or the path of its file; the project's own, if empty.
        compare : str
            The registry to compare it with.
        resume : bool
            Add to the registry that is there what it lacks.
        dry_run : bool
            Only count records and receipts; with ``compare`` make it, compare, and throw it away.

        Raises
        ------
        ProjectError
            PST-B001 if a registry in use is there; PST-B002 if somebody else makes it now.
        IngestError
            PST-T005 if the store is that of somebody else's sandbox.
        """
        from prestow.project.rebuilding import rebuild_registry

        return rebuild_registry(
            self, into=into, compare=compare, resume=resume, dry_run=dry_run, progress=progress
        )

    def fsck(
        self,
        *,
        sums: str = "none",
        fix: bool = False,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> FsckReport:
        """Hold the registry against the disk, both ways; see `prestow.results.fsck`.

        Parameters
        ----------
        sums : str
            Of which files the digest is taken anew: ``none``, ``full``, or a share by lot, ``sample:5%``.
        fix : bool
            Follow the files: places of vanished ones are taken out, moved ones get their new name, what is
            committed and not registered is taken in. Nothing on disk is changed.
        """
        from prestow.project.following_files import check_and_follow
        from prestow.results.fsck import Sums

        return check_and_follow(self, Sums.parse(sums), fix=fix, progress=progress)

    def tables(
        self,
        dataset_type: str,
        into: str,
        *,
        collection: str = "",
        columns: Sequence[str] = (),
        where: str = "",
        partition: str = "",
        format: str = "",  # noqa: A002 - as on the command line
        progress: Callable[[int, int], None] | None = None,
    ) -> Written:
        """Put all catalogues of a type into one table; see `prestow.results.source_tables`.

        Parameters
        ----------
        into : str
            A file, a directory (with ``partition``), or the URL of a database.
        partition : str
            A dimension: a file for each of its values.
        format : str
            ``parquet`` or ``csv``; by the name of ``into``, if not given.

        Raises
        ------
        ProjectError
            PST-B006 if the catalogues are not one table, PST-B007 if it cannot be written there.
        """
        from prestow.project.writing_tables import write_tables

        return write_tables(
            self, dataset_type, into, collection=collection, columns=columns, where=where, partition=partition,
            form=format, progress=progress,
        )  # fmt: skip

    def subset(
        self,
        collections: Sequence[str],
        into: str,
        *,
        where: str = "",
        types: Sequence[str] = (),
        link: bool = True,
        dry_run: bool = False,
        progress: Callable[[str, int, int], None] | None = None,
    ) -> Subset:
        """Make a project of its own from a part of this one, which is only read.

        Parameters
        ----------
        collections : sequence of str
            Runs and chains, in the order of search.
        into : str
            A directory that is not there yet, or one that an interrupted call left.
        where : str
            A selection; types to which it does not apply are left out, and told.
        link : bool
            Give files that nobody can write a second name, where the file system allows it; else copy.
        """
        from prestow.project.subsetting import make_subset

        return make_subset(
            self, collections, into, where=where, types=types, link=link, dry_run=dry_run, progress=progress
        )

    def export(
        self,
        collections: Sequence[str],
        into: str,
        *,
        format: str = "csv",  # noqa: A002 - as on the command line
        obscore: bool = False,
    ) -> Exported:
        """Write what is known of some collections as tables, with a manifest of checksums.

        Parameters
        ----------
        format : str
            ``csv``, ``parquet``, ``fits`` or ``sqlite``.
        obscore : bool
            Also a table in the words of the IVOA's ObsCore, as CSV and VOTable.

        Raises
        ------
        ProjectError
            PST-G003 if there is no such collection, PST-B007 if the directory is not empty.
        """
        from prestow.results.exporting import members, new_directory, tables_of, write
        from prestow.results.obscore import obscore as in_words_of_obscore
        from prestow.results.obscore import write_obscore

        runs = members(self.registry, collections)
        directory = new_directory(Path(into))
        tables = tables_of(self.registry, collections, self.stores())
        more: Sequence[Path] = ()
        if obscore:
            rows = in_words_of_obscore(self.registry, tables["files"], tables["datasets"])
            more = write_obscore(rows, directory)
        return write(directory, tables, format, runs, more)
