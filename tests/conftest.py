"""What holds for all tests: no law of hypothesis is held to a time, for a machine may be busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("prestow", deadline=None)
settings.load_profile("prestow")
