"""Errors as the page's API answers them: where, what was got, what was expected, and the remedy."""

import re

import orjson
from confluent_kafka import KafkaException
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from pipeline.errors import BadData, ForebayError, KafkaDenied, KafkaUnreachable, Usage
from pipeline.runtime.kafka.errors import typed
from pipeline.tools.triage.database import Unavailable
from pipeline.tools.triage.incident_list import NotThere

SENTENCE = re.compile(
    r"(?:(?P<where>.{1,300}?): )?got (?P<got>.+?), expected (?P<expected>.+?)(?:; (?P<remedy>.+))?", re.DOTALL
)
MAX_TEXT = 2_000
EXPECTED = {400: "a body of JSON", 404: "an address of the API", 405: "another method"}


class ErrorText(BaseModel):
    """An error in four parts, any of which may be empty."""

    where: str
    got: str
    expected: str
    remedy: str


class ErrorAnswer(BaseModel):
    """What is answered where something cannot be done."""

    error: ErrorText


class Answer(Response):
    """An answer of values that are JSON already: nothing is copied or checked on its way."""

    media_type = "application/json"

    def __init__(self, content: object) -> None:
        super().__init__(orjson.dumps(content))


class Refused(Exception):
    """A request that is not carried out, and the HTTP status that says so."""

    def __init__(self, status: int, where: str, got: str, expected: str, remedy: str = "") -> None:
        super().__init__(f"{where}: got {got}, expected {expected}")
        self.status = status
        self.text = ErrorText(where=where, got=got, expected=expected, remedy=remedy)
        self.headers: dict[str, str] = {}


def parts(message: str) -> ErrorText:
    """A message of ours (`where: got X, expected Y; remedy`) in its parts; any other one is what was got."""
    sentence = SENTENCE.fullmatch(message[:MAX_TEXT])
    if sentence is None:
        return ErrorText(where="", got=message[:MAX_TEXT], expected="", remedy="")
    return ErrorText(**{name: text or "" for name, text in sentence.groupdict().items()})


def answer(status: int, text: ErrorText, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer of an error."""
    return JSONResponse(ErrorAnswer(error=text).model_dump(), status, headers)


def status_of(error: Exception) -> int:
    """The HTTP status of an error of ours."""
    if isinstance(error, NotThere):
        return 404
    if isinstance(error, Usage | BadData):
        return 400
    return 503 if isinstance(error, KafkaUnreachable | KafkaDenied | Unavailable) else 500


def install(app: FastAPI) -> None:
    """Every error of `app` is answered in this form; what nobody expected says nothing of itself."""

    @app.exception_handler(Refused)
    def refused(_request: Request, error: Refused) -> JSONResponse:
        return answer(error.status, error.text, error.headers)

    @app.exception_handler(ForebayError)
    def ours(_request: Request, error: ForebayError) -> JSONResponse:
        return answer(status_of(error), parts(str(error)))

    @app.exception_handler(RequestValidationError)
    def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        got = repr(first.get("input"))[:120]
        return answer(422, ErrorText(where=where, got=got, expected=str(first["msg"]), remedy=""))

    @app.exception_handler(HTTPException)
    def plain(request: Request, error: HTTPException) -> JSONResponse:
        text = ErrorText(
            where=request.url.path[:200], got=str(error.detail), expected=EXPECTED.get(error.status_code, ""), remedy=""
        )
        return answer(error.status_code, text, dict(error.headers or {}))

    @app.exception_handler(KafkaException)
    def kafka(_request: Request, error: KafkaException) -> JSONResponse:
        known = typed(error.args[0], "Kafka", "")
        return answer(status_of(known), parts(str(known)))

    @app.exception_handler(Exception)
    def unexpected(_request: Request, _error: Exception) -> JSONResponse:
        text = ErrorText(where="server", got="a fault of its own", expected="", remedy="its log says more")
        return answer(500, text)
