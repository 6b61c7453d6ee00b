"""What a model thinks aloud is not its answer: the marks around thoughts, and what is left without them.

<think> … </think> No                    No
… </think> No                            No: the prompt's template had opened the thought
<think> …                                nothing: the thought did not end
<plan> …                                 nothing, for the same reason
<hmm> …, <confidence> … </confidence> No  nothing: a tag that nobody knows may be a thought, or turn an answer round
… No                                     all of it; a thought without marks can only be told by being cut off
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

Marks = tuple[str, str]
"""Where a thought begins, and where it ends."""
_NAMES = (
    *("think", "thinking", "thought", "thoughts", "reason", "reasoning", "reflection", "scratchpad", "analysis", "cot"),
    *("observation", "observations", "summary", "caption", "description", "plan", "steps"),
)
_STYLES: tuple[Marks, ...] = (
    ("<{}>", "</{}>"),
    ("[{}]", "[/{}]"),
    ("<|{}|>", "<|/{}|>"),
    ("<|{}_start|>", "<|{}_end|>"),
    ("<|start_{}|>", "<|end_{}|>"),
    ("<|begin_of_{}|>", "<|end_of_{}|>"),
    ("[{}_start]", "[{}_end]"),
    ("◁{}▷", "◁/{}▷"),
)
THOUGHT_MARKS: tuple[Marks, ...] = (
    *((begin.format(name), end.format(name)) for begin, end in _STYLES for name in _NAMES),
    ("<seed:think>", "</seed:think>"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel|>analysis", "<|channel|>final<|message|>"),
    ("<|channel|>commentary", "<|channel|>final<|message|>"),
    ("<|channel>", "<channel|>"),
    ("<unused94>", "<unused95>"),
    ("here is my thought process:", "here is my response:"),
)
"""Of the models that there are; upper and lower case are the same."""
_INLINE = re.compile(
    r"</?(?:b|i|u|em|strong|span|code|mark|sub|sup|small|font|ins|kbd|q|hl|big|tt|a)>|\[/?(?:b|i|u|em|strong|code|quote)\]",
    re.IGNORECASE,
)
_BLOCK = re.compile(
    r"</?(?:p|br|hr|div|pre|h[1-6]|ul|ol|li|center|answer|final|final_answer|finalanswer|conclusion|response|output|result|solution"
    r"|verdict|judge?ment|boxed)\s*/?>",
    re.IGNORECASE,
)
_SPECIAL = re.compile(
    r"<[|\uff5c](?:im_start|im_end|start|end|message|return|end_?of_?text|begin_of_text|(?:start|end)_header_id|eot|eot_id|eom_id"
    r"|(?:begin|end)_of_box|(?:begin|end)\u2581of\u2581sentence|(?:start|end)_of_turn(?:_token)?|bos|eos|pad|endofprompt|assistant)"
    r"[|\uff5c]>|</?s>|<(?:eos|bos|pad|end_of_turn|end_of_utterance|start_of_turn)>|\[/INST\]",
    re.IGNORECASE,
)
"""Tokens that end, begin or frame an answer."""
_MARK = re.compile(
    r"</?[^\W\d][\w:.-]*(?:\s[^<>]*)?/?>|<[|\uff5c][^<>]{1,40}>|\[/?(?!(?:yes|no)\b)[a-z]+(?:_[a-z]+)+\]", re.IGNORECASE
)
"""Any other tag or token: it may begin a thought, or say something of the answer."""
_GLUED = re.compile(r"\s*analysis(?=[A-Z\"'(])")
_GLUED_END = "assistantfinal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A text without its thought.

    Attributes:
        answer: What follows the thought; all of the text when there is none.
        start: Where `answer` begins in the text.
        unfinished: The thought's mark that has no end; empty when all have one.
    """

    answer: str
    start: int = 0
    unfinished: str = ""


def split_thought(text: str, marks: Iterable[Marks] = ()) -> Split:
    """Return a text without its thought.

    Args:
        text: What a model said.
        marks: Further ones than `THOUGHT_MARKS`.
    """
    if _GLUED.match(text):  # the channels of gpt-oss, whose marks a tokenizer has dropped
        end = text.rfind(_GLUED_END)
        if end < 0:
            return Split(answer="", start=len(text), unfinished="analysis")
        return Split(answer=text[end + len(_GLUED_END) :], start=end + len(_GLUED_END))
    pairs = [(begin.lower(), end.lower()) for begin, end in (*THOUGHT_MARKS, *marks)]
    ends = {begin: end for begin, end in pairs}
    found = re.compile("|".join(re.escape(mark) for mark in sorted({m for pair in pairs for m in pair}, key=len, reverse=True)))
    opened, start = "", 0
    for match in found.finditer(_lower(text)):
        mark = match[0]
        if mark in ends:
            opened = opened or mark
        elif not opened or ends[opened] == mark:
            opened, start = "", match.end()
    if opened:
        return Split(answer="", start=len(text), unfinished=opened)
    return Split(answer=text[start:], start=start)


def without_tags(text: str) -> tuple[str, str]:
    """Return a text without layout and the tokens that frame an answer; and the first tag or token that is not known."""
    text = _SPECIAL.sub("\n", _BLOCK.sub("\n", _INLINE.sub("", text)))
    return ("", mark[0]) if (mark := _MARK.search(text)) else (text, "")


def _lower(text: str) -> str:
    """Return a text in lower case, of the same length."""
    return "".join(low if len(low := letter.lower()) == 1 else letter for letter in text)
