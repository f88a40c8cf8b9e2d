"""A file of one format and header, read."""

from pathlib import Path

from pipeline.ingest.files.reading import read_file
from pipeline.ingest.files.source_file import SourceFile


def read_records(path: Path | str, content_type: str | None = None) -> SourceFile:
    """The records of a file of one format."""
    [source] = read_file(path, content_type).files
    return source
