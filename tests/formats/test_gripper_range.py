"""What a gripper's numbers mean: over a whole dataset, in any unit, either way round."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.cli import main
from soar.episodes import EpisodeStore
from soar.episodes.gripper import check_commands, examine_gripper
from soar.errors import ConfigError, FormatError, StoreError
from soar.formats.gripper_range import AS_IT_IS, GripperRange, Grippers, parse_range, survey
from soar.formats.importing import import_episodes
from soar.formats.lerobot import LeRobotConfig
from soar.formats.raw import RawConfig, open_raw
from soar.formats.rlds import RLDSConfig, open_rlds
from soar.formats.vector_maps import VectorConfig
from tests.episodes.builders import make_episode

from .datasets import rlds_record, write_raw, write_records
from .lerobot_folders import imported, motion, write_lerobot

STEPS = 12
OPEN_THEN_CLOSED = (np.arange(STEPS) < STEPS // 2).astype(float)
FOLLOWS = np.clip(1.2 - 0.1 * np.maximum(np.arange(STEPS) - 4, 0), 0.3, 1)
"""An opening that closes slowly around something after the command."""
units = st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)).filter(lambda ends: abs(ends[0] - ends[1]) > 1e-2)


def found(
    commands: np.ndarray,
    openings: np.ndarray | float = 1.0,
    *,
    episodes: int = 3,
    action_closed: bool = False,
    state_closed: bool = False,
    **flags: str,
) -> Grippers:
    pairs = [(np.broadcast_to(openings, len(commands)), commands) for _ in range(episodes)]
    config = VectorConfig(**flags)
    return survey(pairs, config, place="DATA", action_closed=action_closed, state_closed=state_closed)


@given(units, st.lists(st.floats(0, 1), min_size=2, max_size=20))
def test_a_range_that_is_given_makes_any_unit_0_to_1(ends: tuple[float, float], wanted: list[float]) -> None:
    closed, open = ends
    commands = np.array([closed + value * (open - closed) for value in wanted])
    grippers = found(commands, gripper_range=f"{closed!r}:{open!r}")
    np.testing.assert_allclose(grippers.commands(commands), wanted, atol=1e-6)
    assert grippers.notes == ()


@given(units)
def test_a_range_that_is_written_and_read_is_the_same_and_turned_twice_it_is_itself(ends: tuple[float, float]) -> None:
    range = parse_range(f"{ends[0]!r}:{ends[1]!r}", "--gripper-range")
    assert (range.closed, range.open) == ends
    assert range.reversed.reversed == range
    assert range.reversed(np.array([0.3])) == pytest.approx(1 - range(np.array([0.3])), abs=1e-6, rel=1e-6)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, AS_IT_IS),
        (-0.03, 1.04, AS_IT_IS),
        (-1, 1, GripperRange(closed=-1)),
        (-0.98, 0.97, GripperRange(closed=-1)),
        (0, 0.08, GripperRange(open=0.08)),
        (0, float(np.float32(0.2)), GripperRange(open=float(np.float32(0.2)))),
        (0.002, 0.04, GripperRange(open=0.04)),
        (0, 100, GripperRange(open=100)),
        (1.5, 98, GripperRange(open=100)),
    ],
)
def test_clear_units_are_mapped_and_all_but_0_to_1_is_said(low: float, high: float, expected: GripperRange) -> None:
    grippers = found(low + OPEN_THEN_CLOSED * (high - low))
    assert grippers.commands == expected
    assert bool(grippers.notes) == (expected != AS_IT_IS)
    if grippers.notes:
        ends = f"0 (closed, {expected.closed:.4g}) to 1 (open, {expected.open:.4g})"
        assert f"{low:.4g} to {high:.4g}, are stored as {ends}" in grippers.notes[0]
        assert f"--gripper-range {expected.reversed}" in grippers.notes[0]


@pytest.mark.parametrize(("low", "high"), [(0, 255), (0, 850), (0, 1.57), (-3, 2), (-1, 0), (-1, -1), (0, 45), (0, 80), (5, 5)])
def test_units_that_are_not_clear_are_refused_with_the_flag(low: float, high: float) -> None:
    with pytest.raises(FormatError, match=rf"lie between {low} and {high}, .*--gripper-range {low}:{high}, or {high}:{low}"):
        found(low + OPEN_THEN_CLOSED * (high - low))


@pytest.mark.parametrize(("low", "high"), [(0, 0.3), (0, 0.5), (0, 0.8), (0.6, 1), (0.1, 0.85)])
def test_parts_of_0_to_1_are_refused_until_somebody_says_what_they_are(low: float, high: float) -> None:
    commands = low + OPEN_THEN_CLOSED * (high - low)
    with pytest.raises(FormatError, match=rf"--gripper-range {low}:{high}, or {high}:{low} .*; --gripper-range 0:1 if"):
        found(commands)
    np.testing.assert_allclose(found(commands, gripper_range=f"{high}:{low}").commands(commands), 1 - OPEN_THEN_CLOSED)
    assert found(commands, gripper_range="0:1").commands == AS_IT_IS
    assert found(0.25 + OPEN_THEN_CLOSED * 0.7).commands == AS_IT_IS, "it closed around things"


def test_commands_of_changes_are_refused() -> None:
    changes = np.array([0, 0, 1, 0, 0, 0, -1, 0, 0, 0, 0, 0], float)
    with pytest.raises(FormatError, match="are -1, 0 and 1, and 82% are 0, which then means no change"):
        found(changes)
    assert found(changes, gripper_range="-1:1").commands == GripperRange(closed=-1)


@pytest.mark.parametrize(("low", "high"), [(-1, 1), (0, 1), (0, 100)])
@pytest.mark.parametrize("metres", [0.08, 0.04])
def test_commands_that_close_where_they_rise_are_turned_round_where_the_opening_is_in_metres(
    low: float, high: float, metres: float
) -> None:
    closes = high - OPEN_THEN_CLOSED * (high - low)
    grippers = found(closes, metres * (FOLLOWS - 0.25))
    assert (grippers.commands.closed, grippers.commands.open) == (high, low)
    assert any("turned round" in note for note in grippers.notes)
    kept = found(low + OPEN_THEN_CLOSED * (high - low), metres * (FOLLOWS - 0.25))
    assert (kept.commands.closed, kept.commands.open) == (low, high)
    np.testing.assert_array_equal(kept.commands(low + OPEN_THEN_CLOSED * (high - low)), OPEN_THEN_CLOSED)


def test_commands_and_openings_that_contradict_each_other_are_refused_with_both_flags() -> None:
    with pytest.raises(
        FormatError, match=r"the commands: --gripper-range 1:0; if the openings: --opening-range 1:0; if neither"
    ):
        found(1 - OPEN_THEN_CLOSED, FOLLOWS)
    assert found(1 - OPEN_THEN_CLOSED, FOLLOWS, gripper_range="1:0").commands == GripperRange(closed=1, open=0)
    turned = found(1 - OPEN_THEN_CLOSED, 1 - FOLLOWS, opening_range="1:0", gripper_range="1:0")
    assert turned.openings == turned.commands == GripperRange(closed=1, open=0)


def test_what_begins_closed_is_refused_where_the_direction_is_a_guess_and_said_where_it_is_not() -> None:
    with pytest.raises(
        FormatError, match=r"begin with -1 in 100% of the episodes; which of the two is open\? --gripper-range -1:1"
    ):
        found(1 - 2 * OPEN_THEN_CLOSED)
    grippers = found(1 - OPEN_THEN_CLOSED)
    assert grippers.commands == AS_IT_IS
    assert "begin closed, below half, in 100% of the episodes" in grippers.notes[0]


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-1, 1), (0, 100)])
def test_numbers_that_are_named_closed_are_turned_round(low: float, high: float) -> None:
    grippers = found(high - OPEN_THEN_CLOSED * (high - low), action_closed=True)
    np.testing.assert_allclose(grippers.commands(high - OPEN_THEN_CLOSED * (high - low)), OPEN_THEN_CLOSED)
    assert "the file calls them closed" in grippers.notes[0]
    assert found(OPEN_THEN_CLOSED, 1 - FOLLOWS, state_closed=True).openings == GripperRange(closed=1, open=0)


@pytest.mark.parametrize(
    ("commands", "words"),
    [
        (np.ones(STEPS), "are all 1: it never moves"),
        (np.full(STEPS, 0.4), "are all 0.4: it never moves"),
    ],
)
def test_commands_that_never_change_are_said(commands: np.ndarray, words: str) -> None:
    grippers = found(commands)
    assert grippers.commands == AS_IT_IS
    assert words in grippers.notes[0]


def test_openings_are_mapped_or_said_and_never_refused() -> None:
    assert found(OPEN_THEN_CLOSED, FOLLOWS * 0.1).openings == GripperRange(open=pytest.approx(0.1))
    assert found(OPEN_THEN_CLOSED, FOLLOWS * 100).openings == GripperRange(open=100)
    odd = found(OPEN_THEN_CLOSED, FOLLOWS * 850)
    assert odd.openings == AS_IT_IS
    assert "425 and 850 and are stored as they are; --opening-range" in odd.notes[0]
    assert found(OPEN_THEN_CLOSED, FOLLOWS * 1.1).notes == ()


@pytest.mark.parametrize("text", ["1", "a:b", "1:1", "0:1:2", ":"])
def test_a_text_that_is_no_range_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="--gripper-range must be CLOSED:OPEN, two different numbers"):
        found(OPEN_THEN_CLOSED, gripper_range=text)


def test_a_range_that_the_commands_leave_is_refused_with_both() -> None:
    with pytest.raises(
        FormatError, match=r"with --gripper-range 0:1 the gripper's commands, -1 to 1, become -1 to 1, and must be"
    ):
        found(2 * OPEN_THEN_CLOSED - 1, gripper_range="0:1")


def test_the_last_action_and_what_is_not_finite_say_nothing() -> None:
    commands = OPEN_THEN_CLOSED.copy()
    commands[-1] = -7
    assert found(commands).notes == ()
    commands[3] = np.nan
    assert found(commands).commands == AS_IT_IS
    assert survey([], VectorConfig(), place="DATA") == Grippers()


def commands_of(store: Path) -> list[float]:
    opened = EpisodeStore(store)
    return sorted({float(value) for record in opened.episodes() for value in opened.read_encoded(record.id).actions_TD[:, 6]})


@pytest.mark.parametrize("format", ["rlds", "raw", "lerobot"])
def test_every_format_looks_at_all_episodes_before_it_stores_one(tmp_path: Path, format: str) -> None:
    # The first episode alone would pass for 0 to 1, always open.
    actions = [make_episode(steps=22).actions_TD for _ in range(2)]
    for number, values in enumerate(actions):
        values[:, 6] = np.where(np.arange(22) < 11, 1, 1 - 2 * number)
    if format == "rlds":
        records = [rlds_record(22, steps__action=values) for values in actions]
        write_records(tmp_path / "d" / "x-train.tfrecord-00000-of-00001", *records)
        import_episodes(open_rlds(tmp_path / "d", RLDSConfig()), EpisodeStore(tmp_path / "s", mode="create"))
    elif format == "raw":
        for number, values in enumerate(actions):
            write_raw(tmp_path / "d" / f"traj{number}")
            np.save(tmp_path / "d" / f"traj{number}" / "actions.npy", values)
        import_episodes(open_raw(tmp_path / "d", RawConfig()), EpisodeStore(tmp_path / "s", mode="create"))
    else:
        imported(write_lerobot(tmp_path / "d", [range(12), range(12)], vectors=[v[5:17] for v in actions]), tmp_path / "s")  # type: ignore[list-item]
    assert commands_of(tmp_path / "s") == [0, 1]


def test_maps_read_dictionaries_of_rlds_and_rows_of_raw_folders(tmp_path: Path) -> None:
    moves, turns = np.arange(18, dtype=np.float32).reshape(6, 3) / 100, np.ones((6, 3), np.float32) / 10
    extra = {
        "steps__action": None,
        "steps__action__world_vector": moves,
        "steps__action__rotation_delta": turns,
        "steps__action__open_gripper": np.array([1, 1, 1, 0, 0, 0]),
    }
    write_records(tmp_path / "d" / "x-train.tfrecord-00000-of-00001", rlds_record(6, **extra))
    text = (
        ",".join([f"{a}=world_vector[{n}]" for n, a in enumerate("xyz")]) + ",roll=rotation_delta[0],pitch=rotation_delta[1],"
    )
    text += "yaw=rotation_delta[2],gripper=open_gripper[0]"
    with pytest.raises(FormatError, match=r"world_vector \(3 x float32 a step\).* --action-map ") as refused:
        import_episodes(open_rlds(tmp_path / "d", RLDSConfig()), EpisodeStore(tmp_path / "no", mode="create"))
    assert text in str(refused.value), "the map that fits is in the message"
    store = EpisodeStore(tmp_path / "s", mode="create")
    import_episodes(open_rlds(tmp_path / "d", RLDSConfig(vectors=VectorConfig(action_map=text))), store)
    read = store.read_encoded(store.episodes()[0].id).actions_TD
    np.testing.assert_array_equal(read, np.hstack([moves, turns, [[1]] * 3 + [[0]] * 3])[:5].astype(np.float32))

    write_raw(tmp_path / "raw" / "traj0")
    actions = np.load(tmp_path / "raw/traj0/actions.npy")
    np.save(tmp_path / "raw/traj0/actions.npy", actions[:, ::-1])
    config = VectorConfig(action_map="x=6,y=5,z=4,roll=3,pitch=2,yaw=1,gripper=0")
    import_episodes(open_raw(tmp_path / "raw", RawConfig(vectors=config)), store)
    assert store.read_encoded("raw/traj0").actions_TD.tobytes() == actions[:-1].tobytes()


def test_maps_and_ranges_are_flags_of_every_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # As docs/datasets.md shows them.
    values = motion(10)[:, ::-1].copy()
    values[:, 0] = 255 * (1 - values[:, 0])
    names = ["grip", *(f"n{number}" for number in range(6))]
    folder = write_lerobot(tmp_path / "d", [range(10)], vectors=[values], names=names)  # type: ignore[list-item]
    command = ["data", "import", "lerobot", str(folder), "--store", str(tmp_path / "s")]
    assert main(command) == 2
    assert "there is 0 grip, 1 n0, 2 n1" in capsys.readouterr().err
    text = "x=n5,y=n4,z=n3,roll=n2,pitch=n1,yaw=n0,gripper=grip"
    assert main([*command, "--state-map", text, "--action-map", text]) == 2
    assert "between 0 and 255" in capsys.readouterr().err
    flags = ["--state-map", text, "--action-map", text, "--gripper-range", "255:0", "--opening-range", "255:0"]
    assert main([*command, *flags]) == 0
    assert EpisodeStore(tmp_path / "s").read_encoded("d-000000").actions_TD.tobytes() == motion(10)[:-1].tobytes()


def test_numbers_of_another_column_are_named_by_it(tmp_path: Path) -> None:
    width = np.linspace(0.08, 0, 10)
    folder = write_lerobot(
        tmp_path / "d",
        [range(10)],  # type: ignore[list-item]
        vectors=[motion(10)[:, :6]],
        names=["x", "y", "z", "roll", "pitch", "yaw"],
        columns=lambda _, rows: rows | {"gripper_width": width},
        info=lambda info: info["features"].update(gripper_width={"dtype": "float32", "shape": [1], "names": None}),
    )
    with pytest.raises(FormatError, match="none is gripper for certain"):
        imported(folder, tmp_path / "no")
    text = "x=0,y=1,z=2,roll=3,pitch=4,yaw=5,gripper=gripper_width[0]"
    (read,) = imported(folder, tmp_path / "s", LeRobotConfig(vectors=VectorConfig(state_map=text, action_map=text)))
    np.testing.assert_allclose(read.actions_TD[:, 6], np.linspace(1, 0, 10)[:9], atol=1e-6)
    np.testing.assert_array_equal(read.actions_TD[:, :6], motion(10)[:9, :6])


def gripper_store(folder: Path, values: np.ndarray) -> EpisodeStore:
    episode = make_episode(steps=len(values))
    episode.actions_TD[:, 6] = values
    store = EpisodeStore(folder, mode="create")
    store.append([episode])
    return store


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (2 * OPEN_THEN_CLOSED - 1, "between -1 and 1, and must lie between 0"),
        (OPEN_THEN_CLOSED * 100, "--gripper-range 0:100 if 100 is open, or 100:0 if it is closed"),
    ],
)
def test_the_doctor_and_training_refuse_commands_that_are_not_0_to_1(
    tmp_path: Path, values: np.ndarray, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    store = gripper_store(tmp_path / "s", values)
    assert main(["data", "doctor", store.uri]) == 2
    assert words in capsys.readouterr().err
    assert main(["train", "gcbc", "--pretraining", store.uri, "--out", str(tmp_path / "p"), "--steps", "1"]) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize("values", [np.ones(STEPS), OPEN_THEN_CLOSED * 0.08])
def test_the_doctor_and_training_warn_of_commands_that_never_open_or_never_close(
    tmp_path: Path, values: np.ndarray, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    store = gripper_store(tmp_path / "s", values)
    assert main(["data", "doctor", store.uri]) == 0
    assert "warning: the gripper's commands" in capsys.readouterr().out
    check_commands(store.read(store.episodes()[0].id).actions_TD, "STORE")
    assert "STORE: the gripper's commands" in caplog.text


def test_the_doctor_and_training_say_nothing_of_sound_commands(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = gripper_store(tmp_path / "s", OPEN_THEN_CLOSED)
    assert examine_gripper(store) == ("", False)
    check_commands(np.vstack([store.read(store.episodes()[0].id).actions_TD, np.full((1, 7), np.nan)]), "STORE")
    assert caplog.text == ""
    with pytest.raises(StoreError, match="between 0 and 2"):
        check_commands(np.eye(7) * 2, "STORE")
