"""Refused alerts on a real broker: parked before the position moves, sent again, and killed at every step not lost."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline.settings import Settings
from pipeline.tools.cli.outputs import app
from pipeline.tools.outputs.positions import behind
from tests.integration.chains import settings_for, worker
from tests.integration.test_output_worker import RUN, alerts, keys, posted, produce, with_outputs
from tests.patience import PATIENCE_S
from tests.tools.outputs.receivers import wait_until, web_server

pytestmark = pytest.mark.integration
RESEND = "pipeline.tools.cli output resend"


def listed(settings: Settings, command: str, *arguments: str) -> Any:
    where = ["--bootstrap", settings.bootstrap, "--prefix", settings.topic_prefix, "--json"]
    result = CliRunner().invoke(app, [command, *arguments, *where])
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


def test_refused_parked_and_sent_again(kafka: str, prefix: str, tmp_path: Path) -> None:
    events, log = alerts(0, 3), tmp_path / "log"
    with web_server() as server:
        outputs = [{"name": "soc", "webhook": server.url, "start": "earliest"}]
        settings, path = with_outputs(settings_for(kafka, prefix, tmp_path / "state"), outputs, tmp_path)
        assert listed(settings, "parked")["parked"] == []
        # One is refused, parked, and the worker killed before its position moves: all three are refused then.
        server.answers = [(422, {})] * 4
        produce(settings, events)
        with worker(settings.model_copy(update={"failpoint": "output.parked:1"}), RUN, log=log) as process:
            assert process.wait(PATIENCE_S) == -signal.SIGKILL, log.read_text()
        assert len(listed(settings, "parked")["parked"]) == 1
        with worker(settings, RUN, log=log) as process:
            wait_until(lambda: len(server.requests) == 4, "four refusals")
            wait_until(lambda: behind(settings).get("soc") == 0, "all dealt with")
            process.terminate()
            assert process.wait(PATIENCE_S) == 0, log.read_text()
        assert "`forebay output resend` sends it again" in log.read_text()
        parked = listed(settings, "parked", "soc")["parked"]
        assert [(each["output"], each["refusals"]) for each in parked] == [("soc", 1)] * 3
        assert all("got 422" in each["reason"] for each in parked)
        assert listed(settings, "list", "--outputs", path)["outputs"][0]["parked"] == 3

        # The receiver takes them now; killed between that and the topic, what was sent is sent again.
        armed = settings.model_copy(update={"failpoint": "output.resent:1"})
        with worker(armed, RESEND, log=log) as process:
            assert process.wait(PATIENCE_S) == -signal.SIGKILL, log.read_text()
        assert listed(settings, "parked")["parked"] == parked, "nothing is lost"
        named = parked[1]["uid"]
        one = listed(settings, "resend", named, "--outputs", path)
        assert (one["delivered"], one["outputs"][0]["answer"]) == (1, "200 said")
        assert listed(settings, "resend", "--outputs", path)["delivered"] == 2
        assert listed(settings, "resend", "--outputs", path)["outputs"] == []
        assert listed(settings, "parked")["parked"] == []
        delivered = posted(server)
    assert set(delivered) == keys(events), "each under its own key"
    assert delivered[parked[0]["key"]] >= 3
