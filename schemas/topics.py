"""The table of topics (`topics.toml`), and the names with a prefix applied."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True)
class Topic:
    """One topic: who writes it, who reads it, what travels in it, and how Kafka keeps it."""

    name: str
    key: str
    schema: str
    partitions: str  # "data": as many as the settings say; "one"
    retention_ms: int
    compacted: bool
    writers: tuple[str, ...]
    """Commands, as `flow send`."""
    readers: tuple[str, ...]
    segment_bytes: int = 0
    """After how many bytes Kafka begins another segment; 0: as the broker has it."""
    outside: str = ""
    """Who writes it from outside, in words."""

    def partition_count(self, data_partitions: int) -> int:
        """How many partitions the topic has where data topics have `data_partitions`."""
        return data_partitions if self.partitions == "data" else 1


@cache
def topics() -> dict[str, Topic]:
    """All topics by their unprefixed name, in the order of the walk."""
    document = tomllib.loads(files("schemas").joinpath("topics.toml").read_text(encoding="utf-8"))
    return {
        name: Topic(name=name, **{**entry, "writers": tuple(entry["writers"]), "readers": tuple(entry["readers"])})
        for name, entry in document.items()
    }


@dataclass(frozen=True, slots=True)
class TopicNames:
    """The topics' names in Kafka: the prefix, then the name of `topics.toml`."""

    prefix: str = ""

    def __getattr__(self, attribute: str) -> str:
        """`names.raw`, `names.featurize_state`: AttributeError where the table has no such topic."""
        name = attribute.replace("_", "-")
        if name not in topics():
            raise AttributeError(f"topic '{name}' is not in schemas/topics.toml; known: {', '.join(topics())}")
        return self.prefix + name
