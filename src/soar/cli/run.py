"""Parse the command line, run the command, and turn what goes wrong into one message and an exit status."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Sequence

import tyro

from soar.cli.commands import Command
from soar.errors import SoarError

RESUME = "Interrupted. Everything that was finished is kept: run the same command again to resume."
DESCRIPTION = (
    "SOAR: robots that improve their instruction-following policy from data that they collect on their own. "
    "Begin with `soar improve --scene scene1`. Every command resumes when it is run again."
)


def run(arguments: Sequence[str] | None) -> int:
    """Run one command; see the package's docstring for the exit status."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    command = tyro.cli(Command, args=arguments, prog="soar", description=DESCRIPTION, config=(tyro.conf.OmitArgPrefixes,))
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("soar.fleet.processes").addFilter(_without_tracebacks)
    try:
        command.run()
    except SoarError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"\n{RESUME}\n")
        return 130
    return 0


def _without_tracebacks(record: logging.LogRecord) -> bool:
    """Hide the traceback of a `SoarError` in a worker: it is raised again in this process, and printed as a message."""
    return not record.getMessage().rstrip().splitlines()[-1].startswith(("soar.errors.", "soar.robots.safety."))
