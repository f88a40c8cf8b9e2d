"""The Open Inference Protocol v2 over HTTP, on a scoring service.

Source: Open Inference Protocol, "Inference Protocol HTTP/REST" and "Binary Tensor Data Extension" (Triton).
"""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from pipeline.errors import Backpressure, BadData
from pipeline.tools.inference.arrow_bodies import request_of_stream, stream_of
from pipeline.tools.inference.bodies import LARGE_BYTES, LARGE_ROWS, Bodies
from pipeline.tools.inference.current_service import CurrentService
from pipeline.tools.inference.documents import (
    ANSWERS,
    ARROW,
    BINARY,
    BODIES,
    EVERYWHERE,
    KINDS,
    MODEL_NAME,
    NAME,
    NO_TOKEN,
    NOT_THERE,
    InferenceAnswer,
    Live,
    ModelMetadata,
    ModelReady,
    Ready,
    ServerMetadata,
    TensorMetadata,
)
from pipeline.tools.inference.guard import ALWAYS, PROBES, Guard, Guarded, content_kind, refused
from pipeline.tools.inference.measures import Measures
from pipeline.tools.inference.scoring_service import ScoringService
from pipeline.tools.inference.tensors import ORIGIN_INPUT, OUTPUTS, ROWS, Column, Inference, answer_of, request_of

if TYPE_CHECKING:
    from models.serving.model import Model
    from models.serving.scored import Scored

EXTENSIONS = ["binary_tensor_data", "arrow_stream"]
JSON_BYTES = "inference-header-content-length"


class Scores:
    """The protocol's routes on the service of now."""

    def __init__(self, current: CurrentService) -> None:
        self._current = current
        self._bodies = Bodies()

    @property
    def _model(self) -> "Model":
        return self._current.now.model

    def install(self, app: FastAPI) -> None:
        """Routes; those of a model with its version in them as well."""
        get, model = app.get, "/v2/models/{name}"
        get("/v2")(self.server)
        get("/v2/health/live")(self.live)
        get("/v2/health/ready")(self.ready)
        for path in (model, model + "/versions/{version}"):
            get(path, responses=NOT_THERE)(self.metadata)
            get(path + "/ready", responses=NOT_THERE)(self.model_ready)
            infer = app.post(path + "/infer", response_model=InferenceAnswer, responses=ANSWERS, openapi_extra=BODIES)
            infer(self.infer)

    async def server(self) -> ServerMetadata:
        """What this server is."""
        return ServerMetadata(name="forebay", version=version("forebay"), extensions=EXTENSIONS)

    async def live(self) -> Live:
        """That its loop turns."""
        return Live(live=True)

    async def ready(self) -> Ready:
        """Whether it scores: it listens once its engines are warm."""
        return Ready(ready=True)

    async def metadata(self, name: Annotated[str, NAME], version: str = "") -> ModelMetadata:
        """What the model reads and says."""
        self._expect(name, version)
        document, width = self._model.document, len(self._model.features)
        return ModelMetadata(
            name=MODEL_NAME,
            versions=[self._model.id],
            platform="forebay",
            inputs=[
                TensorMetadata(name=ROWS, datatype="FP32", shape=[-1, width]),
                TensorMetadata(name=ORIGIN_INPUT, datatype="BYTES", shape=[-1]),
            ],
            outputs=[TensorMetadata(name=each, datatype=kind, shape=[-1]) for each, (kind, _) in OUTPUTS.items()],
            properties={
                "feature_set": document["feature_set"],
                "feature_hash": document["feature_hash"],
                "features": list(self._model.features),
                "classes": list(self._model.classes),
                "origins": sorted(self._model.origins),
                "outputs": {each: meaning for each, (_, meaning) in OUTPUTS.items()},
                "max_rows": self._current.now.limits.max_rows,
            },
        )

    async def model_ready(self, name: Annotated[str, NAME], version: str = "") -> ModelReady:
        """Whether the model scores."""
        self._expect(name, version)
        return ModelReady(name=MODEL_NAME, ready=True)

    async def infer(self, request: Request, name: Annotated[str, NAME], version: str = "") -> Response:
        """Scores of rows, each by the calibration of its origin.

        `rows` FP32 [n, F]: the model's features in their order. `origin` BYTES [1] or [n]: SITE/SENSOR or SITE. One
        that the model has no calibration for is measured by its site's, else by the pooled one, as rows without an
        origin are: the output `calibration` says which it was. With the binary extension the answer's outputs may
        follow as bytes; an Arrow stream is answered with one.
        """
        kind = _expected_kind(request.headers)
        body = await request.body()
        self._expect(name, version)
        json_bytes = None if kind == ARROW else _json_bytes(request.headers)
        large = len(body) >= LARGE_BYTES
        wanted = await self._bodies.run(large, _decoded, kind, body, json_bytes, len(self._model.features))
        # From here to its answer a request is of one service, also where another takes its place meanwhile. One may
        # have done so while the body was decoded: of the same features, but perhaps not of the version that was named.
        service = self._current.now
        self._expect(name, version)
        self._expect_rows(wanted, service)
        scored = await service.score(wanted.rows, wanted.names, wanted.number)
        return await self._bodies.run(len(wanted.rows) >= LARGE_ROWS, _answer, kind, service.model, wanted, scored)

    def _expect_rows(self, wanted: Inference, service: ScoringService) -> None:
        """BadData where a request names other features than the model's, 413 where it has too many rows."""
        document, most = service.model.document, service.limits.max_rows
        if wanted.feature_hash not in (None, document["feature_hash"]):
            raise BadData(
                f"parameters.feature_hash: got {wanted.feature_hash[:64]!r}, expected {document['feature_hash']} of "
                f"{document['feature_set']}"
            )
        if len(wanted.rows) > most:
            raise HTTPException(
                413, f"{ROWS}: got {len(wanted.rows):,}, expected {most:,} at most; send several requests"
            )

    def _expect(self, name: str, given: str) -> None:
        """404 unless it is the one model, and its version where one is named."""
        if name != MODEL_NAME or given not in ("", self._model.id):
            got = f"{name} {given}".strip()
            raise HTTPException(404, f"model: got {got[:200]!r}, expected {MODEL_NAME}, version {self._model.id}")


