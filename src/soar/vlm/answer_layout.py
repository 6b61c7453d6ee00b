"""An answer's words without its layout: small letters and plain punctuation, or why it cannot be an answer.

**No**, `No`, <b>No</b>, \\boxed{No}, [No], “No”, ❌ No             no
{"answer": "no", "reason": "It is shut.", "confidence": 0.98}     no, and a line for the reason
the question "Is it open?" …                                      the question on a line of its own, first
[ ] Yes, ~~No~~, !yes, Yes 3/10, {"answer": "no", "sure": false}  a problem: what is not known may turn the meaning round
"""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import dataclass
from typing import Any

from soar.vlm.answer_words import LABELS, SIDE
from soar.vlm.thoughts import without_tags

_SURE = 0.9
_HIGH = ("high", "very high", "certain")
_REASONS = ("reason", "reasoning", "explanation", "rationale", "justification")
_CONFIDENCES = ("confidence", "certainty")
_SIGNS = {**dict.fromkeys("✅✔✓☑👍", True), **dict.fromkeys("❌✖✗✘👎🚫", False)}
_PUNCTUATION = str.maketrans(
    {
        **dict.fromkeys("\u3002\u0964\uff0e\uff61", ". "), **dict.fromkeys("\u3001\u060c\uff64\uff0c", ", "), "\uff1a": ": ",
        **dict.fromkeys("\u061b\uff1b", "; "), **dict.fromkeys("\u061f\uff1f", "? "), "\uff01": "! ", "…": "...",
        **dict.fromkeys("\u2019\u02bc\u2018\u00b4\u2032\u02b9\u201b", "'"), **dict.fromkeys("\u2013\u2014\u2015", " - "),
        **dict.fromkeys('\u201c\u201d\u201e«»\u300c\u300d\u300e\u300f', '"'), **dict.fromkeys("¡¿\ufe0f", ""),
        **dict.fromkeys("\uff08\uff3b", "("), **dict.fromkeys("\uff09\uff3d", ")"), "\r": "\n",
        **dict.fromkeys("\t\xa0\u3000\ufeff\u200b\u200c\u200d\u200e\u200f\u2060\xad", " "), **dict.fromkeys(_SIGNS, " "),
    }
)  # fmt: skip
_COMMAND = re.compile(r"\\(?:boxed|text\w*|math\w+)\s*\{([^{}\\]*)\}")
_CHOICE = re.compile(r"\((?:yes/no|yes or no|y/n)\)", re.IGNORECASE)
_LATEX_OR_FENCE = re.compile(r"\\[()\[\]]|```\w*")
_QUESTION = re.compile(r"(?:\b[Tt]o )?\"([^\"\n]{3,300}\?)\s*\"")
_BULLET = re.compile(r"^ *(?:(?:[-•·‣+*>]|#+) +)+(?=\S)|^ *([-*_=])\1{2,} *$", re.MULTILINE)
_CHOSEN = re.compile(r"^ *(?:[1-9][.)]|\(?[A-Da-d][.)]) +(?=\S)", re.MULTILINE)
"""The number or letter of a choice, of which an answer has one."""
_BRACKETS = re.compile(rf"\[\s*({SIDE}[.!]?)\s*\]", re.IGNORECASE)
_EQUALS = re.compile(rf"(?<=\w) ?(?:[-=]+>|=|→) ?(?=[\"*_(]*{SIDE})", re.IGNORECASE)
_HAN = r"\u3040-\u30ff\u3400-\u9fff"
_SPACED = re.compile(rf"(?<=[{_HAN}]) +(?=[{_HAN}])")
_ALLOWED = frozenset(" \n.,:;!?'()-")
_ODD = re.compile(r"!(?=[\w(])|(?:^|[^\w).!?' ])\s*!|(?:^|[^\w)' ])\s*\?|(?<!\w)-(?=\w)|\(\s*\)|[:;]-?[()]|[ªº]")
"""Signs that negate what follows in some notation, an empty box, a wink, an ordinal; a question without words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plain:
    """An answer's words.

    Attributes:
        text: In small letters; what is odd in it is kept as far as it can be.
        problem: Why it cannot be read as an answer; empty when it can.
        signs: What ✅ and ❌ in it mean.
        whole: False when a mark in it is not known: what is there may be no answer.
    """

    text: str
    problem: str = ""
    signs: frozenset[bool] = frozenset()
    whole: bool = True


def plain(text: str) -> Plain:
    """Return an answer's words. No text raises."""
    text, foreign = without_tags(text)
    if foreign:
        return Plain(text="", problem=f"it holds the mark {foreign}, which is not known", whole=False)
    while (unwrapped := _COMMAND.sub(r" \1 ", text)) != text:
        text = unwrapped
    text, problem = _LATEX_OR_FENCE.sub("\n", _CHOICE.sub("", text)).strip(), ""
    if text.startswith("{") and text.endswith("}"):
        try:
            text = _spoken(text)
        except (ValueError, RecursionError) as error:
            problem = f"its JSON is not an answer's: {error}"
    signs = frozenset(means for sign, means in _SIGNS.items() if sign in text)
    text = unicodedata.normalize("NFC", text).translate(_PUNCTUATION)
    text = "\n".join([*_QUESTION.findall(text), _QUESTION.sub(" ", text)])
    text, chosen = _CHOSEN.subn("", _BULLET.sub("", text))
    text = _EQUALS.sub(": ", text)
    while (unwrapped := _BRACKETS.sub(r"\1", text)) != text:
        text = unwrapped
    odd = next((sign for sign in '*"$' if text.count(sign) % 2), "1. 2." if chosen > 1 else "")
    text = re.sub(r'[*_`"$]', "", text)
    odd = odd or next((letter for letter in text if not (unicodedata.category(letter)[0] == "L" or letter in _ALLOWED)), "")
    text = unicodedata.normalize("NFKC", text).lower().replace("i\u0307", "i").translate(_PUNCTUATION)
    text = re.sub(r"(?<![^\W\d_])'|'(?![^\W\d_])", "", text)
    text = _SPACED.sub("", re.sub(r" *\n\s*", "\n", re.sub(" +", " ", text))).strip()
    if match := _ODD.search(text):
        odd = odd or match[0].strip() or match[0]
    problem = problem or (f"{odd!r} in it is no part of an answer" if odd else "it hesitates" if ".." in text else "")
    return Plain(text=text, problem=problem, signs=signs)


