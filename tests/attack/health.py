"""How long a model server takes to say that it is well while it is flooded, beside a server that does nothing at all.

    python -m tests.attack.health --results results/health.json [--rounds 3] [--before ANOTHER/CHECKOUT]

Both are asked in turn, so that what the machine itself takes is seen: where other work has the processors, both are slow. With
`--before`, servers of another checkout are flooded in the same run, by turns.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from soar.evaluation.results import write_results

from .requests import ATTACKS, Address, elsewhere
from .server_process import Watched, server_process

ROOT = Path(__file__).parents[2]
BARE = """
import socket
listener = socket.create_server(("127.0.0.1", 0), backlog=128)
print(listener.getsockname()[1], flush=True)
while True:
    connection, _ = listener.accept()
    connection.recv(65536)
    connection.sendall(b'HTTP/1.1 200 OK\\r\\ncontent-length: 15\\r\\nconnection: close\\r\\n\\r\\n{"status":"ok"}')
    connection.close()
"""


@dataclasses.dataclass
class Seen:
    """Times of one flood [s]."""

    health: list[float] = dataclasses.field(default_factory=list)
    bare: list[float] = dataclasses.field(default_factory=list)


class Beside(Watched):
    """A server that is asked in turn with the bare one."""

    def __init__(self, server: Watched, bare: Address, seen: Seen) -> None:
        super().__init__(server.pid, server.address)
        self._places, self._seen = (server.address, bare), seen

    def look(self) -> None:
        """Ask both."""
        for place, times in zip(self._places, (self._seen.health, self._seen.bare), strict=True):
            self.address, self.slowest_s = place, 0.0
            super().look()
            times.append(self.slowest_s)


@contextlib.contextmanager
def bare_server() -> Iterator[Address]:
    """A server that answers each connection with the same bytes."""
    with subprocess.Popen([sys.executable, "-I", "-S", "-c", BARE], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield "127.0.0.1", int(process.stdout.readline())
        finally:
            process.kill()


def measure(checkouts: dict[str, Path], rounds: int) -> list[dict[str, Any]]:
    """Return a row a flood and checkout."""
    found: defaultdict[tuple[str, str], Seen] = defaultdict(Seen)
    with bare_server() as bare:
        for _ in range(rounds):
            for name, folder in checkouts.items():
                os.environ["PYTHONPATH"] = str(folder / "src")
                with server_process("policy") as server:
                    for attack in ATTACKS:
                        watched = Beside(server, bare, found[attack.__name__, name])
                        with watched.watched():
                            elsewhere(attack, server.address)
                            watched.look()
    return [
        {
            "flood": attack.replace("_", " ") + (f", {name}" if len(checkouts) > 1 else ""),
            "questions": len(seen.health),
            **{
                f"{what}, {which} [ms]": round(1000 * of(times), 1)
                for what, times in (("health", seen.health), ("bare", seen.bare))
                for which, of in (("median", statistics.median), ("slowest", max))
            },
            "limit": 100,
        }
        for (attack, name), seen in sorted(found.items())
    ]


def main() -> None:
    """Measure, and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--before", type=Path)
    options = parser.parse_args()
    checkouts = ({"before": options.before} if options.before else {}) | {"now": ROOT}
    command = f"python -m tests.attack.health --rounds {options.rounds}{' --before …' if options.before else ''}"
    load = ", ".join(f"{value:.0f}" for value in os.getloadavg())
    rows = measure(checkouts, options.rounds)
    caption = f"Load of the machine before {load}, afterwards {', '.join(f'{value:.0f}' for value in os.getloadavg())}."
    write_results(options.results, command, rows, caption=caption)


if __name__ == "__main__":
    main()
