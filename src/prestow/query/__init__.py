"""The selection language: parsed, checked against the universe, turned into a column expression.

Owns the words by which a person chooses data. Serves the planner, pipelines (through
`check_selection`) and the command line. Never looks at data.

The language::

    visit in (12, 14..20, 30..60:10) and not band = 'g'
    exposure.exposure_time >= 60 or object like 'NGC%' or physical_filter is null
    begin < '2026-11-21T04:00:00'

Names are dimensions, their aliases, or metadata columns, alone or as ``dimension.column``. Text
stands in quotes, times too (TAI, ISO 8601). What is unknown (null) is neither true nor false.
"""

from prestow.query.parsing import check_selection, parse_selection
from prestow.query.selection import Selection

__all__ = ["Selection", "check_selection", "parse_selection"]
