"""Units and kinds of a dataset's vectors, by what they are over all of its episodes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from soar.episodes import EpisodeStore
from soar.errors import FormatError
from soar.formats.importing import import_episodes
from soar.formats.lerobot import LeRobotConfig
from soar.formats.raw import RawConfig, open_raw
from soar.formats.rlds import RLDSConfig, open_rlds
from soar.formats.vector_maps import VectorConfig, parse_map
from soar.formats.vector_survey import survey_vectors

from .datasets import rlds_record, write_raw, write_records
from .lerobot_folders import POSE, imported, write_lerobot

STEPS = 40
MILLIMETRES, DEGREES = 1000.0, 180 / np.pi


def moving(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """States and actions of an arm that goes where it is told, and closes its gripper."""
    rng = np.random.default_rng(seed)
    actions = rng.normal(0, 0.01, (STEPS, 7)).astype(np.float32)
    states = np.cumsum(np.vstack([np.array([[0.3, 0.1, 0.2, 0.1, 1.2, -0.5, 0]]), actions[:-1]]), axis=0).astype(np.float32)
    actions[:, 6] = np.arange(STEPS) < STEPS / 2
    states[:, 6] = np.r_[1, actions[:-1, 6]]
    return states, actions


def changed(vectors: np.ndarray, part: slice, factor: float) -> np.ndarray:
    found = vectors.copy()
    found[:, part] *= factor
    return found


def surveyed(states: np.ndarray, actions: np.ndarray, *, reached: bool = False, **maps: str) -> tuple[str, ...]:
    config = VectorConfig(**maps)
    return survey_vectors([(states, actions)] * 2, config, actions="reached" if reached else "commanded", place="DATA")[1]


def test_an_arm_that_does_what_it_is_told_is_not_remarkable() -> None:
    assert surveyed(*moving()) == ()


@pytest.mark.parametrize(
    ("part", "factor", "unit"),
    [(slice(0, 3), MILLIMETRES, "millimetres"), (slice(0, 3), 100.0, "centimetres"), (slice(3, 6), DEGREES, "degrees")],
)
@pytest.mark.parametrize("vector", ["state", "action"])
def test_other_units_are_refused_with_a_map_that_makes_them_right(part: slice, factor: float, unit: str, vector: str) -> None:
    states, actions = moving()
    if vector == "action":
        actions = changed(actions, part, factor * (10 if unit == "degrees" else 1))
        factor *= 10 if unit == "degrees" else 1
    else:
        states = changed(states, part, factor)
    with pytest.raises(FormatError, match=rf"DATA: the .* in the {vector}s are up to .*, 99 of 100 within ") as refused:
        surveyed(states, actions)
    offered = re.search(rf"if they are {unit}: --{vector}-map (\S+?)[;.]? ", str(refused.value) + " ")
    assert offered
    map = parse_map(offered[1], [""] * 7, flag="--map")
    values = states if vector == "state" else actions
    right = values.copy()
    right[:, part] /= {"millimetres": 1e3, "centimetres": 1e2, "degrees": DEGREES}[unit]
    np.testing.assert_allclose(map(values, "here"), right, rtol=1e-5)
    assert any("by the --" in note for note in surveyed(states, actions, **{f"{vector}_map": "x=0"})), "a map is a word"


def test_poses_to_reach_are_no_motions() -> None:
    states, actions = moving()
    poses = actions.copy()
    poses[:-1, :6] = states[1:, :6] + 0.003
    with pytest.raises(FormatError, match=r"the actions are poses to reach and no motions: .*Import with --actions reached"):
        surveyed(states, poses)
    assert surveyed(states, poses, reached=True) == ()
    assert surveyed(states, changed(actions, slice(0, 6), 1000.0), reached=True) == (), "motions come from the states"


@pytest.mark.parametrize(
    ("part", "factor", "words"),
    [(slice(0, 3), 15.0, "the motions that the states show are 0.0667 times"), (slice(3, 6), 20.0, "turns")],
)
def test_commands_that_are_many_times_what_the_arm_does_are_said(part: slice, factor: float, words: str) -> None:
    states, actions = moving()
    assert any(words in note for note in surveyed(states, changed(actions, part, factor)))


def test_turns_of_quaternions_in_another_order_are_said() -> None:
    states, actions = moving()
    still = np.tile([1, 0, 0, 0], (STEPS, 1))
    actions = np.hstack([actions[:, :3], still, actions[:, 6:]]).astype(np.float32)
    right, wrong = (
        parse_map(f"x=0,y=1,z=2,{text},gripper=7", [""] * 8, flag="--action-map")
        for text in ("qw=3,qx=4,qy=5,qz=6", "qx=3,qy=4,qz=5,qw=6")
    )
    for map, said in ((right, False), (wrong, True)):
        numbers = [(states, map.measured(actions))]
        notes = survey_vectors(numbers, VectorConfig(), actions="commanded", place="DATA", action=map)[1]
        assert any("the turns in the actions are up to 3.142" in note for note in notes) is said


def test_commands_of_minus_1_to_1_are_refused_with_the_factor_that_the_states_show() -> None:
    states, actions = moving()
    normalised = changed(actions, slice(0, 3), 40.0)
    with pytest.raises(FormatError, match=r"if they are what makes the motions that the states show: --action-map x=0\*0.025,"):
        surveyed(states, normalised)


def test_single_steps_that_are_impossible_are_said_and_refuse_nothing() -> None:
    states, actions = moving()
    states = np.tile(states, (4, 1))
    actions = np.tile(actions, (4, 1))
    states[7, 0] = 300
    (note,) = surveyed(states, actions)
    assert "the positions in the states are up to 300, 99 of 100 within 0." in note


@pytest.mark.parametrize("format", ["rlds", "raw", "lerobot"])
def test_every_format_looks_at_units_and_takes_the_map_that_it_offers(tmp_path: Path, format: str) -> None:
    states, actions = moving()
    degrees = changed(states, slice(3, 6), DEGREES)

    def read(store: str, **maps: str) -> np.ndarray:
        config = VectorConfig(**maps)
        if format == "lerobot":
            options = LeRobotConfig(vectors=config)
            return imported(tmp_path / "d", tmp_path / store, options)[0].states_TD
        target = EpisodeStore(tmp_path / store, mode="create")
        dataset = (
            open_rlds(tmp_path / "d", RLDSConfig(vectors=config))
            if format == "rlds"
            else open_raw(tmp_path / "d", RawConfig(vectors=config))
        )
        import_episodes(dataset, target)
        return target.read_encoded(target.episodes()[0].id).states_TD

    if format == "rlds":
        record = rlds_record(STEPS, steps__observation__state=degrees, steps__action=actions)
        write_records(tmp_path / "d" / "x-train.tfrecord-00000-of-00001", record)
    elif format == "raw":
        write_raw(tmp_path / "d" / "traj0", steps=STEPS)
        np.save(tmp_path / "d/traj0/eef_poses.npy", degrees)
        np.save(tmp_path / "d/traj0/actions.npy", actions)
    else:
        write_lerobot(tmp_path / "d", [[0] * STEPS], names=POSE, states=[degrees], vectors=[actions])
    with pytest.raises(FormatError, match="the angles in the states are up to") as refused:
        read("no")
    offered = re.search(r"if they are degrees: --state-map (\S+);", str(refused.value))
    assert offered
    np.testing.assert_allclose(read("s", state_map=offered[1]), states, atol=1e-5)
