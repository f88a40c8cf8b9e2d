"""Every route of the API against requests made from its description: no fault in the server, errors have a form."""

import tempfile
from pathlib import Path
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

from pipeline.tools.triage.app import application
from pipeline.tools.triage.page import Page
from pipeline.tools.triage.sessions import LocalUser
from pipeline.tools.triage.single_sign_on import PREFIX
from tests.examples import examples
from tests.tools.triage.pages import ADDRESS, store_of
from tests.tools.triage.test_judgements import seen

FOLDER = tempfile.TemporaryDirectory()
PAGE = Page(store_of(Path(FOLDER.name), seen()), LocalUser())
APP = application(PAGE)
ENDLESS = f"{PREFIX}/events"
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
described = schemathesis.openapi.from_dict(APP.openapi()).exclude(path=ENDLESS)
described.app = APP


def test_the_description_has_every_route() -> None:
    paths = set(APP.openapi()["paths"])
    assert {f"{PREFIX}/incidents", f"{PREFIX}/verdicts/{{name}}/undo", f"{PREFIX}/audit", ENDLESS} <= paths


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
    session = PAGE.sessions.of(None)
    assert session is not None
    case.headers = {**(case.headers or {}), "x-csrf-token": session.csrf, "origin": ADDRESS}
    case.call_and_validate(base_url=ADDRESS, checks=CHECKS)
