"""What the plant calls its devices: names, criticality and zones from its CSV file, kept in the topic `assets`."""

import csv
import io
import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson
from confluent_kafka import TopicPartition

from pipeline.alert.endpoints import is_mac
from pipeline.contracts.public_addresses import is_public
from pipeline.errors import BadData, Failed
from pipeline.runtime.kafka import clients, tail
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings
from pipeline.tools.assets.label import CRITICALITIES, MAX_NAME, MAX_ZONE, NOTHING, Label, Labels
from pipeline.tools.spreadsheets import plain

MAX_BYTES = 16 * 1024 * 1024
MAX_LABELS = 65_536
MAX_SITE = 128
SHOWN_PROBLEMS = 20
ANSWER_S = 30.0


@dataclass(frozen=True, slots=True)
class Changes:
    """What an import changes: labels to send, and how many are new, other than before, taken away, or as they were."""

    send: Labels
    new: int
    changed: int
    removed: int
    same: int


def read_csv(data: bytes, where: str, site: str | None = None) -> Labels:
    """The labels of a CSV file with the columns address, name and criticality, and site where `site` is not given.

    A column zone may be there; where it is not, the file says nothing of zones. Further columns are ignored: what
    `forebay asset export` wrote, and a person filled in, is such a file. BadData with every problem, by
    line, where there is any: nothing of such a file is meant.
    """
    if len(data) > MAX_BYTES:
        raise BadData(f"{where}: got {len(data):,} bytes, expected {MAX_BYTES:,} at most; split the file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadData(f"{where}: got no UTF-8 ({error}); save it as CSV UTF-8") from None
    head = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=";" if ";" in head and "," not in head else ",")
    try:
        _require_columns(rows.fieldnames, where, site)
    except csv.Error as error:
        raise BadData(f"{where} line 1: got {error}, expected CSV; correct the line") from None
    has_zones = ZONE in (rows.fieldnames or ())
    labels: Labels = {}
    problems: list[str] = []
    lines: dict[tuple[str, str], int] = {}
    try:
        for row in rows:
            try:
                key, label = _label({name: plain(row.get(name) or "").strip() for name in (*_COLUMNS, ZONE)}, site)
                if key in lines:
                    raise ValueError(f"got {key[1]} of {key[0]} again, expected it once; line {lines[key]} has it too")
            except ValueError as error:
                problems.append(f"{where} line {rows.line_num}: {printable(str(error))}")
                continue
            labels[key], lines[key] = label if has_zones else label._replace(zone=None), rows.line_num
    except csv.Error as error:
        problems.append(f"{where} line {rows.reader.line_num}: got {error}, expected CSV; correct the line")
    if len(labels) > MAX_LABELS:
        problems.append(f"{where}: got {len(labels):,} devices, expected {MAX_LABELS:,} at most; split the file")
    if problems:
        more = [f"and {len(problems) - SHOWN_PROBLEMS:,} more"] if len(problems) > SHOWN_PROBLEMS else []
        raise BadData("\n".join([*problems[:SHOWN_PROBLEMS], *more, "nothing was imported"]))
    return labels


_COLUMNS = ("site", "address", "name", "criticality")
ZONE = "zone"


def _require_columns(names: object, where: str, site: str | None) -> None:
    listed = [str(name) for name in names] if isinstance(names, list) else []
    lacking = [name for name in _COLUMNS if name not in listed and (name != "site" or site is None)]
    if lacking:
        got = printable(", ".join(listed), 200) or "none"
        remedy = "; --site says it for the whole file" if lacking == ["site"] else "; put them into its first line"
        raise BadData(f"{where}: got the columns {got}, expected {', '.join(lacking)} too{remedy}")


