"""What `forebay source check` says of flows that are out of order."""

import pytest

from pipeline.ingest.files.source_check import Disorder
from pipeline.tools.cli import source

S = 1_000_000


def test_disorder_is_said_with_the_setting_that_takes_it(capsys: pytest.CaptureFixture[str]) -> None:
    much = Disorder("dam", "gate", 1_000, 331, 2 * S, 95 * S, 298 * S, 100 * S)
    source._print_disorder(much, False)
    said = capsys.readouterr().err
    assert "dam/gate: flows wait 2.0 s for others that ended earlier and come later, and alerts on them as lo" in said
    assert "`lateness_us` of the source sets another" in said
    assert (
        "dam/gate: 331 of 1,000 flows would come late (33.1%) by a lateness of 2.0 s: 99% come within 1 min 35 s"
        in said
    )
    assert "set lateness_us: 100000000 as in the source below, and start again" in said
    source._print_disorder(much, True)
    assert "set lateness_us: 100000000 at its source, and start again" in capsys.readouterr().err
    source._print_disorder(much._replace(proposed_us=3_600 * S), True)
    assert "no lateness bridges that" in capsys.readouterr().err
    source._print_disorder(Disorder("dam", "gate", 1_000, 3, 2 * S, 1 * S, 298 * S, 10 * S), False)
    said = capsys.readouterr().err
    assert "3 of 1,000" in said and "set lateness_us" not in said
    source._print_disorder(Disorder("dam", "gate", 1_000, 0, 300 * S, 1 * S, 2 * S, 10 * S), False)
    said = capsys.readouterr().err
    assert "by a lateness of 5 min 0 s: 99% come within 1.0 s of a later one, all within 2.0 s" in said
    assert "0 of 1,000" in said and "set lateness_us" not in said
