"""`forebay doctor` against a Kafka that knows principals: what they may not do is found before a stage finds it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)

from pipeline.runtime.kafka import clients, topics
from pipeline.settings import load_settings
from pipeline.tools.broker import configuration, local
from pipeline.tools.broker.ports import free_port
from pipeline.tools.doctor.access import needs
from tests.integration.test_doctor import doctor

pytestmark = pytest.mark.integration
LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"
PREFIX = "guarded."


@pytest.fixture(scope="module")
def guarded_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A broker with ACLs: its open port, where everybody is its administrator, and one that asks who is there."""
    folder, port = tmp_path_factory.mktemp("guarded"), free_port()
    plain = configuration.server_properties

    def with_acls(logs: Path, open_port: int, controller_port: int) -> str:
        lines = dict(line.split("=", 1) for line in plain(logs, open_port, controller_port).splitlines())
        lines["listeners"] += f",GUARDED://127.0.0.1:{port}"
        lines["advertised.listeners"] += f",GUARDED://127.0.0.1:{port}"
        lines["listener.security.protocol.map"] += ",GUARDED:SASL_PLAINTEXT"
        lines["sasl.enabled.mechanisms"] = "PLAIN"
        lines["listener.name.guarded.plain.sasl.jaas.config"] = f'{LOGIN} user_score="s" user_nobody="n";'
        lines["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
        lines["super.users"] = "User:ANONYMOUS"
        return "".join(f"{name}={value}\n" for name, value in lines.items())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(configuration, "server_properties", with_acls)
        broker = local.start(folder)
    try:
        settings = load_settings(bootstrap=broker.bootstrap, topic_prefix=PREFIX)
        topics.create(settings)
        bindings = {
            allow(kind, f"{PREFIX}{need.name}", operation)
            for need in needs(("score",))
            for kind in (ResourceType.GROUP if need.is_group else ResourceType.TOPIC,)
            for operation in (need.operation, *(() if need.is_group else (AclOperation.DESCRIBE_CONFIGS,)))
        }
        client = clients.admin(settings)  # referenced until the answers are here
        for future in client.create_acls(list(bindings)).values():
            future.result(20)
        yield broker.bootstrap, f"127.0.0.1:{port}"
    finally:
        local.stop(folder, grace_s=10.0)


def allow(kind: ResourceType, name: str, operation: AclOperation) -> AclBinding:
    return AclBinding(kind, name, ResourcePatternType.LITERAL, "User:score", "*", operation, AclPermissionType.ALLOW)


def log_in(monkeypatch: pytest.MonkeyPatch, user: str) -> None:
    entries = {"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN", "sasl.username": user}
    monkeypatch.setenv("FOREBAY_SECURITY", json.dumps({**entries, "sasl.password": user[0]}))


def test_who_may_do_everything_is_told_so(guarded_kafka: tuple[str, str]) -> None:
    rows = doctor(guarded_kafka[0], PREFIX, expect=0)["rows"]
    assert rows["access"]["verdict"] == "ok", rows["access"]
    assert rows["clock skew"]["verdict"] == "ok", rows["clock skew"]
    described = clients.admin(load_settings(bootstrap=guarded_kafka[0])).list_topics(timeout=10).topics
    assert f"{PREFIX}doctor-clock" not in described


def test_a_stage_with_its_own_rights_passes_for_itself_alone(
    guarded_kafka: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log_in(monkeypatch, "score")
    rows = doctor(guarded_kafka[1], PREFIX, expect=0, stage="score")["rows"]
    assert rows["access"]["verdict"] == "ok", rows["access"]
    assert rows["topics"]["verdict"] == "ok", rows["topics"]
    assert rows["clock skew"]["verdict"] == "warn" and "Create" in rows["clock skew"]["remedy"]
    other = doctor(guarded_kafka[1], PREFIX, expect=1, stage="alert")["rows"]["access"]
    assert other["verdict"] == "fail" and f"alert: read {PREFIX}suspects" in other["found"] and other["expected"]


def test_who_may_do_nothing_is_told_what(guarded_kafka: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    log_in(monkeypatch, "nobody")
    report = doctor(guarded_kafka[1], PREFIX, expect=1, stage="ingest")
    access = report["rows"]["access"]
    assert f"ingest: read {PREFIX}raw" in access["found"] and "ACLs" in access["remedy"]
    assert "access" in report["failed"]
