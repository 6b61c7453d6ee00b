"""The command that puts a model behind HTTP."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import tyro


@dataclass(frozen=True, kw_only=True)
class Serve:
    """Serve a model over HTTP, to robots on this machine or others; requests that come together become one batch.

    A subgoal model and a policy are used by their URL (`soar collect --subgoals http://…`); a vision-language model speaks the
    OpenAI protocol, so that `backend: openai` is its client (docs/how-to/foundation-models.md). A request needs the token in
    the environment variable SOAR_TOKEN; without one, a new one is made and shown. Ctrl-C ends it. SIGUSR1 lets it load what
    --model names now; whoever began with the model before ends with that.

    Example: soar serve subgoal --model susie-torch --port 8123
    """

    kind: Annotated[Literal["subgoal", "vlm", "policy"], tyro.conf.Positional]
    """What is served."""
    model: str | None = None
    """Folder or YAML file of the model; the one that comes with SOAR by default."""
    host: str = "127.0.0.1"
    """Address to listen on. By default only this machine can ask; 0.0.0.0 lets others. The token travels in the clear, so that
    between buildings a tunnel belongs around it."""
    port: int = 8123
    """Port to listen on; 0 for any that is free."""
    require_token: bool = True
    """Refuse requests without the token."""
    max_batch: int = 8
    """Most images of a batch."""
    wait_ms: float = 5.0
    """How long the first request of a batch waits for others [ms]."""
    max_side: int = 2048
    """Longest side of an image [px]."""
    max_images: int = 64
    """Most images of a request."""
    max_megabytes: int = 16
    """Longest request [MB]."""
    max_total_megabytes: int = 192
    """Memory of all requests that are answered at a time, pictures included [MB]; others are asked to come again."""
    device: str = "cpu"
    """Of torch, for a policy; other models' YAML files say it."""
    replicas: int = 0
    """Copies of the model, by Ray Serve; 0: one, in this process."""
    gpus: float = 0.0
    """Accelerators of each replica."""

    def run(self) -> None:
        """Run it."""
        import importlib.util
        import sys

        from soar.errors import ConfigError

        if missing := [name for name in ("fastapi", "uvicorn") if importlib.util.find_spec(name) is None]:
            raise ConfigError(f"serving needs {', '.join(missing)}. Install it: pip install 'soar-robot[serve]'")

        from soar.base_models import default_weights
        from soar.cli.tables import say
        from soar.remote.wire import Limits
        from soar.serving.application import ServiceConfig
        from soar.serving.auth import choose_token
        from soar.serving.batching import BatchConfig
        from soar.serving.server import ServerConfig, serve

        token, new = choose_token() if self.require_token else (None, False)
        weights = "vqa" if self.kind == "vlm" else self.kind
        config = ServerConfig(
            kind=self.kind,
            model=self.model or str(default_weights(weights)),
            token=token,
            host=self.host,
            port=self.port,
            device=self.device,
            service=ServiceConfig(
                batch=BatchConfig(max_batch=self.max_batch, wait_ms=self.wait_ms),
                limits=Limits(side=self.max_side, images=self.max_images, megabytes=self.max_megabytes),
                total_megabytes=self.max_total_megabytes,
            ),
        )

        def ready(url: str, name: str) -> None:
            if new:
                say(f"clients need the token: export SOAR_TOKEN={token}")
            say(f"{name} is served at {url}")
            sys.stdout.flush()  # whoever reads it through a pipe waits for it

        # A signal comes out of both as KeyboardInterrupt, after the last answers are out.
        if self.replicas:
            from soar.serving.replicas import serve_replicas

            serve_replicas(config, self.replicas, self.gpus, ready)
        else:
            serve(config, ready)
