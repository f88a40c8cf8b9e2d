"""Which workers a box needs follows from its settings."""

import sys
from pathlib import Path

import pytest

from pipeline.settings import load_settings
from pipeline.tools.cli import up
from pipeline.tools.demo.run import Options
from pipeline.tools.demo.run import settings_for as settings_of_demo
from pipeline.tools.system.worker_table import page_folder, page_hint, rows_for
from pipeline.tools.triage.packages import PACKAGES

OUTPUT = {"name": "disk", "file": "/var/log/alerts.ndjson"}


def test_outputs_have_a_worker_where_there_are_some() -> None:
    assert "output" not in [row.name for row in rows_for(load_settings())]
    assert rows_for(load_settings(triage_port=-1, outputs=[OUTPUT]))[-1].name == "output"


def test_the_page_is_served_on_loopback_beside_the_stages() -> None:
    settings = load_settings(metrics_host="0.0.0.0", run_folder="/srv/var/run")  # noqa: S104
    page = rows_for(settings)[-1]
    assert (page.name, page.port, page.is_stage, page.host) == ("triage", 9480, False, "127.0.0.1")
    assert page.at_port(5).arguments == (
        *("triage", "serve", "--host", "127.0.0.1", "--port", "5"),
        *("--data", "/srv/var/triage"),
    )
    assert page_hint(settings) == "" and page.imports == ()


def test_two_systems_side_by_side_have_two_stores() -> None:
    folders = [page_folder(Path("/srv", name)) for name in ("run", "run-2", "other")]
    assert folders == [Path("/srv/triage"), Path("/srv/run-2-triage"), Path("/srv/other-triage")]


@pytest.mark.parametrize("package", PACKAGES)
def test_without_its_packages_there_is_no_page_and_how_to_get_it_is_said(
    package: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    assert "triage" not in [row.name for row in rows_for(load_settings())]
    up._say_page(None, load_settings(), as_json=False)
    hint = capsys.readouterr().err.removesuffix("\n")
    assert hint == f"the page: {page_hint(load_settings())}"
    assert package in hint and "pip install '.[triage]'" in hint and "\n" not in hint
    up._say_page(None, load_settings(triage_port=-1), as_json=False)
    up._say_page(None, load_settings(), as_json=True)
    assert capsys.readouterr().err == ""


def test_a_demo_and_who_wants_none_have_no_page(tmp_path: Path) -> None:
    for settings in (load_settings(triage_port=-1), settings_of_demo(Options(tmp_path, 27.0, None, False))):
        assert "triage" not in [row.name for row in rows_for(settings)]
