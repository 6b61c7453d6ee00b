"""POST /v1/actions: observations and goals to chunks of actions, batched over all robots that ask.

A policy that takes goal images and instructions gets either as `goal`, or an image with an `instruction` beside it.

A policy that looks at further cameras says which (`cameras`), and a request has their pictures in `images`. That is protocol 2,
which clients that know of no further cameras refuse.

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

from soar.cameras import MAIN, MOST
from soar.policies.base import CONDITIONINGS, Conditioning, cameras_of
from soar.policies.chunked import PlanningPolicy
from soar.policies.remote import KIND
from soar.remote.client import SEVERAL_CAMERAS
from soar.remote.wire import Picture, WireError, open_packed
from soar.serving.application import MOST_ITEMS, ServiceConfig, check_count, new_application, parsed
from soar.serving.batching import Batcher
from soar.serving.memory import aside, book, each_aside
from soar.types import STATE_DIM, Goal, ImageAndInstruction, Observation

_LONGEST = 500
Number = Annotated[float, Field(allow_inf_nan=False)]
Question = tuple[Observation, Goal, int]


class ActionItem(BaseModel):
    """What one robot sees and wants."""

    image: dict[str, Any]
    images: Annotated[dict[str, dict[str, Any]], Field(max_length=MOST)] = Field(default_factory=dict)
    state: Annotated[list[Number], Field(min_length=STATE_DIM, max_length=STATE_DIM)]
    goal: dict[str, Any] | Annotated[str, Field(min_length=1, max_length=_LONGEST)]
    instruction: Annotated[str, Field(min_length=1, max_length=_LONGEST)] | None = None
    plan_index: int = Field(ge=0, lt=2**31)


class ActionRequest(BaseModel):
    """What some robots see and want."""

    items: Annotated[list[ActionItem], Field(max_length=MOST_ITEMS)]


def policy_application(policy: PlanningPolicy, config: ServiceConfig) -> FastAPI:
    """Return the application that serves a policy."""

    def plan(items: list[Question]) -> Sequence[NDArray[np.float32]]:
        return list(policy.plan([seen for seen, _, _ in items], [goal for _, goal, _ in items], [index for *_, index in items]))

    batcher = Batcher(plan, config.batch)
    cameras = cameras_of(policy)
    wanted = [camera for camera in cameras if camera != MAIN]
    about: dict[str, Any] = {
        "conditioning": policy.conditioning,
        "execute": policy.execute,
        "image_size": policy.image_size,
        "action_std": policy.action_std.tolist(),
        **({"cameras": list(cameras), "protocol": SEVERAL_CAMERAS} if wanted else {}),
    }
    app = new_application(KIND, policy.id, batcher, about)

    def opened(body: bytes) -> list[tuple[dict[str, Picture], Picture | str, ActionItem]]:
        items = parsed(body, ActionRequest).items
        check_count(len(items) * (1 + len(wanted)), config.limits)
        if not all(_fits(item, policy.conditioning) for item in items):
            raise WireError(f"{policy.id} follows {CONDITIONINGS[policy.conditioning]}")
        for item in items:
            if missing := [camera for camera in wanted if camera not in item.images]:
                raise WireError(
                    f"{policy.id} looks at the camera {missing[0]}, of which the request has no picture: name it in the "
                    "workcell's file (`cameras`)"
                )
        return [
            (
                {MAIN: open_packed(item.image, config.limits)}
                | {camera: open_packed(item.images[camera], config.limits) for camera in wanted},
                item.goal if isinstance(item.goal, str) else open_packed(item.goal, config.limits),
                item,
            )
            for item in items
        ]

    def question(pictures: dict[str, Picture], goal: Picture | str, item: ActionItem) -> Question:
        images = {camera: picture() for camera, picture in pictures.items()}
        seen = Observation(image_HWC=images.pop(MAIN), state=np.array(item.state, np.float32), extra_images=images)
        if isinstance(goal, str):
            return seen, goal, item.plan_index
        told = goal() if item.instruction is None else ImageAndInstruction(image_HWC=goal(), instruction=item.instruction)
        return seen, told, item.plan_index

    @app.post("/v1/actions")
    async def actions(request: Request) -> dict[str, Any]:
        body = await request.body()
        items = await aside(lambda: opened(body))
        book(sum(one.bytes for pictures, goal, _ in items for one in (*pictures.values(), goal) if isinstance(one, Picture)))
        chunks = await batcher(await each_aside(partial(question, *item) for item in items))
        return {"model": policy.id, "chunks": [chunk_HD[: policy.execute].tolist() for chunk_HD in chunks]}

    return app


def _fits(item: ActionItem, conditioning: Conditioning) -> bool:
    """Whether a policy takes what a robot is told; an instruction beside an instruction says nothing."""
    if item.instruction is not None:
        return conditioning == "both" and not isinstance(item.goal, str)
    return conditioning != ("goal" if isinstance(item.goal, str) else "language")
