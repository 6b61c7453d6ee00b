"""POST /v1/actions: observations and goals to chunks of actions, batched over all robots that ask.

The server remembers nothing: a request says how often its robot was planned for, and the client keeps what was planned.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, Request
from numpy.typing import NDArray
from pydantic import BaseModel, Field

from soar.policies.chunked import PlanningPolicy
from soar.policies.remote import KIND
from soar.remote.wire import Picture, WireError, open_packed
from soar.serving.application import MOST_ITEMS, ServiceConfig, check_count, new_application, parsed
from soar.serving.batching import Batcher
from soar.serving.memory import aside, book, each_aside
from soar.types import STATE_DIM, Goal, Observation

_LONGEST = 500
Number = Annotated[float, Field(allow_inf_nan=False)]
Question = tuple[Observation, Goal, int]


class ActionItem(BaseModel):
    """What one robot sees and wants."""

    image: dict[str, Any]
    state: Annotated[list[Number], Field(min_length=STATE_DIM, max_length=STATE_DIM)]
    goal: dict[str, Any] | Annotated[str, Field(min_length=1, max_length=_LONGEST)]
    plan_index: int = Field(ge=0, lt=2**31)


class ActionRequest(BaseModel):
    """What some robots see and want."""

    items: Annotated[list[ActionItem], Field(max_length=MOST_ITEMS)]


def policy_application(policy: PlanningPolicy, config: ServiceConfig) -> FastAPI:
    """Return the application that serves a policy."""

    def plan(items: list[Question]) -> Sequence[NDArray[np.float32]]:
        return list(policy.plan([seen for seen, _, _ in items], [goal for _, goal, _ in items], [index for *_, index in items]))

    batcher = Batcher(plan, config.batch)
    about = {
        "conditioning": policy.conditioning,
        "execute": policy.execute,
        "image_size": policy.image_size,
        "action_std": policy.action_std.tolist(),
    }
    app = new_application(KIND, policy.id, batcher, about)

    def opened(body: bytes) -> list[tuple[Picture, Picture | str, ActionItem]]:
        items = parsed(body, ActionRequest).items
        check_count(len(items), config.limits)
        if any(isinstance(item.goal, str) is not (policy.conditioning == "language") for item in items):
            raise WireError(f"{policy.id} follows {'instructions' if policy.conditioning == 'language' else 'goal images'}")
        return [
            (
                open_packed(item.image, config.limits),
                item.goal if isinstance(item.goal, str) else open_packed(item.goal, config.limits),
                item,
            )
            for item in items
        ]

    def question(picture: Picture, goal: Picture | str, item: ActionItem) -> Question:
        seen = Observation(image_HWC=picture(), state=np.array(item.state, np.float32))
        return seen, goal if isinstance(goal, str) else goal(), item.plan_index

    @app.post("/v1/actions")
    async def actions(request: Request) -> dict[str, Any]:
        body = await request.body()
        items = await aside(lambda: opened(body))
        book(sum(picture.bytes for item in items for picture in item[:2] if isinstance(picture, Picture)))
        chunks = await batcher(await each_aside(partial(question, *item) for item in items))
        return {"model": policy.id, "chunks": [chunk_HD[: policy.execute].tolist() for chunk_HD in chunks]}

    return app
