"""One episode of a task, for whoever uses SOAR as a library; `soar.collect.collector` chooses tasks and judges, too."""

from __future__ import annotations

import uuid

from soar.collect.rollout import RolloutConfig, rollout
from soar.errors import ConfigError
from soar.policies.base import Policy, begin, check_cameras
from soar.robots.workcell import Workcell
from soar.subgoals.base import SubgoalModel
from soar.types import Episode, Label, Provenance


def run_episode(
    workcell: Workcell,
    policy: Policy,
    instruction: str,
    subgoal_model: SubgoalModel | None = None,
    seed: int = 0,
    *,
    config: RolloutConfig | None = None,
) -> Episode:
    """Let a robot pursue an instruction, from home and from whatever is on the table now (`workcell.reset_for` sets a start).

    Args:
        workcell: Open.
        policy: Acts.
        instruction: What is to be done.
        subgoal_model: Imagines what a policy with goal images is to reach; None for one that follows instructions, or is to.
        seed: Of the subgoals.
        config: How long; 5 times 20 actions by default.

    Returns:
        What was seen and done. Where the workcell knows the truth, it is the label (`source` is `simulator`).

    Raises:
        ConfigError: The policy wants goal images and there is no subgoal model, or a camera that the workcell lacks.
        RobotFault: The robot failed.
        SafetyError: An action of the policy was refused.
    """
    begin(policy, instruction)
    if policy.conditioning == "goal" and subgoal_model is None:
        raise ConfigError(
            f"policy {policy.id} reaches images of goals, which a subgoal model has to imagine: pass one, such as "
            "load_subgoal_model(str(soar.base_models.default_weights('subgoal')))"
        )
    model = None if policy.conditioning == "language" else subgoal_model
    check_cameras(policy, workcell.robot.cameras, f"workcell {workcell.name!r}", model)
    workcell.robot.home()
    result = rollout(workcell.robot, instruction, model, policy, seed=seed, config=config or RolloutConfig())
    truth = None if workcell.truth is None else workcell.truth(instruction)
    return Episode(
        id=f"episode-{uuid.uuid4().hex[:12]}",
        scene=workcell.scene.name,
        instruction=instruction,
        images_THWC=result.images_THWC,
        states_TD=result.states_TD,
        actions_TD=result.actions_TD,
        subgoals=result.subgoals,
        reflex_steps=result.reflex_steps,
        limited_steps=result.limited_steps,
        extra_images=result.extra_images,
        labels=() if truth is None else (Label(success=truth, probability=None, source="simulator"),),
        provenance=Provenance(
            policy=policy.id, subgoal_model="" if model is None else model.id, robot=workcell.name, seed=seed
        ),
    )
