"""An incident as an OCSF Detection Finding (class 2004, version 1.8.0). Times in OCSF are milliseconds since the epoch.

Everything here comes from the log: no wall clock, so an event sent again after a crash has the same bytes.
"""

from importlib.metadata import version
from typing import Any

import orjson

from pipeline.alert.deeds import Deed
from pipeline.alert.done import COUNTS
from pipeline.alert.endpoints import evidence, further_pairs, observables
from pipeline.alert.evidence_words import EvidenceWords, Sentence, sentences, shipped_evidence_words
from pipeline.alert.explain import TOP, Baseline, Reason, reasons
from pipeline.alert.facts import facts_of
from pipeline.alert.feature_words import reason_words
from pipeline.alert.incident import MAX_POSITIONS, Incident
from pipeline.alert.levels import LEVEL_NAMES
from pipeline.alert.message import Known, message, title
from pipeline.alert.naming import (
    has_name,
    is_foreign,
    lead_of,
    name_of_incident,
    techniques_of,
)
from pipeline.alert.pages import Disposition
from pipeline.alert.severity import CONFIDENT, DOUBTFUL, confidence_of, severity_of
from pipeline.alert.techniques import Meanings, Technique
from pipeline.alert.wording import measured, printable_name, usual
from pipeline.contracts.function_words import function_words
from pipeline.contracts.service_names import service_words
from pipeline.contracts.services import ethertype_words, protocol_words
from pipeline.runtime.terminal import printable

