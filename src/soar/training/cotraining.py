"""From stores of episodes to a trained policy: pre-training data, and what the policy collected itself, mixed (§B.2.2)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from soar.cameras import MAIN
from soar.datasets import Mixture, StepArrays, action_statistics, load_arrays, train_validation_split
from soar.datasets.image_cache import free_bytes
from soar.datasets.relabelled import relabelled
from soar.episodes import EpisodeStore
from soar.episodes.gripper import check_commands
from soar.episodes.magnitudes import check_magnitudes
from soar.errors import ConfigError, StoreError
from soar.policies.lineage import Lineage, git_revision
from soar.training.config import PolicyTrainingConfig
from soar.training.data import SourceConfig, co_training_mixture, make_sampler, with_instructions
from soar.training.distributed import current_group
from soar.training.policy import train_policy

Judge = Literal["vlm", "simulator"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AutonomousData:
    """Which autonomous episodes are learned from.

    Attributes:
        store: Folder or URI of the store.
        version: Of the store; None for the newest.
        success_only: Leave out what was not judged a success.
        label: Whose judgement counts; the simulator's is for ablations.
        threshold: Least probability of success; 0 leaves it to the label.
        where: SQL that the episodes match besides.
        instructions_by: Who says what was done in an episode, see `soar.datasets.relabelled`; empty for what was commanded.
        top_k: With that, at most so many instructions an episode.
        min_p: With that, the least probability of an instruction.
    """

    store: str | Path
    version: Mapping[str, int] | None = None
    success_only: bool = True
    label: Judge = "vlm"
    threshold: float = 0.0
    where: str = ""
    instructions_by: str = ""
    top_k: int = 1
    min_p: float = 0.0

    def __post_init__(self) -> None:
        if self.top_k < 1 or not 0 <= self.min_p < 1:
            raise ConfigError(f"top_k must be at least 1 and min_p in 0..1, 1 excluded; got {self.top_k} and {self.min_p}")
        if not 0 <= self.threshold < 1:
            raise ConfigError(f"the threshold on the probability of success must be in 0..1, 1 excluded; got {self.threshold}")
        if self.threshold and (self.label == "simulator" or not self.success_only):
            raise ConfigError("a threshold filters what the VLM judged successes: use it with --label vlm and --success-only")

    def filter(self) -> str | None:
        """Return the SQL that selects the episodes, None for all."""
        parts = [f"({self.where})"] if self.where else []
        if self.success_only:
            parts.append("success" if self.label == "vlm" else "simulator_success")
        if self.threshold:
            parts.append(f"probability >= {self.threshold}")
        return " AND ".join(parts) or None


def cotrain(
    config: PolicyTrainingConfig,
    folder: Path,
    *,
    pretraining: str | Path,
    pretraining_where: str | None = None,
    autonomous: AutonomousData | None = None,
    initial: Path | None = None,
    validation_share: float = 0.0,
    cache_bytes: int | None = None,
    device: str = "cpu",
    track: Callable[[int, dict[str, float]], None] | None = None,
    on_step: Callable[[int, int, dict[str, float]], None] | None = None,
) -> Path:
    """Train a policy on pre-training data, and on autonomous data if there is any, and write it to a folder; resumes.

    Args:
        config: How.
        folder: Where the policy goes.
        pretraining: Folder or URI of the store of demonstrations.
        pretraining_where: SQL that selects some of them.
        autonomous: What the policy collected itself.
        initial: Folder of the policy to continue from; None to begin with a fresh network.
        validation_share: Of the episodes of each source, held out; their losses are reported by source.
        cache_bytes: Memory of each process for the decoded images of each source; None shares out what is free.
        device: Of torch.
        track: See `soar.training.loop.fit`.
        on_step: See `soar.training.loop.fit`.

    Returns:
        `folder`.

    Raises:
        StoreError: A store is missing, or no episode is left to learn from: none that matches, or none with an instruction; or
            the gripper's commands are not 0 to 1.
        ConfigError: The folder holds a training run of another kind, or there is no such camera.
        CheckpointError: `initial` is no policy, or of another network.
    """
    camera = config.network.camera
    for name, source in (("pretraining", config.pretraining), ("autonomous", config.autonomous)):
        if camera != MAIN and source.imagined_goals and (name == "pretraining" or autonomous is not None):
            raise ConfigError(
                f"{name}.imagined_goals: whose camera's pictures imagined goals are, a store does not say; with --camera "
                f"{camera} leave them out (--imagined-goals 0)"
            )
    demonstrations = EpisodeStore(pretraining, camera=camera)
    data = {"pretraining": demonstrations.version}
    sources = {"pretraining": _episodes(demonstrations, pretraining_where, config, config.pretraining, cache_bytes)}
    statistics = action_statistics(sources["pretraining"])
    if autonomous is not None:
        store = EpisodeStore(autonomous.store, version=autonomous.version, camera=camera)
        data["autonomous"] = store.version
        arrays = _episodes(store, autonomous.filter(), config, config.autonomous, cache_bytes)
        if autonomous.instructions_by:
            arrays = relabelled(
                arrays,
                EpisodeStore(store.uri, version=data["autonomous"]).episodes(autonomous.filter()),
                autonomous.instructions_by,
                top_k=autonomous.top_k,
                min_p=autonomous.min_p,
                where=store.uri,
            )
        sources["autonomous"] = arrays
    held_out = {}
    if validation_share:
        for name, arrays in sources.items():
            if len(arrays.lengths_E) < 2:
                raise StoreError(f"source {name!r} has one episode: none can be held out of it. Train with --validation 0.")
            sources[name], held_out[name] = train_validation_split(arrays, validation_share, config.fit.seed)
    mixture = _mixture(sources, config)
    return train_policy(
        config,
        mixture,
        statistics,
        folder,
        validation=_mixture(held_out, config) if held_out else None,
        initial=initial,
        lineage=Lineage(data=data, revision=git_revision()),
        device=device,
        track=track,
        on_step=on_step,
    )


def _episodes(
    store: EpisodeStore, where: str | None, config: PolicyTrainingConfig, source: SourceConfig, cache_bytes: int | None
) -> StepArrays:
    if cache_bytes is None:
        # The processes of a group are taken to be on one machine; on several, each could have more.
        cache_bytes = free_bytes() // current_group().size
    arrays = load_arrays(
        store, where, cache_bytes=cache_bytes, subgoals=source.imagined_goals > 0, fitter=config.network.fitter
    )
    check_commands(arrays.actions_ND, store.uri)
    check_magnitudes({"state": arrays.states_ND, "action": arrays.actions_ND}, store.uri)
    return with_instructions(arrays, store.uri) if config.network.conditioning != "goal" else arrays


def _mixture(sources: Mapping[str, StepArrays], config: PolicyTrainingConfig) -> Mixture:
    own = sources.get("autonomous")
    return co_training_mixture(
        make_sampler(sources["pretraining"], config.pretraining),
        None if own is None else make_sampler(own, config.autonomous, sources["pretraining"]),
        upsampling=config.upsampling,
        cap=config.autonomous_cap,
        share=config.autonomous_share,
        fitter=config.network.fitter,
    )
