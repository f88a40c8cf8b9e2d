"""Parked alerts sent again, to a real HTTP server and a real rsyslog that first refuse and then take them."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.contracts.incident_joining import joined
from pipeline.contracts.suppression import Suppressions
from pipeline.contracts.verdicts import standing
from pipeline.errors import Backpressure, Usage
from pipeline.tools.alerts.incidents import document
from pipeline.tools.broker.ports import free_port
from pipeline.tools.outputs.parked import Parked, parked_now
from pipeline.tools.outputs.resending import Resent, chosen, resend
from pipeline.tools.outputs.sending import Refused
from pipeline.tools.outputs.syslog_sender import SyslogSender
from schemas.outputs import FileOutput, OutputEntry, SyslogOutput, WebhookOutput
from tests.clients.plant import client
from tests.contracts.verdict_records import MAX_US, given_on
from tests.tools.outputs.receivers import (
    Certificates,
    has_rsyslog_with_tls,
    listens,
    rsyslog_configuration,
    wait_until,
    web_server,
)
from tests.tools.outputs.revisions import event, revision

NONE = Suppressions(standing([]))
HOOK = WebhookOutput(name="soc", webhook="http://127.0.0.1:1/")


class Held:
    """Parked alerts by key; can lose Kafka."""

    def __init__(self, *parked: Parked) -> None:
        self.parked = {each.key: each for each in parked}
        self.is_away = False

    def put(self, parked: Parked) -> bool:
        self.parked[parked.key] = parked
        return True

    def take_out(self, parked: Parked) -> None:
        if self.is_away:
            raise Backpressure("Kafka is away", 1.0)
        del self.parked[parked.key]


def parked(key: str, at_us: int = 1, output: str = "soc", **changed: Any) -> Parked:
    return parked_now(output, revision(key=key, **changed), "422 no", at_us)


def sent_again(output: Any, held: Held) -> Resent:
    return resend(output, list(held.parked.values()), held, lambda: 99)


def test_a_web_server_that_refuses_and_then_takes() -> None:
    held = Held(parked("k-1"), parked("k-2"), parked("k-3"))
    with web_server() as server:
        output = WebhookOutput(name="soc", webhook=server.url)
        server.answers = [(200, {}), (422, {}), (503, {})]
        first = sent_again(output, held)
        assert (first.delivered, first.refused, first.left) == (1, 1, 1) and "503" in first.answer
        assert {each: (it.refusals, it.last_us) for each, it in held.parked.items()} == {
            "soc/k-2": (2, 99),
            "soc/k-3": (1, 1),
        }
        second = sent_again(output, held)
        keys = [headers["Idempotency-Key"] for _, headers, _ in server.requests]
        bodies = {headers["Idempotency-Key"]: body for _, headers, body in server.requests[-2:]}
    assert (second.delivered, second.left, second.answer) == (2, 0, "200 said") and not held.parked
    assert keys == ["k-1", "k-2", "k-3", "k-2", "k-3"], "in order, under the same keys"
    assert set(bodies) == {"k-2", "k-3"} and all(bodies.values())


def test_without_kafka_what_was_taken_is_still_parked() -> None:
    held = Held(parked("k-1"), parked("k-2"))
    held.is_away = True
    with web_server() as server:
        output = WebhookOutput(name="soc", webhook=server.url)
        with pytest.raises(Backpressure):
            sent_again(output, held)
        assert set(held.parked) == {"soc/k-1", "soc/k-2"}
        held.is_away = False
        assert sent_again(output, held).delivered == 2 and not held.parked
        keys = [headers["Idempotency-Key"] for _, headers, _ in server.requests]
    assert keys == ["k-1", "k-1", "k-2"], "at least once"


def test_a_receiver_that_is_away_leaves_all_parked() -> None:
    held = Held(parked("k-1"), parked("k-2"))
    result = sent_again(HOOK, held)
    assert (result.delivered, result.refused, result.left) == (0, 0, 2) and "refused" in result.answer
    assert len(held.parked) == 2


@pytest.mark.slow
@pytest.mark.skipif(
    not has_rsyslog_with_tls(),
    reason="not proven: that rsyslog takes parked alerts (rsyslogd, rsyslog-openssl are not installed)",
)
def test_rsyslog_takes_what_was_too_large_for_a_datagram(tmp_path: Path) -> None:
    certificates, port = Certificates(tmp_path), free_port()
    large = revision(key="k-1", says="x" * 40_000, title="y" * 40_000)
    with pytest.raises(Refused) as refusal:
        SyslogSender(SyslogOutput(name="siem", syslog=f"udp://localhost:{port}", format="cef")).send(large)
    held = Held(parked_now("siem", large, str(refusal.value), 1))
    (tmp_path / "rsyslog.conf").write_text(rsyslog_configuration(port, tmp_path, certificates).replace("64k", "1m"))
    log, received = tmp_path / "log", tmp_path / "received"
    output = SyslogOutput(name="siem", syslog=f"tls://localhost:{port}", ca_file=certificates.ca_file, timeout_s=60.0)
    assert sent_again(output, held).left == 1, "nobody listens yet"
    with client("rsyslogd", "-n", "-f", f"{tmp_path}/rsyslog.conf", "-i", f"{tmp_path}/pid", log=log):
        wait_until(lambda: listens(port), "rsyslog's port")
        assert sent_again(output, held).delivered == 1 and not held.parked
        wait_until(lambda: received.exists() and b'key=\\"k-1\\"' in received.read_bytes(), "the message")


def choose(of: list[Parked], *named: str, to: str | None = None, rules: Suppressions = NONE) -> dict[str, list[str]]:
    file = FileOutput(name="disk", file="/var/log/forebay/alerts")
    outputs: list[OutputEntry] = [HOOK, WebhookOutput(name="chat", webhook="http://127.0.0.1:1/"), file]
    made = chosen(of, outputs, named, to, rules)
    found = {output.name: [each.revision.key for each in sent] for output, sent in made.sent}
    stays = {"suppressed": made.suppressed, "without receiver": made.without_receiver}
    return found | {name: [each.revision.key for each in stay] for name, stay in stays.items() if stay}


def test_what_is_sent_again() -> None:
    one, two = parked("a1-1", uid="ffee"), parked("b2-1", uid="b2")
    of = [
        one,
        two,
        parked("b2-1", uid="b2", output="chat"),
        parked("c3-1", output="gone"),
        parked("d-1", output="disk"),
    ]
    everything = {"soc": ["a1-1", "b2-1"], "chat": ["b2-1"], "without receiver": ["c3-1", "d-1"]}
    assert choose(of) == everything
    assert choose(of, to="chat") == {"chat": ["b2-1"]}
    assert choose(of, "ffe") == choose(of, "a1") == {"soc": ["a1-1"]}, "an incident's uid, or its alert's"
    assert choose(of, "b2", to="soc") == {"soc": ["b2-1"]}
    assert choose([]) == {}
    for named in ("zz", "", "\x1b[31m"):
        with pytest.raises(Usage, match="no parked alert") as refusal:
            choose(of, named)
        assert "\x1b" not in str(refusal.value)


def test_what_a_verdict_suppresses_is_sent_by_name_alone() -> None:
    scope = {"kind": "asset", "address": "198.18.134.11"}
    verdict = given_on(document(joined([event()])[0]), scope=scope, from_us=0, expires_us=MAX_US)
    rules = Suppressions(standing([verdict]))
    again = event()
    again["finding_info"]["uid"] = "f" * 32
    held = [parked("a1-1", uid="a1", event=again)]
    assert choose(held, rules=rules) == {"suppressed": ["a1-1"]}
    assert choose(held, "a1", rules=rules) == {"soc": ["a1-1"]}
