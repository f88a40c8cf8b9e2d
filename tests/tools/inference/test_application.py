"""The protocol's routes: scores as the scorer gives them, the binary extension, limits, tokens."""

import asyncio
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.serving.score import Scorer
from pipeline.errors import Backpressure
from pipeline.tools.inference.application import JSON_BYTES
from pipeline.tools.inference.documents import ARROW
from pipeline.tools.inference.guard import Guard, Guarded
from pipeline.tools.inference.scoring_service import ScoringService
from tests.examples import examples
from tests.models import tiny
from tests.tools.inference.arrow import batch_of, stream
from tests.tools.inference.server import HOSTS, client_of, service, unheard
from tests.tools.triage.pages import TestClient

INFER = "/v2/models/igan/infer"
MATRIX = tiny.rows(seed=7, count=40).matrix


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with client_of(service()) as made:
        yield made


def document(rows: np.ndarray = MATRIX, **more: Any) -> dict[str, Any]:
    entry = {"name": "rows", "datatype": "FP32", "shape": list(rows.shape), "data": rows.ravel().tolist()}
    origin = {"name": "origin", "datatype": "BYTES", "shape": [1], "data": ["plant/a"]}
    return {"inputs": [entry, origin], **more}


def outputs(answer: dict[str, Any]) -> dict[str, list[Any]]:
    return {each["name"]: each["data"] for each in answer["outputs"]}


def test_scores_are_the_scorers(client: TestClient) -> None:
    answer = client.post(INFER, json=document(id="mine"))
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    says, got = answer.json(), outputs(answer.json())
    assert (says["model_name"], says["model_version"], says["id"]) == ("igan", tiny.model().id, "mine")
    wanted = Scorer(tiny.model(), "cpu").score(MATRIX, np.zeros(40, np.int64), np.full(40, "plant/a"))
    for name in ("score", "novelty", "p_value", "probability"):
        assert np.array_equal(np.array(got[name], np.float32), getattr(wanted, name)), name
    assert got["suspect"] == wanted.suspect.tolist() and got["known"] == wanted.known.tolist()
    assert got["class"] == [tiny.model().classes[index] for index in wanted.class_index]
    assert any(got["suspect"]) and not all(got["suspect"])


@pytest.mark.parametrize("origins", [["plant/nosuch"], ["plant/a", "no/such"] * 20, None])
def test_an_answer_says_which_calibration_measured_each_row(client: TestClient, origins: list[str] | None) -> None:
    inputs = [document()["inputs"][0]]
    if origins:
        inputs.append({"name": "origin", "datatype": "BYTES", "shape": [len(origins)], "data": origins})
    got = outputs(client.post(INFER, json={"inputs": inputs}).json())
    named = list(np.broadcast_to(origins or ["*"], 40))
    assert got["calibration"] == [tiny.model().origin_of(str(name)) for name in named]
    assert "*" in got["calibration"] or origins == ["plant/nosuch"]
    entry = "calibration"
    as_arrow = client.post(
        INFER,
        content=stream(batch_of(MATRIX, [str(name) for name in named]), {"outputs": [{"name": entry}]}),
        headers={"content-type": ARROW},
    )
    with pa.ipc.open_stream(as_arrow.content) as reader:
        assert reader.read_all().column(entry).to_pylist() == got[entry]


def test_json_without_a_number_is_told_what_can_carry_a_missing_feature(client: TestClient) -> None:
    as_null = document()
    as_null["inputs"][0]["data"][3] = None
    text = orjson.dumps(as_null).replace(b"null", b"NaN")
    for answer in (
        client.post(INFER, json=as_null),
        client.post(INFER, content=text, headers={"content-type": "application/json"}),
    ):
        says = answer.json()["error"]
        assert answer.status_code == 400 and "JSON has no NaN: send rows as bytes or in Arrow" in says


def test_a_compressed_body_is_refused_by_the_header_that_says_so(client: TestClient) -> None:
    headers = {"content-encoding": "gzip", "content-type": "application/json"}
    answer = client.post(INFER, content=b"{}", headers=headers)
    assert answer.status_code == 415 and answer.json()["error"].startswith(
        "content-encoding: got 'gzip', expected none"
    )


