"""The models of an autonomous robot, by their names; and what a workcell that is a simulator can put in their place."""

from __future__ import annotations

from dataclasses import dataclass

from soar.errors import ConfigError
from soar.policies.base import Policy
from soar.policies.loading import load_policy
from soar.robots.workcell import Workcell
from soar.subgoals.base import SubgoalModel
from soar.subgoals.loading import load_subgoal_model
from soar.subgoals.oracle import OracleSubgoals
from soar.vlm.base import VisionLanguageModel
from soar.vlm.loading import check_vlm, load_vlm
from soar.vlm.oracle import PAPER_PRECISION, OracleVLM

ORACLE = "oracle"
"""In place of a model's name: the workcell itself, which only a simulator can."""
ORACLE_PRECISION = {ORACLE: PAPER_PRECISION, "truth": 1.0}
"""In place of a vision-language model's name: the workcell's own answers, and what share of the "yes" is right."""
NONE = "none"
"""In place of a subgoal model's name: there are no subgoals; a policy that takes both follows the instruction alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Models:
    """Where the models of an autonomous robot are.

    Attributes:
        policy: Folder of the policy, ONNX file, URL of one behind `soar serve`, or `MODULE:NAME` (see `soar.policies.loading`).
        subgoals: Folder of the subgoal model, another model's YAML file, URL, `MODULE:NAME` (see `soar.subgoals.loading`), or
            `oracle`; a language-conditioned policy acts without, and with `none` one that takes both.
        vlm: Folder of the VQA model, another model's YAML file, `MODULE:NAME` (see `soar.vlm.loading`), `human`, or `oracle`
            (the simulator's truth with the paper's noise, §D).
    """

    policy: str
    subgoals: str
    vlm: str


def check_models(models: Models) -> Policy:
    """Load all models once, so that what is wrong with them shows before any work begins; returns the policy.

    Raises:
        CheckpointError: One of them is missing, foreign or damaged.
        ModelServerError: The server of one of them does not answer.
        ConfigError: There are to be no subgoals, and the policy reaches nothing else.
    """
    policy = load_policy(models.policy)
    if wants_subgoals(policy, models.subgoals) and models.subgoals != ORACLE:
        load_subgoal_model(models.subgoals)
    if models.vlm not in ORACLE_PRECISION:
        check_vlm(models.vlm)
    return policy


def wants_subgoals(policy: Policy, subgoals: str) -> bool:
    """Whether subgoals are imagined for a policy, by a model of that name; asked between episodes, as the policy is reset.

    Raises:
        ConfigError: There are to be none, and the policy reaches nothing else.
    """
    policy.reset()  # between episodes a policy by the task says what it may be told, and not what it was told last
    if policy.conditioning == "goal" and subgoals == NONE:
        raise ConfigError(
            f"--subgoals {NONE}: policy {policy.id} follows goal images, which somebody has to imagine. Name a subgoal model, "
            "or a policy that follows instructions (`soar train lcbc`) or both (`soar train glcbc`)"
        )
    return policy.conditioning == "goal" or (policy.conditioning == "both" and subgoals != NONE)


def open_subgoals(name: str, workcell: Workcell) -> SubgoalModel:
    """Return the model of that name, or with `oracle` the workcell's own imagination.

    Raises:
        CheckpointError: It cannot be loaded.
        ConfigError: Its YAML file is invalid, or the workcell cannot imagine.
    """
    if name != ORACLE:
        return load_subgoal_model(name)
    imagine = workcell.imagine
    if imagine is None:
        raise ConfigError(_no_oracle(f"--subgoals {name}", workcell, "imagine(instruction, seed)"))
    return OracleSubgoals(imagine)


def open_vlm(name: str, workcell: Workcell, seed: int = 0) -> VisionLanguageModel:
    """Return the model of that name, or with `oracle` the workcell's noisy answers, and with `truth` its answers.

    Raises:
        CheckpointError: It cannot be loaded.
        ConfigError: Its YAML file is invalid, or the workcell has no answers.
    """
    if name not in ORACLE_PRECISION:
        return load_vlm(name)
    answer = workcell.answer
    if answer is None:
        raise ConfigError(_no_oracle(f"--vlm {name}", workcell, "answer(question)"))
    return OracleVLM(answer, precision=ORACLE_PRECISION[name], seed=seed)


def _no_oracle(flag: str, workcell: Workcell, method: str) -> str:
    return (
        f"{flag}: workcell {workcell.name!r} has no oracle, since its driver lacks {method}; that is for simulators. "
        "Name a model."
    )
