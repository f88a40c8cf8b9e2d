"""E-mail: one message a revision, threaded by incident; a password leaves only through TLS."""

import smtplib
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

from pipeline.tools.outputs.formats.text import page, subject
from pipeline.tools.outputs.revision import Revision
from pipeline.tools.outputs.sending import Refused, Retry, secret
from pipeline.tools.outputs.tls import context, reason, remedy
from schemas.outputs import EmailOutput, address_of, destination_of

PERMANENT = range(500, 600)


class EmailSender:
    """Sends through one mail server, a connection each."""

    def __init__(self, output: EmailOutput) -> None:
        self.output = output
        self._where = destination_of(output)

    def send(self, revision: Revision) -> str:
        """Send a revision; the mail server's acceptance is the answer."""
        try:
            refused = self._submit(mail(revision, self.output.sender, self.output.to))
        except smtplib.SMTPException as error:
            raise self._undelivered(error) from None
        except OSError as error:
            raise Retry(f"{self._where}: got {reason(error)}", remedy(error)) from None
        took = len(self.output.to) - len(refused)
        return f"accepted for {took} of {len(self.output.to)} addresses"

    def close(self) -> None:
        """Nothing is kept open."""

    def _submit(self, made: EmailMessage) -> dict[str, tuple[int, bytes]]:
        """Hand a message to the server; the addresses that it refused, where it took others."""
        scheme, host, port = address_of(self.output.email)
        limit_s = self.output.timeout_s
        tls = context(self.output) if scheme != "smtp" else None
        server = (
            smtplib.SMTP_SSL(host, port, timeout=limit_s, context=tls)
            if scheme == "smtps"
            else smtplib.SMTP(host, port, timeout=limit_s)
        )
        with server:
            if scheme == "smtp+starttls":
                server.starttls(context=tls)
            if self.output.user and self.output.password_file:
                server.login(self.output.user, self._password(self.output.password_file))
            return server.send_message(made)

    def _password(self, path: str) -> str:
        """The password; a mail server takes ASCII alone."""
        try:
            return secret(path).decode("ascii")
        except UnicodeDecodeError:
            raise Retry(f"{path}: got a password that is not ASCII", "set another one at the mail server") from None

    def _undelivered(self, error: smtplib.SMTPException) -> Retry | Refused:
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            codes = sorted({code for code, _ in error.recipients.values()})
            said = f"{self._where}: got {', '.join(map(str, codes))} for every address"
            kind = Refused if all(code in PERMANENT for code in codes) else Retry
            return kind(said, "correct `to`")
        if isinstance(error, smtplib.SMTPNotSupportedError):
            return Retry(f"{self._where}: got {error}", "use smtps://, or a server with STARTTLS and login")
        if not isinstance(error, smtplib.SMTPResponseException):
            return Retry(f"{self._where}: got {error or type(error).__name__}", "see the mail server's log")
        text = error.smtp_error if isinstance(error.smtp_error, str) else error.smtp_error.decode("utf-8", "replace")
        said = f"{self._where}: got {error.smtp_code} {text}"
        if isinstance(error, smtplib.SMTPAuthenticationError):
            return Retry(said, "correct user and password_file")
        is_this_mail = isinstance(error, smtplib.SMTPSenderRefused | smtplib.SMTPDataError)
        if is_this_mail and error.smtp_code in PERMANENT:
            return Refused(said, "correct sender, or what the server allows it")
        return Retry(said, "see the mail server's log")


def mail(revision: Revision, sender: str, to: tuple[str, ...]) -> EmailMessage:
    """The message. Its `Message-ID` is the revision's, `References` the incident's, by which mailers make threads."""
    made, domain = EmailMessage(policy=SMTP), sender.rpartition("@")[2]
    made["From"] = sender
    made["To"] = ", ".join(to)
    made["Subject"] = subject(revision)
    made["Date"] = formatdate()
    made["Message-ID"] = f"<{revision.key}@{domain}>"
    made["References"] = f"<{revision.uid}@{domain}>"
    made["Auto-Submitted"] = "auto-generated"
    made["X-Forebay-Key"] = revision.key
    made.set_content(page(revision))
    return made
