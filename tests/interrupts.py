"""What the tests of Ctrl-C share."""

from __future__ import annotations

import signal


def heard() -> None:
    """Let a child hear Ctrl-C (a `preexec_fn`): it inherits an ignored signal where the suite runs in a shell's background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
