"""Which sensors' flows came late in the last hour, how late, and which setting would have taken them."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from confluent_kafka import Consumer, IsolationLevel, KafkaException, Message, TopicPartition

from pipeline.alert.wording import duration
from pipeline.archive.pairing import read_scored
from pipeline.contracts.envelope import MessagePosition, SensorName
from pipeline.errors import BadData, ForebayError
from pipeline.ingest.late import LONGEST_US, MUCH, TAKEN_SHARE, Ints, proposed_us
from pipeline.runtime.kafka import clients, tail
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings
from pipeline.tools.sensors.histories import Remark

SINCE_US = 3_600_000_000
MAX_OFFSETS = 500
"""Of a partition so many are read at most, marks of transactions among them: of a busy one the last minutes."""
REQUEST_S = 10.0
LEAST_FLOWS = 100
"""One late flow of fewer is more than a hundredth, and says nothing."""
TOO_FAR = (
    "no lateness bridges that: give each sensor a name of its own, compare clocks (NTP), send no older records after "
    "newer ones"
)
COLUMNS = ["site", "sensor", "late_by_us"]
MAX_TITLE = 120
"""Characters of what a source is called."""


class LateFlows(NamedTuple):
    """How many of a sensor's flows came late, the lateness that holds there, and what would have taken 99 % of them.

    latest_us: how long before the latest end the last of them came, at most; 0 where none was late. of_source: whether
    the sensor's messages state the lateness; else it is its site's. may_wait: whether flows of its partition wait.
    """

    flows: int
    late: int
    lateness_us: int
    latest_us: int
    proposed_us: int
    of_source: bool = False
    may_wait: bool = False

    @property
    def share(self) -> float:
        """Which part of the flows came late."""
        return self.late / self.flows if self.flows else 0.0

    @property
    def is_much(self) -> bool:
        """Whether something should be done about it."""
        return self.flows >= LEAST_FLOWS and self.share > MUCH


class Judged(NamedTuple):
    """The rows of a message of `archive`, with columns COLUMNS, and the lateness that holds behind it: of the sensors
    whose watermarks it has their own, or None where it is their site's; of those whose sources end their own.

    partition, waits: which it is of, and whether flows of that wait behind the message.
    """

    rows: pa.Table
    lateness: Mapping[SensorName, int | None]
    partition: int = 0
    waits: bool = False


def late_flows(settings: Settings) -> dict[SensorName, LateFlows]:
    """Of each sensor that sent something, by name: the flows of topic `archive` written in the last hour, or of a busy
    partition the last of them, since its lateness holds; perhaps none. KafkaException where it cannot be read.
    """
    topic = settings.topics.archive
    consumer = clients.reader(settings, "late-flows", **tail.EOF_EVENTS)
    try:
        partitions = tail.partitions_of(consumer, topic)
        ends = tail.ends(settings, topic, partitions, isolation=IsolationLevel.READ_COMMITTED)
        starts = _starts(consumer, topic, ends)
        consumer.assign(starts)
        wanted = {at.partition: ends[at.partition] for at in starts}
        found = [_rows(message) for message in tail.read_to(consumer, topic, wanted)] if starts else []
    finally:
        consumer.close()
    read = [each for each in found if each is not None]
    rows, held = since_it_holds(read)
    may_wait = _may_wait(read)
    return {name: of._replace(may_wait=name in may_wait) for name, of in counted(rows, settings, held).items()}


def _may_wait(messages: Sequence[Judged]) -> set[SensorName]:
    """The sensors of partitions of which flows wait behind the last message."""
    waits = {message.partition: message.waits for message in messages}
    return {name for message in messages for name in message.lateness if waits[message.partition]}


def _starts(consumer: Consumer, topic: str, ends: Mapping[int, int]) -> list[TopicPartition]:
    since_ms = (time.time_ns() // 1_000 - SINCE_US) // 1_000
    found = consumer.offsets_for_times([TopicPartition(topic, each, since_ms) for each in ends], REQUEST_S)
    return [
        TopicPartition(topic, at.partition, max(at.offset, ends[at.partition] - MAX_OFFSETS))
        for at in found
        if 0 <= at.offset < ends[at.partition]
    ]


def _rows(message: Message) -> Judged | None:
    """What a message says; None where it is none of `archive`: `forebay archive verify` says so."""
    position = MessagePosition(message.topic() or "", message.partition() or 0, message.offset() or 0)
    try:
        scored = read_scored(message.value() or b"", position)
    except BadData:
        return None
    own = {(each.site, each.sensor): each.us for each in scored.facts.lateness}
    names = [(each.site, each.sensor) for each in scored.facts.watermarks]
    rows, waits = pa.table(scored.rows.select(COLUMNS)), scored.facts.frontier is not None
    return Judged(rows, dict.fromkeys(names) | own, position.partition, waits)


def since_it_holds(messages: Sequence[Judged]) -> tuple[list[pa.Table], dict[SensorName, int | None]]:
    """The rows of messages, in order, since the lateness of their sensors is what it is now, and which that is: their
    own, or None where it is their site's. What came before was judged by another: by that which holds now it would seem
    later than it was.
    """
    held, since = dict[SensorName, int | None](), dict[SensorName, int]()
    for number, message in enumerate(messages):
        since |= {name: number for name, us in message.lateness.items() if held.get(name, us) != us}
        held |= message.lateness
    rows = [
        _without(message.rows, {name for name, first in since.items() if number < first})
        for number, message in enumerate(messages)
    ]
    return rows, held


def _without(rows: pa.Table, sensors: set[SensorName]) -> pa.Table:
    if not sensors:
        return rows
    names = zip(rows.column("site").to_pylist(), rows.column("sensor").to_pylist(), strict=True)
    return rows.filter(pa.array([name not in sensors for name in names], pa.bool_()))


def counted(
    rows: Iterable[pa.Table], settings: Settings, held: Mapping[SensorName, int | None] | None = None
) -> dict[SensorName, LateFlows]:
    """What flows say, with columns COLUMNS: per sensor, by name; held: the lateness of sensors with their own, and
    which others have sent.
    """
    own = {name: us for name, us in (held or {}).items() if us is not None}
    tables, late_by_us = list(rows), dict.fromkeys(held or {}, np.zeros(0, np.int64))
    if tables:
        of_sensors = pa.concat_tables(tables).group_by(["site", "sensor"]).aggregate([("late_by_us", "list")])
        for each in of_sensors.to_pylist():
            late_by_us[each["site"], each["sensor"]] = np.array(each["late_by_us_list"], np.int64)
    return {
        name: _of_sensor(late, own.get(name, settings.lateness_of(name[0])), name in own)
        for name, late in sorted(late_by_us.items())
    }


def _of_sensor(late_by_us: Ints, lateness_us: int, of_source: bool) -> LateFlows:
    """A flow is late by what it lay behind the watermark, which is the lateness behind the latest end."""
    late = late_by_us > 0
    behind = np.where(late, late_by_us + lateness_us, 0)
    proposed = max(proposed_us(behind), lateness_us)
    return LateFlows(len(behind), int(late.sum()), lateness_us, int(behind.max(initial=0)), proposed, of_source)


def late_remarks(name: SensorName, found: LateFlows | None, settings: Settings) -> list[Remark]:
    """What to say of a sensor's late flows, and to do; nothing where they are few."""
    if found is None or not found.is_much:
        return []
    what = (
        f"{found.late:,} of its last {found.flows:,} flows came late ({found.share:.1%}), up to "
        f"{duration(found.latest_us)} after a later one, by a lateness of {duration(found.lateness_us)}: its baseline "
        "learnt nothing from them"
    )
    return [Remark(what, late_remedy(name, found, settings))]


