"""The revisions, oldest first; alembic reads them by their path."""
