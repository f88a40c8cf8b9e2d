"""Files that are known and hold no records that are read: what such a file is, and what to do, in one sentence."""

# Files by the bytes they begin with.
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    *(
        (magic, "a packet capture, not flow records; zeek -C -r FILE or suricata -r FILE makes some")
        for magic in (
            *(b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d"),
            b"\x0a\x0d\x0d\x0a",  # pcapng
        )
    ),
    (b"\x0c\xa5", "nfdump's own binary file; nfdump -r FILE -o json writes what is read"),
    (b"\xa5\x0c", "nfdump's own binary file; nfdump -r FILE -o json writes what is read"),
    (b"PAR1", "a Parquet file; write its rows as the JSON lines or the CSV of the sensor"),
    (b"SQLite format 3\x00", "an SQLite database; write its rows as the JSON lines or the CSV of the sensor"),
    (b"%PDF", "a PDF document; send the sensor's own log"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it and name the file"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it and name the file"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive in an archive; unpack it and name the file"),
    (b"\x1f\x8b", "a gzip archive in an archive; unpack it and name the file"),
    (b"PK\x03\x04", "a zip archive in an archive; unpack it and name the file"),
    (b"<!DOCTYPE", "a page of HTML; send the sensor's own log"),
    (b"<html", "a page of HTML; send the sensor's own log"),
)
_TAR_AT = 257
# Headings of the Python port, of which the Java program writes none.
_PYTHON_PORT = {"flow_duration", "tot_fwd_pkts", "totlen_fwd_pkts"}


def kind_of_file(data: bytes) -> str:
    """What a file is that holds no text of records, with the remedy; empty where it may hold some."""
    for beginning, sentence in _BEGINNINGS:
        if data.startswith(beginning):
            return sentence
    return "a tar archive; unpack it and name the file" if data[_TAR_AT : _TAR_AT + 5] == b"ustar" else ""


def kind_of_header(names: set[str]) -> str:
    """What a table is whose header has these names, where it is known and not read; empty otherwise."""
    lower = {name.lower() for name in names}
    if lower >= _PYTHON_PORT:
        return (
            "the columns of CICFlowMeter's Python port, whose durations are in seconds or microseconds as its version "
            "has it; write flows with Zeek, or with the Java program CICFlowMeter"
        )
    if {"frame.time_epoch", "frame.number"} & lower or {"no.", "source", "destination", "info"} <= lower:
        return "a table of packets, not of flows; zeek -C -r CAPTURE or suricata -r CAPTURE makes some"
    return ""
