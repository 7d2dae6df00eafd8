"""What each shortcut saved, for people."""

from __future__ import annotations

import espalier as esp
from espalier.cli import format as units
from espalier.cli.console import print_rows


def print_shortcuts(report: esp.Report) -> None:
    """Which shortcuts a run took, what each saved, why it is exact, and the operations left."""
    share = report.effective_operations / max(report.nominal_operations, 1)
    print_rows(
        f"{units.quantity(report.effective_operations)} of "
        f"{units.quantity(report.nominal_operations)} operations done ({share:.3%})",
        ("shortcut", "saved", "exact because"),
        (
            (shortcut.name, shortcut.saved if shortcut.used else "not used", shortcut.proof)
            for shortcut in report.shortcuts
        ),
    )
