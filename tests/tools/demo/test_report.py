from dataclasses import replace

import numpy as np

from loadtest.plants.westermo.traffic import Event
from pipeline.tools.demo.report import Incident, Member, findings, percentiles, summary

SCAN = Event("BAD-PORTSCAN1", 10_000_000, 20_000_000, "scan")
FAULT = Event("BAD-MISCONF", 30_000_000, 40_000_000, "fault")
LOGIN = Event("GOOD-SSH", 50_000_000, 60_000_000, "login")


def incident(uid: str, *members: Member, opened_us: int = 0) -> Incident:
    of_alert = tuple(replace(member, alert=member.alert or uid, opened_us=opened_us) for member in members)
    return Incident(uid, ("left",), uid, members[0].start_us, members[-1].end_us, of_alert)


def test_an_event_is_found_by_a_flow_labelled_with_it_inside_its_window() -> None:
    hit = incident("hit", Member("Normal", 11_000_000, 11_000_001), Member("BAD-PORTSCAN1", 12_000_000, 12_500_000))
    [scan, fault] = findings([SCAN, FAULT, LOGIN], [hit])
    assert (scan.found, scan.delay_s, scan.incidents) == (True, 2.5, ("hit",))
    assert not fault.found


def test_the_delay_runs_until_the_alert_was_out() -> None:
    waited = incident("waited", Member("BAD-PORTSCAN1", 11_000_000, 11_000_001), opened_us=14_000_000)
    [scan] = findings([SCAN], [waited])
    assert scan.delay_s == 4.0


def test_another_label_or_another_time_does_not_find_it() -> None:
    other = incident("other", Member("BAD-SSH", 12_000_000, 12_500_000))
    outside = incident("outside", Member("BAD-PORTSCAN1", 21_000_000, 22_000_000))
    [scan] = findings([SCAN], [other, outside])
    assert not scan.found


def test_an_incident_of_harmless_flows_is_false_even_in_a_harmless_login() -> None:
    login = incident("login", Member("GOOD-SSH", 51_000_000, 52_000_000))
    hit = incident("hit", Member("BAD-PORTSCAN1", 12_000_000, 12_500_000))
    event_findings = findings([SCAN, FAULT, LOGIN], [login, hit])
    document = summary(event_findings, [login, hit], {"sent": 4}, 0.5)
    assert document["false_alerts_per_hour"] == 2.0
    assert (document["events_found"], document["events_missed"]) == (1, 0)
    assert (document["faults_found"], document["faults_missed"]) == (0, 1)
    assert (document["alerts"], document["incidents"], document["sent"]) == (2, 2, 4)


def test_an_alert_of_harmless_flows_makes_an_incident_false_whatever_it_is_joined_with() -> None:
    mixed = incident("mixed", Member("BAD-SSH", 1, 2, "a"), Member("Normal", 1, 2, "a"))
    assert not mixed.false
    assert incident("joined", *mixed.members, Member("Normal", 1, 2, "b")).false
    assert incident("empty", Member("Normal", 1, 2)).false


def test_percentiles_of_nothing_are_zero() -> None:
    assert percentiles(np.empty(0)) == {"p50": 0.0, "p99": 0.0}
    assert percentiles(np.arange(101.0)) == {"p50": 50.0, "p99": 99.0}
