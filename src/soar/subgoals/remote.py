"""A subgoal model behind `soar serve subgoal` (see `soar.subgoals.base.SubgoalModel`).

While the server is away, the robot goes on towards the previous subgoal of the episode; before there is one, towards what it
sees, which is to stay about where it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from soar.errors import ModelServerError, NumericalError
from soar.remote.client import ModelAwayError, ModelServer, RemoteConfig
from soar.remote.fallbacks import fell_back
from soar.remote.waits import waiting
from soar.remote.wire import Limits, WireError, is_id, pack, unpack
from soar.subgoals.base import check_imagined
from soar.types import Image

KIND = "subgoal"
PREVIOUS = "previous subgoal"
_TIMEOUT_S = 120.0


class RemoteSubgoals:
    """A subgoal model that runs elsewhere.

    Args:
        config: Where.
        server: Its client; made from the configuration by default.

    Raises:
        ModelServerError: It is not there, or serves something else.
    """

    def __init__(self, config: RemoteConfig, server: ModelServer | None = None) -> None:
        self.config, self._server = config, server or ModelServer(config, _TIMEOUT_S)
        name = self._server.about(KIND).get("model")
        if not is_id(name):
            raise ModelServerError(
                f"{config.url} does not name its subgoal model. Is it a `soar serve subgoal` of this version?"
            )
        self.id = self._server.wanted = str(name)
        self._previous: dict[int, tuple[str, Image]] = {}
        self.replaced = ""
        """The newest model there, when it is another one than `id`; whoever opens the address anew has that."""

    def reset(self) -> None:
        """Forget the subgoals of the last episode."""
        self._previous = {}

    def generate(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        """Return one subgoal a (image, instruction); without a server, the previous one.

        Raises:
            ModelServerError: The server is away and `when_away` is `stop`.
        """
        if not len(images) == len(instructions) == len(seeds):
            raise ValueError(f"{len(images)} images, {len(instructions)} instructions and {len(seeds)} seeds")
        if not images:
            return []
        try:
            goals = self._ask(images, instructions, seeds)
        except ModelServerError as error:
            if self.config.when_away == "stop":
                raise
            fell_back(self.id, PREVIOUS, str(error))
            return [self._instead(i, image, text) for i, (image, text) in enumerate(zip(images, instructions, strict=True))]
        self._previous = dict(enumerate(zip(instructions, goals, strict=True)))
        return goals

    def _instead(self, index: int, image_HWC: Image, instruction: str) -> Image:
        text, goal_HWC = self._previous.get(index, ("", image_HWC))
        return (goal_HWC if text == instruction and goal_HWC.shape == image_HWC.shape else image_HWC).copy()

    def _ask(self, images: Sequence[Image], instructions: Sequence[str], seeds: Sequence[int]) -> list[Image]:
        items = [
            {"image": pack(image, self.config.encoding), "instruction": text, "seed": seed}
            for image, text, seed in zip(images, instructions, seeds, strict=True)
        ]
        body = {"items": items, "encoding": self.config.encoding}
        with waiting(KIND):
            answer = self._server.request("POST", "/v1/subgoals", body)
        if answer.get("model") != self.id:
            self.replaced = str(answer.get("model"))[:60]
            raise ModelAwayError(f"{self.config.url} serves {str(answer.get('model'))[:60]} now, not {self.id}")
        self.replaced = self._server.newer
        values = answer.get("images")
        if not isinstance(values, list) or len(values) != len(images):
            count = len(values) if isinstance(values, list) else "no"
            raise ModelAwayError(f"{self.config.url} sent {count} subgoals for {len(images)} images")
        try:
            # Pictures are decoded if they are of the right size: a few bytes can be many pixels.
            goals = [
                unpack(value, Limits(side=max(image.shape)), image.shape[:2])
                for value, image in zip(values, images, strict=True)
            ]
        except WireError as error:
            raise ModelAwayError(f"{self.config.url} sent no subgoals: {error}") from error
        try:
            check_imagined(goals, images, self.config.url)
        except NumericalError as error:
            raise ModelAwayError(str(error)) from error
        return goals
