"""The test event of `forebay output check`: valid, marked in every format, and what is said of the answer."""

import json
from pathlib import Path

import pytest
import yaml

from pipeline.tools.outputs.check import check, test_event, test_revision
from pipeline.tools.outputs.formats.table import DOCUMENTS, LINES, as_line
from pipeline.tools.outputs.formats.text import page, subject
from schemas.outputs import FileOutput, WebhookOutput
from schemas.validation import violation
from tests.commands import forebay
from tests.tools.outputs.receivers import web_server

NOW_US = 1_700_000_000_000_000
test_event.__test__ = test_revision.__test__ = False  # type: ignore[attr-defined]


def test_it_is_a_valid_event() -> None:
    assert violation(test_event(NOW_US), "alert") is None


@pytest.mark.parametrize("name", [*DOCUMENTS, *LINES])
def test_every_format_marks_it(name: str) -> None:
    assert "test" in as_line(test_revision(NOW_US), name).lower()
    assert subject(test_revision(NOW_US)).startswith("TEST ") and "nothing has happened" in page(test_revision(NOW_US))


def test_what_a_receiver_answers_is_said(tmp_path: Path) -> None:
    with web_server() as server:
        output = WebhookOutput(name="hook", webhook=server.url)
        assert (check(output, NOW_US).is_delivered, check(output, NOW_US).answer) == (True, "200 said")
        server.answers = [(403, {})]
        refused = check(output, NOW_US)
    assert not refused.is_delivered and "403" in refused.answer and "compare URL" in refused.answer
    output_file = FileOutput(name="disk", file=str(tmp_path / "alerts.ndjson"))
    assert check(output_file, NOW_US).is_delivered
    assert json.loads((tmp_path / "alerts.ndjson").read_text())["message"].startswith("TEST")
    absent = check(FileOutput(name="disk", file=str(tmp_path / "absent/a.ndjson")), NOW_US)
    assert not absent.is_delivered and "create it" in absent.answer


def test_the_command_exits_1_where_one_did_not_take_it(tmp_path: Path) -> None:
    outputs = [
        {"name": "disk", "file": str(tmp_path / "alerts.ndjson")},
        {"name": "hook", "webhook": "http://127.0.0.1:1/s3cret"},
    ]
    (tmp_path / "outputs.yaml").write_text(yaml.safe_dump({"outputs": outputs}))
    words = ("output", "check", "--outputs", str(tmp_path / "outputs.yaml"))
    run = forebay(*words, "--json")
    assert run.code == 1
    document = json.loads(run.stdout.splitlines()[-1])
    assert [each["delivered"] for each in document["outputs"]] == [True, False] and "s3cret" not in run.stdout
    one = forebay(*words, "disk")
    assert one.code == 0 and "disk: delivered" in one.stderr
