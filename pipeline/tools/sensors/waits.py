"""Why nothing comes of a source yet: how long its flows wait for others, and which setting makes that shorter."""

from collections.abc import Collection

from pipeline.alert.wording import duration
from pipeline.contracts.envelope import SensorName
from pipeline.contracts.lateness import FORMAT_LATENESS_US
from pipeline.contracts.raw import ZEEK_TSV
from pipeline.runtime.terminal import printable
from pipeline.settings import Settings
from schemas.intake import AUTO, FileEntry, TopicSource

LISTED = "a sensor is listed a minute after its first flow was scored"


def waits_by_format(source: FileEntry | TopicSource) -> bool:
    """Whether flows of Zeek's conn.log that come from a source wait as long as is usual for that format."""
    return source.lateness_us is None and (source.format == AUTO or source.format in FORMAT_LATENESS_US)


def wait_words(settings: Settings) -> str:
    """How long flows of Zeek's conn.log wait, and what shortens it; empty where no source leaves it to the format."""
    if not any(map(waits_by_format, settings.sources)):
        return ""
    return (
        f"flows of Zeek's conn.log wait {duration(FORMAT_LATENESS_US[ZEEK_TSV])} for others that ended earlier and "
        "come later: of a log that has just begun hardly any is scored before. `lateness_us` of the source sets less "
        "(at a sensor that has sent already, an hour later): alerts come sooner, and more flows come late"
    )


def unlisted(settings: Settings, listed: Collection[SensorName]) -> list[str]:
    """A line for each sensor whose files the settings name, and that is not listed yet."""
    lines = dict[SensorName, str]()
    for source in settings.file_sources:
        name = (source.site, source.sensor)
        if name not in listed:
            why = wait_words(settings.model_copy(update={"sources": (source,)}))
            said = [f"not listed yet: {LISTED}", *filter(None, [why]), "`forebay source list` says what has come"]
            lines[name] = f"{printable('/'.join(name))}: {'; '.join(said)}"
    return list(lines.values())