def _expected_kind(headers: Mapping[str, str]) -> str:
    """The kind of a request's body; 415 where it is none of those that are read, or compressed."""
    kind, coding = content_kind(headers), headers.get("content-encoding")
    if coding is not None:
        raise HTTPException(415, f"content-encoding: got {coding[:120]!r}, expected none; send the body as it is")
    if kind not in KINDS:
        raise HTTPException(415, f"content-type: got {kind[:120]!r}, expected application/json, {BINARY} or {ARROW}")
    return kind


def _decoded(kind: str, body: bytes, json_bytes: int | None, width: int) -> Inference:
    """What a body asks for; BadData where it is none."""
    return request_of_stream(body, width) if kind == ARROW else request_of(body, json_bytes, width)


def _answer(kind: str, model: "Model", wanted: Inference, scored: "Scored") -> Response:
    """The scores, as the request's kind has it."""
    columns = _columns(model, wanted, scored)
    if kind == ARROW:
        return Response(stream_of(wanted, columns, MODEL_NAME, model.id), media_type=ARROW)
    content, json_bytes = answer_of(wanted, columns, MODEL_NAME, model.id)
    headers = {} if json_bytes is None else {JSON_BYTES: str(json_bytes)}
    return Response(content, media_type="application/json" if json_bytes is None else BINARY, headers=headers)


def _columns(model: "Model", wanted: Inference, scored: "Scored") -> dict[str, Column]:
    """All outputs of a request's rows."""
    worded = ("class", "calibration")
    columns: dict[str, Column] = {each: getattr(scored, each) for each in OUTPUTS if each not in worded}
    columns["class"] = [model.classes[index] for index in scored.class_index.tolist()]
    used = [model.origin_of(str(name)) for name in wanted.names]
    columns["calibration"] = [used[index] for index in wanted.number.tolist()]
    return columns


def _json_bytes(headers: Mapping[str, str]) -> int | None:
    size = headers.get(JSON_BYTES)
    if size is None:
        return None
    if not (size.isascii() and size.isdecimal() and len(size) <= 12):
        raise BadData(f"Inference-Header-Content-Length: got {size[:120]!r}, expected a number of bytes")
    return int(size)


def _describe_refusals(app: FastAPI, token: bool) -> None:
    """Take FastAPI's own 422, which is answered as 400, out of the description, and put what a token means into it."""
    description = app.openapi()
    schemas = description["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for path, verbs in description["paths"].items():
        for operation in verbs.values():
            operation["responses"].pop("422", None)
            if token and path not in PROBES:
                operation["responses"]["401"] = NO_TOKEN
                operation["security"] = [{"token": []}]
    if token:
        description["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}


class _Elsewhere:
    """Answers what no route has, with the paths that there are. Plain ASGI."""

    def __init__(self, app: FastAPI) -> None:
        self._before = app.router.default
        there = [app.openapi_url or "", *app.openapi()["paths"]]
        self._paths = ", ".join(sorted(path.replace("{name}", MODEL_NAME) for path in there))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The answer 404."""
        if scope["type"] != "http":
            await self._before(scope, receive, send)
            return
        text = f"path: got {scope['path'][:200]!r}, expected one of {self._paths}"
        await refused(404, text)(scope, receive, send)


def _said(error: HTTPException, request: Request, allowed: str | None) -> str:
    """What an error says: of a path that is there and has another method, which one."""
    if error.status_code == 405 and allowed:
        return f"method: got {request.method[:20]!r} for {request.url.path[:200]!r}, expected {allowed}"
    return str(error.detail)


def application(
    current: CurrentService, guarded: Guarded, measures: Measures, lifespan: Callable[[FastAPI], Any] | None = None
) -> FastAPI:
    """The application that serves the protocol; `lifespan` is entered as it starts, and left as it ends."""
    app = FastAPI(
        title="Forebay: scores",
        version="2",
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        lifespan=lifespan,
        responses=EVERYWHERE,
    )
    Scores(current).install(app)
    _describe_refusals(app, guarded.token is not None)
    app.router.default = _Elsewhere(app)

    @app.exception_handler(BadData)
    def bad(_request: Request, error: BadData) -> JSONResponse:
        return refused(400, str(error))

    @app.exception_handler(RequestValidationError)
    def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return refused(400, f"request: got {error.errors()[0]['msg']}")

    @app.exception_handler(Backpressure)
    def busy(_request: Request, error: Backpressure) -> JSONResponse:
        return refused(429, str(error), {"retry-after": str(max(round(error.retry_after_s), 1))})

    @app.exception_handler(HTTPException)
    def plain(request: Request, error: HTTPException) -> JSONResponse:
        headers = dict(error.headers or {})
        return refused(error.status_code, _said(error, request, headers.get("Allow")), headers)

    @app.exception_handler(Exception)
    def unexpected(_request: Request, _error: Exception) -> JSONResponse:
        # Starlette answers it outside of the guard, which would count and mark it.
        measures.error()
        return refused(500, "server: got a fault of its own; its log says more", ALWAYS)

    app.add_middleware(Guard, guarded=guarded, measures=measures)
    return app
