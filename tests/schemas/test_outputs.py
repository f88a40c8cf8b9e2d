"""Settings of outputs: what is refused, and that no secret is quoted."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import Misconfigured
from pipeline.settings import load_settings
from schemas.outputs import FileOutput, SyslogOutput, destination_of

SYSLOG = {"name": "siem", "syslog": "tls://siem.example:6514"}
HOOK = {"name": "chat", "webhook": "https://hooks.example/T0/B0/secret"}
MAIL = {
    "name": "shift",
    "email": "smtp+starttls://mail.example",
    "sender": "forebay@plant.example",
    "to": ["a@b.example"],
}
FILE = {"name": "disk", "file": "/var/lib/forebay/alerts.ndjson"}


def test_a_file_with_one_of_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "outputs.yaml"
    path.write_text(yaml.safe_dump({"outputs": [SYSLOG, HOOK, MAIL, FILE]}))
    monkeypatch.setenv("FOREBAY_OUTPUTS", str(path))
    settings = load_settings()
    assert [type(output).__name__ for output in settings.outputs] == [
        "SyslogOutput", "WebhookOutput", "EmailOutput", "FileOutput",
    ]  # fmt: skip
    assert [destination_of(output) for output in settings.outputs] == [
        "tls://siem.example:6514", "https://hooks.example:443", "smtp+starttls://mail.example:587", FILE["file"],
    ]  # fmt: skip
    for name, value in settings.variables().items():
        monkeypatch.setenv(name, value)
    assert load_settings().outputs == settings.outputs, "a process that is started gets the same"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({**SYSLOG, "syslog": "siem.example:514"}, "udp://HOST:PORT"),
        ({**SYSLOG, "syslog": "tls://user:hunter2@siem.example"}, "no user or password"),
        ({**SYSLOG, "syslog": "tls://siem.example:99999"}, "udp://HOST:PORT"),
        ({**SYSLOG, "format": "xml"}, "'text'"),
        ({**SYSLOG, "facility": "kern"}, "local0"),
        ({**SYSLOG, "name": "Bad Name"}, "pattern"),
        ({**SYSLOG, "key_file": "/etc/key.pem"}, "certificate_file and key_file"),
        ({**SYSLOG, "ca_file": "ca.pem"}, "absolute path"),
        ({**HOOK, "webhook": "http://hooks.example/hunter2"}, "https://"),
        ({**HOOK, "webhook": "ftp://hooks.example/hunter2"}, "expected http://"),
        ({**HOOK, "token": "hunter2"}, "no field for"),
        ({**MAIL, "sender": "a@b.example\nBcc: x@y.example"}, "one address"),
        ({**MAIL, "user": "me"}, "user and password_file"),
        ({**MAIL, "email": "smtp://mail.example", "user": "me", "password_file": "/etc/p"}, "smtp+starttls://"),
        ({**FILE, "file": "alerts.ndjson"}, "absolute path"),
        ({"name": "nothing"}, "syslog"),
    ],
)
def test_what_is_refused(entry: dict[str, Any], expected: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        load_settings(outputs=[entry])
    assert expected in str(refused.value) and "hunter2" not in str(refused.value)


def test_names_are_unique() -> None:
    with pytest.raises(Misconfigured, match="siem twice"):
        load_settings(outputs=[SYSLOG, {**FILE, "name": "siem"}])


def test_defaults() -> None:
    settings = load_settings(outputs=[SYSLOG, FILE])
    syslog, file = settings.outputs
    assert isinstance(syslog, SyslogOutput) and isinstance(file, FileOutput)
    assert (syslog.format, syslog.send, syslog.updates, file.format) == ("cef", "pages", True, "ocsf")
    assert load_settings().outputs == ()


def test_an_address_of_ipv6() -> None:
    [output] = load_settings(outputs=[{**SYSLOG, "syslog": "udp://[2001:db8::1]"}]).outputs
    assert destination_of(output) == "udp://[2001:db8::1]:514"
