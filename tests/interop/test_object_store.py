"""Stores behind the S3 protocol: a real server on loopback, in a process of its own. `make test-interop` runs these."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from soar.cli import main
from soar.datasets import load_arrays
from soar.episodes import EpisodeStore
from soar.episodes.integrity import examine
from soar.errors import StoreError
from soar.policies.learned import read_lineage
from tests.episodes.builders import judged, make_episode
from tests.improve.tiny import PRESET, SCENE, random_policy, write

pytestmark = [pytest.mark.interop, pytest.mark.timeout(1800)]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The address of an S3 server with the bucket `robots`."""
    made = subprocess.run([ROOT / "scripts" / "peer.sh", "s3"], check=True, stdout=subprocess.PIPE, text=True)
    command = [made.stdout.strip(), "-u", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = next(found[0] for line in process.stderr if (found := re.search(r"http://127.0.0.1:\d+", line)))
        urllib.request.urlopen(urllib.request.Request(f"{address}/robots", method="PUT"), timeout=60)
        with ThreadPoolExecutor(1) as pool:
            log = pool.submit(process.stderr.read)  # a full pipe would stop it
            yield address
            process.terminate()
            log.result()


@pytest.fixture
def bucket(server: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    """A place for a store; where the server is comes from the environment."""
    environment = {
        "ENDPOINT": server,
        "ACCESS_KEY_ID": "a",
        "SECRET_ACCESS_KEY": "b",
        "REGION": "us-east-1",
        "ALLOW_HTTP": "true",
    }
    for name, value in environment.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    return f"s3://robots/{request.node.name}/episodes"


def test_a_store_behind_s3_does_all_that_a_local_one_does(bucket: str) -> None:
    with pytest.raises(StoreError, match=f"no episode store at {bucket}"):
        EpisodeStore(bucket)
    store = EpisodeStore(bucket, mode="create")
    with pytest.raises(StoreError, match="already holds an episode store"):
        EpisodeStore(bucket, mode="create")
    episodes = [make_episode(f"e{index}", seed=index) for index in range(4)]
    for episode in episodes:
        store.append(episode)
    store.add_label("e0", judged(True))
    pinned = EpisodeStore(bucket, version=store.version)
    store.delete("e1")
    store.compact()
    assert [record.id for record in store.episodes()] == ["e0", "e2", "e3"]
    assert [record.id for record in pinned.episodes("success")] == ["e0"]
    np.testing.assert_array_equal(pinned.read("e1").actions_TD, episodes[1].actions_TD)
    arrays = load_arrays(EpisodeStore(Path(bucket)), cache_bytes=0)  # a path that lost a slash
    np.testing.assert_array_equal(arrays.images_NHWC[np.arange(18)], store.rows(np.arange(18)).images_NHWC)
    assert examine(bucket, check_frames=True) == []


def _append(uri: str, name: str) -> None:
    store = EpisodeStore(uri, mode="open_or_create")
    for index in range(3):
        store.append(make_episode(f"{name}-{index}", steps=2, size=8, seed=index))


def test_processes_that_create_and_append_at_once_lose_nothing(bucket: str) -> None:
    names = [f"robot{number}" for number in range(4)]
    processes = [get_context("spawn").Process(target=_append, args=(bucket, name)) for name in names]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    ids = [record.id for record in EpisodeStore(bucket).episodes()]
    assert sorted(ids) == sorted(f"{name}-{index}" for name in names for index in range(3))
    assert examine(bucket, check_frames=True) == []


def test_collect_stats_and_train_take_a_uri(bucket: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scene, policy = write(tmp_path, "one.yaml", SCENE), random_policy(tmp_path / "policy")
    flags = ["--scene", scene, "--policy", str(policy), "--subgoals", "oracle", "--vlm", "oracle", "--workers", "1"]
    assert main(["collect", "--run", str(tmp_path / "run"), "--store", bucket, *flags, "--episodes", "2"]) == 0
    assert f"2 episodes of round 0 in {bucket}" in capsys.readouterr().out
    assert not (tmp_path / "run" / "episodes").exists()
    assert main(["data", "stats", bucket, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["total"]["attempts"] == 2
    preset = write(tmp_path, "tiny.yaml", PRESET)
    flags = ["--preset", preset, "--pretraining", bucket, "--autonomous", bucket, "--no-success-only", "--cache-gb", "0"]
    assert main(["train", "gcbc", *flags, "--out", str(tmp_path / "trained")]) == 0
    assert read_lineage(tmp_path / "trained").data["pretraining"] == EpisodeStore(bucket).version
    assert list(tmp_path.glob("s3*")) == []


def test_a_bucket_that_does_not_exist_is_one_clear_error(bucket: str) -> None:
    with pytest.raises(StoreError, match="cannot create the episode store s3://elsewhere/episodes"):
        EpisodeStore("s3://elsewhere/episodes", mode="create")
