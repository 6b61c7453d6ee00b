"""`soar console`."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

TOKEN = "SOAR_CONSOLE_TOKEN"
"""Environment variable of the operator's token; the fleet's own, with which the console asks its coordinator, is SOAR_TOKEN."""
_LAST_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Console:
    """Show runs and stores in a browser: robots as they are now, how a run goes, every episode; and judge episodes by keys.

    It reads, and no robot ever waits for it; it may be ended and started at any time. What a person says is written into the
    store as `soar data label` does, and outranks what a model said. The address that is shown holds the token; with one of your
    own in the environment variable SOAR_CONSOLE_TOKEN, a console that begins again is the same for pages that are open.

    Example: soar console runs/scene1

    Example: soar console runs/scene1 --freeze scene1.html
    """

    sources: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="RUN-OR-STORE")] = ()
    """Folders of runs, stores, and states of stores that have a name (STORE@NAME)."""
    host: str = "127.0.0.1"
    """Address to listen on. By default only this machine's browsers come in; 0.0.0.0 lets others, who need the token in
    SOAR_CONSOLE_TOKEN. What travels is not encrypted: use a closed network or a tunnel."""
    port: int = 8140
    """Port to listen on; 0 for any that is free."""
    tokens: Path | None = None
    """YAML file of further tokens, and what each may do: look, label, stop, promote (docs/fleet.md)."""
    labeller_token_env: str = ""
    """Environment variable of a token that may look and judge, and not control robots."""
    viewer_token_env: str = ""
    """Environment variable of a token that may look and nothing else."""
    wait: bool = False
    """A run may begin later: its folder need not be there yet."""
    freeze: Path | None = None
    """Instead of serving: write the pages of one run or store as one HTML file, which needs nothing else."""

    def run(self) -> None:
        """Run it."""
        import os
        import secrets

        from soar.cli.tables import say
        from soar.console.freezing import freeze
        from soar.console.sources import open_sources
        from soar.errors import ConfigError

        sources = open_sources(self.sources, wait=self.wait)
        if self.freeze is not None:
            if len(sources) != 1:
                raise ConfigError(f"--freeze {self.freeze}: one file shows one run or store, and there are {len(sources)}")
            freeze(next(iter(sources.values())), self.freeze)
            say(f"report: {self.freeze.resolve()}")
            return
        check_installed()

        from soar.console.serving import ConsoleConfig, serve_console
        from soar.fleet.tokens import Bearer, Right, Tokens, read_tokens
        from soar.serving.listening import LOOPBACK

        if self.host != LOOPBACK and not os.environ.get(TOKEN):
            raise ConfigError(f"--host {self.host} lets other machines in: put a token of at least 16 characters into {TOKEN}")
        others = {} if self.tokens is None else read_tokens(self.tokens)
        rights: dict[str, tuple[Right, ...]] = {"labeller": ("look", "label"), "viewer": ("look",)}
        for role, variable in (("labeller", self.labeller_token_env), ("viewer", self.viewer_token_env)):
            if not variable:
                continue
            if not (given := os.environ.get(variable)):
                raise ConfigError(f"--{role}-token-env {variable}: that environment variable is not set")
            if role in others:
                raise ConfigError(f"{self.tokens} has a token of {role!r}, too: leave out --{role}-token-env")
            others[role] = Bearer(token=given, may=rights[role])
        tokens = Tokens(operator=os.environ.get(TOKEN) or secrets.token_urlsafe(32), others=others)
        config = ConsoleConfig(tokens=tokens, host=self.host, port=self.port)

        def ready(_url: str, entrance: str) -> None:
            say(f"open {entrance}")
            sys.stdout.flush()  # whoever reads it through a pipe waits for it

        serve_console(sources, config, ready)


def check_installed() -> None:
    """Refuse to begin where what serves pages is not installed.

    Raises:
        ConfigError: It is not.
    """
    import importlib.util

    from soar.errors import ConfigError

    if missing := [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]:
        raise ConfigError(f"the console needs {', '.join(missing)}. Install it: pip install 'soar-robot[console]'")


@contextlib.contextmanager
def console_beside(run: Path, tokens: Path | None = None) -> Iterator[None]:
    """Show a run in a console of its own process within, at any free port; the run goes on whatever becomes of it."""
    check_installed()
    words = [sys.executable, "-m", "soar.cli", "console", str(run), "--wait", "--port", "0"]
    words += [] if tokens is None else ["--tokens", str(tokens)]
    # In a session of its own: Ctrl-C is the run's, which ends the console when it has ended itself.
    process = subprocess.Popen(
        words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, encoding="utf-8", start_new_session=True
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline().strip()
        sys.stderr.write(f"{said or 'The console did not begin; the run goes on without it.'}\n")
        yield
    finally:
        process.terminate()
        try:
            process.wait(_LAST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
