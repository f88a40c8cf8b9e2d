"""The facts that travel in a message beside its Arrow columns, hop by hop: what each message states of itself.

    FlowsFacts      ingest → featurize: the raw range the message was made from
    RejectsFacts    ingest → archive
    FeaturesFacts   featurize → score
    ScoredFacts     score → alert, archive, retrain: the same facts, of scored rows

On the wire they are one JSON object with sorted keys. `read` is the only way in: it refuses what is missing, of another
type, or out of range with one error, BadEnvelope. Facts it does not know are ignored, so that a message of a later
version can be read.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple, TypeAlias, TypeGuard, TypeVar

from pipeline.contracts.baseline_commands import BaselineCommand
from pipeline.contracts.lateness import EXPECTED_LATENESS, SensorLateness, StatedLateness
from pipeline.contracts.notices import Notice
from pipeline.errors import BadData, BadEnvelope
from schemas.intake import MAX_LATENESS_US

SensorName: TypeAlias = tuple[str, str]
"""Site and sensor: a sensor's name is unique within its site."""

RawPosition: TypeAlias = tuple[int, int]
"""Offset of a message of `raw`, and index of a record in it."""

Value = TypeVar("Value")

# Arrow's int64 columns hold nothing larger.
MAX_WHOLE = 2**63 - 1
MAX_SHOWN = 80
"""Characters of a refused value in a message."""


