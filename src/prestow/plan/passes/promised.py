"""Promised: the plan says which of its inputs are named and not there yet."""

from prestow.plan.promising import tell_promised as promised

__all__ = ["promised"]