def late_remedy(name: SensorName, found: LateFlows, settings: Settings) -> str:
    """What to do where 99 % of a sensor's flows are on time with another lateness, and fewer with what holds.

    A sensor that is silent for FOREBAY_IDLE_US is waited for no longer than its source's lateness, and what comes then
    is late: where the lateness is the site's both are as long.
    """
    proposed_us, site = found.proposed_us, name[0]
    if proposed_us > LONGEST_US:
        return TOO_FAR
    sources = [each for each in settings.sources if each.may_name(*name)]
    source = min(sources, key=lambda each: [each.site, each.sensor] != [*name], default=None)  # rather one of it alone
    raised = f" and FOREBAY_IDLE_US={proposed_us}" if 0 < settings.idle_us < proposed_us else ""
    if source is not None:
        set_to = f"lateness_us: {proposed_us} at its source, {printable(source.title, MAX_TITLE)}"
    elif found.of_source:
        set_to = f"--lateness-us {proposed_us} of its `forebay flow follow`, or header lateness-us of who writes `raw`"
    elif site in settings.site_lateness_us:
        set_to = f"{proposed_us} for {printable(site)} in FOREBAY_SITE_LATENESS_US{raised}"
    else:
        set_to = f"FOREBAY_LATENESS_US={proposed_us}{raised}"
    return f"set {set_to}, and start again (forebay down, forebay up): {lateness_gives()}"


def lateness_gives() -> str:
    """What comes of a lateness that is proposed."""
    return f"{TAKEN_SHARE:.0%} of such are on time then, and alerts come that much later"


def late_finding(every: Mapping[SensorName, LateFlows]) -> tuple[str, str]:
    """A verdict of `forebay doctor` on all sensors, and what was found."""
    if not every:
        return "ok", "no flow in the last hour"
    much = sum(found.is_much for found in every.values())
    flows, late = (sum(each) for each in zip(*((found.flows, found.late) for found in every.values()), strict=True))
    if not flows:
        sensors = "the sensor" if len(every) == 1 else f"all {len(every)} sensors"
        return "ok", f"none to judge: flows of {sensors} wait, none came, or their lateness was changed since"
    counted_words = f"{late:,} of the last {flows:,} flows came late"
    if much:
        return "warn", f"{counted_words}; {much} of {len(every)} sensors with more than {MUCH:.0%}, named below"
    return "ok", f"{counted_words}; no sensor with more than {MUCH:.0%}"


def share_words(found: LateFlows | None) -> str:
    """Which part came late, as a cell of a table."""
    return f"{found.share:.1%}" if found is not None and found.flows else "-"


def wait_cell(found: LateFlows | None) -> str:
    """How long the sensor's flows wait for others, as a cell of a table."""
    return duration(found.lateness_us) if found is not None else "-"


def late_document(found: LateFlows | None) -> dict[str, Any] | None:
    """The same for machines; None where nothing came in the last hour."""
    if found is None:
        return None
    facts = found._asdict()
    del facts["may_wait"]
    return {**facts, "share": round(found.share, 6)}


def known_late_flows(settings: Settings) -> dict[SensorName, LateFlows] | None:
    """`late_flows`; None where they cannot be read, as while Kafka is away."""
    try:
        return late_flows(settings)
    except (ForebayError, KafkaException):
        return None
