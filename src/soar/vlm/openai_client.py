"""Any model behind an OpenAI-compatible endpoint: vLLM, SGLang, Ollama, llama.cpp, hosted services.

One question, about one picture or several, is one call; calls of a batch run side by side. The client of `openai` repeats what
may be repeated (429, 5xx, time out, lost connection), with back-off and jitter, and waits as long as Retry-After asks.

    what goes wrong                          what happens
    the same question was asked before       the answer that is on disk, no call
    still failing after all retries,         `when_away: undecided`: an answer without words, which is undecidable, so that the
    or an answer that is no answer           robot goes on (a random task, an unlabelled episode); `stop`: ModelServerError
    wrong key, unknown model, bad request    before the first answer ModelServerError: waiting would not help. Later the same as
                                             above: a server that worked and now refuses must not end a night's collection
    a field that the server does not take    asked again without it, from then on too (`soar.vlm.chat_dialect`)
    cut off, or nothing but a thought        undecidable, and a warning that names `answer_tokens`
    a redirect                               an error: no picture is sent on to another address
    a stream that breaks off                 no answer, as if the server were away
    "I see no image"                         undecidable, never remembered; told once to who listens: the set-up is wrong
    the cap on calls or tokens               BudgetError

While a server is away, calls are not repeated; the first that is answered ends that. Who listens (`soar.remote.fallbacks`) is
told once for each batch with unanswered questions.
"""

from __future__ import annotations

import base64
import json
import logging
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import httpx2
import openai
import simplejpeg

from soar.errors import ConfigError, ModelServerError
from soar.remote.fallbacks import fell_back
from soar.remote.transport import ReplyLimits, open_client
from soar.remote.waits import waiting
from soar.remote.wire import plain
from soar.types import Image
from soar.vlm.answer_parsing import FILTERED, SHOWN_NOTHING, VERSION, Reading, is_whole, read
from soar.vlm.base import Answer
from soar.vlm.chat_dialect import Dialect, hint, hopeless, quoted, short
from soar.vlm.completions import Said, ServerSaidError, error_in, read_completion
from soar.vlm.response_cache import ResponseCache, digest
from soar.vlm.spending import spend
from soar.vlm.thoughts import Marks, split_thought

