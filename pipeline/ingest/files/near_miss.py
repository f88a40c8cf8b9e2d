"""Files that are known and hold no records that are read: what such a file is, and what to do, in one sentence."""

import tarfile

_PACKETS = "a packet capture, not flow records; zeek -C -r FILE or suricata -r FILE makes some"
_NFDUMP = "nfdump's own binary file; nfdump -r FILE -o json writes what is read"
_ARGUS = (
    "Argus's own binary file; ra -n -u -c , -s stime dur proto saddr sport dir daddr dport state spkts dpkts sbytes "
    "dbytes -r FILE writes what is read"
)
_EXPORT = "packets of NetFlow or IPFIX as an exporter sends them; nfcapd, GoFlow2 or pmacct collects them"
_ROWS = "write its rows as the JSON lines or the CSV of the sensor"
_ARCHIVED = "unpack it and name the file"
_NO_LOG = "send the sensor's own log"
# Files by the bytes they begin with.
_BEGINNINGS: tuple[tuple[bytes, str], ...] = (
    *(
        (magic, _PACKETS)
        for magic in (
            *(b"\xd4\xc3\xb2\xa1", b"\xa1\xb2\xc3\xd4", b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d"),
            *(b"\x34\xcd\xb2\xa1", b"\xa1\xb2\xcd\x34"),  # libpcap as Linux distributions once changed it
            b"\x0a\x0d\x0d\x0a",  # pcapng
            *(b"snoop\0\0\0", b"GMBU", b"XCP\0", b"TRSNIFF data"),  # snoop, Network Monitor, NetXRay, Sniffer
        )
    ),
    (b"\x0c\xa5", _NFDUMP),
    (b"\xa5\x0c", _NFDUMP),
    (b"\xde\xad\xbe\xef", "SiLK's own binary file; its columns are not read: collect with nfcapd, or write with Zeek"),
    (b"\x83\x10\x00\x20\xe5\x71\x2d\xcb", _ARGUS),
    (b"\x80\x01\x00\x80\xe5\x71\x2d\xcb", _ARGUS),
    (
        b"\xcf\x10",
        "flow-tools' own binary file; flow-export writes nfdump's or CSV, nfdump -r FILE -o json what is read",
    ),
    (b"PAR1", f"a Parquet file; {_ROWS}"),
    (b"ARROW1", f"an Arrow file; {_ROWS}"),
    (b"ORC", f"an ORC file; {_ROWS}"),
    (b"Obj\x01", f"an Avro file; {_ROWS}"),
    (b"\x89HDF\r\n", f"an HDF5 file; {_ROWS}"),
    (b"\x93NUMPY", f"a NumPy array; {_ROWS}"),
    (b"SQLite format 3\x00", f"an SQLite database; {_ROWS}"),
    (
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        f"a document of Microsoft Office; {_NO_LOG}: a spreadsheet changes its times",
    ),
    (b"%PDF", f"a PDF document; {_NO_LOG}"),
    (b"{\\rtf", f"a document in RTF; {_NO_LOG}"),
    (b"ElfFile\x00", f"a Windows event log; {_NO_LOG}"),
    (b"LPKSHHRH", f"a journal of systemd; {_NO_LOG}, or journalctl -o cat -u UNIT"),
    (b"\x89PNG", f"a picture; {_NO_LOG}"),
    (b"\xff\xd8\xff", f"a picture; {_NO_LOG}"),
    (b"\x7fELF", f"a program; {_NO_LOG}"),
    (b"MZ\x90", f"a program; {_NO_LOG}"),
    (b"7z\xbc\xaf\x27\x1c", f"a 7-Zip archive; {_ARCHIVED}"),
    (b"Rar!\x1a\x07", f"a RAR archive; {_ARCHIVED}"),
    (b"\x04\x22\x4d\x18", f"an lz4 archive; {_ARCHIVED} (lz4 -d FILE)"),
    (b"\x02\x21\x4c\x18", f"an lz4 archive; {_ARCHIVED} (lz4 -d FILE)"),
    (b"\x89LZO\x00", f"an LZO archive; {_ARCHIVED} (lzop -d FILE)"),
    (b"\xff\x06\x00\x00sNaPpY", f"a Snappy archive; {_ARCHIVED}"),
    (b"\x1f\x9d", f"an archive of compress; {_ARCHIVED} (gzip -d FILE)"),
    (b"\x5d\x00\x00", f"an archive in xz's old format; {_ARCHIVED} (xz -d FILE)"),
    (b"LZIP", f"an lzip archive; {_ARCHIVED}"),
    (b"MSCF", f"a cabinet file; {_ARCHIVED}"),
    (b"\x28\xb5\x2f\xfd", f"a zstd archive in an archive; {_ARCHIVED}"),
    (b"\x1f\x8b", f"a gzip archive in an archive; {_ARCHIVED}"),
    (b"BZh", f"a bzip2 archive in an archive; {_ARCHIVED}"),
    (b"\xfd7zXZ\x00", f"an xz archive in an archive; {_ARCHIVED}"),
    (b"PK\x03\x04", f"a zip archive in an archive; {_ARCHIVED}"),
)
# The same where letters may be small or capitals, and blanks may stand before them.
_WORDS: tuple[tuple[bytes, str], ...] = (
    (b"<!doctype", f"a page of HTML; {_NO_LOG}"),
    (b"<html", f"a page of HTML; {_NO_LOG}"),
    (b"<head", f"a page of HTML; {_NO_LOG}"),
    (b"<pdml", _PACKETS),
    (b"<?xml", f"a document in XML; {_NO_LOG}"),
    (b"-----begin pgp", "an encrypted message; decrypt it and name the file"),
    (b"version https://git-lfs", "a pointer of Git LFS in place of a file; git lfs pull gets the file"),
)
_HEAD_BYTES = 512
# Bytes of an export packet's header: version, and how many records or bytes follow.
_EXPORT_HEADER = {b"\x00\x05": 24, b"\x00\x09": 20, b"\x00\x0a": 16}


def kind_of_file(data: bytes) -> str:
    """What a file is that holds no text of records, with the remedy; empty where it may hold some."""
    for beginning, sentence in _BEGINNINGS:
        if data.startswith(beginning):
            return sentence
    head = data[:_HEAD_BYTES].lstrip().lower()
    if head.startswith(b"<?xml") and b"<pdml" in head:
        return _PACKETS
    for word, sentence in _WORDS:
        if head.startswith(word):
            return sentence
    if len(data) >= _EXPORT_HEADER.get(data[:2], len(data) + 1) and b"\x00" in data[2:8]:
        return _EXPORT
    return f"a tar archive of something else than one file; {_ARCHIVED}" if is_tar(data) else ""


def is_tar(data: bytes) -> bool:
    """Whether a file is a tar archive: its first header's checksum is right."""
    if len(data) < tarfile.BLOCKSIZE or not any(data[: tarfile.BLOCKSIZE]):
        return False
    try:
        tarfile.TarInfo.frombuf(data[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.TarError:
        return False
    return True
