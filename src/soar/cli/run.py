"""Choose the command, parse its flags, run it, and turn what is wrong into one message and an exit status."""

from __future__ import annotations

import dataclasses
import io
import logging
import re
import sys
import typing
from collections.abc import Sequence
from typing import Annotated, Any

from soar import __version__
from soar.cli.commands import COMMANDS, overview
from soar.cli.ending import interrupted
from soar.errors import ConfigError, SoarError, UnknownNameError
from soar.extras import advice
from soar.untrusted import printable


class _Printable(logging.Formatter):
    """Shows what a terminal would obey: messages quote what others sent."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return printable(super().format(record))


def run(arguments: Sequence[str]) -> int:
    """Run one command; see the package's docstring for the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    first = arguments[0] if arguments else ""
    if first in ("-h", "--help"):
        sys.stdout.write(overview() + "\n")
        return 0
    if first == "--version":
        sys.stdout.write(f"soar {__version__}\n")
        return 0
    if not first:
        sys.stderr.write(overview() + "\n")
        return 2
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Printable("%(levelname)s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.getLogger("soar.fleet.processes").addFilter(_without_tracebacks)
    try:
        if first not in COMMANDS:
            kind = "flag" if first.startswith("-") else "command"
            raise UnknownNameError(kind, first, COMMANDS, "`soar --help` says what they do.")
        parse(first, arguments[1:]).run()
    except SoarError as error:
        if interrupted():
            raise
        return _refused(str(error))
    except ImportError as error:
        if interrupted() or not (said := advice(error)):
            raise
        return _refused(f"soar {first}: {said}")
    return 0


def _refused(why: str) -> int:
    sys.stderr.write(f"error: {printable(why)}\n")
    return 2


def parse(name: str, arguments: Sequence[str]) -> Any:
    """Return the command with its flags; what is wrong with them ends the process with status 2."""
    import tyro

    words, kind = settings_gathered(arguments), COMMANDS[name].load()
    prog = " ".join(["soar", name, *_second_word(kind, words)])
    return tyro.cli(kind, args=words, prog=prog, config=(tyro.conf.OmitArgPrefixes,))


def _second_word(kind: type[Any], words: Sequence[str]) -> Sequence[str]:
    """Return the word after the command's name where it is one of a few, as in `soar subgoal preview`.

    The usage in a help lacks it otherwise: tyro leaves out what it has read.
    """
    first = dataclasses.fields(kind)[0].name
    hint = typing.get_type_hints(kind, include_extras=True)[first]
    choices = typing.get_args(typing.get_args(hint)[0]) if typing.get_origin(hint) is Annotated else ()
    return words[:1] if words and words[0] in choices else ()


def settings_gathered(arguments: Sequence[str]) -> list[str]:
    """Return arguments in which all of `--a.b VALUE`, `--a.b=VALUE` and `--set a.b=VALUE …` are one `--set`, at the end."""
    words, settings = [], []
    left = list(arguments)
    while left:
        word = left.pop(0)
        if word == "--set":
            while left and not left[0].startswith("--"):
                settings.append(left.pop(0))
        elif re.match(r"--[A-Za-z]\w*\.[\w.-]+", word):
            flag, equals, value = word.removeprefix("--").partition("=")
            if not equals and not left:
                raise ConfigError(f"{word} needs a value, such as {word} 0.5")
            settings.append(f"{flag.replace('-', '_')}={value if equals else left.pop(0)}")
        else:
            words.append(word)
    return [*words, *(["--set", *settings] if settings else [])]


def _without_tracebacks(record: logging.LogRecord) -> bool:
    """Hide the traceback of a `SoarError` in a worker: it is raised again in this process, and printed as a message."""
    return not record.getMessage().rstrip().splitlines()[-1].startswith(("soar.errors.", "soar.robots.safety."))
