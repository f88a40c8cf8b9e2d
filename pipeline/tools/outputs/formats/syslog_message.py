"""Syslog messages (RFC 5424) and their framing by octet counting (RFC 6587, 5425)."""

from pipeline.tools.outputs.formats.table import as_line
from pipeline.tools.outputs.formats.times import rfc3339
from pipeline.tools.outputs.revision import ENDED, GROWN, NEW, Revision
from schemas.outputs import FACILITIES

# OCSF's severities as syslog's: informational 6, notice 5, warning 4, error 3, critical 2.
SEVERITY = {1: 6, 2: 5, 3: 4, 4: 3, 5: 2}
MSGID = {NEW: "incident-new", GROWN: "incident-update", ENDED: "incident-end"}
# The enterprise number that RFC 5612 reserves for those who have none.
SD_ID = "forebay@32473"
APP_NAME = "forebay"
NILVALUE = "-"
BOM = b"\xef\xbb\xbf"


def message(revision: Revision, name: str, facility: str, host: str) -> bytes:
    """The message with the revision in a format; the same revision gives the same bytes.

    Text of people that is not ASCII begins with a byte order mark, as RFC 5424 wants of UTF-8. CEF and LEEF have none:
    receivers look for them at the first byte. JSON is ASCII.
    """
    priority = FACILITIES[facility] * 8 + SEVERITY[revision.severity_id]
    msgid = "test" if revision.is_test else MSGID[revision.activity]
    time = rfc3339(revision.modified_us, "microseconds")
    header = (
        f"<{priority}>1 {time} {header_field(host, 255)} {APP_NAME} {NILVALUE} {msgid} {structured_data(revision)} "
    )
    body = as_line(revision, name)
    return header.encode() + (BOM if name == "text" and not body.isascii() else b"") + body.encode()


def structured_data(revision: Revision) -> str:
    """What a receiver sorts by without reading the text."""
    parameters = {
        "key": revision.key,
        "uid": revision.uid,
        "revision": str(revision.number),
        "severity": revision.severity,
        "site": revision.site,
        "sensors": ", ".join(revision.sensors),
        "page": "yes" if revision.is_page else "no",
    }
    named = [f'{key}="{escaped_parameter(value)}"' for key, value in parameters.items()]
    return f"[{' '.join([SD_ID, *named])}]"


def escaped_parameter(text: str) -> str:
    """A value of structured data: quotation mark, backslash and closing bracket are escaped."""
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("]", "\\]")


def header_field(text: str, most: int) -> str:
    """A field of the header: visible ASCII alone, `-` where nothing is left."""
    return "".join(letter for letter in text if "!" <= letter <= "~")[:most] or NILVALUE


def frame(message: bytes) -> bytes:
    """The message as it stands in a stream: its length in bytes, a space, the message."""
    return b"%d %s" % (len(message), message)
