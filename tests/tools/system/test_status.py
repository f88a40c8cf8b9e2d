import os
from pathlib import Path

from pipeline.tools.system import status
from pipeline.tools.system.identity import identity_of
from pipeline.tools.system.record import BrokerRecord, Phase, SystemRecord


def test_a_system_whose_own_kafka_does_not_run_is_not_ready(tmp_path: Path) -> None:
    me = identity_of(os.getpid())
    assert me is not None
    without = SystemRecord(me, str(tmp_path), Phase.RUNNING, 5)
    assert status.document(without)["ready"]
    broker = BrokerRecord(str(tmp_path / "broker"), True)
    stopped = status.document(SystemRecord(me, str(tmp_path), Phase.RUNNING, 5, broker=broker))
    assert stopped["broker"]["state"] == "does not run" and stopped["running"] and not stopped["ready"]
