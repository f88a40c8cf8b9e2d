"""`forebay triage serve`: what its options and settings ask the server for."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.settings import Settings, load_settings
from pipeline.tools.cli.triage import app
from pipeline.tools.processes import worker_environment
from pipeline.tools.system.worker_table import page_row
from pipeline.tools.triage import serving


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[serving.Request]:
    """What a server was asked for, which none starts."""
    requests: list[serving.Request] = []

    def serve(request: serving.Request, _settings: Settings, _started: object) -> None:
        requests.append(request)

    monkeypatch.setattr(serving, "serve", serve)
    return requests


def served(*options: str) -> None:
    result = CliRunner().invoke(app, ["serve", "--json", *options])
    assert result.exit_code == 0, result.output


def test_the_provider_is_that_of_the_option_else_of_the_setting(
    asked: list[serving.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    served()
    monkeypatch.setenv("FOREBAY_TRIAGE_OIDC", "plant.yaml")
    served()
    served("--oidc", "other.yaml")
    assert [request.oidc for request in asked] == [None, Path("plant.yaml"), Path("other.yaml")]


def test_the_page_of_a_box_has_the_provider_of_its_settings(
    asked: list[serving.Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(triage_oidc=Path("/etc/forebay/oidc.yaml"), triage_port=9_480)
    for name, value in worker_environment(settings).items():
        monkeypatch.setenv(name, value)
    served(*page_row(settings).at_port(9_481).arguments[2:])
    (request,) = asked
    assert (request.oidc, request.host, request.port) == (Path("/etc/forebay/oidc.yaml"), "127.0.0.1", 9_481)
