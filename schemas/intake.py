"""Where records come from that carry none of our headers: topics and files of other tools, and whose they are."""

import re
from pathlib import PurePath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

from schemas.names import EXPECTED_NAME, is_name
from schemas.time_zones import EXPECTED_ZONE, is_time_zone

AUTO = "auto"
# Kafka's own topics, such as __consumer_offsets: a commit of intake writes into them, and would be read for ever.
_OF_KAFKA = "__"
_OF_TOPICS = ("topic", "topics", "pattern")
_OF_FILES = ("file", "files")


def _known(content_type: str) -> str:
    from schemas.sources import source_of  # loads pyarrow, for which a command's help must not wait

    try:
        _ = content_type == AUTO or source_of(content_type)
    except KeyError:
        raise ValueError("expected auto, or a content-type of docs/sources.md") from None
    return content_type


def _zone(name: str) -> str:
    if name and not is_time_zone(name):
        raise ValueError(f"expected {EXPECTED_ZONE}")
    return name


Text = Annotated[str, Field(min_length=1)]
Zone = Annotated[str, AfterValidator(_zone)]
MAX_LATENESS_US = 86_400_000_000
"""A day: of a sensor that has been silent for longer nothing is left to overtake."""
Lateness = Annotated[int, Field(ge=0, le=MAX_LATENESS_US)]
Format = Annotated[str, AfterValidator(_known)]


class Origin(BaseModel):
    """Where a name stands: in a field of the record, a header or the key of its message, or in its topic's name."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    field: Text | None = None
    """Keys with dots between them; looked up in the record, then in the wrappers around it."""
    header: Text | None = None
    key: Literal[True] | None = None
    topic: Text | None = None
    """A pattern whose first group is the name."""
    otherwise: str | None = Field(None, alias="else")

    @field_validator("topic")
    @classmethod
    def _one_group(cls, pattern: str | None) -> str | None:
        if pattern is not None and _compiled(pattern).groups < 1:
            raise ValueError("expected a pattern with a group, such as '^(.+)-flows$'")
        return pattern

    @field_validator("otherwise")
    @classmethod
    def _is_name(cls, name: str | None) -> str | None:
        if name is not None and not is_name(name):
            raise ValueError(f"expected {EXPECTED_NAME}")
        return name

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        given = [name for name in ("field", "header", "key", "topic") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"expected one of field, header, key, topic, got {', '.join(given) or 'none'}")
        return self


class TopicSource(BaseModel):
    """Topics of other tools.

    `format` auto judges every JSON record by its own marks; `columns` are the fields of lines of CSV or TSV. Times
    without an offset are local ones of `time_zone`, or UTC where it is empty. `lateness_us`: how long later flows may
    overtake earlier ones; None: as the format has it, else the site.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: Text | None = None
    topics: tuple[Text, ...] = ()
    pattern: Text | None = None
    format: Format = AUTO
    columns: tuple[Text, ...] = ()
    time_zone: Zone = ""
    lateness_us: Lateness | None = None
    site: str | Origin
    sensor: str | Origin

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        if pattern is not None:
            _compiled(pattern)
        return pattern

    @field_validator("site", "sensor")
    @classmethod
    def _is_name(cls, name: str | Origin) -> str | Origin:
        if isinstance(name, str) and not is_name(name):
            raise ValueError(f"expected {EXPECTED_NAME}")
        return name

    @model_validator(mode="after")
    def _names_topics(self) -> Self:
        given = [name for name in _OF_TOPICS if getattr(self, name)]
        if len(given) != 1:
            names = ", ".join((*_OF_TOPICS, *_OF_FILES))
            raise ValueError(f"expected one of {names}, got {', '.join(given) or 'none'}")
        if own := [name for name in (self.topic or "", *self.topics) if name.startswith(_OF_KAFKA)]:
            raise ValueError(f"expected a topic that a tool writes, got {own[0]}, which is Kafka's own")
        if self.format.endswith(("+csv", "+tsv")) and not self.columns:
            raise ValueError(f"expected `columns` with {self.format}: the names of a line's fields")
        return self

    @property
    def title(self) -> str:
        """What people call it: the topics that it names."""
        return self.topic or ", ".join(self.topics) or f"pattern {self.pattern}"

    def may_name(self, site: str, sensor: str) -> bool:
        """Whether a sensor's records may come from these topics, as far as the settings say whose they are."""
        return all(isinstance(at, Origin) or at == name for at, name in ((self.site, site), (self.sensor, sensor)))

    def covers(self, topic: str) -> bool:
        """Whether a topic is one of this source's; no pattern covers those of Kafka itself."""
        if self.pattern is not None:
            return not topic.startswith(_OF_KAFKA) and _compiled(self.pattern).search(topic) is not None
        return topic == self.topic or topic in self.topics


class FileEntry(BaseModel):
    """Files of one sensor that grow: paths and globs, there already or to come.

    `format` auto recognises file by file; `rotated` are globs of rotated files that lie neither beside the path nor in
    dated folders. Times without an offset are local ones of `time_zone`, or UTC where it is empty. `lateness_us`: how
    long later flows may overtake earlier ones; None: as the format has it, else the site.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: Text | None = None
    files: tuple[Text, ...] = ()
    rotated: tuple[Text, ...] = ()
    format: Format = AUTO
    time_zone: Zone = ""
    lateness_us: Lateness | None = None
    site: str
    sensor: str

    @model_validator(mode="before")
    @classmethod
    def _no_topics(cls, given: object) -> object:
        both = [name for name in _OF_TOPICS if isinstance(given, dict) and given.get(name)]
        if both:
            raise ValueError(f"expected topics or files in an entry, got {both[0]} beside files; write two entries")
        return given

    @field_validator("site", "sensor", mode="before")
    @classmethod
    def _is_name(cls, name: object) -> object:
        if isinstance(name, dict):
            raise ValueError("expected text: all records of a file are one sensor's; each sensor has an entry")
        if isinstance(name, str) and not is_name(name):
            raise ValueError(f"expected {EXPECTED_NAME}")
        return name

    @field_validator("file")
    @classmethod
    def _is_absolute(cls, path: str | None) -> str | None:
        return path if path is None else _absolute(path)

    @field_validator("files", "rotated")
    @classmethod
    def _are_absolute(cls, paths: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(map(_absolute, paths))

    @model_validator(mode="after")
    def _names_files(self) -> Self:
        if bool(self.file) == bool(self.files):
            raise ValueError(f"expected one of file, files, got {'both' if self.file else 'none'}")
        return self

    def may_name(self, site: str, sensor: str) -> bool:
        """Whether a sensor's records come from these files."""
        return (self.site, self.sensor) == (site, sensor)

    @property
    def paths(self) -> tuple[str, ...]:
        """The paths and globs that it names."""
        return (self.file,) if self.file else self.files

    @property
    def title(self) -> str:
        """What people call it: the files that it names."""
        return ", ".join(self.paths)


def _kind(entry: object) -> str:
    """Whether an entry names topics or files; one that names neither is refused as one of topics."""
    has_file = any(name in entry if isinstance(entry, dict) else hasattr(entry, name) for name in _OF_FILES)
    return "file" if has_file else "topic"


SourceEntry = Annotated[
    Annotated[TopicSource, Tag("topic")] | Annotated[FileEntry, Tag("file")],
    Discriminator(_kind),
]


def _absolute(path: str) -> str:
    if not PurePath(path).is_absolute():
        raise ValueError("expected an absolute path: positions name files, and a follower may start in any folder")
    return path


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"expected a regular expression: {error}") from None
