"""Every exception that SOAR raises on purpose.

A message says what is wrong, where, what the valid choices are, and what to do next. The command line prints the message
of a `SoarError` without a traceback and exits with status 2; anything else is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable


class SoarError(Exception):
    """Base of all errors that a user can act on."""


class ConfigError(SoarError):
    """A configuration file or value is invalid; the message names the file, the key and the valid choices."""


class UnknownNameError(ConfigError):
    """A scene, task, robot, preset or backend was asked for by a name that does not exist."""

    def __init__(self, kind: str, name: str, choices: Iterable[str], hint: str = "") -> None:
        # Numbers count: scene10 comes after scene9.
        valid = sorted(choices, key=lambda choice: [int(p) if p.isdecimal() else p for p in re.split(r"(\d+)", choice)])
        close = difflib.get_close_matches(name, valid, n=1)
        message = f"unknown {kind} {name!r}"
        if close:
            message += f"; did you mean {close[0]!r}?"
        message += f" Valid choices: {', '.join(valid) or 'none'}."
        super().__init__(f"{message} {hint}".strip())
        self.kind, self.name, self.choices = kind, name, valid


class CheckpointError(SoarError):
    """A checkpoint is missing, foreign, damaged, or does not fit the configuration that it is loaded with."""


class StoreError(SoarError):
    """An episode store cannot be read or written (missing, foreign, read-only, full disk)."""


class NothingToLearnError(StoreError):
    """A store has episodes, and none of their steps is left to train on."""


class LearnerError(SoarError):
    """A learner of somebody else's left no policy that can be used; the message says why, and where its words are."""


class FormatError(SoarError):
    """A dataset of another format is damaged, incomplete, or not what it was said to be; the message names file and place."""


class HubError(SoarError):
    """The Hugging Face Hub refuses something or cannot be reached, or what it sent is damaged."""


class RenderingError(SoarError):
    """No headless rendering library was found; the message prints the command that installs it."""


class ModelServerError(SoarError):
    """A model behind a network refused a request or is not there; the message names its address and what it said."""


class NumericalError(SoarError):
    """A network computed something that is no number, or a picture of one colour; the message names dtype and way out."""


class BudgetError(SoarError):
    """A cap on calls or tokens is reached; nothing more is asked until it is raised."""


class RobotFault(SoarError):
    """The robot failed while it was used: motor failure, frozen camera, lost connection (paper §G).

    Args:
        kind: One of `motor`, `camera`, `connection`, `unrecoverable`.
        detail: What was seen.
    """

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(f"robot fault ({kind}): {detail}")
        self.kind, self.detail = kind, detail
