"""Tasks: which one to practise next, and whether it worked (paper components 1 and 3, §B.1).

    image ─► PresenceChecker ─► tasks off limits ─┐
    image ─► TaskProposer (one batched VLM call) ─┴─► feasible tasks ─► UCBSelector ─► the task
    final image ─► SuccessDetector ─► Label(success=True | False | None)

The vision-language model is frozen and only ever answers yes/no questions; `soar.instruction_grammar` writes them.
"""

from soar.instruction_grammar import parse_instruction, parse_question, presence_question, task_from_instruction
from soar.tasks.detection import PresenceChecker, SuccessDetector
from soar.tasks.proposal import Proposal, ProposalConfig, TaskProposer
from soar.tasks.selection import UCBSelector
from soar.vlm.answer_parsing import decide

__all__ = [
    "PresenceChecker",
    "Proposal",
    "ProposalConfig",
    "SuccessDetector",
    "TaskProposer",
    "UCBSelector",
    "decide",
    "parse_instruction",
    "parse_question",
    "presence_question",
    "task_from_instruction",
]
