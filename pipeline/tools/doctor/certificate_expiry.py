"""Until when the certificates of FOREBAY_SECURITY are valid."""

import time
from collections.abc import Mapping

from pipeline.errors import BadData
from pipeline.runtime.certificates import certificates
from pipeline.tools.doctor.findings import Finding

DAY_S = 86_400
WARN_DAYS = 14


def certificate_expiry(security: Mapping[str, str], now_s: float) -> list[Finding]:
    """A row for each certificate that is named; none where none is."""
    try:
        found = certificates(security)
    except BadData as error:
        return [Finding("certificate", "fail", str(error))]
    rows = []
    for each in found:
        left_s = each.expires_s - now_s
        until = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(each.expires_s))
        verdict = "fail" if left_s <= 0 else "warn" if left_s < WARN_DAYS * DAY_S else "ok"
        word = "expired" if left_s <= 0 else "valid until"
        remedy = "" if verdict == "ok" else f"renew what {each.property} names, then restart the stages"
        expected = "" if verdict == "ok" else f"{WARN_DAYS} days left"
        rows.append(Finding(f"certificate ({each.kind})", verdict, f"{word} {until}", remedy, expected))
    return rows
