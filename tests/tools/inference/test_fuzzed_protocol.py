"""The protocol's routes against requests made from their description: no fault in the server, errors have a form."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipeline.tools.inference.application import application
from pipeline.tools.inference.current_service import CurrentService
from pipeline.tools.inference.documents import ARROW, MODEL_NAME
from pipeline.tools.inference.guard import Guarded
from tests.examples import examples
from tests.models import tiny
from tests.tools.inference.arrow import batch_of, stream
from tests.tools.inference.server import HOSTS, service, unheard
from tests.tools.triage.pages import ADDRESS

APP = application(CurrentService(service()), Guarded(HOSTS, None, 1_000_000, 64), unheard())
ARROW_STREAM = stream(batch_of(tiny.rows(seed=7, count=40).matrix[:3], ["plant/a", "plant/b", "elsewhere"]))


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """An Arrow stream of rows, as it is or damaged."""
    body = bytearray(ARROW_STREAM)
    for at in draw(st.lists(st.integers(0, len(body) - 1), max_size=3)):
        body[at] = draw(st.integers(0, 255))
    return bytes(body[: draw(st.integers(0, len(body)) | st.just(len(body)))])


schemathesis.openapi.media_type(ARROW, streams())
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
described = schemathesis.openapi.from_dict(APP.openapi())
described.app = APP


def test_the_description_has_every_route() -> None:
    model = "/v2/models/{name}"
    wanted = {"/v2", "/v2/health/live", "/v2/health/ready", model, f"{model}/ready", f"{model}/infer"}
    assert wanted <= set(APP.openapi()["paths"])
    body = APP.openapi()["paths"][f"{model}/infer"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "application/octet-stream", ARROW}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@described.parametrize()
@settings(
    max_examples=examples(10),
    deadline=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_no_request_breaks_it(case: Any) -> None:
    if len(case.path_parameters.get("name", "")) % 2:  # else nearly no request would get as far as the model
        case.path_parameters["name"] = MODEL_NAME
        case.path_parameters.update({"version": tiny.model().id} if "version" in case.path_parameters else {})
    case.call_and_validate(base_url=ADDRESS, checks=CHECKS)
