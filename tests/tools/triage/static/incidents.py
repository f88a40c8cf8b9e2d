"""Alerts with everything that the page shows."""

from typing import Any

from tests.tools.triage.pages import alert

DAY_US = 86_400_000_000
START_US = 1_678_443_600_000_000
HOUR_US = 3_600_000_000
TECHNIQUE = {"version": "19", "technique": {"uid": "T0846", "name": "Remote System Discovery"}}
REASONS = [
    {
        "feature": "new_writer",
        "label": "a new writer",
        "unit": "",
        "share": 1.0,
        "says": "10.0.0.9 wrote to 10.0.1.1, which only 10.0.0.5 did before",
    },
    {
        "feature": "peers",
        "label": "new partners",
        "unit": "peers",
        "observed_median": 13.0,
        "observed_extreme": 40.0,
        "usual_low": 0.0,
        "usual_median": 0.0,
        "usual_high": 0.3,
        "share": 0.5,
        "above": True,
        "says": "new partners: 13 peers, usually 0 to 0.3 peers",
    },
]


def shown(uid: int, says: str = "10.0.0.9 wrote 14 registers of 10.0.1.1", **changed: Any) -> dict[str, Any]:
    """An alert of an incident of its own: of another hour than any other number's."""
    sensor = changed.pop("sensor", "left")
    reasons = changed.pop("reasons", REASONS)
    talks = changed.pop("talks", (("10.0.0.9", f"10.0.{uid // 250}.{uid % 250 + 1}"),))
    given = {"first_us": START_US + uid * HOUR_US, "disposition": "page", "count": 2, "attacks": [TECHNIQUE], **changed}
    made: dict[str, Any] = alert(uid, sensor, *talks, message=says, **given)
    made["unmapped"] |= {
        "last_ts_us": made["unmapped"]["first_ts_us"] + 3_000_000,
        "reasons": reasons,
        "disposition_says": "certain evidence pages whatever the budget",
        "techniques": [{"uid": "T0846", "name": "Remote System Discovery", "confidence": "medium"}],
        "directed": True,
    }
    made["confidence_score"] = 80
    made["finding_info"]["title"] = says[:256]
    for evidence in made["evidences"]:
        evidence["dst_endpoint"] = {"ip": evidence["dst_endpoint"]["name"], "port": 502}
        evidence["connection_info"] |= {"protocol_num": 6, "protocol_name": "tcp"}
    return made


def uid_of(number: int) -> str:
    """The uid of alert `number`."""
    return f"{number:032x}"
