"""What can be done with the calibrations of a project: certified, taken back, pinned, listed, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from prestow.project.afterwards import ProjectWithResults

if TYPE_CHECKING:
    from prestow.results.calibration_lists import Checked, Listed
    from prestow.results.certifying import Certified


def _pairs(data_id: Mapping[str, object] | Iterable[tuple[str, object]]) -> tuple[tuple[str, object], ...]:
    return tuple(data_id.items() if isinstance(data_id, Mapping) else data_id)


class ProjectWithCalibrations(ProjectWithResults):
    """A project, and what people certified in it."""

    def certify(
        self,
        collection: str,
        dataset_type: str,
        data_id: Mapping[str, object] | Iterable[tuple[str, object]] = (),
        *,
        begin: str = "",
        end: str = "",
        known_from: str = "",
        runs: Sequence[str] = (),
        condition: str = "",
    ) -> Certified:
        """Certify datasets as valid from ``begin`` to before ``end``; see `prestow.results.certifying`.

        Parameters
        ----------
        collection : str
            A calibration collection; a new one is made.
        data_id : mapping, or iterable of (name, value)
            As a person types it; every dataset that has these values is meant.
        begin, end, known_from : str
            ISO times in TAI, or in UTC with ``Z`` at the end; empty is open, and for the last now.
        condition : str
            A selection over measures, such as ``noise < 3``: others are not certified.

        Raises
        ------
        PrestowError
            With everything that is wrong; nothing is written then.
        """
        from prestow.results.certifying import Wish, certify

        wish = Wish(collection, dataset_type, _pairs(data_id), begin, end, known_from, tuple(runs), condition)
        return certify(self.sources(), self.store, wish)

    def decertify(
        self,
        collection: str,
        dataset_type: str,
        data_id: Mapping[str, object] | Iterable[tuple[str, object]] = (),
        *,
        known_from: str = "",
        runs: Sequence[str] = (),
    ) -> Certified:
        """End what is certified of these datasets; what they superseded does not come back by itself."""
        from prestow.results.certifying import Wish, decertify

        wish = Wish(collection, dataset_type, _pairs(data_id), known=known_from, runs=tuple(runs))
        return decertify(self.sources(), self.store, wish)

    def tag_calibrations(self, collection: str, label: str, as_of: str = "") -> str:
        """Pin what is known of a collection, now or at a moment, as ``COLLECTION@LABEL``; give that name."""
        from prestow.results.certifying import moment, now, tag

        at = moment(as_of, "--as-of") if as_of else now()
        return tag(self.registry, self.store, collection, label, at)

    def calibrations(
        self, collections: Sequence[str] = (), types: Sequence[str] = (), as_of: str = ""
    ) -> Listed:
        """Give what is certified, of all or some calibration collections, as known now or at a moment."""
        from prestow.results.calibration_lists import listed
        from prestow.results.certifying import moment

        return listed(self.registry, collections, types, moment(as_of, "--as-of") if as_of else None)

    def check_calibrations(self, collections: Sequence[str] = (), as_of: str = "") -> Checked:
        """Find gaps and overlaps of what is certified, by dataset type and data ID."""
        from prestow.results.calibration_lists import check
        from prestow.results.certifying import moment

        return check(self.registry, collections, moment(as_of, "--as-of") if as_of else None)
