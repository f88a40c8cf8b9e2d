"""QRadar's Log Event Extended Format, version 2.0: `LEEF:2.0|vendor|product|version|id|x09|key=value<tab>...`."""

from pipeline.tools.outputs.formats.cef import SEVERITY
from pipeline.tools.outputs.revision import PRODUCT, PRODUCT_VERSION, VENDOR, Revision

DELIMITER, DELIMITER_NAME = "\t", "x09"


def leef(revision: Revision) -> str:
    """The revision as one line of LEEF."""
    header = "|".join(map(field, (VENDOR, PRODUCT, PRODUCT_VERSION, revision.class_name or "incident")))
    attributes = DELIMITER.join(f"{key}={value(text)}" for key, text in _attributes(revision) if text)
    return f"LEEF:2.0|{header}|{DELIMITER_NAME}|{attributes}"


def field(text: str) -> str:
    """Text of the header: LEEF knows no escape for the pipe, so it becomes a slash."""
    return " ".join(text.replace("|", "/").split())


def value(text: str) -> str:
    """Text of an attribute: it holds neither the delimiter nor a line end."""
    return text.replace(DELIMITER, " ").replace("\r", " ").replace("\n", " ")


def _attributes(revision: Revision) -> list[tuple[str, str]]:
    """Keys that QRadar knows, then ours."""
    talk = revision.talks[0] if revision.talks else None
    return [
        ("cat", revision.title),
        ("devTime", str(revision.modified_us // 1000)),
        ("sev", str(max(1, SEVERITY[revision.severity_id]))),
        ("src", talk.source.ip if talk else ""),
        ("dst", talk.target.ip if talk else ""),
        ("srcMAC", talk.source.mac if talk else ""),
        ("dstMAC", talk.target.mac if talk else ""),
        ("dstPort", str(talk.port) if talk and talk.port >= 0 else ""),
        ("proto", talk.protocol if talk else ""),
        ("uid", revision.uid),
        ("revision", str(revision.number)),
        ("key", revision.key),
        ("activity", revision.activity),
        ("disposition", "page" if revision.is_page else "review"),
        ("site", revision.site),
        ("sensors", ", ".join(revision.sensors)),
        ("flows", str(revision.flows)),
        ("techniques", ", ".join(each.uid for each in revision.techniques)),
        ("communityId", talk.community_id if talk else ""),
        ("msg", f"TEST: {revision.says}" if revision.is_test else revision.says),
    ]