def test_bytes_in_and_out_are_the_same_scores(client: TestClient) -> None:
    head = orjson.dumps(
        {
            "inputs": [
                {
                    "name": "rows",
                    "datatype": "FP32",
                    "shape": list(MATRIX.shape),
                    "parameters": {"binary_data_size": MATRIX.nbytes},
                }
            ],
            "outputs": [{"name": "score", "parameters": {"binary_data": True}}, {"name": "suspect"}],
        }
    )
    headers = {JSON_BYTES: str(len(head)), "content-type": "application/octet-stream"}
    answer = client.post(INFER, content=head + MATRIX.tobytes(), headers=headers)
    assert answer.status_code == 200, answer.text
    size = int(answer.headers[JSON_BYTES])
    wanted = Scorer(tiny.model(), "cpu").score(MATRIX, np.zeros(40, np.int64), np.full(40, "*"))
    assert answer.content[size:] == wanted.score.tobytes()
    assert orjson.loads(answer.content[:size])["outputs"][1]["data"] == wanted.suspect.tolist()


floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=examples(40))
@given(st.lists(st.lists(floats, min_size=6, max_size=6), min_size=1, max_size=12), st.booleans())
def test_json_bytes_and_arrow_get_the_same_bits(client: TestClient, values: list[list[float]], named: bool) -> None:
    rows = np.array(values, np.float32)
    origins = [("plant/a", "plant/b")[at % 2] for at in range(len(rows))] if named else None
    as_arrow = client.post(INFER, content=stream(batch_of(rows, origins), {"id": "7"}), headers={"content-type": ARROW})
    assert as_arrow.status_code == 200 and as_arrow.headers["content-type"] == ARROW
    with pa.ipc.open_stream(as_arrow.content) as reader:
        got = reader.read_all()
    entries: list[dict[str, Any]] = [{"name": "rows", "datatype": "FP32", "shape": list(rows.shape)}]
    entries += [{"name": "origin", "datatype": "BYTES", "shape": [len(rows)], "data": origins}] if origins else []
    as_json = client.post(INFER, json={"inputs": [{**entries[0], "data": values}, *entries[1:]]}).json()
    entries[0]["parameters"] = {"binary_data_size": rows.nbytes}
    head = orjson.dumps({"inputs": entries, "parameters": {"binary_data_output": True}})
    headers = {JSON_BYTES: str(len(head)), "content-type": "application/octet-stream"}
    as_bytes = client.post(INFER, content=head + rows.tobytes(), headers=headers)
    at = int(as_bytes.headers[JSON_BYTES])
    for from_json, from_bytes in zip(as_json["outputs"], orjson.loads(as_bytes.content[:at])["outputs"], strict=True):
        part = as_bytes.content[at : at + from_bytes["parameters"]["binary_data_size"]]
        at += len(part)
        column = got.column(from_json["name"]).to_pylist()
        if from_json["datatype"] == "BYTES":
            assert part == b"".join(struct.pack("<I", len(text)) + text.encode() for text in column)
            assert from_json["data"] == column
        else:
            kind = {"FP32": np.float32, "BOOL": np.bool_}[from_json["datatype"]]
            assert np.array(column, kind).tobytes() == np.array(from_json["data"], kind).tobytes() == part
    says = orjson.loads(got.schema.metadata[b"forebay"])
    assert says == {"id": "7", "model_name": "igan", "model_version": tiny.model().id}


def test_missing_features_in_a_stream_are_scored_as_the_scorer_has_it(client: TestClient) -> None:
    rows = MATRIX.copy()
    rows[::3, 1], rows[1, 2], rows[2, 2] = np.nan, np.inf, -np.inf
    body = stream(batch_of(rows), {"outputs": [{"name": "score"}]})
    answer = client.post(INFER, content=body, headers={"content-type": ARROW})
    with pa.ipc.open_stream(answer.content) as reader:
        got = reader.read_all().column("score").to_numpy()
    wanted = Scorer(tiny.model(), "cpu").score(rows, np.zeros(40, np.int64), np.full(40, "*")).score
    assert got.tobytes() == wanted.tobytes() and np.isfinite(got).all()


