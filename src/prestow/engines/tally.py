"""The tally of a run: the state of every quantum in counts, and what failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from prestow.engines.result import RunFailure
from prestow.engines.submission import Submission
from prestow.model import DataId, State
from prestow.plan.states import WORDS, count_states


class Tally:
    """Counts by task and state, which always sum to the plan, and the last failure of each quantum."""

    def __init__(self, submission: Submission) -> None:
        s = self.submission = submission
        self.failed: Counter[int] = Counter()  # failures of quanta
        self.failures: dict[int, RunFailure] = {}  # of quanta that are not settled
        self._codes = s.states.codes.copy()
        self._codes[s.reused.mask] = WORDS.index("reused")
        self._codes[s.unneeded.mask] = WORDS.index("unneeded")
        counts = count_states(s.task, self._codes)
        self._tasks = {task: {word: n for word, n in row.items() if n} for task, row in counts.items()}

    @property
    def tasks(self) -> dict[str, dict[str, int]]:
        """The counts of now, as a copy."""
        return {task: dict(counts) for task, counts in self._tasks.items()}

    def settle(self, row: int, state: State) -> None:
        """Count a quantum as settled; that it failed before is forgotten."""
        self.failures.pop(row, None)
        self._word(row, str(state))

    def fail(self, row: int, failure: Mapping[str, Any], attempt: str) -> RunFailure:  # Any: JSON values
        """Count one more failure of a quantum."""
        s = self.submission
        self.failed[row] += 1
        self.failures[row] = found = RunFailure(
            s.ids[row], failure["task"], str(DataId(failure["data_id"])), s.job_names[s.job[row]], attempt, self.failed[row],
            failure["code"], failure["message"], tuple(failure["log_tail"]), failure["seconds"],
        )  # fmt: skip
        self._word(row, "failed")
        return found

    def forgive(self, row: int) -> None:
        """Forget that a quantum failed: that was no fault of its own."""
        if self.failures.pop(row, None) is not None:
            self._word(row, "pending")
        self.failed.pop(row, None)

    def _word(self, row: int, word: str) -> None:
        counts = self._tasks[self.submission.task[row]]
        before = WORDS[self._codes[row]]
        if before == word:
            return
        self._codes[row] = WORDS.index(word)
        counts[before] -= 1
        if not counts[before]:
            del counts[before]
        counts[word] = counts.get(word, 0) + 1
