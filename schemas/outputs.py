"""Where alerts are sent besides their topic: syslog, webhook, e-mail, files. Secrets stand in files of their own."""

from pathlib import PurePath
from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator, model_validator

Format = Literal["text", "cef", "leef", "ecs", "ocsf", "stix", "misp"]
FACILITIES = {f"local{number}": 16 + number for number in range(8)} | {"user": 1, "daemon": 3, "authpriv": 10}
# Of each kind: the scheme of its URL and the port where none is named; RFC 5426, 6587, 5425.
SYSLOG_PORTS = {"udp": 514, "tcp": 601, "tls": 6514}
MAIL_PORTS = {"smtp": 25, "smtp+starttls": 587, "smtps": 465}
WEB_PORTS = {"http": 80, "https": 443}
LOOPBACK = ("localhost", "127.0.0.1", "::1")


def _absolute(path: str) -> str:
    if not PurePath(path).is_absolute():
        raise ValueError("expected an absolute path: the worker may start in any folder")
    return path


def _mailbox(address: str) -> str:
    local, _, domain = address.rpartition("@")
    if not local or not domain or not address.isascii() or not address.isprintable() or set(" ,;<>") & set(address):
        raise ValueError("expected one address, such as shift@plant.example")
    return address


Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,47}$")]
File = Annotated[str, AfterValidator(_absolute)]
Mailbox = Annotated[str, AfterValidator(_mailbox)]


class _Output(BaseModel):
    """What outputs of every kind have.

    `send`: pages alone, or all alerts; `updates`: also what an incident becomes after it was first sent; `start`: at
    the first start alone, whether alerts that there are already are sent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Name
    send: Literal["pages", "all"] = "pages"
    updates: bool = True
    start: Literal["now", "earliest"] = "now"
    timeout_s: Annotated[float, Field(gt=0, le=120)] = 10.0
    ca_file: File | None = None
    """Certificates to trust instead of the system's."""
    certificate_file: File | None = None
    key_file: File | None = None

    @model_validator(mode="after")
    def _both_of_a_pair(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("expected certificate_file and key_file, got one of them")
        return self


class SyslogOutput(_Output):
    """A syslog receiver: udp://HOST:PORT, tcp://HOST:PORT or tls://HOST:PORT."""

    syslog: str
    format: Format = "cef"
    facility: str = "local0"

    @field_validator("syslog")
    @classmethod
    def _url(cls, url: str) -> str:
        return _checked(url, SYSLOG_PORTS)

    @field_validator("facility")
    @classmethod
    def _known_facility(cls, name: str) -> str:
        if name not in FACILITIES:
            raise ValueError(f"expected one of {', '.join(FACILITIES)}")
        return name


class WebhookOutput(_Output):
    """A URL that takes a POST. `secret_file` signs what is sent; `token_file` is sent as a bearer's token."""

    webhook: str
    format: Literal["ecs", "ocsf", "stix", "misp"] = "ocsf"
    secret_file: File | None = None
    token_file: File | None = None
    plaintext: bool = False
    """Whether http:// may leave this machine."""

    @model_validator(mode="after")
    def _url(self) -> Self:
        _checked(self.webhook, WEB_PORTS, with_path=True)
        parts = urlsplit(self.webhook)
        if parts.scheme == "http" and parts.hostname not in LOOPBACK and not self.plaintext:
            raise ValueError("webhook: expected https://, or `plaintext: true` where nobody listens in between")
        return self


class EmailOutput(_Output):
    """A mail server: smtp+starttls://HOST:PORT, smtps://HOST:PORT, or smtp://HOST:PORT without TLS and password."""

    email: str
    sender: Mailbox
    to: Annotated[tuple[Mailbox, ...], Field(min_length=1, max_length=100)]
    user: str = ""
    password_file: File | None = None
    updates: bool = False
    format: Literal["text"] = "text"

    @model_validator(mode="after")
    def _url(self) -> Self:
        _checked(self.email, MAIL_PORTS)
        if bool(self.user) != (self.password_file is not None):
            raise ValueError("expected user and password_file, got one of them")
        if self.user and urlsplit(self.email).scheme == "smtp":
            raise ValueError("email: expected smtp+starttls:// or smtps://, as a password is sent")
        return self


class FileOutput(_Output):
    """A file that grows by a line an alert."""

    file: File
    format: Format = "ocsf"


_KINDS = ("syslog", "webhook", "email", "file")


def _kind(entry: object) -> str:
    """Which kind an entry is of; one that names none is refused as syslog."""
    return next(
        (kind for kind in _KINDS if (kind in entry if isinstance(entry, dict) else hasattr(entry, kind))), "syslog"
    )


OutputEntry = Annotated[
    Annotated[SyslogOutput, Tag("syslog")]
    | Annotated[WebhookOutput, Tag("webhook")]
    | Annotated[EmailOutput, Tag("email")]
    | Annotated[FileOutput, Tag("file")],
    Discriminator(_kind),
]


def address_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL of these settings."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (SYSLOG_PORTS | MAIL_PORTS | WEB_PORTS)[parts.scheme]


def destination_of(output: OutputEntry) -> str:
    """Where an output goes, without what of a URL may be a secret."""
    if isinstance(output, FileOutput):
        return output.file
    url = output.syslog if isinstance(output, SyslogOutput) else output.email if isinstance(output, EmailOutput) else ""
    scheme, host, port = address_of(url or (output.webhook if isinstance(output, WebhookOutput) else ""))
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _checked(url: str, ports: dict[str, int], with_path: bool = False) -> str:
    """The URL, where it is one of these schemes with a host, and holds no password."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        parts, port = SplitResult("", "", "", "", ""), None
    stray = "" if with_path else parts.path.strip("/") + parts.query
    if parts.scheme not in ports or not parts.hostname or port == 0 or stray or parts.fragment:
        expected = " or ".join(f"{scheme}://HOST:PORT" for scheme in ports)
        raise ValueError(f"expected {expected}")
    if "@" in parts.netloc:
        raise ValueError("expected no user or password in a URL: they stand in files of their own")
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("expected a URL of ASCII letters without spaces")
    return url
