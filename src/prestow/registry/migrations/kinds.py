"""Types of columns, as all revisions so far have them."""

from __future__ import annotations

import sqlalchemy as sa

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
NUMBER = sa.BigInteger()
FLOAT: sa.Double[float] = sa.Double()
ID = sa.LargeBinary(16)
