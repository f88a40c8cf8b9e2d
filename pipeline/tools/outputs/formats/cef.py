"""ArcSight's Common Event Format, version 0 (CEF 25): `CEF:0|vendor|product|version|class|name|severity|extension`."""

from pipeline.tools.outputs.revision import PRODUCT, PRODUCT_VERSION, VENDOR, Endpoint, Revision

# OCSF's severities 1 to 5 on CEF's scale: 0-3 low, 4-6 medium, 7-8 high, 9-10 very high.
SEVERITY = {1: 1, 2: 3, 3: 5, 4: 8, 5: 10}
MAX_LISTED = 8


def cef(revision: Revision) -> str:
    """The revision as one line of CEF."""
    header = (VENDOR, PRODUCT, PRODUCT_VERSION, revision.class_name or "incident", revision.title)
    extension = " ".join(f"{key}={escaped_value(value)}" for key, value in _extension(revision) if value)
    return f"CEF:0|{'|'.join(map(escaped_header, header))}|{SEVERITY[revision.severity_id]}|{extension}"


def escaped_header(text: str) -> str:
    """Text of a header field: backslash and pipe are escaped, and there are no line ends in it."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\r", " ").replace("\n", " ")


def escaped_value(text: str) -> str:
    """Text of an extension's value: backslash, equals sign and line ends are escaped."""
    return text.replace("\\", "\\\\").replace("=", "\\=").replace("\r", "\\r").replace("\n", "\\n")


def _extension(revision: Revision) -> list[tuple[str, str]]:
    """Keys of CEF's dictionary with their values, those without one left empty."""
    talk = revision.talks[0] if revision.talks else None
    sensors = ", ".join(revision.sensors[:MAX_LISTED])
    techniques = ", ".join(f"{each.uid} {each.name}" for each in revision.techniques[:MAX_LISTED])
    return [
        ("rt", str(revision.modified_us // 1000)),
        ("start", str(revision.first_us // 1000)),
        ("end", str(revision.last_us // 1000)),
        ("externalId", revision.uid),
        ("cat", revision.activity),
        ("act", "page" if revision.is_page else "review"),
        ("cnt", str(revision.flows)),
        ("msg", f"TEST: {revision.says}" if revision.is_test else revision.says),
        *(_endpoint(talk.source, "src", "shost", "smac", 2) if talk else []),
        *(_endpoint(talk.target, "dst", "dhost", "dmac", 3) if talk else []),
        ("dpt", str(talk.port) if talk and talk.port >= 0 else ""),
        ("proto", talk.protocol if talk else ""),
        ("deviceExternalId", sensors),
        *_labelled("cs1", "site", revision.site),
        *_labelled("cs2", "sensors", sensors),
        *_labelled("cs3", "candidate techniques", techniques),
        *_labelled("cs4", "community id", talk.community_id if talk else ""),
        *_labelled("cs5", "why", "; ".join(revision.reasons[:3])),
        *_labelled("cs6", "repeats are known by", revision.key),
        *_labelled("cn1", "revision", str(revision.number)),
        *_labelled("cn2", "confidence", str(revision.confidence)),
    ]


def _labelled(key: str, label: str, value: str) -> list[tuple[str, str]]:
    """A custom field and its label, where it has a value."""
    return [(f"{key}Label", label), (key, value)] if value else []


def _endpoint(end: Endpoint, address: str, host: str, mac: str, custom: int) -> list[tuple[str, str]]:
    """An end: IPv4 under its own key, IPv6 in a custom field, a name as a host."""
    keys = [(mac, end.mac)]
    if ":" in end.ip:
        return [*keys, (f"c6a{custom}Label", "source" if address == "src" else "destination"), (f"c6a{custom}", end.ip)]
    return [*keys, (address, end.ip) if end.ip else (host, "" if end.name == end.mac else end.name)]
