"""The `soar` command. Nothing heavy is imported before a command runs, so that `soar --help` answers at once.

Exit status: 0 when it worked, 2 for a `SoarError` (its message, no traceback) and for wrong flags, 1 when what was measured is
wrong (`soar vlm evaluate --answers`), 130 for Ctrl-C. Anything
else is a bug and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    from soar.cli.run import run

    return run(arguments)
