"""POST /v1/subgoals: images and instructions to subgoals, batched over all robots that ask."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel, Field

from soar.remote.wire import Encoding, pack, unpack
from soar.serving.application import ServiceConfig, check_count, new_application
from soar.serving.batching import Batcher
from soar.subgoals.base import SubgoalModel
from soar.subgoals.remote import KIND
from soar.types import Image

_LONGEST = 500


class SubgoalItem(BaseModel):
    """One subgoal that is wanted."""

    image: dict[str, Any]
    instruction: str = Field(min_length=1, max_length=_LONGEST)
    seed: int = Field(ge=0, lt=2**63)


class SubgoalRequest(BaseModel):
    """Some subgoals that are wanted."""

    items: list[SubgoalItem]
    encoding: Encoding = "png"


def subgoal_application(model: SubgoalModel, config: ServiceConfig) -> FastAPI:
    """Return the application that serves a subgoal model."""

    def generate(items: list[tuple[Image, str, int]]) -> Sequence[Image]:
        return model.generate([image for image, _, _ in items], [text for _, text, _ in items], [seed for *_, seed in items])

    batcher = Batcher(generate, config.batch)
    app = new_application(KIND, model.id, batcher, {})

    @app.post("/v1/subgoals")
    async def subgoals(request: SubgoalRequest) -> dict[str, Any]:
        check_count(len(request.items), config.limits)

        def decoded() -> list[tuple[Image, str, int]]:
            return [(unpack(item.image, config.limits), item.instruction, item.seed) for item in request.items]

        goals = await batcher(await asyncio.to_thread(decoded))
        images = await asyncio.to_thread(lambda: [pack(goal, request.encoding) for goal in goals])
        return {"model": model.id, "images": images}

    return app
