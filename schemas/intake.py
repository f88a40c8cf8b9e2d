"""Where records come from that carry none of our headers: topics of other tools, and whose records they are."""

import re
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from schemas.names import EXPECTED_NAME, is_name

Text = Annotated[str, Field(min_length=1)]


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

    `format` auto judges every JSON record by its own marks; `columns` are the fields of lines of CSV or TSV.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    topic: Text | None = None
    topics: tuple[Text, ...] = ()
    pattern: Text | None = None
    format: Text = "auto"
    columns: tuple[Text, ...] = ()
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
        given = [name for name in ("topic", "topics", "pattern") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"expected one of topic, topics, pattern, got {', '.join(given) or 'none'}")
        return self

    @property
    def title(self) -> str:
        """What people call it: the topics that it names."""
        return self.topic or ", ".join(self.topics) or f"pattern {self.pattern}"

    def covers(self, topic: str) -> bool:
        """Whether a topic is one of this source's."""
        if self.pattern is not None:
            return _compiled(self.pattern).search(topic) is not None
        return topic == self.topic or topic in self.topics


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"expected a regular expression: {error}") from None
