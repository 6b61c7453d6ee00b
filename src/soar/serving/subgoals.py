"""POST /v1/subgoals: images and instructions to subgoals, batched over all robots that ask."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field

from soar.remote.wire import Encoding, Picture, open_packed, pack
from soar.serving.application import MOST_ITEMS, ServiceConfig, check_count, new_application, parsed
from soar.serving.batching import Batcher
from soar.serving.memory import aside, book, each_aside
from soar.subgoals.base import SubgoalModel
from soar.subgoals.remote import KIND
from soar.types import Image

_LONGEST = 500
_PICTURES = 4
"""As many as each picture are in memory at a time: as it was sent, its subgoal, and both encoded or in the making."""


class SubgoalItem(BaseModel):
    """One subgoal that is wanted."""

    image: dict[str, Any]
    instruction: str = Field(min_length=1, max_length=_LONGEST)
    seed: int = Field(ge=0, lt=2**63)


class SubgoalRequest(BaseModel):
    """Some subgoals that are wanted."""

    items: Annotated[list[SubgoalItem], Field(max_length=MOST_ITEMS)]
    encoding: Encoding = "png"


def subgoal_application(model: SubgoalModel, config: ServiceConfig) -> FastAPI:
    """Return the application that serves a subgoal model."""

    def generate(items: list[tuple[Image, str, int]]) -> Sequence[Image]:
        return model.generate([image for image, _, _ in items], [text for _, text, _ in items], [seed for *_, seed in items])

    batcher = Batcher(generate, config.batch)
    app = new_application(KIND, model.id, batcher, {})

    def opened(body: bytes) -> tuple[list[tuple[Picture, str, int]], Encoding]:
        request = parsed(body, SubgoalRequest)
        check_count(len(request.items), config.limits)
        items = [(open_packed(item.image, config.limits), item.instruction, item.seed) for item in request.items]
        return items, request.encoding

    @app.post("/v1/subgoals")
    async def subgoals(request: Request) -> dict[str, Any]:
        body = await request.body()
        items, encoding = await aside(lambda: opened(body))
        book(sum(picture.bytes for picture, _, _ in items) * _PICTURES)
        pictures = await each_aside(picture for picture, _, _ in items)
        goals = await batcher([(image, text, seed) for image, (_, text, seed) in zip(pictures, items, strict=True)])
        images = await each_aside(partial(pack, goal, encoding) for goal in goals)
        return {"model": model.id, "images": images}

    return app
