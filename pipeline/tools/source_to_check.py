"""What `forebay source check` looks at: samples of a topic or a file, and the source by which they are read."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipeline.ingest.files.source_check import Disorder, Sample
from pipeline.ingest.files.source_names import Suggestions, entry_for, source_for, suggestions
from pipeline.ingest.late import LONGEST_US
from pipeline.settings import Settings
from pipeline.tools.sources import head_of_file, last_messages
from schemas.intake import FileEntry, TopicSource

UNNAMED_TOPIC = "my-topic"
STANDARD_INPUT = "-"


class SourceToCheck(NamedTuple):
    """samples: messages, or records of a file as such; source: by which they are read; entry: what the settings say of
    it (is_set), or what they could; proposed: which names its records bear.
    """

    samples: list[Sample]
    source: TopicSource
    entry: FileEntry | TopicSource
    is_set: bool
    proposed: Suggestions

    def entry_with_needed(self, disorders: Sequence[Disorder]) -> FileEntry | TopicSource:
        """The entry; one that is not set has the lateness that its flows need, where one takes them."""
        needed_us = max((each.proposed_us for each in disorders if each.is_much), default=None)
        if self.is_set or needed_us is None or needed_us > LONGEST_US:
            return self.entry
        return self.entry.model_copy(update={"lateness_us": needed_us})


def of_topic(topic: str, count: int, settings: Settings, site: str | None, sensor: str | None) -> SourceToCheck:
    """The last messages of a topic, `count` in all; Failed where there is no such topic."""
    samples = last_messages(settings, topic, count)
    samples.sort(key=lambda each: each.timestamp_us)  # partitions side by side, as intake reads them
    given = next((each for each in settings.topic_sources if each.covers(topic)), None)
    proposed = suggestions(samples)
    source = source_for(topic or UNNAMED_TOPIC, given, proposed, site, sensor, {})
    return SourceToCheck(samples, source, source, given is not None, proposed)


def of_file(path: str, count: int, settings: Settings, site: str | None, sensor: str | None) -> SourceToCheck:
    """The first `count` records of a file, read as those of a topic that has the same; BadData where it is not read."""
    samples, content = head_of_file(path, count)
    proposed = suggestions(samples)
    if path == STANDARD_INPUT:
        source = source_for(UNNAMED_TOPIC, None, proposed, site, sensor, content)
        return SourceToCheck(samples, source, source, False, proposed)
    entry, is_set = entry_for(str(Path(path).absolute()), settings.file_sources, site, sensor)
    content |= {"time_zone": entry.time_zone, "lateness_us": entry.lateness_us}
    source = source_for(UNNAMED_TOPIC, None, proposed, entry.site, entry.sensor, content)
    return SourceToCheck(samples, source, entry, is_set, proposed)
