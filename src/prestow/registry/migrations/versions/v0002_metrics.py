"""Metrics of products have a table; it is empty for what was taken in before, until `prestow rebuild`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from prestow.registry.migrations.kinds import FLOAT, ID, TEXT

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make ``metric``."""
    op.create_table(
        "metric",
        sa.Column("dataset", ID, sa.ForeignKey("dataset.id"), primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("value", FLOAT, nullable=False),
    )