class MessagePosition(NamedTuple):
    """Where a message lies in Kafka; `str` gives topic[partition]@offset."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


class SensorWatermark(NamedTuple):
    """No on-time flow of the sensor that ends before `time_us` (event time, microseconds) follows."""

    site: str
    sensor: str
    time_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowsFacts:
    """The raw range that a message of `flows` was made from.

    Parameters
    ----------
    raw_partition
        Partition of `raw`; every hop keeps the number.
    first, last
        First and last position in the range, both inclusive.
    records, rejected
        Records in the range, and how many of them were rejected.
    ended, silent
        Sensors whose source ended with this range, and those that have been silent. A message from before there were
        ticks lacks `silent`: then it is empty.
    commands
        What a person asked of sensors' baselines at the end of this range. A message without commands lacks it.
    lateness
        Which lateness the range's messages state, by sensor, where that changes; in raw order. A sensor without any
        states none before its first. A message whose range states none lacks it.
    """

    schema_name: ClassVar[str] = "flow"

    raw_partition: int
    first: RawPosition
    last: RawPosition
    records: int
    rejected: int
    ended: tuple[SensorName, ...] = ()
    silent: tuple[SensorName, ...] = ()
    commands: tuple[BaselineCommand, ...] = ()
    lateness: tuple[StatedLateness, ...] = ()

    def document(self) -> dict[str, object]:
        """The facts as JSON knows them; without `commands` and `lateness` where there are none, as before."""
        return _without_empty(_document(self), "commands", "lateness")

    @classmethod
    def read(cls, document: object, where: object) -> "FlowsFacts":
        """The facts in a JSON document; BadEnvelope where they are not whole. where: names the message in errors."""
        reader = _FactsReader(document, where, cls.__name__)
        facts = cls(
            raw_partition=reader.whole("raw_partition"),
            first=reader.position("first"),
            last=reader.position("last"),
            records=reader.whole("records"),
            rejected=reader.whole("rejected"),
            ended=reader.sensors("ended"),
            silent=reader.sensors("silent") if reader.has("silent") else (),
            commands=reader.documents("commands", BaselineCommand.of) if reader.has("commands") else (),
            lateness=reader.stated_lateness("lateness") if reader.has("lateness") else (),
        )
        if facts.rejected > facts.records:
            raise reader.refused("rejected", facts.rejected, f"at most the {facts.records} of 'records'")
        return facts


@dataclass(frozen=True, slots=True, kw_only=True)
class RejectsFacts:
    """What a message of `rejects` states of itself: the partition of `raw` its records are from."""

    schema_name: ClassVar[str] = "reject"

    raw_partition: int

    def document(self) -> dict[str, object]:
        """The facts as JSON knows them."""
        return _document(self)

    @classmethod
    def read(cls, document: object, where: object) -> "RejectsFacts":
        """The facts in a JSON document; BadEnvelope where they are not whole."""
        return cls(raw_partition=_FactsReader(document, where, cls.__name__).whole("raw_partition"))


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsFacts:
    """What holds of rows with features wherever they come from, a topic or an archive's closed files.

    Parameters
    ----------
    seq
        Number of the message in its partition, without gaps from 0.
    raw_partition
        Partition of `raw` the rows are from.
    feature_set, feature_hash
        Name of the feature set, and the digest of its definition.
    watermarks
        How far the event time of sensors has come once these rows have been processed, by (site, sensor).
        Those that have changed, and now and then all: a reader retains the last one of each sensor.
    ended
        Sensors whose source ended with these rows.
    evicted
        Sensors that are forgotten after these rows because they sent nothing for a day of event time (ADR 23). A
        message without evictions lacks it.
    lateness
        Which lateness holds at those of `watermarks`, and held at those of `ended`, whose messages state one. A message
        without any lacks it.
    """

    seq: int
    raw_partition: int
    feature_set: str
    feature_hash: str
    watermarks: tuple[SensorWatermark, ...] = ()
    ended: tuple[SensorName, ...] = ()
    evicted: tuple[SensorName, ...] = ()
    notices: tuple[Notice, ...] = ()
    lateness: tuple[SensorLateness, ...] = ()

    def document(self) -> dict[str, object]:
        """The facts as JSON knows them; without `evicted`, `notices` and `lateness` where there are none, as before."""
        return _without_empty(_document(self), "evicted", "notices", "lateness")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturesFacts(RowsFacts):
    """What a message of `features` states of itself, and of the message of `flows` it was made from.

    Parameters
    ----------
    flows_offset
        Offset of that message.
    frontier
        The lowest raw position that still waits in featurize, or None: everything below it has been emitted.
    first, through
        First and last raw position of its range. A message that is not the last of its range goes `through` None.
    records, rejected
        Records of the range, and how many were rejected; of a range in several messages, the first states `records`,
        the last `rejected`, the others 0.
    """

    schema_name: ClassVar[str] = "features"

    flows_offset: int
    frontier: RawPosition | None
    first: RawPosition
    through: RawPosition | None
    records: int
    rejected: int

    @classmethod
    def read(cls, document: object, where: object) -> "FeaturesFacts":
        """The facts in a JSON document; BadEnvelope where they are not whole. where: names the message in errors."""
        return cls(**_features(_FactsReader(document, where, cls.__name__)))


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredFacts(FeaturesFacts):
    """What a message of `suspects`, `archive` or `retrain` states of itself: the facts of the features message."""

    schema_name: ClassVar[str] = "scored"

    @classmethod
    def read(cls, document: object, where: object) -> "ScoredFacts":
        """The facts in a JSON document; BadEnvelope where they are not whole. where: names the message in errors."""
        return cls(**_features(_FactsReader(document, where, cls.__name__)))

    @classmethod
    def of(cls, facts: FeaturesFacts) -> "ScoredFacts":
        """The facts of a features message, whose rows have been scored."""
        return cls(**{field.name: getattr(facts, field.name) for field in fields(facts)})


def _features(reader: "_FactsReader") -> dict[str, Any]:
    return {
        "seq": reader.whole("seq"),
        "raw_partition": reader.whole("raw_partition"),
        "feature_set": reader.text("feature_set"),
        "feature_hash": reader.text("feature_hash"),
        "watermarks": reader.watermarks("watermarks"),
        "ended": reader.sensors("ended"),
        "evicted": reader.sensors("evicted") if reader.has("evicted") else (),
        "notices": reader.documents("notices", Notice.of) if reader.has("notices") else (),
        "lateness": reader.lateness("lateness") if reader.has("lateness") else (),
        "flows_offset": reader.whole("flows_offset"),
        "frontier": reader.optional("frontier", reader.position),
        "first": reader.position("first"),
        "through": reader.optional("through", reader.position),
        "records": reader.whole("records"),
        "rejected": reader.whole("rejected"),
    }


def _document(facts: FlowsFacts | RejectsFacts | RowsFacts) -> dict[str, object]:
    """Tuples as lists: a reader must get what JSON gives, also where no JSON was in between."""
    return {field.name: _plain(getattr(facts, field.name)) for field in fields(facts)}


def _without_empty(document: dict[str, object], *names: str) -> dict[str, object]:
    return {name: value for name, value in document.items() if value or name not in names}


def _plain(value: object) -> object:
    if not isinstance(value, tuple):
        return value
    return [
        item.document()
        if isinstance(item, Notice | BaselineCommand)
        else list(item)
        if isinstance(item, tuple)
        else item
        for item in value
    ]


class _FactsReader:
    """Reads the facts of a JSON document, each with its own check."""

    def __init__(self, document: object, where: object, contract: str) -> None:
        self._where, self._contract = where, contract
        if not isinstance(document, dict):
            raise self._error(f"got {_shown(document)}, expected a JSON object with the facts of {contract}")
        self._document: Mapping[str, object] = document

    def _error(self, what: str) -> BadEnvelope:
        return BadEnvelope(
            f"{self._where}: {what}; run the same version everywhere, and look who else writes to this topic"
        )

    def refused(self, name: str, got: object, expected: str) -> BadEnvelope:
        """The error for one fact."""
        return self._error(f"fact '{name}' of {self._contract}: got {_shown(got)}, expected {expected}")

    def has(self, name: str) -> bool:
        """Whether the document names the fact."""
        return name in self._document

    def _get(self, name: str, expected: str) -> object:
        if name not in self._document:
            there = ", ".join(sorted(map(str, self._document))) or "none"
            raise self._error(f"fact '{name}' of {self._contract}: got nothing (facts: {there}), expected {expected}")
        return self._document[name]

    def optional(self, name: str, of: Callable[[str], Value]) -> Value | None:
        """A fact that must be there and may be null."""
        return None if self.has(name) and self._document[name] is None else of(name)

    def whole(self, name: str) -> int:
        """A whole number from 0."""
        value = self._get(name, "a whole number from 0")
        if not _is_whole(value):
            raise self.refused(name, value, "a whole number from 0")
        return value

    def text(self, name: str) -> str:
        """Text that is not empty."""
        value = self._get(name, "text")
        if not isinstance(value, str) or not value:
            raise self.refused(name, value, "text that is not empty")
        return value

    def position(self, name: str) -> RawPosition:
        """[offset, index], both from 0."""
        expected = "[offset, index], whole numbers from 0"
        value = self._get(name, expected)
        if isinstance(value, list) and len(value) == 2:
            offset, index = value
            if _is_whole(offset) and _is_whole(index):
                return offset, index
        raise self.refused(name, value, expected)

    def sensors(self, name: str) -> tuple[SensorName, ...]:
        """A list of [site, sensor]."""
        return tuple(self._each(name, "a list of [site, sensor]", _sensor))

    def watermarks(self, name: str) -> tuple[SensorWatermark, ...]:
        """A list of [site, sensor, time in us]; event time may lie before 1970."""
        return tuple(self._each(name, "a list of [site, sensor, time in us]", _watermark))

    def stated_lateness(self, name: str) -> tuple[StatedLateness, ...]:
        """A list of [site, sensor, raw offset, lateness in us or null]."""
        return tuple(self._each(name, f"a list of [site, sensor, raw offset, {EXPECTED_LATENESS}]", _stated_lateness))

    def lateness(self, name: str) -> tuple[SensorLateness, ...]:
        """A list of [site, sensor, lateness in us]."""
        return tuple(self._each(name, f"a list of [site, sensor, {EXPECTED_LATENESS}]", _lateness))

    def documents(self, name: str, of: Callable[[object], Value]) -> tuple[Value, ...]:
        """A list of documents, each read by `of`."""
        expected = f"a list of {name}"
        values = self._get(name, expected)
        if not isinstance(values, list):
            raise self.refused(name, values, expected)
        read = []
        for value in values:
            try:
                read.append(of(value))
            except BadData as error:
                raise self.refused(name, value, f"{expected} ({error})") from error
        return tuple(read)

    def _each(self, name: str, expected: str, of: Callable[[Sequence[object]], Value | None]) -> list[Value]:
        values = self._get(name, expected)
        if not isinstance(values, list):
            raise self.refused(name, values, expected)
        items = []
        for value in values:
            item = of(value) if isinstance(value, list) else None
            if item is None:
                raise self.refused(name, value, expected)
            items.append(item)
        return items


def _is_whole(value: object) -> TypeGuard[int]:
    # Of this very type: a bool is an int to Python, and no number to anybody else.
    return type(value) is int and 0 <= value <= MAX_WHOLE


def _sensor(value: Sequence[object]) -> SensorName | None:
    if len(value) != 2:
        return None
    site, sensor = value
    return (site, sensor) if isinstance(site, str) and isinstance(sensor, str) else None


def _watermark(value: Sequence[object]) -> SensorWatermark | None:
    if len(value) != 3:
        return None
    site, sensor, time_us = value
    if type(site) is str and type(sensor) is str and type(time_us) is int and -MAX_WHOLE <= time_us <= MAX_WHOLE:
        return SensorWatermark(site, sensor, time_us)
    return None


def _stated_lateness(value: Sequence[object]) -> StatedLateness | None:
    if len(value) != 4:
        return None
    site, sensor, offset, us = value
    if type(site) is str and type(sensor) is str and _is_whole(offset):
        if us is None:
            return StatedLateness(site, sensor, offset, None)
        if _is_whole(us) and us <= MAX_LATENESS_US:
            return StatedLateness(site, sensor, offset, us)
    return None


def _lateness(value: Sequence[object]) -> SensorLateness | None:
    if len(value) != 3:
        return None
    site, sensor, us = value
    if type(site) is str and type(sensor) is str and _is_whole(us) and us <= MAX_LATENESS_US:
        return SensorLateness(site, sensor, us)
    return None


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except RecursionError:  # JSON may be nested deeper than Python follows
        text = f"a {type(value).__name__} of very many levels"
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…"
