"""The `soar` command. Nothing heavy is imported before a command runs, so that `soar --help` answers at once.

Exit status: 0 when it worked, 2 for a `SoarError` (its message, no traceback) and for wrong flags, 1 when what was measured is
wrong (`soar vlm evaluate --answers`), 130 for Ctrl-C, 143 for SIGTERM, 141 when whoever reads the output has gone. Anything
else is a bug and keeps its traceback.

Arguments and names of files are UTF-8 whatever the locale, and what the terminal cannot show is escaped.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence

RESUME = "Interrupted. Everything that was finished is kept: run the same command again to resume."
STOPPED = "Stopped serving."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    Args:
        arguments: Its words; None: those of this process, which is then the command's own.
    """
    if arguments is None and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)  # until `ending` is there
    from soar.cli.ending import ending

    words = sys.argv[1:] if arguments is None else arguments
    return ending(lambda: _run(arguments), own_process=arguments is None, last_words=last_words(words))


def last_words(words: Sequence[str]) -> str:
    """Return what a command says when a signal ends it: of what served there is nothing to resume."""
    serves = list(words[:1]) in (["serve"], ["console"]) or list(words[:2]) == ["robot", "serve"]
    return STOPPED if serves and not any(word.startswith("--freeze") for word in words) else RESUME


def _leave(number: int, _frame: object) -> None:
    os.write(2, f"\n{last_words(sys.argv[1:])}\n".encode())
    os._exit(128 + number)


def _run(arguments: Sequence[str] | None) -> int:
    if arguments is None:
        _begin_in_utf8()
    from soar.cli.run import run

    return run(sys.argv[1:] if arguments is None else arguments)


def _begin_in_utf8() -> None:
    """Start again in Python's UTF-8 mode where the locale is another: only at its start Python can be told."""
    if sys.getfilesystemencoding() == "utf-8" or os.environ.get("PYTHONUTF8") == "1":
        return
    # Only what goes to the terminal stays in the terminal's encoding; worker processes inherit both.
    os.environ.update(PYTHONUTF8="1", PYTHONIOENCODING=f"{sys.stdout.encoding or 'ascii'}:backslashreplace")
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