SHOWN_DEEDS = 16
OCSF_VERSION = "1.8.0"
CREATE, UPDATE, CLOSE = 1, 2, 3
ACTIVITY = {CREATE: "Create", UPDATE: "Update", CLOSE: "Close"}
SEVERITY_CAPTION = {1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical"}
CONFIDENCE_CAPTION = {1: "Low", 2: "Medium", 3: "High"}
CLASS_UID = 2004
PRODUCT = {"name": "Forebay", "vendor_name": "Forebay", "version": version("forebay")}


def encode(event: dict[str, Any]) -> bytes:
    """The event as compact JSON with sorted keys: equal events give equal bytes."""
    return orjson.dumps(event, option=orjson.OPT_SORT_KEYS)


def classification(activity: int) -> dict[str, Any]:
    """What says that an event is a Detection Finding, and whether it is its Create, Update or Close."""
    return {
        "activity_id": activity,
        "activity_name": ACTIVITY[activity],
        "category_name": "Findings",
        "category_uid": 2,
        "class_name": "Detection Finding",
        "class_uid": CLASS_UID,
        "type_uid": CLASS_UID * 100 + activity,
        "type_name": f"Detection Finding: {ACTIVITY[activity]}",
    }


def detection_finding(
    incident: Incident,
    activity: int,
    meanings: Meanings,
    baseline: Baseline | None,
    words: EvidenceWords | None = None,
) -> dict[str, Any]:
    """The event for an incident as it stands; `activity` is CREATE, UPDATE or CLOSE.

    baseline: of the incident's model. It explains the sensors and sites that the model is calibrated for, no others.
    """
    return as_revision(finding_of(incident, meanings, baseline, words), incident, activity, incident.revision)


def as_revision(finding: dict[str, Any], incident: Incident, activity: int, revision: int) -> dict[str, Any]:
    """The event of a revision of an incident; finding: what `finding_of` says of it as it stands."""
    return {
        **finding,
        **classification(activity),
        "is_alert": activity != CLOSE,
        "metadata": _metadata(incident, revision),
        "status_detail": "ended" if activity == CLOSE else "going on",
    }


def finding_of(
    incident: Incident, meanings: Meanings, baseline: Baseline | None, words: EvidenceWords | None = None
) -> dict[str, Any]:
    """What the event says of an incident as it stands, whatever its revision; `baseline` as in `detection_finding`."""
    known = known_of(incident, meanings, baseline, words)
    said, why, techniques = known.said, known.why, known.techniques
    severity = severity_of(incident, meanings, known)
    attacks = [_attack(technique, meanings.attack_version) for technique in techniques]
    evidences = evidence(incident)
    facts = facts_of(incident)
    says = message(incident, meanings, known, facts)
    finding: dict[str, Any] = {
        "confidence": CONFIDENCE_CAPTION[_confidence_id(known.confidence)],
        "confidence_id": _confidence_id(known.confidence),
        "confidence_score": known.confidence,
        "count": incident.count,
        "disposition": "Alert",
        "disposition_id": 19,
        "duration": _ms(incident.end_ts_us) - _ms(incident.start_ts_us),
        "end_time": _ms(incident.end_ts_us),
        "evidences": evidences,
        "finding_info": _finding_info(incident, known, title(facts, known), says, attacks),
        "message": says,
        "observables": observables(evidences),
        "severity": SEVERITY_CAPTION[severity],
        "severity_id": severity,
        "start_time": _ms(incident.start_ts_us),
        "status": "New",
        "status_id": 1,
        "time": _ms(incident.opened_ts_us),
        "unmapped": _unmapped(incident, known, baseline, further_pairs(incident, evidences)),
    }
    if attacks:
        finding["attacks"] = attacks
    if said or why:
        finding["anomaly_analyses"] = [_anomaly_analysis(incident, said, why)]
    return finding


def _ms(time_us: int) -> int:
    return time_us // 1000


def _confidence_id(confidence: int) -> int:
    return 1 if confidence < DOUBTFUL else 2 if confidence < CONFIDENT else 3


def known_of(
    incident: Incident, meanings: Meanings, baseline: Baseline | None = None, words: EvidenceWords | None = None
) -> Known:
    """What is known of an incident beside its flows; `baseline` as in `detection_finding`."""
    said = sentences(incident.shown, words or shipped_evidence_words())[:TOP]
    knows = baseline is not None and baseline.knows(incident.site, incident.sensor)
    named, foreign = has_name(incident, meanings), is_foreign(incident, baseline)
    explains = baseline is not None and baseline.explains(incident.site, incident.sensor)
    return Known(
        name=name_of_incident(incident, meanings, said, named),
        named=named,
        foreign=foreign,
        confidence=confidence_of(incident, said, knows),
        said=said,
        why=reasons(incident.features, baseline)[: TOP - len(said)] if baseline is not None and explains else [],
        techniques=techniques_of(incident, meanings, said, named and not foreign),
    )


def _finding_info(
    incident: Incident, known: Known, headline: str, says: str, attacks: list[dict[str, Any]]
) -> dict[str, Any]:
    info: dict[str, Any] = {
        "uid": incident.uid,
        "title": headline,
        "desc": says,
        "types": [printable_name(name) for name in [incident.main_class, *incident.further_classes]],
        "analytic": _analytic(incident, lead_of(known.said, known.named)),
        "created_time": _ms(incident.opened_ts_us),
        "modified_time": _ms(incident.last_clock_us),
        "first_seen_time": _ms(incident.first_ts_us),
        "last_seen_time": _ms(incident.end_ts_us),
        "data_sources": [printable_name(f"{incident.site}/{incident.sensor}", 128)],
        "related_events_count": incident.count,
    }
    return info | ({"attacks": attacks} if attacks else {})


def _analytic(incident: Incident, lead: Sentence | None) -> dict[str, Any]:
    """What found it: the model, or the sensor's own baseline."""
    if lead is None:
        model = printable_name(incident.model)
        return {"type_id": 4, "type": "Learning (ML/DL)", "name": "IGAN-IDS", "uid": model, "version": model}
    return analytic_of_baseline(incident.site, incident.sensor, lead.example.baseline or 0)


def analytic_of_baseline(site: str, sensor: str, number: int) -> dict[str, Any]:
    """A sensor's baseline as what found something; number: of its last notice."""
    uid = printable_name(f"{site}/{sensor}", 128)
    return {"type_id": 2, "type": "Behavioral", "name": "Sensor baseline", "uid": uid, "version": str(number)}


def _attack(technique: Technique, attack_version: str) -> dict[str, Any]:
    attack: dict[str, Any] = {
        "version": attack_version,
        "tactic": {"uid": technique.tactic_uid, "name": technique.tactic},
        "technique": {"uid": technique.uid, "name": technique.name},
    }
    if technique.sub_uid:
        attack["sub_technique"] = {"uid": technique.sub_uid, "name": technique.sub_name}
    return attack


def _metadata(incident: Incident, revision: int) -> dict[str, Any]:
    return {
        "version": OCSF_VERSION,
        "product": PRODUCT,
        "profiles": ["security_control"],
        "tenant_uid": printable_name(incident.site),
        "uid": f"{incident.uid}-{revision}",
        "sequence": revision,
        "original_time": str(incident.end_ts_us),
    }


def _anomaly_analysis(incident: Incident, said: list[Sentence], why: list[Reason]) -> dict[str, Any]:
    target = (
        f"{printable_name(incident.ends.actor)} on {printable_name(incident.site)}/{printable_name(incident.sensor)}"
    )
    anomalies, baselines = [], []
    parameter: dict[str, Any]
    for sentence in said:
        parameter = {"observation_parameter": sentence.kind.title, "observation_type": "First Seen Analysis"}
        observed = [{"value": sentence.says, "count": sentence.flows}]
        anomalies.append({**parameter, "observed_pattern": "new at the sensor", "observations": observed})
        baselines.append({**parameter, "observations": [{"value": "not known at the sensor"}]})
    for reason in why:
        parameter = {"observation_parameter": reason.label, "observation_type": "Deviation Analysis"}
        observed = [
            {"value": measured(reason.observed, reason.unit), "count": incident.count},
            {"value": f"{'at most' if reason.above else 'at least'} {measured(reason.extreme, reason.unit)}"},
        ]
        pattern = "above usual" if reason.above else "below usual"
        anomalies.append({**parameter, "observed_pattern": pattern, "observations": observed})
        value = usual(reason.usual_low, reason.usual_high, reason.unit)
        baselines.append({**parameter, "observations": [{"value": value}]})
    return {
        "analysis_targets": [{"name": target, "type": "Network Flows"}],
        "anomalies": anomalies,
        "baselines": baselines,
    }


def _unmapped(incident: Incident, known: Known, baseline: Baseline | None, pairs: list[list[str]]) -> dict[str, Any]:
    """Facts without an OCSF attribute, for reports and triage: the members, and the numbers behind the text."""
    return {
        "site": printable_name(incident.site),
        "sensor": printable_name(incident.sensor),
        "name": printable_name(known.name),
        "class": printable_name(incident.main_class),
        "classes": {printable_name(name): count for name, count in incident.classes.items()},
        "nearest_classes": {printable_name(name): count for name, count in incident.nearest_classes.items()},
        "model": printable_name(incident.model),
        "feature_set": baseline.feature_set if baseline else None,
        "feature_hash": baseline.feature_hash if baseline else None,
        "opened_ts_us": incident.opened_ts_us,
        "first_ts_us": incident.first_ts_us,
        "last_ts_us": incident.end_ts_us,
        "latest_ingest_ts_us": incident.latest_ingest_ts_us,
        "late": incident.late,
        "highest_score": incident.highest_score,
        "lowest_p_value": incident.lowest_p_value,
        "highest_novelty": incident.highest_novelty,
        "sources": len(incident.sources),
        "more_sources": incident.more_sources,
        "destinations": len(incident.all_ends.others),
        "more_destinations": incident.all_ends.more_others,
        "directed": not incident.undirected,
        "destination_ports": len(incident.target_ports),
        "more_destination_ports": incident.more_target_ports,
        "members": incident.positions,
        "members_left_out": max(0, incident.count - MAX_POSITIONS),
        "techniques": [
            {
                "uid": technique.sub_uid or technique.uid,
                "name": technique.sub_name or technique.name,
                "was": technique.was or None,
                "status": "candidate",
                "confidence": technique.confidence,
            }
            for technique in known.techniques
        ],
        "evidence": dict(incident.shown.counts),
        **disposition(incident.judged),
        "reasons": _reasons(incident, known.said, known.why),
        "did": _did(incident),
        **({"pairs": pairs} if pairs else {}),
    }


def _did(incident: Incident) -> list[dict[str, Any]]:
    """What the flows did, for machines: the deeds with most flows, at most 16."""
    deeds = sorted(incident.deeds.of.items(), key=lambda item: (-item[1].flows, item[0]))[:SHOWN_DEEDS]
    return [
        {
            "source": printable_name(deed.source),
            "service": service_of_deed(deed),
            "directed": deed.directed,
            "flows": deed.flows,
            "targets": len(deed.targets),
            "more_targets": deed.more_targets,
            **{name: getattr(deed, name) for name in COUNTS},
            "functions": [
                {"code": code, "count": count, "says": function_words(deed.industrial, code)}
                for code, count in deed.functions.items()
            ],
        }
        for _, deed in deeds
    ]


def service_of_deed(deed: Deed) -> str:
    """The service that was asked, or the protocol where no port is known."""
    if deed.port >= 0:
        return service_words(deed.ip_proto, deed.port)
    return protocol_words(deed.ip_proto) if deed.ip_proto >= 0 else ethertype_words(max(deed.ether_type, 0))


def disposition(judged: Disposition) -> dict[str, Any]:
    """Whether somebody should look now, and why."""
    return {
        "disposition": judged.disposition,
        "disposition_reason": judged.reason,
        "disposition_says": judged.says,
        "level": LEVEL_NAMES[judged.level],
    }


def _reasons(incident: Incident, said: list[Sentence], why: list[Reason]) -> list[dict[str, Any]]:
    of_evidence = [
        {
            "feature": sentence.kind.name,
            "label": sentence.kind.title,
            "unit": "",
            "share": sentence.flows / incident.count,
            # Evidence is said of one flow; so many have some of its kind.
            "says": printable(f"e.g. {sentence.says}" if sentence.flows > 1 else sentence.says, 256),
        }
        for sentence in said
    ]
    of_features = [
        {
            "feature": reason.feature,
            "label": reason.label,
            "unit": reason.unit,
            "observed_median": reason.observed,
            "observed_extreme": reason.extreme,
            "usual_low": reason.usual_low,
            "usual_median": reason.usual_median,
            "usual_high": reason.usual_high,
            "share": reason.share,
            "above": reason.above,
            "says": printable(reason_words(reason), 256),
        }
        for reason in why
    ]
    return [*of_evidence, *of_features]
