"""Where it begins: a registry is made whole, so the first revision does nothing."""

from __future__ import annotations

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Do nothing."""