def test_what_the_server_and_its_model_are(client: TestClient) -> None:
    assert client.get("/v2").json()["extensions"] == ["binary_tensor_data", "arrow_stream"]
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    version = tiny.model().id
    for path in ("/v2/models/igan", f"/v2/models/igan/versions/{version}"):
        says = client.get(path).json()
        assert says["versions"] == [version] and says["inputs"][0] == {
            "name": "rows",
            "datatype": "FP32",
            "shape": [-1, 6],
        }
        assert says["properties"]["features"] == list(tiny.model().features)
        assert says["properties"]["feature_hash"] == tiny.FEATURES.hash
        assert client.get(f"{path}/ready").json() == {"name": "igan", "ready": True}
        assert client.post(f"{path}/infer", json=document()).status_code == 200
    for path in ("/v2/models/other", "/v2/models/igan/versions/1", "/v2/models/other/ready"):
        answer = client.get(path)
        assert answer.status_code == 404 and "expected igan" in answer.json()["error"]


def test_what_is_not_there_is_answered_with_what_is(client: TestClient) -> None:
    for answer in (client.get("/v1/models"), client.post("/v2/models/igan/predict", json={})):
        says = answer.json()["error"]
        assert answer.status_code == 404 and says.startswith("path: got '/v") and "expected one of " in says
        paths = client.get("/openapi.json").json()["paths"]
        assert {"/v2", "/openapi.json", INFER} <= set(says.partition("expected one of ")[2].split(", "))
        assert all(path.replace("{name}", "igan") in says for path in paths)
    answer = client.get(INFER)
    assert answer.status_code == 405 and answer.headers["allow"] == "POST"
    assert answer.json()["error"] == f"method: got 'GET' for '{INFER}', expected POST"


def test_rows_of_other_features_are_refused_with_both(client: TestClient) -> None:
    assert client.post(INFER, json=document(parameters={"feature_hash": tiny.FEATURES.hash})).status_code == 200
    answer = client.post(INFER, json=document(parameters={"feature_hash": "cd" * 32}))
    says = {"parameters": {"feature_hash": "cd" * 32}}
    in_arrow = client.post(INFER, content=stream(batch_of(MATRIX), says), headers={"content-type": ARROW})
    assert in_arrow.status_code == answer.status_code == 400 and in_arrow.json() == answer.json()
    assert all(text in answer.json()["error"] for text in ("cdcd", tiny.FEATURES.hash, "tiny-1"))


@pytest.mark.parametrize(
    ("status", "request_of"),
    [
        (400, {"content": b"{", "headers": {"content-type": "application/json"}}),
        (400, {"content": b"{}", "headers": {JSON_BYTES: "-1"}}),
        (400, {"content": b"{}", "headers": {JSON_BYTES: "9" * 30}}),
        (413, {"content": b" " * 1_000_001}),
        (413, {"json": document(np.zeros((4_097, 6), np.float32))}),
        (400, {"content": b"{}", "headers": {"content-type": ARROW}}),
        (413, {"content": stream(batch_of(np.zeros((4_097, 6), np.float32))), "headers": {"content-type": ARROW}}),
        (413, {"content": stream(batch_of(np.zeros((50_000, 6), np.float32))), "headers": {"content-type": ARROW}}),
        (415, {"content": b"{}", "headers": {"content-type": "text/html"}}),
        (415, {"content": b"{}", "headers": {"content-type": ARROW, "content-encoding": "zstd"}}),
        (415, {"content": b"{}", "headers": {"content-encoding": "gzip"}}),
        (403, {"json": document(), "headers": {"origin": "http://127.0.0.1"}}),
        (421, {"json": document(), "headers": {"host": "forebay.example"}}),
    ],
)
def test_what_is_refused(client: TestClient, status: int, request_of: dict[str, Any]) -> None:
    answer = client.post(INFER, **request_of)
    assert answer.status_code == status and "expected" in answer.json()["error"]
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_body_without_a_length_is_not_read_beyond_the_limit() -> None:
    read, answers = 0, []

    async def endless() -> dict[str, Any]:
        nonlocal read
        read += 1
        return {"type": "http.request", "body": bytes(10_000), "more_body": read < 1_000}

    async def keep(message: Any) -> None:
        answers.append(message)

    async def nothing(*_: object) -> None:
        raise AssertionError("a body that is too large is not passed on")

    guard = Guard(nothing, Guarded(HOSTS, None, 50_000, 8), unheard())
    scope = {"type": "http", "method": "POST", "path": INFER, "headers": [(b"host", b"127.0.0.1")]}
    asyncio.run(guard(scope, endless, keep))
    assert answers[0]["status"] == 413 and read == 6


