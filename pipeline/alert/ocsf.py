"""An incident as an OCSF Detection Finding (class 2004, version 1.8.0). Times in OCSF are milliseconds since the epoch.

Everything here comes from the log: no wall clock, so an event sent again after a crash has the same bytes.
"""

from importlib.metadata import version
from typing import Any

import orjson

from pipeline.alert.endpoints import evidence, observables
from pipeline.alert.evidence_words import EvidenceWords, Sentence, sentences, shipped_evidence_words
from pipeline.alert.explain import TOP, Baseline, Reason, reasons
from pipeline.alert.incident import CROWD, MAX_POSITIONS, Incident
from pipeline.alert.levels import LEVEL_NAMES
from pipeline.alert.pages import Disposition
from pipeline.alert.techniques import Meaning, Meanings, Technique
from pipeline.alert.wording import duration, flows, many, measured, printable_name, usual
from pipeline.contracts.class_names import is_name
from pipeline.contracts.group_addresses import group_of

OCSF_VERSION = "1.8.0"
CREATE, UPDATE, CLOSE = 1, 2, 3
ACTIVITY = {CREATE: "Create", UPDATE: "Update", CLOSE: "Close"}
SEVERITY_CAPTION = {1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical"}
LOWEST_SEVERITY, HIGHEST_SEVERITY = 1, 5
CONFIDENCE_CAPTION = {1: "Low", 2: "Medium", 3: "High"}
CLASS_UID = 2004
PRODUCT = {"name": "Forebay", "vendor_name": "Forebay", "version": version("forebay")}

# Severity moves up a step from this many flows on, if confident, and down a step below that confidence.
EXTENSIVE_FLOWS = 200
CONFIDENT, DOUBTFUL = 80, 50


def encode(event: dict[str, Any]) -> bytes:
    """The event as compact JSON with sorted keys: equal events give equal bytes."""
    return orjson.dumps(event, option=orjson.OPT_SORT_KEYS)


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
    words = words or shipped_evidence_words()
    said = sentences(incident.shown, words)[:TOP]
    knows = baseline is not None and baseline.knows(incident.site, incident.sensor)
    confidence = confidence_of(incident, said, knows)
    severity = severity_of(incident, meanings, said, confidence)
    explains = baseline is not None and baseline.explains(incident.site, incident.sensor)
    why = reasons(incident.features, baseline)[: TOP - len(said)] if baseline is not None and explains else []
    techniques = techniques_of(incident, meanings)
    attacks = [_attack(technique, meanings.attack_version) for technique in techniques]
    evidences = evidence(incident)
    says = message(incident, meanings, words)
    event: dict[str, Any] = {
        "activity_id": activity,
        "activity_name": ACTIVITY[activity],
        "category_name": "Findings",
        "category_uid": 2,
        "class_name": "Detection Finding",
        "class_uid": CLASS_UID,
        "type_uid": CLASS_UID * 100 + activity,
        "type_name": f"Detection Finding: {ACTIVITY[activity]}",
        "confidence": CONFIDENCE_CAPTION[_confidence_id(confidence)],
        "confidence_id": _confidence_id(confidence),
        "confidence_score": confidence,
        "count": incident.count,
        "disposition": "Alert",
        "disposition_id": 19,
        "duration": _ms(incident.end_ts_us) - _ms(incident.start_ts_us),
        "end_time": _ms(incident.end_ts_us),
        "evidences": evidences,
        "finding_info": _finding_info(incident, meanings, lead_of(incident, said), says, attacks),
        "is_alert": activity != CLOSE,
        "message": says,
        "metadata": _metadata(incident),
        "observables": observables(evidences),
        "severity": SEVERITY_CAPTION[severity],
        "severity_id": severity,
        "start_time": _ms(incident.start_ts_us),
        "status": "New",
        "status_detail": "ended" if activity == CLOSE else "going on",
        "status_id": 1,
        "time": _ms(incident.opened_ts_us),
        "unmapped": _unmapped(incident, techniques, said, why, baseline),
    }
    if attacks:
        event["attacks"] = attacks
    if said or why:
        event["anomaly_analyses"] = [_anomaly_analysis(incident, said, why)]
    return event


def lead_of(incident: Incident, said: list[Sentence]) -> Sentence | None:
    """The evidence that names the incident: the strongest, where its flows have no name."""
    is_named = incident.key == CROWD or is_name(incident.main_class)
    return said[0] if said and not is_named else None


def meaning_of(incident: Incident, meanings: Meanings) -> Meaning:
    """The meaning of its main class, or that of the crowd."""
    return meanings.crowd if incident.key == CROWD else meanings.of(incident.main_class)


def techniques_of(incident: Incident, meanings: Meanings) -> list[Technique]:
    """The candidate techniques of its main class, then of the further ones, each once."""
    further = [meanings.of(name) for name in incident.further_classes]
    techniques = [
        technique for meaning in [meaning_of(incident, meanings), *further] for technique in meaning.techniques
    ]
    return list(dict.fromkeys(techniques))


def confidence_score(incident: Incident) -> int:
    """0 to 100: the flows' mean score, times how far they agree on the class."""
    return round(100 * incident.mean_score * incident.agreement)


def confidence_of(incident: Incident, said: list[Sentence], knows: bool) -> int:
    """0 to 100: the flows' score, and how far the strongest evidence speaks for something wrong; what is higher.

    knows: whether the model is calibrated for the sensor. Else its score is by another plant's odds, and counts only
    where there is nothing else.
    """
    by_evidence = max((sentence.kind.confidence for sentence in said), default=0)
    return max(confidence_score(incident), by_evidence) if knows or not said else by_evidence


def severity_of(incident: Incident, meanings: Meanings, said: list[Sentence], confidence: int) -> int:
    """The severity of its class or of its evidence; what is higher."""
    # How many flows there are is a fact here, however sure the kind is of something wrong: a flood is no small matter.
    by_evidence = [_stepped(each.kind.severity_id, int(each.flows >= EXTENSIVE_FLOWS)) for each in said]
    if lead_of(incident, said) is not None:
        return max(by_evidence)
    return max(severity_id(meaning_of(incident, meanings), incident.count, confidence), *by_evidence, LOWEST_SEVERITY)


def severity_id(meaning: Meaning, count: int, confidence: int) -> int:
    """The class's severity; a step down where in doubt, a step up where extensive and beyond doubt."""
    step = -1 if confidence < DOUBTFUL else int(confidence >= CONFIDENT and count >= EXTENSIVE_FLOWS)
    return _stepped(meaning.severity_id, step)


def _stepped(severity: int, step: int) -> int:
    return min(max(severity + step, LOWEST_SEVERITY), HIGHEST_SEVERITY)


def message(incident: Incident, meanings: Meanings, words: EvidenceWords | None = None) -> str:
    """One sentence for the person on shift; what else the incident holds comes after it."""
    words = words or shipped_evidence_words()
    lead = lead_of(incident, sentences(incident.shown, words))
    ends = incident.all_ends if incident.key == CROWD else incident.ends
    sources = many(len(ends.sources), ends.more_sources, printable_name(ends.actor), "sources")
    target = printable_name(ends.main_other)
    if whom := group_of(ends.main_other):
        target = f"{whom} ({target})"
    targets = many(len(ends.others), ends.more_others, target, "addresses")
    facts = {
        "actor": printable_name(ends.actor),
        "sources": sources,
        "target": target,
        "targets": targets,
        "ports": many(len(incident.target_ports), incident.more_target_ports, "1 port", "ports"),
        "sensor": printable_name(incident.sensor),
        "site": printable_name(incident.site),
        "flows": _flows_meant(incident),
        "duration": duration(incident.end_ts_us - incident.start_ts_us),
        "class": printable_name(incident.main_class),
        "nearest": meanings.as_nearest(printable_name(incident.nearest)),
    }
    if lead is not None:
        says = words.says.substitute(facts | {"evidence": lead.says, "flows": flows(incident.count)})
    else:
        says = meaning_of(incident, meanings).says.substitute(facts)
    further = [f"{meanings.of(name).title}, {flows(incident.classes[name])}" for name in incident.further_classes[:3]]
    return "; also: ".join([says, *further])


def _flows_meant(incident: Incident) -> str:
    """How many flows the sentence is about: of an incident with several classes not all."""
    of_class = incident.classes[incident.main_class]
    if incident.key == CROWD or of_class == incident.count:
        return flows(incident.count)
    return f"{of_class:,} of {flows(incident.count)}"


def _ms(time_us: int) -> int:
    return time_us // 1000


def _confidence_id(confidence: int) -> int:
    return 1 if confidence < DOUBTFUL else 2 if confidence < CONFIDENT else 3


def _finding_info(
    incident: Incident, meanings: Meanings, lead: Sentence | None, says: str, attacks: list[dict[str, Any]]
) -> dict[str, Any]:
    info: dict[str, Any] = {
        "uid": incident.uid,
        "title": meaning_of(incident, meanings).title if lead is None else lead.kind.title,
        "desc": says,
        "types": [printable_name(name) for name in [incident.main_class, *incident.further_classes]],
        "analytic": _analytic(incident, lead),
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


def _metadata(incident: Incident) -> dict[str, Any]:
    return {
        "version": OCSF_VERSION,
        "product": PRODUCT,
        "profiles": ["security_control"],
        "tenant_uid": printable_name(incident.site),
        "uid": f"{incident.uid}-{incident.revision}",
        "sequence": incident.revision,
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


def _unmapped(
    incident: Incident,
    techniques: list[Technique],
    said: list[Sentence],
    why: list[Reason],
    baseline: Baseline | None,
) -> dict[str, Any]:
    """Facts without an OCSF attribute, for reports and triage: the members, and the numbers behind the text."""
    return {
        "site": printable_name(incident.site),
        "sensor": printable_name(incident.sensor),
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
            for technique in techniques
        ],
        "evidence": dict(incident.shown.counts),
        **disposition(incident.judged),
        "reasons": _reasons(incident, said, why),
    }


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
            "says": sentence.says,
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
            "says": f"{reason.label}: {measured(reason.observed, reason.unit)}, "
            f"usually {usual(reason.usual_low, reason.usual_high, reason.unit)}",
        }
        for reason in why
    ]
    return [*of_evidence, *of_features]