def _label(row: Mapping[str, str], site: str | None) -> tuple[tuple[str, str], Label]:
    """Key and label of a line; ValueError says what was got, what was expected and the remedy."""
    found = row["site"] or site or ""
    if not 0 < len(found) <= MAX_SITE or not found.isprintable():
        raise ValueError(f"site: got {found[:MAX_SITE]!r}, expected 1 to {MAX_SITE} printable characters")
    if site is not None and found != site:
        raise ValueError(f"site: got {found!r}, expected {site!r} as --site says; leave one of them out")
    name, criticality = row["name"], row["criticality"].lower()
    if len(name) > MAX_NAME or not name.isprintable():
        raise ValueError(f"name: got {name[:MAX_NAME]!r}, expected at most {MAX_NAME} printable characters; shorten it")
    if criticality and criticality not in CRITICALITIES:
        raise ValueError(f"criticality: got {criticality[:40]!r}, expected {', '.join(CRITICALITIES)} or nothing")
    zone = row[ZONE]
    if len(zone) > MAX_ZONE or not zone.isprintable():
        raise ValueError(f"zone: got {zone[:MAX_ZONE]!r}, expected at most {MAX_ZONE} printable characters; shorten it")
    return (found, _address(row["address"])), Label(name, criticality, zone)


def _address(text: str) -> str:
    """An address as flows have it."""
    if is_mac(text):
        return text.lower()
    try:
        address = str(ipaddress.ip_address(text))
    except ValueError:
        raise ValueError(
            f"address: got {text[:80]!r}, expected one of IPv4 or IPv6, or a hardware address with colons"
        ) from None
    if is_public(address):
        raise ValueError(f"address: got {address}, a public one, and all of those count as one; name inner ones only")
    return address


def changes(known: Labels, wanted: Labels) -> Changes:
    """What has to be sent for the topic to say what a file says.

    Devices that are not in the file stay as they are, and so do all zones where it has no column of them.
    """
    send = {}
    for key, label in wanted.items():
        before = known.get(key, NOTHING)
        after = label if label.zone is not None else label._replace(zone=before.zone)
        if after != before:
            send[key] = after
    new = sum(key not in known for key in send)
    removed = sum(label == NOTHING for label in send.values())
    return Changes(send, new, len(send) - new - removed, removed, len(wanted) - len(send))


def send(settings: Settings, labels: Labels) -> None:
    """Send labels to the topic and wait until the broker has them; Failed where it does not take them all."""
    refused: list[str] = []
    producer = clients.producer(settings, "assets")
    for (site, address), label in labels.items():
        document = {"site": site, "address": address, **label._asdict()}
        producer.produce(
            settings.topics.assets,
            key=f"{site}/{address}".encode(),
            value=orjson.dumps(document) if label != NOTHING else None,
            on_delivery=lambda error, _message: refused.append(str(error)) if error is not None else None,
        )
        producer.poll(0)
    left = producer.flush(ANSWER_S)
    if left or refused:
        reason = refused[0] if refused else f"no answer in {ANSWER_S:g} s"
        raise Failed(
            f"{settings.topics.assets}: {reason}; {left + len(refused):,} of {len(labels):,} names were not sent, "
            "import the file again: it sends what is missing"
        )


def read(settings: Settings) -> Labels:
    """The labels that the topic holds now; Failed where there is no such topic."""
    consumer = clients.reader(settings, "assets", **tail.EOF_EVENTS)
    labels: Labels = {}
    try:
        topic = settings.topics.assets
        ends = tail.ends(settings, topic, tail.partitions_of(consumer, topic))
        consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
        for message in tail.read_to(consumer, topic, ends):
            for key, label in stored(message.key(), message.value()):
                if label is None:
                    labels.pop(key, None)
                else:
                    labels[key] = label
    finally:
        consumer.close()
    return labels


def stored(key: bytes | None, value: bytes | None) -> Iterator[tuple[tuple[str, str], Label | None]]:
    """The label in a message, None where it is taken away; nothing where the message is none of ours."""
    try:
        site, _, address = (key or b"").decode().rpartition("/")
        if value is None:
            yield (site, address), None
            return
        document = orjson.loads(value)
        row = {**{name: document[name] for name in _COLUMNS}, ZONE: document.get(ZONE, "")}
        if all(isinstance(text, str) for text in row.values()):
            meant, label = _label(row, None)
            if meant == (site, address):
                yield meant, label
    except (ValueError, KeyError, TypeError, AttributeError):
        return