log = logging.getLogger(__name__)
YES_NO = "{question} Answer with one word, yes or no."
TRUE_FALSE = " Answer with one word, True or False."
"""What is asked for behind a statement, whatever `prompt` says."""
Kind = Literal["yes/no", "true/false", "text"]
_LONGEST = 30_000
"""Characters after which an answer is cut off."""
_AWAY = (openai.OpenAIError, httpx2.HTTPError, ValueError)
"""What the client raises when there is no answer: connection, time, status, and bodies that are not JSON."""
_STRANGE = (TypeError, AttributeError, LookupError, RecursionError)
_GATEWAY = (502, 503, 504)
"""Nobody is there behind whoever answered."""
UNDECIDABLE = "undecidable"
NO_PICTURE = (
    "The set-up is wrong: name a model that sees, and see to it that the server passes pictures on (llama.cpp: --mmproj)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAIConfig:
    """One model of one endpoint; the content of a YAML file with `backend: openai`.

    Attributes:
        model: As the server calls it.
        base_url: Of the API, usually ending in /v1.
        api_key_env: Environment variable that holds the key; a local server needs none.
        timeout_s: Of one attempt, from connecting to the last byte.
        retries: Of one call.
        concurrency: Calls at a time, of this process.
        answer_tokens: Longest answer, thought included; a model that thinks aloud needs thousands.
        thought_marks: Where a model's thoughts begin and end, for a model whose marks `soar.vlm.thoughts` does not know.
        logprobs: Ask for probabilities; a server that refuses is asked for fewer alternatives, or without.
        stream: Read answers while they are made, so that one that does not end is cut off.
        prompt: Of a yes/no question; `{question}` is replaced.
        jpeg_quality: Of the images, 1..100.
        extra: Further fields of every request.
        extra_yes_no: Further fields of a yes/no question, such as what makes a server answer from a list of choices; a model
            that lists tasks or writes questions must be free to say more.
        cache: File of answers and spending, see `soar.vlm.response_cache`; none by default.
        max_calls: Cap on calls of that file.
        max_tokens: Cap on tokens of that file.
        when_away: What an unreachable server means, see the module's docstring.
    """

    model: str
    base_url: str = "http://127.0.0.1:8000/v1"
    api_key_env: str = "OPENAI_API_KEY"
    timeout_s: float = 60.0
    retries: int = 5
    concurrency: int = 8
    answer_tokens: int = 256
    thought_marks: tuple[Marks, ...] = ()
    logprobs: bool = True
    stream: bool = False
    prompt: str = YES_NO
    jpeg_quality: int = 92
    extra: dict[str, Any] = field(default_factory=dict)
    extra_yes_no: dict[str, Any] = field(default_factory=dict)
    cache: str | None = None
    max_calls: int | None = None
    max_tokens: int | None = None
    when_away: Literal["undecided", "stop"] = "undecided"

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise ConfigError(f"base_url must begin with http:// or https://, got {self.base_url!r}")
        if "{question}" not in self.prompt:
            raise ConfigError(f"prompt must contain {{question}}, got {self.prompt!r}")
        if self.timeout_s <= 0 or self.retries < 0 or min(self.concurrency, self.answer_tokens) < 1:
            raise ConfigError(
                "timeout_s, concurrency and answer_tokens must be positive, and retries not negative; "
                f"got {self.timeout_s}, {self.concurrency}, {self.answer_tokens} and {self.retries}"
            )
        if not 1 <= self.jpeg_quality <= 100:
            raise ConfigError(f"jpeg_quality must be in 1..100, got {self.jpeg_quality}")

    @property
    def reply_limits(self) -> ReplyLimits:
        """What is read of a reply: the longest that is asked for, with 20 alternatives of each token, or a list of models."""
        return ReplyLimits(bytes=2**22 + 2**13 * self.answer_tokens, values=50_000 + 300 * self.answer_tokens)


class OpenAIModel:
    """A `soar.vlm.base.FilmModel` and `LanguageModel` behind an OpenAI-compatible endpoint."""

    def __init__(self, config: OpenAIConfig) -> None:
        self.config = config
        self.cache = ResponseCache(
            None if config.cache is None else Path(config.cache), max_calls=config.max_calls, max_tokens=config.max_tokens
        )
        self._client = openai.OpenAI(
            base_url=config.base_url,
            api_key=os.environ.get(config.api_key_env) or "none",
            timeout=config.timeout_s,
            max_retries=config.retries,
            http_client=open_client(config.base_url, config.timeout_s, config.reply_limits, connections=config.concurrency),
        )
        self._dialect = Dialect()
        self._answered = self._away = False
        self._told: set[str] = set()

    @property
    def id(self) -> str:
        """`openai:` and the model's name."""
        return f"openai:{self.config.model}"

    def check(self) -> None:
        """Ask the server whether it is there, without a call that costs.

        Raises:
            ModelServerError: Nobody answers, or the key is wrong.
        """
        try:
            self._client.with_options(max_retries=0).models.list()
        except openai.NotFoundError:
            return  # a server without a list of models
        except openai.InternalServerError as error:
            if error.status_code in _GATEWAY:
                raise self._refusal(error) from error
            log.info("%s cannot list its models (%s)", self.config.base_url, short(error))  # `transformers serve` offline
        except _AWAY as error:
            raise self._refusal(error) from error

    def answer(self, images: Sequence[Image], questions: Sequence[str]) -> list[Answer]:
        """Answer question i about image i; equal ones are asked once.

        Raises:
            ModelServerError: The server refuses, or is away and `when_away` is `stop`.
            BudgetError: A cap is reached.
        """
        if len(images) != len(questions):
            raise ValueError(f"{len(images)} images but {len(questions)} questions")
        return self.answer_films([[image] for image in images], questions)

    def answer_films(
        self, films: Sequence[Sequence[Image]], questions: Sequence[str], *, true_false: bool = False
    ) -> list[Answer]:
        """Answer question i about film i in one call; see `soar.vlm.base.FilmModel`. Errors as in `answer`."""
        if true_false:
            return self._ask_all([question + TRUE_FALSE for question in questions], films, "true/false")
        prompts = [self.config.prompt.replace("{question}", question) for question in questions]
        return self._ask_all(prompts, films, "yes/no")

    def reply(self, prompts: Sequence[str], images: Sequence[Image | None] | None = None) -> list[str]:
        """Reply to prompt i about image i; empty when the server is away, or only thought. Errors as in `answer`."""
        shown = [[] if image is None else [image] for image in images or [None] * len(prompts)]
        answers = self._ask_all(prompts, shown, "text")
        return [answer.text for answer in answers]

    def _ask_all(self, prompts: Sequence[str], films: Sequence[Sequence[Image]], kind: Kind) -> list[Answer]:
        extra = self._extra(kind)
        common: tuple[str, ...] = (self.id, self.config.base_url, kind, str(self.config.answer_tokens), VERSION)
        common += tuple("".join(marks) for marks in self.config.thought_marks)
        common += (json.dumps(extra, sort_keys=True, default=str),) if extra else ()  # it may decide what can be answered
        keys = [(*common, prompt, "+".join(map(digest, film))) for prompt, film in zip(prompts, films, strict=True)]
        answers = {key: answer for key in set(keys) if (answer := self.cache.find(*key)) is not None}
        missing = {key: (key, prompt, film) for key, prompt, film in zip(keys, prompts, films, strict=True)}
        work = [item for key, item in missing.items() if key not in answers]
        if work:
            with ThreadPoolExecutor(max_workers=min(self.config.concurrency, len(work))) as pool:
                found = list(pool.map(lambda item: self._ask(*item, kind=kind), work))
            problems = [problem for _, problem in found if problem]
            self._away = bool(problems)
            if problems:
                fell_back(self.id, UNDECIDABLE, f"{len(problems)} of {len(work)} questions without an answer; {problems[0]}")
            answers.update(zip([key for key, _, _ in work], [answer for answer, _ in found], strict=True))
        return [answers[key] for key in keys]

    def _ask(self, key: tuple[str, ...], prompt: str, film: Sequence[Image], *, kind: Kind) -> tuple[Answer, str]:
        """Return an answer, and why it is none; empty when it is one."""
        self.cache.book()
        try:
            with waiting("vlm"):
                answer = self._call(prompt, film, kind)
        except _AWAY as error:
            if self.config.when_away == "stop" or (hopeless(error) and not self._answered):
                raise self._refusal(error) from error
            return Answer(text=""), f"{type(error).__name__}: {short(error)}"
        self._answered = True
        if not answer.unreadable.startswith(SHOWN_NOTHING):
            self.cache.keep(answer, *key)
        return answer, ""

    def _call(self, prompt: str, film: Sequence[Image], kind: Kind) -> Answer:
        urls = [data_url(image, self.config.jpeg_quality) for image in film]
        content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
        content.append({"type": "text", "text": prompt})
        request = {"model": self.config.model, "messages": [{"role": "user", "content": content}], "stream": self.config.stream}
        wishes = {"logprobs": kind != "text" and self.config.logprobs, "stream": self.config.stream}
        dialect, refused = self._dialect, None
        while True:
            try:
                said = self._send(request | dialect.fields(self.config.answer_tokens, **wishes), kind)
                break
            except (openai.APIStatusError, ServerSaidError) as error:
                simpler = dialect.without(error, **wishes)
                if simpler is None:
                    raise error if refused is None or quoted(error) else refused from error
                refused, dialect = error, simpler
        if refused is not None and dialect != self._dialect:
            log.warning("%s refuses a field (%s); from now on it is asked with %s", self.id, short(refused), dialect)
            self._dialect = dialect
        self.cache.add_tokens(said.spent)
        spend(said.spent)
        return self._read(said, kind)

    def _send(self, request: dict[str, Any], kind: Kind) -> Said:
        client = self._client.with_options(max_retries=0) if self._away else self._client
        create: Callable[..., Any] = client.chat.completions.create
        try:
            response = create(**request, extra_body=self._extra(kind) or None)
            return self._read_stream(response) if self.config.stream else read_completion(response)
        except _STRANGE as error:
            # The client believes what a server sends; one that sends something else makes it stumble anywhere.
            raise ValueError(f"this is not a chat completion ({type(error).__name__}: {short(error)})") from error

    def _read(self, said: Said, kind: Kind) -> Answer:
        text, tokens, marks = plain(said.text, _LONGEST), self.config.answer_tokens, self.config.thought_marks
        cut = not is_whole(said.finish) or (not text.strip() and said.made >= tokens)
        if not text.strip() and said.refusal:
            return Answer(text=plain(said.refusal, _LONGEST), unreadable="the model refuses to answer")
        if cut and not text.strip() and said.finish != FILTERED:
            why = f"cut off at answer_tokens ({tokens}; the server says {said.finish or 'nothing'!r}) " + (
                "while it was still thinking" if said.thought else "before it said anything"
            )
            self._tell_once("cut off", f"{why}. Raise `answer_tokens`; a model that thinks aloud needs thousands")
            return Answer(text="", unreadable=why)
        if kind == "text":
            split = split_thought(text, marks)
            if split.unfinished:
                self._tell_once("cut off", f"a thought did not end within answer_tokens ({tokens}). Raise `answer_tokens`")
            return Answer(text=split.answer, unreadable="an unfinished thought" if split.unfinished else "")
        reading = read(text, said.tokens, finish=said.finish, thought=said.thought, marks=marks)
        self._tell(reading, cut=cut)
        return reading.answer()

    def _tell(self, reading: Reading, *, cut: bool) -> None:
        """Say what is wrong with an answer, once of each kind."""
        if reading.no_picture and "no picture" not in self._told:
            self._told.add("no picture")
            problem = f"{SHOWN_NOTHING} ({reading.text.strip()[:200]!r}). {NO_PICTURE}"
            log.error("%s: %s", self.id, problem)
            fell_back(self.id, UNDECIDABLE, problem)
        elif not reading.whole:
            more = f"; answer_tokens is {self.config.answer_tokens}, raise it" if cut else ""
            self._tell_once("unreadable", f"an answer cannot be read: {reading.reason}{more}")
        elif reading.no_probability:
            self._tell_once("probability", f"an answer is read without its probability: {reading.no_probability}")

    def _tell_once(self, kind: str, message: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            log.warning("%s: %s", self.id, message)

    def _extra(self, kind: Kind) -> dict[str, Any]:
        return self.config.extra | (self.config.extra_yes_no if kind == "yes/no" else {})

    def _read_stream(self, chunks: Any) -> Said:
        """Return what a stream says; cuts off what is too long."""
        said, any_choice = Said(), False
        with chunks:
            for chunk in chunks:
                if error := error_in(chunk):
                    raise ServerSaidError(error)
                for choice in chunk.choices or ():
                    any_choice = True
                    said.add(choice.delta, choice)
                said.count(chunk.usage)
                if len(said.text) > _LONGEST or len(said.thought) > _LONGEST * 10:
                    said.finish = "length"
                    break
        if said.finish is None and said.text:
            raise ValueError("the stream ended without a `finish_reason`: it broke off. `stream: false` does not need one")
        if not (said.text or said.spent or (any_choice and (said.thought or said.refusal or said.finish))):
            raise ValueError("the stream held no answer")
        return said

    def _refusal(self, error: Exception) -> ModelServerError:
        said = hint(error, key=self.config.api_key_env, url=self.config.base_url)
        return ModelServerError(f"{self.config.model} at {self.config.base_url}: {short(error)}. {said}")


def data_url(image_HWC: Image, quality: int) -> str:
    """Return an image as a JPEG in a URL."""
    jpeg = simplejpeg.encode_jpeg(image_HWC.copy(order="C"), quality=quality, colorspace="RGB", colorsubsampling="444")
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
