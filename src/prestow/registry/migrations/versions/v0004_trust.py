"""What is tainted, frozen and found has tables; they are empty until there is such a thing, or `prestow rebuild`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from prestow.registry.migrations.kinds import ID, NUMBER, TEXT

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make ``tainted``, ``frozen`` and ``finding``."""
    op.create_table(
        "tainted", sa.Column("id", ID, primary_key=True), sa.Column("because", TEXT, nullable=False)
    )
    op.create_table(
        "frozen",
        sa.Column(
            "collection", NUMBER, sa.ForeignKey("collection.id"), primary_key=True, autoincrement=False
        ),
    )
    op.create_table(
        "finding",
        sa.Column("kind", TEXT, primary_key=True),
        sa.Column("key", TEXT, primary_key=True),
        sa.Column("facts", TEXT, nullable=False),
    )
