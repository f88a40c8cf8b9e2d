"""Which fields of other tools' messages may name the site and the sensor, and the source to set for them. Pure."""

from collections import Counter
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple

import orjson
import yaml

from pipeline.ingest.files.source_check import Sample
from pipeline.ingest.formats.own_marks import MAX_PREFIX_BYTES, MAX_WRAPPERS
from pipeline.ingest.recognise import wrapped_text
from pipeline.ingest.scan.json_array import one_a_line
from schemas.intake import FileEntry, Origin, TopicSource
from schemas.names import is_name

# Fields in which tools write who they are, best first: exporters before collectors, collectors before machines.
SENSOR_FIELDS = (
    *("sampler_address", "peer_ip_src", "ipfix:srcAddr", "sensor", "sensor_name", "sensor_id", "_system_name"),
    *("observer.name", "observer.hostname", "agent.hostname", "agent.name", "host.name", "host.hostname", "hostname"),
    *("host", "HOSTNAME", "_HOSTNAME", "kubernetes.node_name", "label"),
)
SITE_FIELDS = ("site", "site_name", "plant", "fields.site", "labels.site", "tags.site", "observer.geo.name", "_site")
SITE_HEADERS, SENSOR_HEADERS = ("site", "plant"), ("sensor", "host", "hostname")
# A field names a source where nearly all records have it; an `else` stands for the rest.
LEAST_SHARE = 0.95
# A plant has tens of sensors; a field with more values names something else (a flow, a container).
MOST_NAMES = 256
MAX_DEPTH = 3
SITE, SENSOR = "my-plant", "edge-1"


class Suggestion(NamedTuple):
    """Where a name may come from: which share of the records has it, and its most frequent values."""

    origin: Origin
    share: float
    names: list[str]


class Suggestions(NamedTuple):
    """For the site and the sensor, best first."""

    site: list[Suggestion]
    sensor: list[Suggestion]


def suggestions(samples: Sequence[Sample]) -> Suggestions:
    """Fields, headers and keys that nearly all messages have, with few values."""
    documents = [dict(_texts(document)) for sample in samples for document in _documents(sample.payload)]
    headers = [
        {name: _text(value) for name, value in sample.envelope.headers if value is not None} for sample in samples
    ]
    keys = [{"key": _text(sample.envelope.key)} for sample in samples if sample.envelope.key]
    site = [*_named(headers, SITE_HEADERS, "header"), *_named(documents, SITE_FIELDS, "field")]
    sensor = [*_named(headers, SENSOR_HEADERS, "header"), *_named(documents, SENSOR_FIELDS, "field")]
    if len(keys) >= LEAST_SHARE * len(samples) > 0:
        sensor += _named(keys, ("key",), "key")
    return Suggestions(site, sensor)


def source_for(
    topic: str,
    given: TopicSource | None,
    proposed: Suggestions,
    site: str | None = None,
    sensor: str | None = None,
    content: dict[str, Any] | None = None,
) -> TopicSource:
    """The source of the settings that covers a topic, or the one to set; `site` and `sensor` replace its names."""
    if given is not None:
        return given.model_copy(update={key: name for key, name in (("site", site), ("sensor", sensor)) if name})
    return TopicSource.model_validate(
        {
            "topic": topic,
            **(content or {}),
            "site": site or _first(proposed.site, SITE),
            "sensor": sensor or _first(proposed.sensor, SENSOR),
        }
    )


def entry_for(
    path: str, given: Sequence[FileEntry], site: str | None = None, sensor: str | None = None
) -> tuple[FileEntry, bool]:
    """The entry of the settings that names a file, or the one to set; whether it is set as it is."""
    names = {key: name for key, name in (("site", site), ("sensor", sensor)) if name}
    for entry in given:
        if any(fnmatchcase(path, pattern) for pattern in entry.paths):
            return entry.model_copy(update=names), True
    return FileEntry(file=path, site=site or SITE, sensor=sensor or SENSOR), False


def yaml_of(source: TopicSource | FileEntry) -> str:
    """The section `sources` with one source, as FOREBAY_SOURCES reads it."""
    entry = source.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    text: str = yaml.safe_dump({"sources": [entry]}, sort_keys=False, width=1_000)
    return text


def _first(proposed: Sequence[Suggestion], fallback: str) -> str | Origin:
    return proposed[0].origin.model_copy(update={"otherwise": fallback}) if proposed else fallback


def _named(documents: Sequence[dict[str, str]], names: Sequence[str], kind: str) -> list[Suggestion]:
    found: list[Suggestion] = []
    for name in names:
        values = Counter(document[name] for document in documents if is_name(document.get(name, "")))
        if values and values.total() >= LEAST_SHARE * len(documents) and len(values) <= MOST_NAMES:
            origin = Origin.model_validate({kind: True if kind == "key" else name})
            most = [value for value, _ in values.most_common(3)]
            found.append(Suggestion(origin, values.total() / len(documents), most))
    return found


def _documents(payload: bytes) -> Iterator[dict[str, Any]]:
    """The records of a message as documents, each with the fields of the wrappers around it."""
    for line in one_a_line(payload).splitlines():
        document: dict[str, Any] = {}
        inner: dict[str, Any] | None = _parsed(line)
        for _ in range(MAX_WRAPPERS + 1):
            if inner is None:
                break
            document |= inner
            inner = _parsed(wrapped_text(inner).encode("utf-8", "replace"))
        if document:
            yield document


def _parsed(line: bytes) -> dict[str, Any] | None:
    start = line.find(b"{", 0, MAX_PREFIX_BYTES)
    if start < 0:
        return None
    try:
        document = orjson.loads(line[start:])
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _texts(document: dict[str, Any], before: str = "", depth: int = 1) -> Iterator[tuple[str, str]]:
    """Each text of a document with its path; keys that have a dot themselves cannot be named."""
    for key, value in document.items():
        if "." in key:
            continue
        if isinstance(value, str):
            yield before + key, value
        elif isinstance(value, dict) and depth < MAX_DEPTH:
            yield from _texts(value, f"{before}{key}.", depth + 1)


def _text(value: bytes | None) -> str:
    try:
        return (value or b"").decode()
    except UnicodeDecodeError:
        return ""
