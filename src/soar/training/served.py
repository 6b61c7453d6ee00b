"""The server of a candidate that somebody else's learner made, while the candidate is used.

    with served(FOLDER): …    the server of the policy that FOLDER names, if it has one, and its policy file with the port

A server gets a port that is free, the same one as the last time if that is. Who uses it finds the port in FOLDER/policy.yaml.
A server that was left behind by a process that was killed is stopped first.

The folder says which command that is, and a command can do anything. So one is run for a candidate in a run's folder alone; a
folder from elsewhere, such as one that was downloaded, is refused, and its command shown.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from soar.errors import LearnerError, SoarError
from soar.files import write_text
from soar.policies.loading import load_policy
from soar.policies.named import OWN_FILE, Named, chain_from, check_place
from soar.training.commands import Command, filled, words_of

CHECKPOINT, PORT = "checkpoint", "port"
_AGAIN_S = 0.5
_served: set[Path] = set()
"""Folders whose policies this process serves."""


@contextmanager
def served(folder: Path) -> Iterator[None]:
    """Let the server of the policy in a folder run, within; nothing, where the policy needs none.

    Raises:
        LearnerError: It ends, or does not answer in time.
        CheckpointError: It lies in no run, or names itself.
    """
    # A run may begin with a candidate of another one.
    named = next((one for one in chain_from(folder) if one.more.get("serve")), None)
    if named is None or named.folder.resolve() in _served:
        yield
        return
    check_place(named)
    with serving(named):
        yield


@contextmanager
def serving(named: Named) -> Iterator[None]:
    """Let a candidate's server run within, and see that its policy can be opened; errors as of `served`."""
    command = Command(named.folder / "training" / "server")
    command.stop()
    port = _free_port(_port_before(named))
    if _port_before(named) not in (0, port):
        load_policy.cache_clear()  # whoever was opened asks at another port
    write_policy_file(named, port)
    _served.add(named.folder.resolve())
    try:
        command.begin(words_of(str(named.more["serve"]), _values(named, port)))
        _wait_for(named, command)
        yield
    finally:
        _served.discard(named.folder.resolve())
        command.stop()


def write_policy_file(named: Named, port: int = 0) -> None:
    """Write the candidate's policy file, if it has one."""
    policy = named.more.get("policy")
    if isinstance(policy, dict):
        file = fill_in(policy, _values(named, port))
        write_text(named.folder / OWN_FILE, f"# port {port}\n" + yaml.safe_dump(file, sort_keys=False, allow_unicode=True))


def fill_in(value: Any, values: Mapping[str, str]) -> Any:
    """Return nested values in whose texts the names in braces are replaced."""
    if isinstance(value, str):
        return filled(value, values)
    if isinstance(value, dict):
        return {key: fill_in(part, values) for key, part in value.items()}
    return [fill_in(part, values) for part in value] if isinstance(value, list) else value


def texts_in(value: Any) -> Iterator[str]:
    """Yield the texts in nested values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_in(part)


def _values(named: Named, port: int) -> dict[str, str]:
    return {CHECKPOINT: str(named.folder / str(named.more[CHECKPOINT])), PORT: str(port)}


def _wait_for(named: Named, command: Command) -> None:
    limit_s = float(named.more.get("serve_timeout_s", 600.0))
    end_s, problem = time.monotonic() + limit_s, "it did not answer"
    while command.running and time.monotonic() < end_s:
        try:
            load_policy.__wrapped__(named.target)  # one that was opened before knows nothing of this server
            return
        except SoarError as error:
            problem = str(error)
        time.sleep(_AGAIN_S)
    what = f"did not serve it in {limit_s:g} s (serve_timeout_s): {problem}" if command.running else "ended"
    raise LearnerError(f"the server of a candidate {what}. It said last: {command.last_words()}; all of it is in {command.log}")


def _port_before(named: Named) -> int:
    try:
        first = (named.folder / OWN_FILE).read_text(encoding="utf-8").partition("\n")[0]
    except OSError:
        return 0
    number = first.removeprefix("# port ")
    return int(number) if number.isdecimal() and int(number) < 2**16 else 0


def _free_port(wish: int) -> int:
    for number in (wish, 0):
        try:
            with socket.create_server(("127.0.0.1", number)) as listening:
                return int(listening.getsockname()[1])
        except OSError:
            continue
    raise LearnerError("there is no port that is free for the server of a candidate: end what listens on this computer")
