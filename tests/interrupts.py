"""What the tests of Ctrl-C share."""

from __future__ import annotations

import signal


def heard() -> None:
    """Let a child hear Ctrl-C and Ctrl-\\ (a `preexec_fn`): both are ignored where the suite runs in a shell's background."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
