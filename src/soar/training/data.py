"""From episodes to batches: which goals, which actions and which steps each kind of data contributes (paper §B.2.2)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from soar.datasets import (
    HindsightSampler,
    Mixture,
    StepArrays,
    balanced_by_instruction,
    co_training_weights,
    drop_empty,
    drop_idle,
    gripper_moments,
    steady_gripper,
    sum_actions,
)
from soar.datasets.grasp_reweighting import balanced_by_place
from soar.datasets.hindsight import DISCOUNT, Goals
from soar.errors import ConfigError, StoreError
from soar.images import ImageFitter


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceConfig:
    """How one source of episodes is sampled.

    Attributes:
        goal_window: Smallest and largest distance of a hindsight goal, in steps.
        goals: How the distance is distributed, see `soar.datasets.hindsight`.
        goal_discount: Of geometric goals, between 0 and 1.
        imagined_goals: Share of the goals that are no hindsight but the subgoal that was pursued, as it was imagined.
        sum_actions: Imitate the sum of two consecutive actions, against the slowness of a policy that averages modes.
        drop_idle: Leave out the steps at which nothing moved.
        clean_grasps: Undo changes of the gripper's target that do not last, and leave out the steps that lead to a gripper
            closed around nothing.
        balance_instructions: Draw every instruction equally often, however often it was attempted.
        gripper_weight: How many times as often as others the moments are drawn at which the gripper opens or closes.
        balance_places: Draw episodes so that the places of their grasps are distributed as in the pre-training data.
        weigh_by_probability: Draw episodes in proportion to the judge's probability of success, instead of all alike.
    """

    goal_window: tuple[int, int] = (0, 24)
    goals: Goals = "uniform"
    goal_discount: float = DISCOUNT
    imagined_goals: float = 0.0
    sum_actions: bool = False
    drop_idle: bool = False
    clean_grasps: bool = False
    balance_places: bool = False
    balance_instructions: bool = False
    gripper_weight: float = 1.0
    weigh_by_probability: bool = False

    def __post_init__(self) -> None:
        low, high = self.goal_window
        if not 0 <= low <= high:
            raise ConfigError(f"goal_window must be [low, high] with 0 <= low <= high, got [{low}, {high}]")
        if not 0 < self.goal_discount < 1:
            raise ConfigError(f"goal_discount must lie between 0 and 1, got {self.goal_discount}")
        if not 0 <= self.imagined_goals <= 1:
            raise ConfigError(f"imagined_goals must lie between 0 and 1, got {self.imagined_goals}")
        if not 0 < self.gripper_weight < np.inf:
            raise ConfigError(f"gripper_weight must be positive, got {self.gripper_weight}")


def with_instructions(arrays: StepArrays, where: str) -> StepArrays:
    """Return the episodes that have an instruction.

    Args:
        arrays: The episodes.
        where: What they are from, for the message.

    Raises:
        StoreError: None has.
    """
    has_E = np.array([bool(instruction.strip()) for instruction in arrays.instructions], bool)
    if not has_E.any():
        raise StoreError(
            f"none of the {len(has_E)} episodes of {where} has an instruction, from which a policy could learn language. "
            "Train a goal-conditioned policy (`soar train gcbc`), or choose other episodes."
        )
    return arrays if has_E.all() else arrays.select(has_E)


def make_sampler(arrays: StepArrays, config: SourceConfig, reference: StepArrays | None = None) -> HindsightSampler:
    """Return the sampler of one source; `reference` is the pre-training data that `balance_places` compares with.

    Raises:
        ConfigError: Places are to be balanced, and there is no reference.
    """
    if config.balance_places and reference is None:
        raise ConfigError("balance_places compares autonomous data with the pre-training data: set it for `autonomous` only")
    if config.clean_grasps:
        arrays = steady_gripper(arrays)
    # Idle steps are judged by the motion that was executed, before the actions are summed.
    kept = arrays.has_action_N
    if config.drop_idle:
        kept = kept & drop_idle(arrays)
    if config.clean_grasps:
        kept = kept & drop_empty(arrays)
    weights = []
    if config.balance_instructions:
        weights.append(balanced_by_instruction(arrays))
    if config.gripper_weight != 1:
        weights.append(np.where(gripper_moments(arrays), config.gripper_weight, 1.0))
    if config.balance_places and reference is not None:
        weights.append(balanced_by_place(arrays, reference))
    if config.weigh_by_probability:
        weights.append(arrays.probabilities_E[arrays.episode_N])
    if config.sum_actions:
        arrays = sum_actions(arrays)
    return HindsightSampler(
        arrays,
        window=config.goal_window,
        goals=config.goals,
        discount=config.goal_discount,
        imagined=config.imagined_goals,
        kept=kept,
        weights=np.prod(weights, axis=0) if weights else None,
    )


def co_training_mixture(
    pretraining: HindsightSampler,
    autonomous: HindsightSampler | None,
    *,
    upsampling: float = 10.0,
    cap: float = 0.5,
    share: float | None = None,
    fitter: ImageFitter | None = None,
) -> Mixture:
    """Return the mixture of sources `pretraining` and `autonomous`, the latter up-sampled but at most a share of `cap`.

    With `share`, that is what autonomous data gets, whatever its amount: 0.2 makes it 80/20. `fitter` brings imagined goals to
    the size of the other images.
    """
    if autonomous is None:
        return Mixture([("pretraining", pretraining, 1.0)], fitter)
    weights = co_training_weights(len(pretraining), len(autonomous), upsampling, cap)
    if share is not None:
        weights = 1 - share, share
    return Mixture([("pretraining", pretraining, weights[0]), ("autonomous", autonomous, weights[1])], fitter)
