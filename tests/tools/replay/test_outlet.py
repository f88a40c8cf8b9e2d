"""A replay's own topics: what is too large for a message is cut, what Kafka does not take is an error."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline.contracts.envelope import SensorWatermark
from pipeline.errors import Failed
from pipeline.runtime.kafka import clients
from pipeline.runtime.wire.batches import decode
from pipeline.tools.replay.outlet import Outlet, ReplayedFacts, cut
from pipeline.tools.replay.request import ARCHIVE, Request
from tests.contracts.facts import rows_facts
from tests.featurize.flows import batch
from tests.tools.replay.plant import settings_in

ROWS = rows_facts(seq=4, watermarks=(SensorWatermark("s", "t", 9),), ended=(("s", "t"),))
FACTS = ReplayedFacts(ROWS, position=70)


class Broker:
    """A producer whose every message from `refused` on is not taken."""

    def __init__(self, refused: int) -> None:
        self.values: list[bytes] = []
        self._refused = refused

    def produce(self, topic: str, value: bytes, on_delivery: Callable[[Any, Any], None], **_more: object) -> None:
        self.values.append(value)
        number = len(self.values)
        on_delivery(f"error {number}" if number >= self._refused else None, self)

    def topic(self) -> str:
        return "archive"

    def poll(self, _timeout_s: float) -> None:
        return None

    def flush(self, _timeout_s: float) -> int:
        return 0


def test_a_large_message_is_cut_and_its_last_part_ends_it() -> None:
    rows = batch([{"at": at} for at in range(10)])
    assert list(cut(rows, FACTS)) == [(rows, FACTS)]
    for parts in (list(cut(rows, FACTS, rows=4)), list(cut(rows, FACTS, size=rows.nbytes // 2))):
        assert pa.Table.from_batches([part for part, _ in parts]).combine_chunks().to_batches()[0].equals(rows)
        assert [facts.part for _, facts in parts] == list(range(len(parts)))
        assert all(facts.rows.seq == 4 and facts.position == 70 for _, facts in parts)
        assert [facts.rows.ended for _, facts in parts] == [()] * (len(parts) - 1) + [(("s", "t"),)]
    assert list(cut(rows.slice(0, 0), FACTS)) == [(rows.slice(0, 0), FACTS)]


def test_what_kafka_does_not_take_is_reported_by_its_first_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, request = batch([{"at": 1}]), Request("r", ARCHIVE, topics=True)
    for refused in (2, 9):
        broker = Broker(refused)
        monkeypatch.setattr(clients, "producer", lambda _settings, _name, broker=broker: broker)
        outlet = Outlet(settings_in(tmp_path), request, 0)
        outlet.put(rows, rows, [("uid", b"{}")], FACTS)
        assert decode(broker.values[0], "flow")[1] == {**ROWS.document(), "position": 70}
        if refused == 9:
            outlet.flush()
            continue
        with pytest.raises(Failed, match="error 2"):
            outlet.flush()