def _spoken(text: str) -> str:
    """Return an answer in JSON as words: the answer, then its reason on a line of its own.

    Raises:
        ValueError: It holds none, a key twice, or one that is not known.
    """
    value = json.loads(text, object_pairs_hook=_each_once)
    keys = {name: re.sub(r"^final_?", "", str(name).strip().lower()) for name in value}
    answers = [name for name, key in keys.items() if re.fullmatch(LABELS, key)]
    if len(answers) != 1:
        raise ValueError(f"{len(answers)} answers")
    lines: list[str] = []
    for name, item in value.items():
        if name == answers[0] and isinstance(item, (str, bool)):
            lines.insert(0, {True: "yes", False: "no"}[item] if isinstance(item, bool) else item)
        elif keys[name] in _REASONS and isinstance(item, str):
            lines.append(item)
        elif keys[name] not in _CONFIDENCES or not _is_sure(item):
            raise ValueError(f"{name!r}: {item!r}"[:80])
    return "\n".join(lines)


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name.strip().lower() for name, _ in pairs}) < len(pairs):
        raise ValueError("a key stands in it twice")
    return dict(pairs)


def _is_sure(value: object) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _HIGH
    return isinstance(value, (int, float)) and not isinstance(value, bool) and _SURE <= value <= 1
