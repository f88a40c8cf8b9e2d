"""Where files lie: what a path or glob stands for, and under which names rotation leaves what a path held."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from glob import glob, has_magic
from pathlib import Path

from schemas.intake import AUTO, FileEntry

# What the follower of the settings' files is known by: it must not change when these do.
SOURCES_FOLLOWER = "sources"
# What a compressor or an editor is still writing, or left behind.
_UNFINISHED = (".tmp", ".part", ".swp", "~")
_DATED_FOLDER = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True, slots=True)
class FileSource:
    """Files of one sensor: paths and globs that are followed, and globs under which rotation leaves their content.

    `rotated` adds to the names that are looked at by themselves (`rotated_names`). Without `content_type` each file's
    format is recognised. Times without an offset are local ones of `time_zone`, or UTC where it is empty. Without
    `lateness_us` that of a record's format holds, if it has one.
    All paths are absolute: a follower may be started in another folder the next time.
    """

    paths: tuple[str, ...]
    site: str
    sensor: str
    content_type: str | None = None
    rotated: tuple[str, ...] = ()
    time_zone: str = ""
    lateness_us: int | None = None


def file_sources(entries: Iterable[FileEntry]) -> list[FileSource]:
    """The files that the settings name; a path that fits several entries is of the first one."""
    return [
        FileSource(
            each.paths,
            each.site,
            each.sensor,
            None if each.format == AUTO else each.format,
            each.rotated,
            each.time_zone,
            each.lateness_us,
        )
        for each in entries
    ]


def live_paths(source: FileSource) -> list[str]:
    """The paths to follow: those that were named, there or not, and what the globs match now."""
    paths: dict[str, None] = {}
    for path in source.paths:
        paths |= dict.fromkeys(_matches(path) if has_magic(path) else [path])
    return list(paths)


def rotated_names(live: str, source: FileSource) -> Iterator[str]:
    """Files that may hold what a live path held before.

    Beside conn.log: conn.log.1, conn.log-20261128.gz, conn.2026-11-28-13-00-00.log, conn-26-11-28_13.00.00.log. In
    folders named for a day, beside its own folder, as Zeek's are: 2026-11-28/conn.13:00:00-14:00:00.log.gz. The folder
    is the one that was named, not the one that a symbolic link leads to: Zeek's logs/current is a link.
    """
    path = Path(live)
    fits = re.compile(rf"{re.escape(path.name)}[.-].+|{re.escape(path.stem)}[.-]\d.*")
    folders = [path.parent]
    folders += [folder for folder in _entries(path.parent.parent) if _DATED_FOLDER.fullmatch(folder.name)]
    for folder in folders:
        for entry in _entries(folder):
            if fits.fullmatch(entry.name) and not entry.name.endswith(_UNFINISHED):
                yield str(entry)
    for pattern in source.rotated:
        yield from _matches(pattern)


def _matches(pattern: str) -> list[str]:
    matches = glob(pattern)  # noqa: PTH207 - Path.glob takes no absolute pattern
    return sorted(match for match in matches if not match.endswith(_UNFINISHED))


def _entries(folder: Path) -> list[Path]:
    """What is in a folder; nothing where it cannot be read."""
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []
