"""What a person has set off limits: kept in a file, and never proposed."""

from __future__ import annotations

from pathlib import Path

import pytest

from soar.errors import SoarError
from soar.tasks.off_limits import FILE, OffLimits

from .answering import IMAGE
from .test_open_vocabulary import CARROT, LEMON
from .test_open_vocabulary import proposer as lister
from .test_proposal import PUT_BLOCK, PUT_FRUIT, REMOVE_BLOCK, REMOVE_FRUIT, TASKS, proposer


def test_whoever_reads_the_file_sees_what_was_written_last_and_a_damaged_one_lifts_nothing(tmp_path: Path) -> None:
    writer, reader = OffLimits(tmp_path), OffLimits(tmp_path)
    assert reader.now() == frozenset()
    writer.write(["open the drawer", "fold the cloth"])
    assert reader.now() == {"open the drawer", "fold the cloth"}
    writer.write(["open the drawer"])
    assert reader.now() == {"open the drawer"}
    letters = '{"schema": 1, "tasks": "open the drawer"}'
    for damaged in (letters, "{", '{"schema": 1}', '{"schema": 1, "tasks": [3]}', '{"schema": 9, "tasks": []}', "[]"):
        (tmp_path / FILE).write_text(damaged)
        assert reader.now() == {"open the drawer"}
        with pytest.raises(SoarError, match=r"off_limits\.json: cannot be read .*mend it, or delete it"):
            OffLimits(tmp_path).now()
    (tmp_path / FILE).unlink()
    assert reader.now() == frozenset()


def test_a_forbidden_task_is_not_proposed_in_other_words_and_not_at_random(tmp_path: Path) -> None:
    tasks, _ = proposer(block="hm", fruit="hm")  # nothing is feasible: a random task
    tasks.forbid(["place the green block into the wooden bowl", REMOVE_BLOCK.instruction, PUT_FRUIT.instruction])
    for _ in range(10):
        proposal = tasks.propose(IMAGE)
        assert (proposal.task, proposal.random) == (REMOVE_FRUIT, True)
        assert proposal.off_limits == (PUT_BLOCK.instruction, REMOVE_BLOCK.instruction, PUT_FRUIT.instruction)
        tasks.record(proposal.task)
    # Not even when the objects of all others are gone, which sets them off limits as well.
    assert tasks.propose(IMAGE, off_limits=[REMOVE_FRUIT.instruction]).task == REMOVE_FRUIT
    assert not tasks.all_forbidden
    tasks.forbid(task.instruction for task in TASKS)
    assert tasks.all_forbidden
    tasks.forbid([])
    assert tasks.propose(IMAGE).off_limits == ()


def test_a_forbidden_task_that_a_model_lists_is_left_out(tmp_path: Path) -> None:
    tasks, _ = lister(f"{CARROT}\n{LEMON}", past=[])
    tasks.forbid([CARROT])
    proposal = tasks.propose(IMAGE)
    assert (proposal.task.instruction, proposal.off_limits) == (LEMON, (CARROT,))
    tasks.forbid([CARROT, LEMON])
    assert tasks.propose(IMAGE).task.instruction == "open the drawer"
