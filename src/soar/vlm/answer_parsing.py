"""What a model's answer means: yes, no, or undecidable. Undecidable is not "no"; callers must say what they do with it.

    what the model said ──► thought cut away ──► layout cut away ──► words ──► yes, no, or undecidable and why
    its tokens ───────────► the token that the words begin with ────────────► the probability of yes, or none and why

One reader for streams, servers with a parser of thoughts, plain servers and local models. It errs towards undecidable, because
a success that was misread is learned from, and half of all tasks have succeeded when the answer is "no":

    an unfinished thought, an unknown tag without an end       undecidable
    cut off, and more than one word                            undecidable
    it says that it was shown no picture                       undecidable, and a fault of the set-up
    yes and no, both; a word of doubt or contrast; a question  undecidable, whatever comes first
    it opens with "no" as an interjection                      no ("No.", "No, it is shut"; not "No problem", "No. 1 is open")
    it opens with "yes" so, and negates nothing                yes
    "The answer is no", "Answer: no", "…, so no", "… No."      that side, when nothing else speaks against it
    anything else                                              undecidable

A probability is that of the first word of the text that was read, and only when this word is the yes or no that was read. Where
tokens and text disagree there is none.
"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from soar.untrusted import parse_json
from soar.vlm.answer_words import DOUBT, DOUBT_PARTS, DOUBTS, LABELS, NEGATION_PARTS, NEGATIONS, NO_PICTURE, SIDES
from soar.vlm.base import Answer
from soar.vlm.thoughts import Marks, split_thought, without_tags
from soar.vlm.token_probability import Token, probability_at

VERSION = "reading 3"
"""Of these rules; answers that were kept under others are asked for again."""
SHOWN_NOTHING = "it says that it was shown no picture"
CUT_OFF = ("length", "max_tokens", "model_length", "limit", "MAX_TOKENS")
"""Reasons to finish that mean that there was more to say."""
WHOLE = (None, "", "stop", "STOP", "eos", "eos_token", "stop_sequence", "end_turn", "content_filter")
"""Reasons to finish that are known to mean that all was said, or that have words of their own; any other counts as cut off."""
_LONGEST = 20_000
"""Characters that are read; a model that says more has lost itself, and its first words do not count either."""
_WORD = re.compile(r"[^\W\d_]+(?:['-][^\W\d_]+)*")
_SENTENCE = re.compile(r"(?:\bno\. ?(?=\d)|[^.!?\n;]|\.(?=\w))+[.!?\n;]*")
_SIDE = "|".join(sorted(map(re.escape, SIDES), key=len, reverse=True))
_BEFORE = (
    r"(?:(?:well|oh|ah|ok|okay|so|indeed|definitely|absolutely|certainly|clearly|obviously|unfortunately|of course|simply|then"
    r"|and|therefore|thus|hence|sure)[, ]+)*"
)
_AFTER = (
    r"(?=\s*(?:$|,|\.(?!\.)|!|:(?!\s*\d)|;|\n|[\u2013\u2014]|-(?=\s))"
    r"|\s+(?:it|it's|its|the|this|that|that's|there|there's|these|those|they|he|she|i|we|you|my|an?|because|since|indeed"
    r"|definitely|absolutely|certainly|clearly)\b)"
)
"""What may stand behind a yes or no that is an interjection, without being swallowed by the pattern."""
_SAID = rf"(?:{_BEFORE}(?:{_SIDE})(?![\w'-]))(?:[ ,!.]+(?:{_SIDE})(?![\w'-]))*"
_OPENS = re.compile(rf"{_SAID}(?!\s*[.:#]?\s*\d){_AFTER}")
_ALONE = re.compile(rf"{_SAID}[\s.!,:;]*")
_LABELLED = re.compile(
    rf"{_BEFORE}(?:(?:the|my|your|an?|die|das|meine|la|le|ma|il|el|mi|de|het|mijn|o) )?"
    rf"(?:(?:final|short|correct|right|simple|best|one-word|direct) )*(?:{LABELS})"
    r"(?: to (?:the|your|this) question)?(?: (?:is|would be|lautet|ist|est|es|è|é))?(?:[\s,:=]|-+>?|→|\bthat\b)*"
    rf"{_SAID}{_AFTER}"
)
_CONCLUDES = re.compile(
    r".*[,:\u2013\u2014-] ?(?:so|therefore|thus|hence|which means|meaning|also|donc|por tanto|quindi|dus)[:,]? "
    rf"{_SAID}[\s.!]*$"
)
_HESITATES = re.compile(rf"\b(?:{_SIDE})\s*\.\.")
_PROMPT = re.compile(r"(?:please )?(?:answer|reply|respond|say|output|write)\b.*\b(?:yes or no|yes/no)\W*")
_QUOTED_QUESTION = re.compile(
    '(?:["\u201c\u00ab]|(?<!\\w)[\'\u2018])[^"\u201c\u201d\u00ab\u00bb\n]{3,300}\\?\\s*["\u201d\u00bb\'\u2019]'
)
_SEEN = re.compile(
    r"(?:based on|according to|from|in|looking at|judging by|given) (?:the|this|your)(?: \w+)? (?:image|picture|photo\w*), ?"
)
_STRUCK = re.compile(r"~~[^~\n]+~~|<(del|strike)>.*?</\1>", re.DOTALL)
_NUMBERED = re.compile(r"^[ \t]*(?:\d+[.)]|[-•+]|,?[a-d][.):,])[ \t]+(?=[^\W\d_]+\W*$)", re.MULTILINE)
_ANYTHING_ELSE = re.compile(r"\b(?:anything else|help|assist|more (?:detail|information)|further|like me to|need)\b")
_SIGNS = {**dict.fromkeys("✅✔✓☑👍", True), **dict.fromkeys("❌✖✗✘❎👎🚫", False)}
_APOSTROPHES, _QUOTES = "\u2019\u02bc\u2018`\u00b4\u2032\u02b9\u201b", '"\u201c\u201d\u201e«»\u300c\u300d\u300e\u300f'
_PUNCTUATION = str.maketrans(
    {
        **dict.fromkeys("\u3002\u0964", "."), **dict.fromkeys("\u3001\u060c\uff64", ","), "\u061b": ";", "\u061f": "?",
        **dict.fromkeys(_APOSTROPHES, "'"), **dict.fromkeys(_QUOTES + "*_#>|~¡¿$\\", ""), **dict.fromkeys("([{<)]}", ","),
        "…": "...", "\t": " ", "\r": "\n",
    }
)  # fmt: skip
_CONFIDENT = ("confidence", "certainty", "probability", "score", "p")
_SURE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What was made of an answer.

    Attributes:
        verdict: Yes, no, or None: undecidable.
        text: What was read: the answer without the thought.
        p_yes: Probability of yes; None when there is none.
        reason: Why it is undecidable; empty when it is decided.
        no_probability: Why the probabilities of the tokens were not used; empty when they were, or none were given.
        whole: Whether the text may be read at all: False when it is cut off, or an unfinished thought.
        no_picture: The model says that it was shown no picture: a fault of the set-up.
    """

    verdict: bool | None
    text: str
    p_yes: float | None = None
    reason: str = ""
    no_probability: str = ""
    whole: bool = True
    no_picture: bool = False

    def answer(self) -> Answer:
        """Return it as a model's answer."""
        unreadable = self.reason if self.no_picture or not self.whole else ""
        return Answer(text=self.text, p_yes=self.p_yes, unreadable=unreadable, no_probability=self.no_probability)


