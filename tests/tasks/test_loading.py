"""Which proposer collection uses, with a model behind a server that lists tasks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from soar.errors import ConfigError
from soar.instruction_grammar import task_from_instruction
from soar.tasks.loading import open_proposer
from soar.tasks.proposal import ProposalConfig
from soar.vlm.loading import load_vlm
from tests.improve.tiny import TASK, write
from tests.scripted import scripted

IMAGE = np.zeros((16, 16, 3), np.uint8)
RED = "put the red fruit in the wooden bowl"
BLUE = "put the blue block in the wooden bowl"


def test_with_a_constitution_the_model_lists_the_tasks_and_attempts_count_after_a_restart(tmp_path: Path) -> None:
    rules = write(tmp_path, "rules.yaml", "objects: [green block, red fruit, wooden bowl]\nverbs: [put]\n")
    tasks = [task_from_instruction(TASK)]
    config = ProposalConfig(constitution=rules)
    with scripted() as script:
        listed = f"1. {RED}\n2. {BLUE}\n3. Place the green block into the wooden bowl."
        script.says(completions={"choices": [{"index": 0, "message": {"role": "assistant", "content": listed}}]})
        name = write(tmp_path, "vlm.yaml", f"backend: openai\nmodel: m\nbase_url: {script.url}/v1\nretries: 0\n")
        proposal = open_proposer(config, load_vlm(name), name, tasks, seed=0).propose(IMAGE)
        assert proposal.listed == (RED, TASK), "blue is not allowed, and green is one of the scene's tasks"
        assert proposal.random, "what it says of feasibility is undecidable"
        again = open_proposer(config, load_vlm(name), name, tasks, seed=0, past=[RED, RED, TASK])
        again.propose(IMAGE)
        assert again.counts == {RED: 2, TASK: 1}
        assert again.propose(IMAGE, missing=["red fruit"]).task.instruction == TASK
        script.status = 503
        assert again.propose(IMAGE).task.instruction == TASK, "the scene's task, when nobody lists any"


def test_what_cannot_list_is_refused(tmp_path: Path) -> None:
    rules = write(tmp_path, "rules.yaml", "objects: [carrot]\n")
    tasks = [task_from_instruction(TASK)]
    with pytest.raises(ConfigError, match="'human' does not reply in words"):
        open_proposer(ProposalConfig(constitution=rules), load_vlm("human"), "human", tasks, seed=0)
    with pytest.raises(ConfigError, match=r"name its file as proposal\.constitution"):
        ProposalConfig(lister="llm.yaml")
