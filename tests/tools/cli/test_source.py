"""What `forebay source check` says of flows that are out of order."""

import pytest

from pipeline.ingest.files.source_check import Disorder
from pipeline.settings import load_settings
from pipeline.tools.cli import source

S = 1_000_000


def test_disorder_is_said_with_the_setting_that_takes_it(capsys: pytest.CaptureFixture[str]) -> None:
    settings = load_settings()
    source._print_disorder(Disorder("dam", "gate", 1_000, 331, 2 * S, 95 * S, 298 * S, 100 * S), settings)
    said = capsys.readouterr().err
    assert (
        "dam/gate: 331 of 1,000 flows would come late (33.1%) by a lateness of 2.0 s: 99% come within 1 min 35 s"
        in said
    )
    assert "set FOREBAY_LATENESS_US=100000000" in said
    source._print_disorder(Disorder("dam", "gate", 1_000, 3, 2 * S, 1 * S, 298 * S, 10 * S), settings)
    said = capsys.readouterr().err
    assert "3 of 1,000" in said and "FOREBAY" not in said
    source._print_disorder(Disorder("dam", "gate", 1_000, 0, 2 * S, 1 * S, 2 * S, 10 * S), settings)
    assert capsys.readouterr().err == ""