def read(
    text: str,
    tokens: Sequence[Token] = (),
    *,
    finish: str | None = None,
    thought: str = "",
    marks: Iterable[Marks] = (),
) -> Reading:
    """Return what an answer means. No answer raises.

    Args:
        text: What the model said, with or without its thought.
        tokens: All tokens that it made, those of the thought included; empty when their probabilities are not known.
        finish: Why it ended, in a server's words; what is not in `WHOLE` counts as cut off.
        thought: What a server calls the thought, beside the text.
        marks: Of thoughts, further ones than those that are known.
    """
    split, cut = split_thought(text[: _LONGEST + 1], marks), finish not in WHOLE
    plain, foreign = _plain(split.answer)
    unreadable = (
        f"it is longer than {_LONGEST} characters"
        if len(text) > _LONGEST
        else f"the thought that begins with {split.unfinished} did not end" + (": it was cut off" if cut else "")
        if split.unfinished
        else "it was cut off before it had said anything"
        if cut and not split.answer.strip()
        else "the server's filter stopped it"
        if finish == "content_filter"
        else f"{foreign} has no end"
        if foreign
        else "it was cut off"
        if cut and len(_WORD.findall(plain)) > 1
        else ""
    )
    if unreadable:
        return Reading(verdict=None, text=text if split.unfinished else split.answer, reason=unreadable, whole=False)
    if NO_PICTURE.search(plain):
        return Reading(verdict=None, text=split.answer, reason=SHOWN_NOTHING, no_picture=True)
    verdict, reason = _meaning(plain, split.answer)
    if verdict is None:
        return Reading(verdict=None, text=split.answer, reason=reason)
    p_yes, problem = probability_at(tokens, split.answer, text[: split.start] or thought, verdict) if tokens else (None, "")
    return Reading(verdict=verdict, text=split.answer, p_yes=p_yes, no_probability=problem)


def yes_or_no(text: str) -> bool | None:
    """Return whether words mean yes (True) or no (False); None when that cannot be decided. No text raises."""
    return read(text).verdict


def decide(answer: Answer, threshold: float = 0.5) -> bool | None:
    """Return whether an answer means yes; None when that cannot be decided.

    A probability decides when there is one; else what another model decoded; else the words.

    Args:
        answer: What the model said.
        threshold: Least `p_yes` that counts as yes; without a probability the words decide.
    """
    if answer.decoded is not None and answer.p_yes is None:
        return answer.decoded
    if answer.unreadable:
        return None
    if answer.p_yes is not None:
        return answer.p_yes >= threshold if 0 <= answer.p_yes <= 1 else None
    return yes_or_no(answer.text)


