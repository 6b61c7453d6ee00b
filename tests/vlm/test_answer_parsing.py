"""No output of a model crashes the reader, and none is read as the opposite of what it says."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from soar.cli import main
from soar.errors import ConfigError
from soar.vlm.answer_file import SHIPPED, read_examples, score
from soar.vlm.answer_parsing import decide, read, yes_or_no
from soar.vlm.answer_words import SIDES
from soar.vlm.base import Answer
from soar.vlm.thoughts import THOUGHT_MARKS, split_thought
from soar.vlm.token_probability import Token, share_of_yes, side

SAID = {
    # yes; no; what may explain either; the same, negated
    "en": (
        ["Yes", "The answer is yes"],
        ["No", "The answer is no"],
        [
            "it is open",
            "the red block is still on the wooden table",
            "there is a spoon in the bowl",
            "because the lid is on the pot",
        ],
        ["it isn't open", "the drawer is not in the bowl", "there is no spoon in the bowl", "it is no longer on the table"],
    ),
    "de": (
        ["Ja", "Die Antwort ist ja"],
        ["Nein"],
        ["sie ist offen", "der rote Block liegt in der Schüssel"],
        ["sie ist nicht offen", "der Block liegt nicht auf dem Tisch"],
    ),
    "fr": (
        ["Oui"],
        ["Non", "La réponse est non"],
        ["il est ouvert", "le bloc est dans le bol", "c'est fermé"],
        ["le tiroir n'est pas ouvert", "il n'y a pas de bloc dans le bol"],
    ),
    "es": (["Sí"], ["No"], ["está abierto", "el bloque está en el plato"], ["el bloque no está en el plato"]),
    "it": (["Sì"], ["No"], ["è aperto", "il blocco si trova nella ciotola"], ["il blocco non è nella ciotola"]),
    "pt": (["Sim"], ["Não"], ["está aberta", "a colher está no prato"], ["a colher não está na mesa"]),
    "nl": (["Ja"], ["Nee"], ["hij is open", "het blok ligt in de kom"], ["het blok ligt niet in de kom"]),
    "zh": (["是的", "答案:是"], ["不是", "否"], ["抽屉是打开的", "勺子在碗里"], ["抽屉没有打开", "勺子不在碗里"]),
    "ja": (["はい"], ["いいえ"], ["開いています", "ボウルの中にあります"], ["開いていません", "ボウルの中にありません"]),
    "ko": (["네"], ["아니요"], ["열려 있습니다", "그릇 안에 있습니다"], ["열려 있지 않습니다", "그릇 안에 없습니다"]),
    "ru": (["Да"], ["Нет", "Ответ: нет"], ["он открыт", "кубик лежит в миске"], ["он не открыт", "кубик не на столе"]),
}
ANSWERS = {
    lang: tuple([*words, *(f"{words[0]}, {why}." for why in reasons), f"{words[0]}."] for words in (yes, no))
    for lang, (yes, no, reasons, _) in SAID.items()
}
HEDGES = {
    "en": [
        "probably", "though unlikely", "I think", "not sure", "maybe", "but who knows", "it might be", "not visible",
        "it cannot be told", "too dark", "the view is blocked", "hard to say", "as far as one can see",
        "the drawer is quasi open", "it is open or so", "apparently it is open", "there is no way to tell",
        "0.1", "confidence: low",
    ],
    "de": ["vielleicht", "aber nur halb", "ich glaube", "nicht erkennbar", "man sieht es nicht", "sie ist wohl offen"],
    "fr": ["peut-être", "mais à peine", "je pense", "difficile à dire", "on ne voit rien", "il est plutôt ouvert"],
    "es": ["quizás", "pero poco", "creo", "no se ve", "es difícil de decir", "está casi abierto"],
    "it": ["forse", "ma poco", "credo", "non si vede", "difficile da dire", "è quasi aperto"],
    "pt": ["talvez", "mas pouco", "acho", "não dá para ver", "está meio aberta"],
    "nl": ["misschien", "maar nauwelijks", "denk ik", "moeilijk te zeggen", "hij lijkt open"],
    "zh": ["可能", "也许", "不确定", "看不清", "被遮住了", "抽屉好像是打开的"],
    "ja": ["たぶん", "わかりません", "かもしれません", "見えません", "開いているようです"],
    "ko": ["아마", "모르겠어요", "보이지 않습니다", "열려 있는 것 같습니다"],
    "ru": ["возможно", "но не полностью", "не знаю", "не видно", "трудно сказать", "он вроде открыт"],
}  # fmt: skip
CASES = st.sampled_from(
    [
        (lang, text, yes)
        for lang, sides in ANSWERS.items()
        for yes, side in zip((True, False), sides, strict=True)
        for text in side
    ]
)
MARKS = st.sampled_from(THOUGHT_MARKS)
THOUGHTS = st.lists(
    st.sampled_from(
        [text for sides in ANSWERS.values() for side in sides for text in side] + ["Hmm.", "Let me look.", "no doubt", "\n"]
    ),
    max_size=6,
).map(" ".join)
BEFORE = [
    "Not:\n", "The answer is not:\n", "The answer isn't\n", "It is false that:\n", "Never say\n", "The opposite of\n",
    "Wrong answer: ", "Maybe? ", "Not sure? ", "Who knows? ", "Is it visible? ", "Is it not open? ",
    "!", "! ", "¬", "~", "-", "[ ] ", "☐ ", "[x] ", "1/10 ",
    "p(yes): 0.1\n", "Nicht:\n", "Pas\n", "Non è\n", "并非\n", "Kein\n", "Oh ", "Someone said: ", "The sign says\n",
    "My guess: ",
]  # fmt: skip
HEADINGS = [
    "Reasoning:\n", "**Thinking**\n", "## Thought process\n", "Analysis: ", "Let me think.\n", "Step by step:\n",
    "Überlegung:\n", "思考:", "<|thinking|>", "<|analysis|>\n", "<|hmm|>", "<\uff5cplan\uff5c>", "[REASONING_START]",
    "[THINKING] ", "(thinking) ", "💭 ", "<hmm>",
]  # fmt: skip
LAYOUT = st.sampled_from(
    ["{}", "**{}**", "\n\n{}\n", "  {}  ", '"{}"', "({})", "<answer>{}</answer>", "<b>{}</b>", "`{}`", "> {}"]
)


@given(CASES, LAYOUT)
def test_an_answer_in_any_layout_is_read(case: tuple[str, str, bool], layout: str) -> None:
    _, text, meaning = case
    assert yes_or_no(layout.format(text)) is meaning


@given(st.sampled_from(sorted(SAID)), st.booleans(), st.data(), st.sampled_from([", ", ". ", "\n\n", " - ", ": "]))
def test_an_explanation_may_negate_something_beside_a_no_and_nothing_beside_a_yes(
    lang: str, means: bool, data: st.DataObject, gap: str
) -> None:
    yes, no, reasons, negated = SAID[lang]
    word = data.draw(st.sampled_from(yes if means else no))
    parts = data.draw(st.lists(st.sampled_from(reasons + negated), min_size=1, max_size=3))
    expected = None if means and set(parts) & set(negated) else means
    assert yes_or_no(gap.join([word, ". ".join(parts)])) is expected
    assert yes_or_no(". ".join([*parts, word])) is expected


@given(
    st.sampled_from(["a block", "any red block", "an apple", "a wooden spoon"]),
    st.sampled_from(["in the bowl", "on the plate", "next to the pot", "inside the drawer"]),
    st.sampled_from(["I don't see", "I do not see", "The image does not show", "The picture doesn't show"]),
    st.sampled_from(["", " in the image", ". The bowl is empty"]),
)
def test_that_none_is_seen_at_a_place_explains_a_no_and_not_seeing_explains_nothing(
    what: str, where: str, sees: str, more: str
) -> None:
    assert yes_or_no(f"No, {sees} {what} {where}{more}.") is False
    assert yes_or_no(f"{sees} {what} {where}, so no.") is False
    assert yes_or_no(f"Yes, {sees} {what} {where}{more}.") is None
    for doubtful in (
        f"No, {sees} {what}.",
        f"No, {sees} {what} in the image.",
        f"No, {sees} {what} {where} clearly.",
        f"No, {sees} the block {where}.",
        f"No, I can't see {what} {where}.",
        f"{sees} {what} {where}.",
    ):
        assert yes_or_no(doubtful) is None


@given(CASES, st.sampled_from(BEFORE))
def test_what_stands_before_an_answer_and_turns_it_round_or_is_not_known_makes_it_undecidable(
    case: tuple[str, str, bool], before: str
) -> None:
    assert yes_or_no(f"{before}{case[1]}") is None


@given(CASES, st.sampled_from([*"☐□○¬≠~^%@&=+/|<{?", "0", "7", "60%", "🤷", "🙃", "..", "[ ]", "()"]))
def test_a_sign_that_is_no_part_of_an_answer_makes_it_undecidable(case: tuple[str, str, bool], sign: str) -> None:
    _, text, _ = case
    assert yes_or_no(f"{sign}{text}") is None
    assert yes_or_no(f"{text} {sign}") is None


_VALUES = st.recursive(
    st.none() | st.booleans() | st.floats(-1, 2) | st.sampled_from(["yes", "no", "low", "0.3", "not sure"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["reason", "answer"]), inner, max_size=2),
    max_leaves=3,
)


@given(
    st.booleans(),
    st.sampled_from(["prob", "confidence_level", "confident", "is_open", "reasons", "negated", "p", "note"]),
    _VALUES,
)
def test_a_key_of_json_that_is_not_known_or_there_twice_makes_it_undecidable(means: bool, key: str, value: object) -> None:
    word = "yes" if means else "no"
    assert yes_or_no(json.dumps({"answer": word, "reason": "The drawer is open.", "confidence": 0.95})) is means
    assert yes_or_no(json.dumps({"answer": word, key: value})) is None
    assert yes_or_no(json.dumps({"answer": word, "confidence": value})) in (None, means)
    assert yes_or_no(json.dumps({"answer": word, "explanation": value})) in (None, means)
    for first, second in ((word, json.dumps(value)), (json.dumps(value), word)):
        assert yes_or_no(f'{{"answer": "{first}", "Answer": {json.dumps(second)}}}') is None


@given(CASES, THOUGHTS, st.sampled_from(HEADINGS))
def test_a_thought_under_a_heading_or_a_mark_that_nobody_knows_is_no_answer(
    case: tuple[str, str, bool], thought: str, heading: str
) -> None:
    assert yes_or_no(f"{heading}{case[1]}") is None
    assert yes_or_no(f"{heading}{thought} {case[1]}") is None


@given(CASES, MARKS, THOUGHTS, st.booleans())
def test_a_thought_does_not_count_whatever_it_says_and_its_start_may_be_missing(
    case: tuple[str, str, bool], marks: tuple[str, str], thought: str, begun: bool
) -> None:
    _, text, meaning = case
    assert yes_or_no(f"{marks[0] if begun else ''}{thought}{marks[1]}\n{text}") is meaning
    assert read(text, thought=thought).verdict is meaning


@given(CASES, MARKS, THOUGHTS, st.sampled_from([None, "stop", "length"]))
def test_an_unfinished_thought_is_undecidable(
    case: tuple[str, str, bool], marks: tuple[str, str], thought: str, finish: str | None
) -> None:
    reading = read(f"{marks[0]}{thought}{case[1]}", finish=finish)
    assert reading.verdict is None
    assert not reading.whole
    assert marks[0].lower() in reading.reason


@given(CASES, THOUGHTS, st.data())
def test_what_was_cut_off_is_undecidable_unless_it_is_one_word(
    case: tuple[str, str, bool], before: str, data: st.DataObject
) -> None:
    text = f"{before} {case[1]}"
    cut = text[: data.draw(st.integers(0, len(text)))]
    reading = read(cut, finish=data.draw(st.sampled_from(["length", "max_tokens", "tool_calls", "timeout", "whatever"])))
    assert reading.verdict is None or (len(cut.split()) == 1 and not cut.strip().endswith((",", ":", "-", ";")))
    assert read("不是的"[: data.draw(st.integers(0, 3))], finish="length").verdict is None


@given(CASES, st.data(), st.sampled_from([", ", ". ", " - ", "; "]), st.booleans())
def test_a_hedge_in_the_answers_language_makes_it_undecidable(
    case: tuple[str, str, bool], data: st.DataObject, gap: str, first: bool
) -> None:
    lang, text, _ = case
    parts = [data.draw(st.sampled_from(HEDGES[lang])), text]
    assert yes_or_no(gap.join(parts if first else parts[::-1])) is None


@given(CASES, CASES, st.sampled_from([" ", ". ", "\n", ", ", " / "]))
def test_two_answers_that_differ_are_undecidable(one: tuple[str, str, bool], other: tuple[str, str, bool], gap: str) -> None:
    verdict = yes_or_no(f"{one[1]}{gap}{other[1]}")
    assert verdict is None or (verdict is one[2] and one[2] is other[2])


@given(
    st.sampled_from(["no", "No", "NO"]),
    st.sampled_from(["doubt", "problem", "question", "one", "drawer", "need", "wonder", "way", "idea", "lid", "1", "3"]),
    st.text("abcde ,.", max_size=12),
)
def test_no_before_a_noun_is_never_an_answer(no: str, noun: str, rest: str) -> None:
    assert yes_or_no(f"{no} {noun} {rest}") is None
    assert yes_or_no(f"There is {no} {noun} {rest}") is None


@given(st.text())
def test_nothing_crashes_it_and_nothing_is_read_where_neither_was_said(text: str) -> None:
    reading = read(text, finish="length")
    assert reading.verdict is None or any(word in text.lower() for word in SIDES)
    assert (reading.verdict is None) is bool(reading.reason)


@given(
    st.lists(
        st.sampled_from(
            [
                *SIDES,
                *[
                    "not",
                    "never",
                    "the",
                    "drawer",
                    "is",
                    "open",
                    ",",
                    ".",
                    "?",
                    "\n",
                    "<",
                    ">",
                    "think",
                    "/",
                    "(",
                    ")",
                    "{",
                    "}",
                    ":",
                    "-",
                    "1",
                ],
            ]
        ),
        max_size=12,
    ),
    st.sampled_from([" ", ""]),
)
def test_a_text_with_yes_alone_is_never_no_and_the_other_way_round(words: list[str], gap: str) -> None:
    said = {SIDES[word] for word in words if word in SIDES}
    if gap and len(said) == 1:
        assert yes_or_no(gap.join(words)) in (None, *said)


@given(CASES, THOUGHTS, st.floats(-12, 0), st.floats(-12, 0), st.booleans(), st.booleans())
def test_a_probability_is_that_of_the_first_word_and_agrees_with_the_words(
    case: tuple[str, str, bool], thought: str, of_yes: float, of_no: float, parser: bool, whole: bool
) -> None:
    _, text, meaning = case
    yes, no = ANSWERS[case[0]][0][0], ANSWERS[case[0]][1][0]
    other = Token(text=thought, alternatives=((yes, -0.01),) if not meaning else ((no, -0.01),))
    marks = [Token(text="<think>"), other, Token(text="</think>\n")]
    word, rest = (yes if meaning else no), text[len(yes if meaning else no) :]
    if not text.startswith(word):
        return
    tokens = [*marks, Token(text=word, alternatives=((yes, of_yes), (no, of_no))), *([Token(text=rest)] if whole else [])]
    made = "".join(token.text for token in [*marks, Token(text=text)])
    reading = read(text if parser else made, tokens, thought=thought if parser else "")
    assert reading.verdict is meaning
    expected = math.exp(of_yes) / (math.exp(of_yes) + math.exp(of_no))
    if reading.p_yes is None:
        assert reading.no_probability
    else:
        assert reading.p_yes == pytest.approx(expected)
        assert (reading.p_yes >= 0.5) is meaning


@given(
    st.text(max_size=20),
    st.lists(st.tuples(st.text(max_size=5), st.lists(st.tuples(st.text(max_size=4), st.floats()))), max_size=4),
)
def test_tokens_that_are_not_those_of_the_text_give_no_probability(
    text: str, tokens: list[tuple[str, list[tuple[str, float]]]]
) -> None:
    made = [Token(text=token, alternatives=tuple(others)) for token, others in tokens]
    reading = read(text, made)
    assert reading.p_yes is None or (0 <= reading.p_yes <= 1 and (reading.p_yes >= 0.5) is reading.verdict)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 0.7])
def test_a_log_probability_that_is_none_gives_no_probability_and_it_is_said(bad: float) -> None:
    reading = read("Yes", [Token(text="Yes", alternatives=(("Yes", bad), ("No", -1.0)))])
    assert (reading.verdict, reading.p_yes) == (True, None)
    assert "is no log-probability" in reading.no_probability


@pytest.mark.parametrize("end", ["</s>", "<|im_end|>", "\n", "<|return|>"])
def test_the_token_that_ends_an_answer_does_not_hide_its_probability(end: str) -> None:
    tokens = [Token(text="so yes</think>"), Token(text=" No", alternatives=((" No", -0.1), (" Yes", -2.4))), Token(text=end)]
    assert read("No", tokens, thought="so yes").p_yes == pytest.approx(0.091, abs=1e-3)


@given(
    st.sampled_from(["Regel", "Summe", "Sache", "Breite", "Spitze", "Laune"]), st.sampled_from(["offen", "leer", "geschlossen"])
)
def test_a_state_behind_a_place_is_no_explanation(noun: str, state: str) -> None:
    assert yes_or_no(f"Ja, die Schublade ist in der {noun} {state}.") is None
    assert yes_or_no(f"Ja, in der {noun} ist die Schublade {state}.") is None


def test_tokens_that_frame_an_answer_do_not_hide_its_probability() -> None:
    text = "<think>Yes, so far</think>\n<|begin_of_box|>No<|end_of_box|>"
    made = [Token(text="<think>"), Token(text="Yes", alternatives=(("Yes", -0.1), ("No", -2.4)))]
    made += [Token(text=", so far"), Token(text="</think>\n"), Token(text="<|begin_of_box|>")]
    made += [Token(text="No", alternatives=(("No", -0.1), ("Yes", -2.4))), Token(text="<|end_of_box|>")]
    reading = read(text, made)
    assert (reading.verdict, reading.p_yes) == (False, pytest.approx(0.091, abs=1e-3))
    assert read("<|begin_of_box|>No<|end_of_box|>", made[5:]).p_yes is None, "tokens and text disagree"


def test_marks_of_ones_own_are_besides_those_that_are_known() -> None:
    assert read("((yes yes)) No", marks=[("((", "))")]).verdict is False
    assert read("((No", marks=[("((", "))")]).verdict is None
    assert split_thought("<think>a</think>b", [("((", "))")]).answer == "b"


def test_a_model_that_sees_no_picture_is_a_fault_and_neither_is_its_no() -> None:
    reading = read("No, there is no image attached. Please upload one.")
    assert reading.no_picture
    assert reading.answer().unreadable
    assert decide(reading.answer()) is None
    assert not read("No, there is no block in the image.").no_picture


@pytest.mark.parametrize(
    ("token", "which"),
    [
        ("Yes", True),
        (" yes", True),
        ("Ġno", False),
        ("▁No", False),
        ("No.", False),
        ("not", None),
        ("y", None),
        ("", None),
        ("是", True),
    ],
)
def test_tokens_of_a_vocabulary(token: str, which: bool | None) -> None:
    assert side(token) is which


def test_yes_gets_its_share_of_what_yes_and_no_have_together() -> None:
    assert share_of_yes([("Yes", 0.4), (" yes", 0.2), ("No", 0.2), ("The", 0.2)]) == pytest.approx(0.75)
    assert share_of_yes([("Yes", 0.3), ("The", 0.7)]) is None, "it is not answering the question"
    assert share_of_yes([]) is None


@given(st.lists(st.tuples(st.text(max_size=5), st.floats())))
def test_a_share_is_a_probability_whatever_a_server_sends(tokens: list[tuple[str, float]]) -> None:
    share = share_of_yes(tokens)
    assert share is None or 0 <= share <= 1


def test_a_probability_outranks_the_words_and_meets_the_threshold() -> None:
    assert decide(Answer(text="no", p_yes=0.6)) is True
    assert decide(Answer(text="yes", p_yes=0.6), threshold=0.7) is False
    assert decide(Answer(text="yes", p_yes=0.7), threshold=0.7) is True
    assert decide(Answer(text="yes", p_yes=float("nan"))) is None
    assert decide(Answer(text="<think>yes</think> No")) is False, "also of a model that is not ours"
    assert decide(Answer(text="Yes", unreadable="cut off")) is None


EXAMPLES = list(read_examples(SHIPPED))


@pytest.mark.parametrize("kind", sorted({example.kind for example in EXAMPLES}))
def test_every_answer_of_the_shipped_file_is_read_as_it_should_be(kind: str) -> None:
    scores, _ = score(example for example in EXAMPLES if example.kind == kind)
    assert scores[kind].mistakes == []
    assert scores[kind].undecided == 0


def test_the_shipped_file_holds_hundreds_of_answers_and_each_once() -> None:
    assert len(EXAMPLES) >= 1500
    assert len({repr(example) for example in EXAMPLES}) == len(EXAMPLES)


def test_a_file_of_ones_own_is_measured_and_a_wrong_reading_ends_in_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(
        '\ufeff{"text": "No.", "reading": "no"}\n\n{"text": "I reckon it is open", "reading": "yes"}\n', encoding="utf-8"
    )
    assert main(["vlm", "evaluate", "--answers", str(path), "--out", str(tmp_path / "out")]) == 0
    assert "1 of 2 answers are read as they should be; 1 are left undecided, 0 are read wrongly" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "out" / "readings.jsonl").read_text().splitlines()]
    assert [row["read"] for row in rows] == ["no", "undecidable"]
    path.write_text('{"text": "No.", "reading": "yes", "kind": "mine"}\n')
    with pytest.raises(SystemExit) as ended:
        main(["vlm", "evaluate", "--answers", str(path)])
    assert ended.value.code == 1
    assert "mine: 'No.': read as no, and it is yes" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 1: this is not JSON"),
        ("3", "an answer is an object"),
        ('{"text": "a", "reading": "nein"}', "line 1"),
        ('{"text": "a"}', "reading"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_line(tmp_path: Path, line: str, message: str) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(line)
    with pytest.raises(ConfigError) as raised:
        list(read_examples(str(path)))
    assert message in str(raised.value)
    with pytest.raises(ConfigError, match="Name a file of answers, or `shipped`"):
        list(read_examples(str(tmp_path / "none")))


@pytest.mark.parametrize("thing", ["drawer", "red block", "carrot"])
@pytest.mark.parametrize("place", ["in the image", "in this picture", "in the photo"])
def test_that_a_thing_is_not_in_the_picture_at_all_answers_no_question_about_it(thing: str, place: str) -> None:
    assert read(f"No, there is no {thing} {place}.").verdict is None
    assert read(f"No, there is no {thing} in the bowl.").verdict is False
