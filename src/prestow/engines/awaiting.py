"""What a run says of quanta that wait for inputs which are only promised."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prestow.instruments.time import tai_from_utc
from prestow.model.instants import instant

if TYPE_CHECKING:
    from prestow.plan import Plan


def awaited_words(plan: Plan, awaited: int) -> tuple[str, ...]:
    """Give what is to be said of so many quanta that wait; nothing of none."""
    if not awaited:
        return ()
    told = plan.document["request"]["promised"]
    moment = tai_from_utc(datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    late = "; that is past" if instant(told["first_by"]) < moment else ""
    words = (
        f"{awaited:,} quanta wait for {told['datasets']:,} promised inputs, the first due by {told['first_by']} (TAI){late}: "
        "take them in (prestow ingest), then prestow plan --promised"
    )
    return (words,)
