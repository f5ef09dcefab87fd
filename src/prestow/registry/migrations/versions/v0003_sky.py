"""Who read what has an index; footprints and sky maps have tables, empty for what is there until `prestow rebuild`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from prestow.registry.migrations.kinds import FLOAT, ID, NUMBER, TEXT

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make two indexes, which late registries of version 2 have, and ``footprint``, ``skymap`` and ``related``."""
    op.create_index("ix_quantum_input_input", "quantum_input", ["input"], if_not_exists=True)
    op.create_index("ix_dataset_quantum", "dataset", ["quantum"], if_not_exists=True)
    op.create_table(
        "footprint",
        sa.Column("instrument", TEXT, primary_key=True),
        sa.Column("exposure", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("detector", NUMBER, primary_key=True, autoincrement=False),
        *(sa.Column(f"{axis}{n}", FLOAT, nullable=False) for n in range(4) for axis in ("ra", "dec")),
        sa.Column("origin", TEXT, nullable=False),
    )
    op.create_table(
        "skymap", sa.Column("name", TEXT, primary_key=True), sa.Column("text", TEXT, nullable=False)
    )
    op.create_table(
        "related",
        sa.Column("target", TEXT, primary_key=True),
        sa.Column("instrument", TEXT, primary_key=True),
        sa.Column("visit", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("detector", NUMBER, primary_key=True, autoincrement=False),
        sa.Column("digest", ID, nullable=False),
    )
