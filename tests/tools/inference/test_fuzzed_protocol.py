"""The protocol's routes against requests made from their description: no fault in the server, errors have a form."""

from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from pipeline.tools.inference.application import MODEL_NAME, application
from pipeline.tools.inference.guard import Guarded
from tests.models import tiny
from tests.tools.inference.server import HOSTS, service
from tests.tools.triage.pages import ADDRESS

APP = application(service(), Guarded(HOSTS, None, 1_000_000, 64))
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
described = schemathesis.openapi.from_dict(APP.openapi())
described.app = APP


def test_the_description_has_every_route() -> None:
    model = "/v2/models/{name}"
    wanted = {"/v2", "/v2/health/live", "/v2/health/ready", model, f"{model}/ready", f"{model}/infer"}
    assert wanted <= set(APP.openapi()["paths"])
    body = APP.openapi()["paths"][f"{model}/infer"]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "application/octet-stream"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@described.parametrize()
@settings(
    max_examples=10, deadline=None, phases=(Phase.explicit, Phase.generate), suppress_health_check=list(HealthCheck)
)
def test_no_request_breaks_it(case: Any) -> None:
    if len(case.path_parameters.get("name", "")) % 2:  # else nearly no request would get as far as the model
        case.path_parameters["name"] = MODEL_NAME
        case.path_parameters.update({"version": tiny.model().id} if "version" in case.path_parameters else {})
    case.call_and_validate(base_url=ADDRESS, checks=CHECKS)