def test_a_token_is_asked_for_but_by_probes() -> None:
    with client_of(service(), token=b"a-token-of-sixteen", hosts=None) as client:
        for given in ({}, {"authorization": "Bearer a-token"}, {"authorization": "Basic a-token-of-sixteen"}):
            answer = client.post(INFER, json=document(), headers=given)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
            assert client.get("/openapi.json", headers=given).status_code == 401
        assert client.get("/v2/health/ready").status_code == 200
        headers = {"authorization": "Bearer a-token-of-sixteen", "host": "scores.plant.example"}
        assert client.post(INFER, json=document(), headers=headers).status_code == 200


@pytest.mark.parametrize("token", [None, b"a-token-of-sixteen"])
def test_the_description_has_every_answer_there_is(token: bytes | None) -> None:
    headers = {} if token is None else {"authorization": f"Bearer {token.decode()}"}
    with client_of(service(), token=token) as client:
        described = client.get("/openapi.json", headers=headers).json()
    asked = {"401"} if token else set()
    everywhere = {"200", "403", "421", "500", "503"}
    found = {
        path: set(operation["responses"]) for path, verbs in described["paths"].items() for operation in verbs.values()
    }
    assert found["/v2/health/live"] == found["/v2/health/ready"] == everywhere
    assert found["/v2"] == everywhere | asked
    assert found["/v2/models/{name}"] == everywhere | asked | {"400", "404"}
    assert found["/v2/models/{name}/infer"] == everywhere | asked | {"400", "404", "408", "413", "415", "429"}
    schemes = {"token": {"type": "http", "scheme": "bearer"}} if token else None
    assert described["components"].get("securitySchemes") == schemes
    assert described["paths"]["/v2/health/live"]["get"].get("security") is None
    assert described["paths"]["/v2"]["get"].get("security") == ([{"token": []}] if token else None)


def test_more_requests_than_are_let_in() -> None:
    with client_of(service(), max_requests=0) as client:
        answer = client.post(INFER, json=document())
    assert answer.status_code == 429 and answer.headers["retry-after"] == "1"


def test_a_body_that_does_not_come_holds_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.tools.http_server.BODY_S", 0.05)
    guard = Guard(_never_asked, Guarded(HOSTS, None, 1_000, max_requests=1), unheard())

    async def silent() -> dict[str, Any]:
        await asyncio.sleep(60.0)
        raise AssertionError

    async def asked() -> list[int]:
        sent: list[Any] = []

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": "POST", "path": INFER, "headers": [(b"host", b"127.0.0.1")]}
        for _ in range(2):
            await guard(scope, silent, send)
        return [each["status"] for each in sent if each["type"] == "http.response.start"]

    assert asyncio.run(asked()) == [408, 408]


async def _never_asked(*_: Any) -> None:
    raise AssertionError


def _one(made: ScoringService, rows: int) -> Any:
    return made.score(MATRIX[:rows], np.array(["plant/a"]), np.zeros(rows, np.int64))


def test_many_at_once_get_their_own_scores_and_what_is_too_much_is_turned_away() -> None:
    wanted = Scorer(tiny.model(), "cpu").score(MATRIX, np.zeros(40, np.int64), np.full(40, "plant/a"))

    async def asked() -> list[Any]:
        made = service(max_rows=40, waiting=100)
        try:
            return await asyncio.gather(*(_one(made, rows) for rows in range(1, 25)), return_exceptions=True)
        finally:
            made.close()

    answers = asyncio.run(asked())
    turned_away = [each for each in answers if isinstance(each, Backpressure)]
    assert turned_away and all(each.retry_after_s > 0 for each in turned_away)
    for rows, answer in enumerate(answers, start=1):
        if not isinstance(answer, Backpressure):
            assert np.array_equal(answer.score, wanted.score[:rows])


def test_an_engine_that_fails_answers_with_its_error_and_the_next_request_is_scored() -> None:
    async def asked() -> None:
        made = service()
        try:
            with pytest.raises(Exception, match="rows to score"):
                await made.score(np.zeros((2, 5), np.float32), np.array(["a"]), np.zeros(2, np.int64))
            assert len((await _one(made, 3)).score) == 3
        finally:
            made.close()

    asyncio.run(asked())


def test_who_leaves_does_not_hold_up_others() -> None:
    async def asked() -> None:
        made = service()
        try:
            gone = asyncio.ensure_future(_one(made, 3))
            await asyncio.sleep(0)
            gone.cancel()
            assert len((await _one(made, 5)).score) == 5
        finally:
            made.close()

    asyncio.run(asked())
