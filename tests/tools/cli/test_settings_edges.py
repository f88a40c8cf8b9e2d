"""Settings that cannot be: one line that says where, what, expected and remedy, exit 78, in every command."""

import os
import socket
import sys
import threading
from pathlib import Path

import pytest

from pipeline.errors import Misconfigured
from pipeline.runtime.kafka import clients
from pipeline.runtime.kafka.security import require_usable, without_values
from pipeline.settings import load_settings
from tests.commands import forebay
from tests.docs.tables import every_command

SECRET = "hunter2hunter2"


def run(*words: str) -> tuple[int, str]:
    """The exit code of a command, and all it printed."""
    ended = forebay(*words)
    return ended.code, ended.stdout + ended.stderr


def test_every_command_refuses_settings_that_cannot_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOREBAY_SECURITY", f"{{'sasl.password': '{SECRET}'")
    commands = [words for words, _ in every_command()]
    assert len(commands) > 40
    for words in commands:
        code, printed = run(*words)
        assert code == 78, words
        assert printed.count("\n") == 1 and printed.startswith("error: FOREBAY_SECURITY: got"), (words, printed)
        assert SECRET not in printed


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("FOREBAY_SECURITY", "foo", "expected JSON"),
        ("FOREBAY_CALENDARS", "{", "got {, expected JSON"),
        ("FOREBAY_SITE_LATENESS_US", "a", "got a, expected JSON"),
        ("FOREBAY_SITE_LATENESS_US", '{"a": "b"}', "got 'b', expected another"),
        ("FOREBAY_BOOTSTRP", "x", "did you mean FOREBAY_BOOTSTRAP?"),
        ("FOREBAY_LATENESS", "5", "did you mean FOREBAY_LATENESS_US?"),
        ("FOREBAY_PARTITIONS__A", "5", "did you mean FOREBAY_PARTITIONS?"),
        ("FOREBAY_QWERTY", SECRET, "expected the name of a setting"),
        ("FOREBAY_SECURITY", '{"security.protocl": "ssl"}', "did you mean security.protocol?"),
        ("FOREBAY_SECURITY", '{"linger.ms": "5"}', "expected one of librdkafka's security properties"),
        ("FOREBAY_SECURITY", '{"security.protocol": "tls"}', "expected one of plaintext, ssl"),
        ("FOREBAY_SECURITY", '{"ssl.ca.location": "/x"}', "ssl.ca.location with security.protocol plaintext"),
        (
            "FOREBAY_SECURITY",
            '{"security.protocol": "ssl", "sasl.username": "me"}',
            "sasl.username with security.protocol ssl",
        ),
        (
            "FOREBAY_SECURITY",
            f'{{"security.protocol": "ssl", "ssl.ca.location": "/{SECRET}"}}',
            "librdkafka refuses it",
        ),
        (
            "FOREBAY_SECURITY",
            f'{{"security.protocol": "sasl_ssl", "sasl.mechanism": "{SECRET}", "sasl.password": "{SECRET}"}}',
            "librdkafka refuses it",
        ),
        ("FOREBAY_SECURITY", f'{{"sasl.password": {{"a": "{SECRET}"}}}}', "got a value that is not shown"),
        ("FOREBAY_SECURITY", f'["{SECRET}"]', "got a value that is not shown"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(
    variable: str,
    value: str,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(variable, value)
    code, printed = run("config", "show")
    assert code == 78, printed
    assert printed.count("\n") == 1 and said in printed
    assert SECRET not in printed


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("partitions: [3\n", "line 2, column 1"),
        ("- partitions\n- 3\n", "got a list"),
        ("just words\n", "got a str"),
        ("5: 3\n", "names that are no text"),
        ("partitons: 3\n", "did you mean partitions?"),
        (f"securty: {{sasl.password: {SECRET}}}\n", "did you mean security?"),
        (f"security: {{sasl.password: [{SECRET}]}}\n", "a value that is not shown"),
        (f"security: {{sasl.password: '{SECRET}\n", "line"),
        ("\x00", "expected YAML"),
        (None, "No such file"),
    ],
)
def test_a_settings_file_that_cannot_be_is_said_in_one_line(
    text: str | None,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "forebay.yaml"
    if text is not None:
        file.write_text(text)
    monkeypatch.setenv("FOREBAY_CONFIG", str(file))
    code, printed = run("config", "show")
    assert code == 78, printed
    assert printed.count("\n") == 1 and said in printed and str(file) in printed
    assert SECRET not in printed


def test_bytes_that_are_no_text_and_a_folder_are_no_settings_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"bootstrap: \xff\xfe\n")
    for path in (tmp_path, tmp_path / "latin.yaml"):
        monkeypatch.setenv("FOREBAY_CONFIG", str(path))
        with pytest.raises(Misconfigured, match="FOREBAY_CONFIG"):
            load_settings()


def test_variables_that_others_read_are_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    others = ("FOREBAY_CACHE", "FOREBAY_TEST_DATA", "FOREBAY_KAFKA_SERVICE_HOST", "FOREBAY_KAFKA_PORT_9093_TCP_ADDR")
    for variable in others:
        monkeypatch.setenv(variable, "anything")
    monkeypatch.setenv("FOREBAY_SITE_LATENESS_US__PLANT", "7")
    assert load_settings().lateness_of("plant") == 7


@pytest.mark.parametrize("name", ["archive", "state", "registry", "samples", "replay"])
def test_a_folder_that_is_a_file_is_a_setting_to_correct(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for path in (file, file / "below"):
        monkeypatch.setenv(f"FOREBAY_{name.upper()}_URI", str(path))
        code, printed = run("topic", "check")
        assert code == 78
        assert printed.count("\n") == 1 and f"FOREBAY_{name.upper()}_URI {path}: got {file}, which is a file" in printed


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs a folder that not even root can write")
@pytest.mark.parametrize(
    ("stage", "variable"),
    [
        ("featurize", "FOREBAY_STATE_URI"),
        ("alert", "FOREBAY_STATE_URI"),
        ("archive", "FOREBAY_ARCHIVE_URI"),
        ("retrain", "FOREBAY_SAMPLES_URI"),
    ],
)
def test_a_folder_that_cannot_be_written_is_a_setting_to_correct(stage: str, variable: str) -> None:
    done = forebay(stage, "run", environment={**os.environ, variable: "/sys/forebay"})
    assert done.code == 78, done.stderr
    assert done.stderr.count("\n") == 1 and f"{variable} /sys/forebay: got " in done.stderr


@pytest.mark.slow
def test_values_below_security_are_never_shown(tmp_path: Path) -> None:
    security = (
        f'{{"security.protocol": "sasl_plaintext", "sasl.mechanism": "PLAIN", '
        f'"sasl.username": "{SECRET}-name", "sasl.password": "{SECRET}"}}'
    )
    with socket.socket() as nobody:  # bound, but nobody listens
        nobody.bind(("127.0.0.1", 0))
        given = {"FOREBAY_SECURITY": security, "FOREBAY_BOOTSTRAP": f"127.0.0.1:{nobody.getsockname()[1]}"}
        environment = {**os.environ, **given, "FOREBAY_STATE_URI": str(tmp_path), "FOREBAY_METRICS_PORT": "-1"}
        for words in (("config", "show"), ("config", "show", "--no-redact"), ("doctor",)):
            done = forebay(*words, environment=environment)
            assert SECRET not in done.stdout + done.stderr, words
    shown = forebay("config", "show", "--json", environment={**os.environ, **given})
    assert '"sasl.username":"***"' in shown.stdout
    assert SECRET not in repr(load_settings(security={"sasl.password": SECRET}))
    assert without_values("calling fopen(/a/b.crt, r)", {"ssl.ca.location": "/a/b.crt"}) == "calling fopen(***, r)"


def test_properties_that_fit_together_are_taken() -> None:
    require_usable({})
    require_usable(
        {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.username": "me", "sasl.password": "x"}
    )
    require_usable({"security.protocol": "ssl", "ssl.endpoint.identification.algorithm": "none"})


@pytest.mark.slow
def test_tls_against_a_plain_port_says_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener that ends the connection at the first bytes of a handshake, as Kafka's plain listener does."""

    def answer(server: socket.socket) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=answer, args=(server,), daemon=True).start()
        settings = load_settings(
            bootstrap=f"127.0.0.1:{server.getsockname()[1]}", security={"security.protocol": "ssl"}
        )
        with pytest.raises(Misconfigured, match="not in TLS"):
            clients.require_broker(settings, timeout_s=0.5)
        server.shutdown(socket.SHUT_RDWR)
