"""The lock file `jars.lock`: which jars make up the local Kafka, each with its SHA-256 and no address."""

import re
import tomllib
from dataclasses import dataclass
from importlib.resources import files

from pipeline.errors import BadData

# What a Maven coordinate may hold; it becomes a file name, so no slash and no leading dot.
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class LockedJar:
    """One jar: its Maven coordinate, and what its bytes must be."""

    group: str
    artifact: str
    version: str
    sha256: str
    size_bytes: int

    @property
    def file_name(self) -> str:
        """The jar's name in the cache."""
        return f"{self.artifact}-{self.version}.jar"


@dataclass(frozen=True, slots=True)
class Lock:
    """All jars of one Kafka version, in class path order."""

    kafka_version: str
    jars: tuple[LockedJar, ...]


def load() -> Lock:
    """The lock file that ships with Forebay."""
    return parse(files("pipeline.tools.broker").joinpath("jars.lock").read_text(encoding="utf-8"))


def parse(text: str, where: str = "jars.lock") -> Lock:
    """Read a lock file; BadData names the entry that is wrong."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadData(
            f"{where}: {error}; expected TOML; make it anew with `python -m pipeline.tools.broker.pin`"
        ) from error
    version, entries = document.get("kafka"), document.get("jar")
    if not isinstance(version, str) or not isinstance(entries, list) or not entries:
        raise BadData(f"{where}: expected a `kafka` version and [[jar]] entries, got keys {sorted(document)}")
    jars = tuple(_jar(entry, f"{where}: jar {number}") for number, entry in enumerate(entries, start=1))
    names = [jar.file_name for jar in jars]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise BadData(f"{where}: {', '.join(doubled)} listed twice; expected each jar once")
    return Lock(version, jars)


def _jar(entry: object, where: str) -> LockedJar:
    if not isinstance(entry, dict) or set(entry) != {"coordinate", "sha256", "size_bytes"}:
        raise BadData(f"{where}: got {entry!r}, expected exactly coordinate, sha256 and size_bytes")
    coordinate, sha256, size = entry["coordinate"], entry["sha256"], entry["size_bytes"]
    parts = coordinate.split(":") if isinstance(coordinate, str) else []
    if len(parts) != 3 or not all(_PART.fullmatch(part) for part in parts):
        raise BadData(f"{where}: coordinate {coordinate!r}, expected group:artifact:version")
    if not isinstance(sha256, str) or not _SHA256.fullmatch(sha256):
        raise BadData(f"{where} ({coordinate}): sha256 {sha256!r}, expected 64 lower-case hexadecimal digits")
    if not isinstance(size, int) or isinstance(size, bool) or size <= 0:
        raise BadData(f"{where} ({coordinate}): size_bytes {size!r}, expected a positive whole number")
    return LockedJar(parts[0], parts[1], parts[2], sha256, size)


def render(lock: Lock) -> str:
    """The text of a lock file."""
    head = f'# Made by `python -m pipeline.tools.broker.pin`; do not edit by hand.\nkafka = "{lock.kafka_version}"\n'
    return head + "".join(
        f'\n[[jar]]\ncoordinate = "{jar.group}:{jar.artifact}:{jar.version}"\n'
        f'sha256 = "{jar.sha256}"\nsize_bytes = {jar.size_bytes}\n'
        for jar in lock.jars
    )
