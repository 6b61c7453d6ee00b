"""Floods of a model server, as a row of docs/reliability.md: memory, and how soon it says meanwhile that it is well.

The rest of the computer is to be quiet: where others take every processor, any program answers late.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .requests import ATTACKS, elsewhere
from .server_process import Watched, server_process
from .tally import Tally

_HEALTHY_S = 0.1


def attack_servers(server: Watched, attacks: Any = ATTACKS, *, times: int = 1) -> Tally:
    """Attack a server from another process; unclear is each time that its memory doubled or that it was not well in 0.1 s."""
    tally = Tally(what="floods of a model server: bodies, values, pixels, connections, clients that leave")
    for attack in attacks:
        for _ in range(times):
            with server.watched():
                elsewhere(attack, server.address)
                server.look()
            tally.count += 1
            tally.unclear += server.most_bytes >= 2 * server.idle_bytes or server.unwell > 0 or server.slowest_s > _HEALTHY_S
    return tally


def soak(folder: Path, scale: float = 1.0, seed: int = 0) -> list[Tally]:
    """Do all of them, at a scale of 1 twenty times each."""
    del folder, seed
    with server_process("policy") as server:
        return [attack_servers(server, times=max(1, round(20 * scale)))]
