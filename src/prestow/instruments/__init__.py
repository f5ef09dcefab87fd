"""Raw headers to data IDs, by YAML rules.

Owns the instruments: which header keyword gives which dimension or metadata, by a small fixed
language, what tells bias, flat and science apart, and the day rule. Serves raw ingest. Never opens
a raw file, and never evaluates code.
"""

from prestow.instruments.instrument import Instrument, Observation, known_instruments, load_instrument
from prestow.instruments.rules import Rule, Rules
from prestow.instruments.time import tai_from_utc

__all__ = [
    "Instrument",
    "Observation",
    "Rule",
    "Rules",
    "known_instruments",
    "load_instrument",
    "tai_from_utc",
]