def _plain(text: str) -> tuple[str, str]:
    """Return an answer in small letters and plain punctuation, without layout; and the first foreign tag that has no end."""
    text, foreign = without_tags(text)
    text = re.sub(r"\\l?n(?:eg|ot)\b|\\not\b|¬", " not ", text)
    text = re.sub(r"\\[a-zA-Z]+", "", re.sub(r"```\w*|~~~\w*", "\n", text))
    if (written := text.strip()).startswith("{") and written.endswith("}"):
        with contextlib.suppress(ValueError, RecursionError):
            text = _spoken(parse_json(written))
    text = _QUOTED_QUESTION.sub(" ", _STRUCK.sub(" ", text))
    text = unicodedata.normalize("NFKC", text.translate(_PUNCTUATION))
    text = "".join(" " if unicodedata.category(c) in ("So", "Sk", "Cf", "Cc") and c not in "\n\r" else c for c in text)
    text = unicodedata.normalize("NFKC", text.lower()).translate(_PUNCTUATION)
    text = re.sub(r"(?<![^\W\d_])'|'(?![^\W\d_])", "", text)
    text = _NUMBERED.sub("", text)
    return re.sub(r" *\n\s*", "\n", re.sub(r"[ \xa0]+", " ", text)).lstrip(" \n,.:;-").rstrip(), foreign


def _spoken(value: Any) -> str:
    """Return an answer in JSON as sentences: the answer first, then what is said beside it.

    Raises:
        ValueError: It holds none.
    """
    if not isinstance(value, dict):
        raise ValueError("no object")
    low = {str(key).strip().lower(): item for key, item in value.items()}
    keys = [key for key in low if re.fullmatch(LABELS, key.replace("final_", "").replace(" ", "_"))]
    if len(keys) != 1:
        return "maybe"  # it answers several things, or none
    said = low.pop(keys[0])
    said = {True: "yes", False: "no"}[said] if isinstance(said, bool) else said
    if not isinstance(said, str):
        return "maybe"
    for key, item in low.items():
        if key in _CONFIDENT and not (isinstance(item, (int, float)) and item >= _SURE):
            return "maybe"
    return "\n".join([said, *(str(item) for item in low.values() if isinstance(item, str))])


def _meaning(plain: str, text: str) -> tuple[bool | None, str]:
    """Return what plain words mean, and why they mean nothing; `text` is the same with its signs."""
    sentences = _answering(plain)
    body = "\n".join(sentences)
    words = _WORD.findall(body)
    said = {SIDES[word] for word in words if word in SIDES}
    signs = {means for sign, means in _SIGNS.items() if sign in text}
    doubt = next((word for word in words if word in DOUBTS), "") or next((part for part in DOUBT_PARTS if part in body), "")
    if not doubt and (match := DOUBT.search(body)):
        doubt = match[0].strip()
    verdict = next(iter(said), None)
    reason = (
        "it says neither yes nor no"
        if verdict is None
        else "it says both yes and no"
        if len(said | signs) > 1
        else f"it is not sure: {doubt!r}"
        if doubt
        else "it asks or hesitates"
        if "?" in body or _HESITATES.search(body)
        else ""
        if _states(sentences, verdict)
        else "its yes or no is not an answer, or something speaks against it"
    )
    return (None if reason else verdict), reason


def _answering(plain: str) -> list[str]:
    """Return sentences, without the question or the prompt repeated before them and an offer to help behind them."""
    sentences = [_SEEN.sub("", sentence.strip(" ,")) for sentence in _SENTENCE.findall(plain) if _WORD.search(sentence)]
    while len(sentences) > 1 and (_PROMPT.fullmatch(sentences[0]) or ("?" in sentences[0] and not _begins(sentences[0]))):
        sentences.pop(0)
    while len(sentences) > 1 and "?" in sentences[-1] and _ANYTHING_ELSE.search(sentences[-1]):
        sentences.pop()
    return sentences


def _states(sentences: Sequence[str], verdict: bool) -> bool:
    """Whether a sentence answers with the side that was said, and nothing is negated that must not be."""
    negated = [_negates(sentence) for sentence in sentences]
    if verdict and any(negated):
        return False
    if _OPENS.match(sentences[0]):
        return True
    if any(_LABELLED.match(sentence) and not negates for sentence, negates in zip(sentences, negated, strict=True)):
        return True
    last = sentences[-1]
    return not negated[-1] and bool(_ALONE.fullmatch(last) or _CONCLUDES.match(last))


def _negates(sentence: str) -> bool:
    words = [word for word in _WORD.findall(sentence) if word not in SIDES]
    return any(word in NEGATIONS or word.endswith("n't") or any(part in word for part in NEGATION_PARTS) for word in words)


def _begins(sentence: str) -> bool:
    first = _WORD.search(sentence)
    return first is not None and first[0] in SIDES
