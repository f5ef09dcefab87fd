"""Files and receipts to the registry: raw by headers, outputs by receipts, foreign ones by what a person says.

Owns taking in: verify, promote, load. Serves the project and the engines. Never needs a plan: it
works from files, their stories and receipts alone, and never changes a file that is there.
"""

from prestow.ingest.external import FilesReport, ingest_files
from prestow.ingest.outputs import IngestReport, Level, ingest_outputs
from prestow.ingest.raw import RawReport, Transfer, ingest_raw

__all__ = [
    "FilesReport",
    "IngestReport",
    "Level",
    "RawReport",
    "Transfer",
    "ingest_files",
    "ingest_outputs",
    "ingest_raw",
]
