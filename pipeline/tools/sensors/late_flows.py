"""Which sensors' flows came late in the last hour, how late, and which setting would have taken them."""

import time
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, IsolationLevel, Message, TopicPartition

from pipeline.alert.wording import duration
from pipeline.archive.pairing import read_scored
from pipeline.contracts.envelope import MessagePosition, SensorName
from pipeline.errors import BadData
from pipeline.ingest.late import TAKEN_SHARE, Ints, proposed_us
from pipeline.runtime.kafka import clients, tail
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings
from pipeline.tools.sensors.histories import Remark

SINCE_US = 3_600_000_000
MAX_OFFSETS = 500
"""Of a partition so many are read at most, marks of transactions among them: of a busy one the last minutes."""
REQUEST_S = 10.0
MUCH = 0.01
"""The share from which on the alarm for late flows rings as well."""
LEAST_FLOWS = 100
"""One late flow of fewer is more than a hundredth, and says nothing."""
LONGEST_US = 900_000_000
"""Zeek's longest inactivity timeout is five minutes by default: what comes later than this waits for none."""
COLUMNS = ["site", "sensor", "late_by_us"]


class LateFlows(NamedTuple):
    """How many of a sensor's flows came late, the lateness that is set for it, and what would have taken 99 % of them.

    latest_us: how long before the latest end the last of them came, at most; 0 where none was late.
    """

    flows: int
    late: int
    lateness_us: int
    latest_us: int
    proposed_us: int

    @property
    def share(self) -> float:
        """Which part of the flows came late."""
        return self.late / self.flows if self.flows else 0.0

    @property
    def is_much(self) -> bool:
        """Whether something should be done about it."""
        return self.flows >= LEAST_FLOWS and self.share > MUCH


def late_flows(settings: Settings) -> dict[SensorName, LateFlows]:
    """Of each sensor that sent something, by name: the flows of topic `archive` written in the last hour, or of a busy
    partition the last of them. KafkaException where it cannot be read.
    """
    topic = settings.topics.archive
    consumer = clients.reader(settings, "late-flows", **tail.EOF_EVENTS)
    try:
        partitions = tail.partitions_of(consumer, topic)
        ends = tail.ends(settings, topic, partitions, isolation=IsolationLevel.READ_COMMITTED)
        starts = _starts(consumer, topic, ends)
        consumer.assign(starts)
        wanted = {at.partition: ends[at.partition] for at in starts}
        rows = [_rows(message) for message in tail.read_to(consumer, topic, wanted)] if starts else []
    finally:
        consumer.close()
    return counted([each for each in rows if each is not None], settings)


def _starts(consumer: Consumer, topic: str, ends: Mapping[int, int]) -> list[TopicPartition]:
    since_ms = (time.time_ns() // 1_000 - SINCE_US) // 1_000
    found = consumer.offsets_for_times([TopicPartition(topic, each, since_ms) for each in ends], REQUEST_S)
    return [
        TopicPartition(topic, at.partition, max(at.offset, ends[at.partition] - MAX_OFFSETS))
        for at in found
        if 0 <= at.offset < ends[at.partition]
    ]


def _rows(message: Message) -> pa.Table | None:
    """The columns of a message that count; None where it is none of `archive`: `forebay archive verify` says so."""
    position = MessagePosition(message.topic() or "", message.partition() or 0, message.offset() or 0)
    try:
        return pa.table(read_scored(message.value() or b"", position).rows.select(COLUMNS))
    except BadData:
        return None


def counted(rows: Iterable[pa.Table], settings: Settings) -> dict[SensorName, LateFlows]:
    """What flows say, with columns COLUMNS: per sensor, by name."""
    tables = list(rows)
    if not tables:
        return {}
    of_sensors = pa.concat_tables(tables).group_by(["site", "sensor"]).aggregate([("late_by_us", "list")]).to_pylist()
    made = {
        (each["site"], each["sensor"]): _of_sensor(
            np.array(each["late_by_us_list"], np.int64), settings.lateness_of(each["site"])
        )
        for each in of_sensors
    }
    return dict(sorted(made.items()))


def _of_sensor(late_by_us: Ints, lateness_us: int) -> LateFlows:
    """A flow is late by what it lay behind the watermark, which is the lateness behind the latest end."""
    late = late_by_us > 0
    behind = np.where(late, late_by_us + lateness_us, 0)
    proposed = max(proposed_us(behind), lateness_us)
    return LateFlows(len(behind), int(late.sum()), lateness_us, int(behind.max(initial=0)), proposed)


def late_remarks(name: SensorName, found: LateFlows | None, settings: Settings) -> list[Remark]:
    """What to say of a sensor's late flows, and to do; nothing where they are few."""
    if found is None or not found.is_much:
        return []
    what = (
        f"{found.late:,} of its last {found.flows:,} flows came late ({found.share:.1%}), up to "
        f"{duration(found.latest_us)} after a later one, by a lateness of {duration(found.lateness_us)}: its baseline "
        "learnt nothing from them"
    )
    return [Remark(what, late_remedy(name[0], found.proposed_us, settings))]


def late_remedy(site: str, lateness_us: int, settings: Settings) -> str:
    """What to do where 99 % of a site's flows are on time with a lateness of so much, and fewer with what is set.

    A sensor that is silent for FOREBAY_IDLE_US is waited for no longer, and what comes then is late: that is as long.
    """
    if lateness_us > LONGEST_US:
        return (
            "no lateness bridges that: give each sensor a name of its own, compare clocks (NTP), send no older records "
            "after newer ones"
        )
    if site in settings.site_lateness_us:
        set_to = f"{lateness_us} for {printable(site)} in FOREBAY_SITE_LATENESS_US"
    else:
        set_to = f"FOREBAY_LATENESS_US={lateness_us}"
    raised = f" and FOREBAY_IDLE_US={lateness_us}" if 0 < settings.idle_us < lateness_us else ""
    return (
        f"set {set_to}{raised}, and start again (forebay down, forebay up): {TAKEN_SHARE:.0%} of such are on time "
        "then, and alerts come that much later"
    )


def late_finding(every: Mapping[SensorName, LateFlows]) -> tuple[str, str]:
    """A verdict of `forebay doctor` on all sensors, and what was found."""
    if not every:
        return "ok", "no flow in the last hour"
    much = sum(found.is_much for found in every.values())
    flows, late = (sum(each) for each in zip(*((found.flows, found.late) for found in every.values()), strict=True))
    counted_words = f"{late:,} of the last {flows:,} flows came late"
    if much:
        return "warn", f"{counted_words}; {much} of {len(every)} sensors with more than {MUCH:.0%}, named below"
    return "ok", f"{counted_words}; no sensor with more than {MUCH:.0%}"


def share_words(found: LateFlows | None) -> str:
    """Which part came late, as a cell of a table."""
    return f"{found.share:.1%}" if found is not None else "-"


def late_document(found: LateFlows | None) -> dict[str, Any] | None:
    """The same for machines; None where nothing came in the last hour."""
    return {**found._asdict(), "share": round(found.share, 6)} if found is not None else None
