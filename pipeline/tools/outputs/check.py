"""A test event, marked as one, sent through an output; and what the receiver answered."""

import hashlib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.alert.levels import FAINT, LEVEL_NAMES
from pipeline.alert.ocsf import CREATE, OCSF_VERSION, PRODUCT, SEVERITY_CAPTION, classification
from pipeline.alert.pages import NOTICE_REASON, REVIEW
from pipeline.contracts.uids import UID_DIGITS
from pipeline.errors import ForebayError
from pipeline.tools.outputs.alert_file import AlertFile
from pipeline.tools.outputs.formats.table import as_line
from pipeline.tools.outputs.revision import Revision, revision_of
from pipeline.tools.outputs.senders import sender_of
from pipeline.tools.outputs.sending import Undelivered
from schemas.outputs import FileOutput, OutputEntry

INFORMATIONAL = 1
SAYS = "TEST of an output of Forebay: nothing has happened, nothing is to be done"
# Addresses that RFC 5737 reserves for examples.
SOURCE, TARGET = "192.0.2.1", "192.0.2.2"


@dataclass(frozen=True, slots=True)
class Checked:
    """What came of a check: what was answered, or what went wrong and the remedy."""

    name: str
    is_delivered: bool
    answer: str


def check(output: OutputEntry, now_us: int) -> Checked:
    """Send a test event through an output."""
    revision = test_revision(now_us)
    try:
        if isinstance(output, FileOutput):
            return Checked(output.name, True, _written(output, revision))
        with closing(sender_of(output)) as sender:
            return Checked(output.name, True, sender.send(revision))
    except (Undelivered, ForebayError, OSError, ValueError) as error:
        return Checked(output.name, False, str(error))


def _written(output: FileOutput, revision: Revision) -> str:
    with closing(AlertFile(Path(output.file))) as file:
        file.append([as_line(revision, output.format)], {})
    return f"a line was added to {output.file}"


def test_revision(now_us: int) -> Revision:
    """The revision of a test: its sentence says so, and formats mark it in a field of their own."""
    return replace(revision_of(test_event(now_us)), is_test=True)


def test_event(now_us: int) -> Mapping[str, Any]:
    """An event of topic `alerts` (schemas/alert.json) that was never in it."""
    uid = hashlib.sha256(b"test %d" % now_us).hexdigest()[:UID_DIGITS]
    time_ms = now_us // 1000
    address = {"direction_id": 0, "direction": "Unknown", "protocol_num": 6, "protocol_name": "tcp"}
    evidence = {"src_endpoint": {"ip": SOURCE}, "dst_endpoint": {"ip": TARGET, "port": 502}}
    return {
        **classification(CREATE),
        "confidence_score": 0,
        "count": 1,
        "end_time": time_ms,
        "evidences": [{**evidence, "connection_info": address, "data": {"flows": 1}}],
        "finding_info": {
            "uid": uid,
            "title": "Test of an output",
            "desc": SAYS,
            "types": ["test"],
            "analytic": {"type_id": 2, "type": "Behavioral", "name": "forebay output check"},
            "created_time": time_ms,
            "modified_time": time_ms,
        },
        "is_alert": False,
        "message": SAYS,
        "metadata": {
            "version": OCSF_VERSION,
            "product": PRODUCT,
            "profiles": ["security_control"],
            "uid": f"{uid}-1",
            "sequence": 1,
        },
        "severity": SEVERITY_CAPTION[INFORMATIONAL],
        "severity_id": INFORMATIONAL,
        "start_time": time_ms,
        "status": "New",
        "status_id": 1,
        "time": time_ms,
        "unmapped": {
            "site": "test",
            "sensor": "test",
            "class": "test",
            "model": "",
            "opened_ts_us": now_us,
            "first_ts_us": now_us,
            "last_ts_us": now_us,
            "members": [[0, 0, 0, 0]],
            "members_left_out": 0,
            "disposition": REVIEW,
            "disposition_reason": NOTICE_REASON,
            "disposition_says": "a test of an output",
            "level": LEVEL_NAMES[FAINT],
        },
    }
