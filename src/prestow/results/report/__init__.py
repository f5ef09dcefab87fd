"""What a run came to, on one page: gathered in columns, then told as text, as JSON and as a page of HTML.

`gather` asks plan, receipts, attempt reports, journal and registry; everything after it is a pure function
of what it gave. Above `MANY` jobs nothing on the page is about a single job but what stands out.
"""

from prestow.results.report.facts import MANY, Report
from prestow.results.report.gathering import gather
from prestow.results.report.page import page
from prestow.results.report.text import answer

__all__ = ["MANY", "Report", "answer", "gather", "page"]
