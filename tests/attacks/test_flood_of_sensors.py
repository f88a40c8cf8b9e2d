"""A flood of sensor names on one partition: memory and messages stay bounded, the plant's sensors get their rows."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from pipeline.alert.grouping import load_grouping
from pipeline.alert.partition import PartitionState as AlertState
from pipeline.alert.partition import advance_sensors
from pipeline.contracts.envelope import FeaturesFacts
from pipeline.contracts.raw import ZEEK_JSON, SourceInfo
from pipeline.featurize.partition import PartitionState, advance_partition, snapshot
from pipeline.ingest.active_sensors import ActiveSensors
from pipeline.ingest.decode import decode_messages
from pipeline.ingest.messages import Messages, RawMessage
from pipeline.ingest.pack import pack
from pipeline.settings import Settings
from tests.ingest.records import ZEEK

NAMES = 20_000
LEGITIMATE = [f"edge-{number}" for number in range(8)]
MAX_SENSORS = 256
START_S = 1_700_000_000.0
MAX_FACTS_BYTES = 128 * 1024
"""Of the default bound's sensors, with names of 128 bytes; a message may have 8 MiB."""


@dataclass
class Outcome:
    """What came out of ingest and featurize, and how large anything became on the way."""

    rows: list[pa.RecordBatch] = field(default_factory=list)
    rejects: list[pa.RecordBatch] = field(default_factory=list)
    sensors: int = 0
    idle: int = 0
    largest_facts: int = 0
    largest_state: int = 0
    alert_sensors: int = 0
    evicted: int = 0


def sent(at_s: float, sensor: str, offset: int, number: int) -> RawMessage:
    record = {**ZEEK, "ts": at_s, "duration": 0.5, "id.orig_p": 1024 + number % 60_000, "uid": f"C{number}"}
    return RawMessage(
        0, offset, round(at_s * 1e6), SourceInfo(ZEEK_JSON, (), "plant", sensor), json.dumps(record).encode()
    )


def stages(log: Iterable[RawMessage], max_sensors: int = MAX_SENSORS, in_a_transaction: int = 400) -> Outcome:
    """Take the log through ingest's and featurize's functions; alert hears of every message without its suspects."""
    outcome, sensors, state, alert = (
        Outcome(),
        ActiveSensors(max_sensors, lambda: 0.0),
        PartitionState.empty(),
        AlertState.empty(),
    )
    sensors.load(0, None)
    for messages in transactions(list(log), in_a_transaction):
        admitted = sensors.admit(messages)
        decoded = decode_messages(admitted, 3_600_000_000)
        sensors.observe(admitted, decoded.flows)
        for packed in pack(admitted, decoded, 4_096):
            outcome.rejects += packed.rejects
            state, features = advance_partition(state, packed.flows, packed.facts, 0, lambda _site: 2_000_000)
            for rows, facts in features:
                outcome.rows.append(rows)
                note(outcome, state, facts, alert)
    return outcome


def transactions(log: list[RawMessage], size: int) -> Iterator[Messages]:
    for start in range(0, len(log), size):
        yield Messages.of(log[start : start + size])


def note(outcome: Outcome, state: PartitionState, facts: FeaturesFacts, alert: AlertState) -> None:
    no_suspects = pa.RecordBatch.from_pydict({"suspect": pa.array([], pa.bool_())})
    advance_sensors(alert.sensors, no_suspects, facts.watermarks, {*facts.ended, *facts.evicted}, load_grouping())
    outcome.sensors = max(outcome.sensors, len(state.sensors) - len(state.idle))
    outcome.idle = max(outcome.idle, len(state.idle))
    outcome.alert_sensors = max(outcome.alert_sensors, len(alert.sensors))
    outcome.largest_facts = max(outcome.largest_facts, len(json.dumps(facts.document())))
    outcome.largest_state = max(outcome.largest_state, len(snapshot(state)))
    outcome.evicted += len(facts.evicted)


def legitimate_rows(outcome: Outcome) -> dict[tuple[str, int], tuple[Any, bytes]]:
    """Every row of the plant's own sensors: its flow, and the bits of its features."""
    by_position = {}
    for rows in outcome.rows:
        of_plant = rows.filter(pa.compute.is_in(rows.column("sensor"), pa.array(LEGITIMATE)))
        features = np.array(of_plant.column("features").to_pylist(), np.float32).reshape(len(of_plant), -1)
        for row, bits in zip(of_plant.drop_columns(["features"]).to_pylist(), features, strict=True):
            by_position[row["sensor"], row["raw_offset"]] = row, bits.tobytes()
    return by_position


def log_of(flooded: bool) -> Iterator[RawMessage]:
    """The plant's sensors, one record a second in turn; between two of them ten names that nobody has used before.

    Offsets are the same with and without the flood. Of 128 bytes each, names are as long as they may be.
    """
    offset = 0
    for second in range(NAMES // 10):
        yield sent(START_S + second, LEGITIMATE[second % len(LEGITIMATE)], offset, second)
        for number in range(second * 10, second * 10 + 10):
            if flooded:
                yield sent(START_S + second + 0.25, f"host-{number}-".ljust(128, "x"), offset + 1 + number % 10, number)
        offset += 11


@pytest.mark.slow
def test_twenty_thousand_names_leave_the_plants_sensors_as_they_are_and_memory_bounded() -> None:
    calm, flooded = stages(log_of(False)), stages(log_of(True))
    assert legitimate_rows(flooded) == legitimate_rows(calm)
    # The last flow of each sensor waits; all others are there.
    assert len(legitimate_rows(calm)) >= NAMES // 10 - 2 * len(LEGITIMATE)
    assert flooded.sensors <= MAX_SENSORS and flooded.alert_sensors <= MAX_SENSORS
    assert flooded.largest_facts < MAX_FACTS_BYTES and flooded.largest_state < MAX_FACTS_BYTES
    refused = pa.Table.from_batches(flooded.rejects)
    assert set(refused["reason"].to_pylist()) == {"too_many_sensors"}
    assert not set(refused["sensor"].to_pylist()) & set(LEGITIMATE)
    assert len(refused) == NAMES - (MAX_SENSORS - len(LEGITIMATE)), "each with its bytes and position"
    assert all(json.loads(record)["uid"].startswith("C") for record in refused["record"].to_pylist())


@pytest.mark.slow
def test_a_sender_that_puts_the_date_into_its_name_is_never_refused_and_leaves_no_name_behind() -> None:
    """A name a day for 60 days, beside two sensors that send all the time."""
    log: list[RawMessage] = []
    for hour in range(60 * 24):
        at_s = START_S + hour * 3_600
        names = [LEGITIMATE[0], LEGITIMATE[1], f"collector-day-{hour // 24}"]
        log += [sent(at_s + number, name, len(log) + number, hour) for number, name in enumerate(names)]
    outcome = stages(log, max_sensors=5, in_a_transaction=36)
    assert outcome.rejects == []
    assert outcome.sensors <= 2 + 2 and outcome.alert_sensors <= 2 + 2, "yesterday's and today's name"
    assert 30 < outcome.idle <= 35, "and the baselines of the last 35 days"
    assert outcome.evicted == 58
    assert len(legitimate_rows(outcome)) >= 2 * 60 * 24 - 2


def test_the_default_bound_is_the_one_that_is_tested_here() -> None:
    assert Settings.model_fields["max_sensors"].default == MAX_SENSORS
