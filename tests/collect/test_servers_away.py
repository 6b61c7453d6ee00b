"""Servers that come and go while robots collect: the episode goes on, and the journal says what happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from soar.episodes.store import EpisodeStore
from soar.event_log import read_journal
from soar.policies.base import Policy
from soar.policies.remote import HOLD, RemotePolicy
from soar.remote.client import RemoteConfig
from soar.remote.wire import pack
from soar.subgoals.remote import PREVIOUS, RemoteSubgoals
from tests.scripted import Scripted, scripted

from .collecting import STEPS, collector

GOAL = np.full((16, 16, 3), 77, np.uint8)
GOAL[:8] = 99
MOVE = [0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]
POLICY = {
    "kind": "policy",
    "protocol": 1,
    "model": "gcbc-1",
    "conditioning": "goal",
    "execute": 1,
    "action_mean": [0.0] * 7,
    "action_std": [1.0] * 7,
}


def remote(script: Scripted) -> RemoteConfig:
    return RemoteConfig(url=script.url, retries=0, probe_every_s=0.0)


def test_a_policy_server_that_is_restarted_in_the_middle_of_an_episode_is_picked_up_again(tmp_path: Path) -> None:
    with scripted() as script:
        script.says(model=POLICY, actions={"model": "gcbc-1", "chunks": [[MOVE]]})
        policy, asked = RemotePolicy(remote(script)), 0

        class Restarting:
            id, conditioning = policy.id, policy.conditioning

            def act(self, observations, goals):  # type: ignore[no-untyped-def]
                nonlocal asked
                asked += 1
                script.status = 503 if 4 <= asked <= 6 else 200
                return policy.act(observations, goals)

            def reset(self) -> None:
                policy.reset()

        def made(_seed: int) -> Policy:
            return Restarting()

        assert collector(tmp_path, policy=made).run(2) == 2
    first, second = (EpisodeStore(tmp_path / "episodes").read(r.id) for r in EpisodeStore(tmp_path / "episodes").episodes())
    np.testing.assert_allclose(first.actions_TD[:, 0], [0.01] * 3 + [0] * 3 + [0.01] * (STEPS - 6), atol=1e-6)
    assert second.actions_TD[:, 0].all()
    (event,) = read_journal(tmp_path / "events.jsonl", "fallback")
    assert (event["model"], event["instead"], event["times"], event["index"]) == ("gcbc-1", HOLD, 3, 0)
    assert "status 503" in event["detail"]


def test_a_subgoal_server_that_is_away_all_night_ends_no_collection(tmp_path: Path) -> None:
    with scripted() as script:
        script.says(model={"kind": "subgoal", "protocol": 1, "model": "editor"})
        model = RemoteSubgoals(remote(script))
        script.says(subgoals={"model": "editor", "images": [pack(GOAL)]})
        robot = collector(tmp_path, subgoal_model=model)
        robot.run(1)
        script.status = 503
        robot.run(2)
    store = EpisodeStore(tmp_path / "episodes")
    first, second = (store.read(record.id) for record in store.episodes())
    assert all(np.array_equal(subgoal.image_HWC, GOAL) for subgoal in first.subgoals)
    np.testing.assert_array_equal(second.subgoals[0].image_HWC, second.images_THWC[0])
    (event,) = read_journal(tmp_path / "events.jsonl", "fallback")
    assert (event["instead"], event["times"], event["index"]) == (PREVIOUS, 2, 1)
