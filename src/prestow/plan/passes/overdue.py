"""Overdue: promised inputs that did not come by their deadline are left out, which must be waived."""

from prestow.plan.promising import leave_late_out as overdue

__all__ = ["overdue"]
