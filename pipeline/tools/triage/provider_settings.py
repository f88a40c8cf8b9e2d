"""Which provider of OpenID Connect people may sign in at, and what its groups may do: a YAML file."""

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import Misconfigured
from pipeline.settings import read_file
from pipeline.tools.http_server import LOOPBACK
from pipeline.tools.triage.accounts import ROLES

MAX_SECRET_BYTES = 1_024
HTTPS = "an https URL, or an http one of this machine itself"


def is_safe(url: str) -> bool:
    """Whether nobody on the way can read or change what is asked there: https, or http that leaves no machine."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not host or parts.username is not None or parts.fragment or not url.isascii() or not url.isprintable():
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK)


def _safe(url: str) -> str:
    if not is_safe(url) or "?" in url:
        raise ValueError(f"expected {HTTPS}, without user, query and fragment")
    return url


def _origin(url: str) -> str:
    if urlsplit(_safe(url)).path not in ("", "/"):
        raise ValueError("expected the page's address without a path")
    return url.rstrip("/")


Group = Annotated[str, Field(min_length=1, max_length=256)]


class Groups(BaseModel):
    """The provider's groups for each role; who is in none of them is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    viewer: tuple[Group, ...] = ()
    analyst: tuple[Group, ...] = ()
    admin: tuple[Group, ...] = ()


class ProviderSettings(BaseModel):
    """A provider, and how its answers are read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    issuer: Annotated[str, AfterValidator(_safe)]
    """As the provider writes it, to the letter: https, or http on loopback."""
    client_id: Annotated[str, Field(min_length=1, max_length=256)]
    client_secret_file: Path | None = None
    """Its first line is the secret; none for a public client, which PKCE alone protects."""
    name: Annotated[str, Field(max_length=60)] = ""
    """Written on the button: Sign in with ...; the issuer's host where it is empty."""
    url: Annotated[str, AfterValidator(_origin)] | None = None
    """The page's address for browsers; beyond loopback it has to be said."""
    ca_file: Path | None = None
    """Certificates to trust instead of the system's."""
    scopes: tuple[Group, ...] = ("openid", "profile")
    role_claim: Group = "groups"
    """The claim with a person's groups; `a.b` names b within a."""
    name_claim: Group = "preferred_username"
    """The claim that names a person in verdicts and in the audit log."""
    roles: Groups

    @model_validator(mode="after")
    def _has_roles(self) -> Self:
        if not any(getattr(self.roles, role) for role in ROLES):
            raise ValueError("expected a group for one role at least: viewer, analyst or admin")
        if "openid" not in self.scopes:
            raise ValueError("expected openid among the scopes")
        return self

    @property
    def shown(self) -> str:
        """The provider's name for people."""
        return self.name or str(urlsplit(self.issuer).hostname)

    def secret(self) -> str | None:
        """The client's secret, read anew each time; Misconfigured where its file cannot be read or holds none."""
        if self.client_secret_file is None:
            return None
        where = f"client_secret_file {self.client_secret_file}"
        try:
            with self.client_secret_file.open("rb") as file:
                value = file.read(MAX_SECRET_BYTES + 1).strip()
        except OSError as error:
            raise Misconfigured(f"{where}: got {error.strerror}, expected a file that can be read") from None
        if not 0 < len(value) <= MAX_SECRET_BYTES or not value.isascii() or b"\n" in value:
            raise Misconfigured(f"{where}: got no secret, expected one line of at most {MAX_SECRET_BYTES} characters")
        return value.decode()


def read_provider(path: Path) -> ProviderSettings:
    """The provider that a file describes; Misconfigured says what is wrong with it."""
    document = read_file(str(path), "--oidc")
    try:
        made = ProviderSettings.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "as a whole"
        raise Misconfigured(
            f"--oidc {path}, {where}: got something else, expected: {first['msg']}; docs/triage.md has an example"
        ) from None
    made.secret()
    return made
