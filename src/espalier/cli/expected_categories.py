"""Compare categories with a truth list: which are missing, which are too many."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHOWN = 5  # differing categories named in a verdict


@dataclass(frozen=True)
class Verdict:
    """How found categories compare with those a truth list has among the samples run.

    Arguments:
        listed: entries of the whole truth list.
        compared: those among the samples run.
        missing: 0-based samples the truth lists and the run did not find.
        extra: 0-based samples the run found and the truth does not list.
    """

    listed: int
    compared: int
    missing: list[int]
    extra: list[int]

    @property
    def passed(self) -> bool:
        """Whether the two lists are equal."""
        return not self.missing and not self.extra

    def __str__(self) -> str:
        scope = "" if self.compared == self.listed else f" (of {self.listed:,} listed)"
        if self.passed:
            return f"PASSED: exactly the {self.compared:,} categories of the truth{scope}"
        return (
            f"FAILED: {len(self.missing):,} missing{_first(self.missing)}, "
            f"{len(self.extra):,} too many{_first(self.extra)}, "
            f"of {self.compared:,} categories{scope}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON values; samples count from 1, as in the files."""
        return {
            "passed": self.passed,
            "listed": self.listed,
            "compared": self.compared,
            "missing": [sample + 1 for sample in self.missing],
            "extra": [sample + 1 for sample in self.extra],
        }


def compare(found: NDArray[np.int64], truth: NDArray[np.int64], samples: int) -> Verdict:
    """Compare categories with a truth list, which may name more samples than were run.

    Arguments:
        found: 0-based categories of the run, int64 ``[categories]``.
        truth: 0-based categories of the truth list, int64 ``[listed]``.
        samples: number of samples run.

    >>> print(compare(np.array([3, 8]), np.array([3, 8, 70]), samples=50))
    PASSED: exactly the 2 categories of the truth (of 3 listed)
    >>> print(compare(np.array([3, 9]), np.array([3, 8, 70]), samples=50))
    FAILED: 1 missing (number 9), 1 too many (number 10), of 2 categories (of 3 listed)
    """
    wanted = truth[truth < samples]
    return Verdict(
        listed=len(truth),
        compared=len(wanted),
        missing=np.setdiff1d(wanted, found).tolist(),
        extra=np.setdiff1d(found, wanted).tolist(),
    )


def _first(samples: list[int]) -> str:
    """The first few samples, counted from 1 as in the files."""
    if not samples:
        return ""
    named = ", ".join(str(sample + 1) for sample in samples[:SHOWN])
    noun = "number" if len(samples) == 1 else "numbers"
    return f" ({noun} {named}{', ...' if len(samples) > SHOWN else ''})"
