"""E-mail to a real mail server: STARTTLS, login, what it refuses; and nobody injects a header."""

import email
import email.policy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from hypothesis import given

from pipeline.tools.broker.ports import free_port
from pipeline.tools.outputs.email_sender import EmailSender, mail
from pipeline.tools.outputs.revision import Revision, revision_of
from pipeline.tools.outputs.sending import Refused, Retry
from schemas.outputs import EmailOutput
from tests.patience import PATIENCE_S
from tests.tools.outputs.receivers import Certificates
from tests.tools.outputs.revisions import event, revision, revisions

TO = ("shift@plant.example", "chief@plant.example")


class Mailbox:
    """A handler of aiosmtpd that remembers, and refuses what it is told to."""

    def __init__(self) -> None:
        self.mails: list[Envelope] = []
        self.tls: list[bool] = []
        self.refused: dict[str, str] = {}
        self.data_answer = "250 taken"

    async def handle_RCPT(self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _: Any) -> str:
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 ok"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.data_answer.startswith("2"):
            self.mails.append(envelope)
            self.tls.append(session.ssl is not None)
        return self.data_answer


def authenticated(_server: Any, _session: Any, _envelope: Any, _mechanism: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"forebay", b"hunter2")
    return AuthResult(success=good, handled=good)


@contextmanager
def server(box: Mailbox, certificates: Certificates | None = None) -> Iterator[int]:
    port = free_port()
    options: dict[str, Any] = {"tls_context": certificates.context(), "require_starttls": True} if certificates else {}
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=port,
        authenticator=authenticated,
        auth_require_tls=True,
        ready_timeout=PATIENCE_S,
        **options,
    )
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def sender(url: str, **others: Any) -> EmailSender:
    given_settings = {"name": "shift", "email": url, "sender": "forebay@plant.example", "to": TO, "timeout_s": 60.0}
    return EmailSender(EmailOutput.model_validate({**given_settings, **others}))


def test_over_starttls_with_a_login(tmp_path: Path) -> None:
    certificates, box = Certificates(tmp_path), Mailbox()
    (tmp_path / "password").write_text("hunter2\n")
    login = {"user": "forebay", "password_file": str(tmp_path / "password"), "ca_file": certificates.ca_file}
    made = revision_of(event())
    with server(box, certificates) as port:
        answer = sender(f"smtp+starttls://localhost:{port}", **login).send(made)
        (tmp_path / "password").write_text("wrong")
        with pytest.raises(Retry, match="535") as raised:
            sender(f"smtp+starttls://localhost:{port}", **login).send(made)
        assert "hunter2" not in str(raised.value) and "wrong" not in str(raised.value)
    assert answer == "accepted for 2 of 2 addresses" and box.tls == [True]
    read = email.message_from_bytes(box.mails[0].content or b"", policy=email.policy.default)  # type: ignore[arg-type]
    assert read["Message-ID"] == f"<{made.key}@plant.example>" and read["References"] == f"<{made.uid}@plant.example>"
    assert read["Subject"].startswith("[Medium] plant: 198.18.134.11 tried 23 tcp ports of 5 addresses")
    assert "forebay alert show" in read.get_content()


def test_whom_we_do_not_know_gets_nothing(tmp_path: Path) -> None:
    box = Mailbox()
    with server(box, Certificates(tmp_path)) as port, pytest.raises(Retry, match="does not verify"):
        sender(f"smtp+starttls://localhost:{port}").send(revision())
    with server(box) as port, pytest.raises(Retry, match="STARTTLS"):
        sender(f"smtp+starttls://localhost:{port}").send(revision())
    assert not box.mails


@pytest.mark.parametrize(
    ("answer", "expected"), [("451 later", Retry), ("550 no", Refused), ("554 spam", Refused), ("421 busy", Retry)]
)
def test_what_a_server_says_of_a_mail(answer: str, expected: type[Exception]) -> None:
    box = Mailbox()
    box.data_answer = answer
    with server(box) as port, pytest.raises(expected, match=answer[:3]):
        sender(f"smtp://127.0.0.1:{port}").send(revision())


def test_addresses_that_a_server_does_not_know() -> None:
    box = Mailbox()
    box.refused = {TO[0]: "550 unknown"}
    with server(box) as port:
        assert sender(f"smtp://127.0.0.1:{port}").send(revision()) == "accepted for 1 of 2 addresses"
        box.refused[TO[1]] = "550 unknown"
        with pytest.raises(Refused, match="550"):
            sender(f"smtp://127.0.0.1:{port}").send(revision())
        box.refused[TO[1]] = "450 greylisted"
        with pytest.raises(Retry, match="450"):
            sender(f"smtp://127.0.0.1:{port}").send(revision())


def test_a_server_that_is_away_may_come_back() -> None:
    with pytest.raises(Retry, match="refused"):
        sender(f"smtp://127.0.0.1:{free_port()}").send(revision())


@given(revisions())
def test_no_header_is_injected(made: Revision) -> None:
    """Revisions are printable before they come here; even of such that are not, no line end gets into a header."""
    clean = replace(made, says=made.says.replace("\r", " ").replace("\n", " "), site=made.site.strip("\r\n"))
    try:
        data = mail(clean, "forebay@plant.example", TO).as_bytes()
    except ValueError:
        return  # the library refuses a line end
    read = email.message_from_bytes(data, policy=email.policy.default)
    assert set(read.keys()) == {
        "From", "To", "Subject", "Date", "Message-ID", "References", "Auto-Submitted", "X-Forebay-Key",
        "Content-Type", "Content-Transfer-Encoding", "MIME-Version",
    }  # fmt: skip
    assert read["To"] == ", ".join(TO)


def test_a_subject_from_the_network_is_one_header() -> None:
    made = revision_of(event(src_addr="evil\r\nBcc: all@plant.example"))
    read = email.message_from_bytes(mail(made, "a@b.example", TO).as_bytes(), policy=email.policy.default)
    assert read["Bcc"] is None and "\\x0d\\x0aBcc" in read["Subject"]
