"""Units by their size: what no arm does is refused, what is unusual is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from soar.cli import main
from soar.episodes import EpisodeStore
from soar.episodes.magnitudes import KINDS, check_magnitudes, examine_magnitudes
from soar.errors import StoreError

from .builders import make_episode

STEPS = 40


def store_of(
    folder: Path, *, states: tuple[slice, float] | None = None, actions: tuple[slice, float] | None = None
) -> EpisodeStore:
    """A store of one episode of which some columns are so many times what they should be."""
    episode = make_episode(steps=STEPS)
    for values, change in ((episode.states_TD, states), (episode.actions_TD, actions)):
        if change:
            values[:, change[0]] *= change[1]
    store = EpisodeStore(folder, mode="create")
    store.append(episode)
    return store


@pytest.mark.parametrize(
    ("states", "actions", "words"),
    [
        (
            (slice(0, 3), 1000),
            None,
            r"the positions in the states are up to 9\d\d.*no arm does more than 5 metres.*--state-map",
        ),
        ((slice(3, 6), 57.3), None, r"the angles in the states are up to 5\d.*no arm does more than 12.6 radians.*--state-map"),
        (None, (slice(0, 3), 100), r"the motions in the actions are up to .*no arm does more than 0.5 metres.*--action-map"),
        (None, (slice(3, 6), 57.3), r"the turns in the actions are up to 5.*no arm does more than 3.14 radians.*--action-map"),
    ],
)
def test_the_doctor_calls_no_store_sound_whose_units_are_impossible(
    tmp_path: Path,
    states: tuple[slice, float] | None,
    actions: tuple[slice, float] | None,
    words: str,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = store_of(tmp_path / "s", states=states, actions=actions)
    assert main(["data", "doctor", store.uri]) == 2
    told = capsys.readouterr()
    assert "is sound" not in told.out
    with pytest.raises(StoreError, match=words):
        raise StoreError(told.err)
    vectors = {"state": store.vectors(np.arange(STEPS))[0], "action": store.vectors(np.arange(STEPS))[1]}
    if actions:
        with pytest.raises(StoreError, match=rf"STORE: {words}"):
            check_magnitudes(vectors, "STORE")  # type: ignore[arg-type]
    else:
        check_magnitudes(vectors, "STORE")  # type: ignore[arg-type]
        assert "the states are up to" in caplog.text


def test_training_refuses_motions_that_no_arm_makes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = store_of(tmp_path / "s", actions=(slice(0, 3), 100))
    assert main(["train", "gcbc", "--pretraining", store.uri, "--out", str(tmp_path / "p"), "--steps", "1"]) == 2
    assert "the motions in the actions are up to" in capsys.readouterr().err
    assert not (tmp_path / "p").exists()


def test_what_is_as_it_should_be_is_not_said_and_what_is_unusual_is_no_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert examine_magnitudes(store_of(tmp_path / "s")) == []
    odd = store_of(tmp_path / "odd", states=(slice(0, 3), 3))
    assert main(["data", "doctor", odd.uri]) == 0
    told = capsys.readouterr().out
    assert "warning: the positions in the states are up to 2." in told
    assert "odd is sound" in told


@pytest.mark.parametrize("kind", KINDS)
def test_single_steps_say_nothing_of_units_and_are_said(kind: object) -> None:
    text, wrong = kind.judge(kind.doubtful / 2, kind.impossible * 10)  # type: ignore[attr-defined]
    assert "so single steps are wrong" in text
    assert not wrong
