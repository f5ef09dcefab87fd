"""What exists: dimension records, relations, datasets, collections, artifacts, provenance.

Owns the database of what exists, bulk in and columns out, and the records: small immutable files
that hold each fact no product carries. Serves the planner (columns) and ingest (batches). Never
reads a product, and never decides what is true: files, receipts and records can make it again.

Columns in and out are Arrow tables. One library does all the talking to the database (ADBC):
two copies of SQLite in one process would drop each other's locks. Opening is `Registry.open`.
"""

from prestow.registry.batches import Contradiction, DatasetBatch, Inserted
from prestow.registry.records import put_record, read_records
from prestow.registry.registry import CollectionKind, Registry, StoreKind

__all__ = [
    "CollectionKind",
    "Contradiction",
    "DatasetBatch",
    "Inserted",
    "Registry",
    "StoreKind",
    "put_record",
    "read_records",
]
