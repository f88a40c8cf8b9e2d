"""What verdicts compare incidents by, from the alerts themselves."""

from typing import Any

from pipeline.contracts.judged_facts import MAX_FUNCTIONS, MAX_TALKS, talks_of

HMI, PLC = "10.0.0.7", "10.0.0.20"


def evidence(source: str = HMI, target: str = PLC, port: int | None = 502, flows: int = 3) -> dict[str, Any]:
    endpoint = {"ip": target} | ({"port": port} if port is not None else {})
    connection = {"protocol_name": "tcp", "direction_id": 0}
    return {
        "src_endpoint": {"ip": source},
        "dst_endpoint": endpoint,
        "connection_info": connection,
        "data": {"flows": flows},
    }


def alert(*evidences: dict[str, Any], count: int | None = None, **about: Any) -> dict[str, Any]:
    known = {"directed": True, "sources": len({e["src_endpoint"]["ip"] for e in evidences}), "more_sources": False}
    known |= {"destinations": len({e["dst_endpoint"]["ip"] for e in evidences}), "more_destinations": False}
    flows = sum(each["data"]["flows"] for each in evidences)
    return {"evidences": list(evidences), "count": flows if count is None else count, "unmapped": known | about}


def wrote(*codes: int, source: str = HMI, service: str = "Modbus (tcp/502)") -> dict[str, Any]:
    functions = [{"code": code, "count": 2, "says": f"did {code}"} for code in codes]
    return {"source": source, "service": service, "functions": functions}


def test_talks_of_several_alerts_are_summed_those_of_most_flows_first() -> None:
    facts = talks_of([alert(evidence(), evidence(target="10.0.0.21")), alert(evidence(flows=9))])
    assert [(each["target"], each["flows"]) for each in facts["talks"]] == [(PLC, 12), ("10.0.0.21", 3)]
    assert (facts["talks_left_out"], facts["all_sources"], facts["all_targets"]) == (0, True, True)
    assert talks_of([]) == {"talks": [], "talks_left_out": 0, "all_sources": True, "all_targets": True}


def test_what_an_alert_does_not_list_is_known_to_be_missing() -> None:
    facts = talks_of([alert(evidence(), count=40, destinations=30)])
    assert (facts["talks_left_out"], facts["all_sources"], facts["all_targets"]) == (37, True, False)
    facts = talks_of([alert(evidence(), count=40, sources=2)])
    assert not facts["all_sources"]
    assert not talks_of([alert(evidence(), count=40, more_sources=True)])["all_sources"]
    assert not talks_of([alert(evidence(), count=40, directed=False)])["all_targets"]
    many = [evidence(target=f"10.0.1.{n}", flows=1 + n) for n in range(MAX_TALKS + 2)]
    facts = talks_of([alert(*many)])
    assert len(facts["talks"]) == MAX_TALKS and facts["talks_left_out"] == 3 and not facts["all_sources"]


def test_functions_are_those_of_who_asked_for_the_service() -> None:
    [talk] = talks_of([alert(evidence(), did=[wrote(16), wrote(5, source="10.0.0.9")])])["talks"]
    assert talk["functions"] == [{"protocol": "Modbus", "function": "did 16 (16)"}]
    for did in ([wrote(16, service="tcp/502")], [wrote(16, service="S7 (tcp/102)")], [wrote(*range(MAX_FUNCTIONS))]):
        [talk] = talks_of([alert(evidence(), did=did)])["talks"]
        assert talk["functions"] == []


def test_addresses_have_one_form() -> None:
    [talk] = talks_of([alert(evidence("FE80:0::1", "00:07:7C:00:00:10", None))])["talks"]
    assert (talk["source"], talk["target"], talk["port"]) == ("fe80::1", "00:07:7c:00:00:10", None)
