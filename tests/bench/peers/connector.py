"""Flink's Kafka connector, a jar, which its Python package does not bring."""

from pathlib import Path

from pipeline.tools.broker.jars import Source, fetched
from pipeline.tools.broker.lock import LockedJar

CONNECTOR = LockedJar(
    "org.apache.flink",
    "flink-sql-connector-kafka",
    "5.0.0-2.2",
    "5605c691d11a501382c383fecba37a7a552467da5ab7ba904ef5d6f3d62c5616",
    10_666_527,
)


def connector(folder: Path) -> Path:
    """The jar, fetched into the folder on first use, and compared with what it must be."""
    (path,) = fetched((CONNECTOR,), folder, Source("to run Flink's job", f"copy it into {folder}"))
    return path.resolve()
