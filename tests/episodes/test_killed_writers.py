"""Writers are killed at random moments. What they said to be written is there, whole and once; the rest is whole or absent."""

from __future__ import annotations

import os
import signal
from collections import Counter
from multiprocessing import get_context
from pathlib import Path

import numpy as np

from soar.episodes import EpisodeStore
from soar.episodes import jpeg as frames
from soar.episodes.integrity import examine, repair
from soar.seeding import generator

from .writing import Done, episode_named, label_of, write_until_killed

SEED = 20241
KILLS = 80
_HEARD = (0, 3)
"""A writer is killed after it said so often that something is done, the opening of the store included, …"""
_LONGEST = 1.2
"""… and at most so long later, counted in the time that a write takes on this machine."""


def test_a_writer_that_is_killed_80_times_loses_nothing(tmp_path: Path) -> None:
    uri = str(tmp_path / "store")
    EpisodeStore(uri, mode="create")
    # Forked from a process that has imported everything and has never used Lance, a writer starts in no time.
    context = get_context("forkserver")
    context.set_forkserver_preload(["soar.episodes"])
    rng = generator(SEED, "kills")
    appended: list[str] = []
    labelled: list[str] = []
    counts: Counter[str] = Counter()

    def verify(*, repaired: bool) -> None:
        kinds = Counter(finding.kind for finding in examine(uri, check_frames=True))
        assert set(kinds) <= (set() if repaired else {"orphaned steps"}), kinds
        store = EpisodeStore(uri)
        records = store.episodes()
        ids = [record.id for record in records]
        assert len(set(ids)) == len(ids), "each is there once"
        assert set(appended) <= set(ids), "what was said to be stored is stored"
        sources = {record.id: [label.source for label in record.labels] for record in records}
        assert all(label_of(id).source in sources[id] for id in labelled)
        assert ids, "nothing was written: the test proves nothing"
        states = store.rows(np.arange(sum(record.length + 1 for record in records))).states_ND
        for record in records:
            expected = episode_named(record.id)
            # Whatever is there is whole, also when nobody was told that it is there.
            assert record.length == len(expected.actions_TD)
            np.testing.assert_array_equal(
                states[record.first_row : record.first_row + record.length + 1], expected.states_TD, record.id
            )

    write_s = [0.1]
    for number in range(KILLS):
        reader, writer = context.Pipe(duplex=False)
        process = context.Process(target=write_until_killed, args=(uri, SEED, number, writer), daemon=True)
        process.start()
        writer.close()
        said: list[Done] = []
        for _ in range(rng.integers(*_HEARD, endpoint=True)):
            assert reader.poll(600), "the writer is stuck"
            said.append(reader.recv())
        process.join(rng.uniform(0, _LONGEST * float(np.median(write_s))))
        assert process.exitcode is None, "the writer ended by itself"
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        try:
            while True:
                said.append(reader.recv())
        except EOFError:
            reader.close()
        for kind, ids, took_s in said:
            counts[kind] += 1
            write_s += [took_s] if took_s else []
            {"append": appended, "label": labelled, "compact": []}[kind].extend(ids)
        if number % 40 == 39:
            verify(repaired=False)

    findings = examine(uri, check_frames=True)
    assert findings, "none was killed between steps and episode: the test proves nothing, kill at other moments"
    repair(uri, findings)
    verify(repaired=True)
    assert len(appended) > KILLS / 2, counts
    assert len(labelled) > 2, counts
    assert counts["compact"] > 0, counts
    # What was left behind is no obstacle: the store is read and written as before.
    store = EpisodeStore(uri)
    store.append(episode_named(f"{KILLS}-0"))
    assert frames.size(store.read_encoded(f"{KILLS}-0").frames[0]) == (8, 8)
