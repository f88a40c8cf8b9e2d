"""Whether a token of OpenID Connect is one of this provider, for us, of now, and for this sign-in; and what it says.

Only RS256 and ES256 count. A token cannot choose anything else: not `none`, not a secret key, not a key it brings.
"""

import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, RSAKey

from pipeline.tools.triage.accounts import ROLES
from pipeline.tools.triage.provider_settings import ProviderSettings

KEY_TYPES = {"RS256": "RSA", "ES256": "EC"}
MIN_RSA_BITS = 2_048
MAX_KEYS = 50
MAX_TOKEN_BYTES = 65_536
LEEWAY_S = 60
"""By how much the provider's clock may differ from ours."""
MAX_AGE_S = 600
"""A token is fetched right after it was made."""
FAULTS = (JoseError, ValueError, TypeError, KeyError, OverflowError, RecursionError)


class RefusedToken(Exception):
    """A token that proves nothing; the message says why."""


class UnknownKey(RefusedToken):
    """None of the keys that are known may have signed it: the provider may have a new one."""


class _Registry(jws.JWSRegistry):
    max_header_length = 8_192  # some providers put certificates there, which nobody reads
    max_payload_length = MAX_TOKEN_BYTES


REGISTRY = _Registry(algorithms=list(KEY_TYPES), strict_check_header=False)


def keys_of(document: Any) -> list[Key]:
    """The public keys of a provider's key set that may sign; what is of no use is left out."""
    listed = document.get("keys") if isinstance(document, dict) else None
    made: list[Key] = []
    for each in listed[:MAX_KEYS] if isinstance(listed, list) else ():
        if not isinstance(each, dict) or each.get("use", "sig") != "sig":
            continue
        kind = each.get("kty")
        try:
            if kind == "RSA" and _bits(each.get("n")) >= MIN_RSA_BITS:
                made.append(RSAKey.import_key(each))
            elif kind == "EC" and each.get("crv") == "P-256":
                made.append(ECKey.import_key(each))
        except FAULTS:
            continue
    return made


def _bits(modulus: object) -> int:
    return int.from_bytes(urlsafe_b64decode(f"{modulus}==")).bit_length()


def claims_in(
    token: object, keys: Iterable[Key], provider: ProviderSettings, nonce: str, now: Callable[[], float] = time.time
) -> Mapping[str, Any]:
    """What a token says. RefusedToken, or UnknownKey, where it is not proven."""
    if not isinstance(token, str) or not 0 < len(token) <= MAX_TOKEN_BYTES:
        raise RefusedToken("no token, or too large a one")
    try:
        header = jws.extract_compact(token.encode(), registry=REGISTRY).headers()
        algorithm, name = header.get("alg"), header.get("kid")
        kind = KEY_TYPES.get(algorithm) if isinstance(algorithm, str) else None
        if kind is None:
            raise RefusedToken("an algorithm other than RS256 and ES256")
        fitting = [
            key
            for key in keys
            if key.key_type == kind and name in (None, key.get("kid")) and key.get("alg") in (None, algorithm)
        ]
        if not fitting:
            raise UnknownKey("signed with a key that the provider does not list")
        claims = _signed(token, fitting)
        _require(claims, provider, nonce, int(now()))
    except FAULTS as error:
        raise RefusedToken(f"{type(error).__name__}: {error}"[:200]) from error
    return claims


def _signed(token: str, keys: list[Key]) -> dict[str, Any]:
    """The claims by whichever of the keys signed them: a token without a key's name may be of any."""
    problem: JoseError | None = None
    for key in keys:
        try:
            return dict(jwt.decode(token, key, registry=REGISTRY).claims)
        except JoseError as error:
            problem = error
    raise problem or UnknownKey("no key")


def _require(claims: dict[str, Any], provider: ProviderSettings, nonce: str, now: int) -> None:
    """JoseError or RefusedToken unless the claims are for this sign-in."""
    jwt.JWTClaimsRegistry(
        now,
        LEEWAY_S,
        iss={"essential": True, "value": provider.issuer},
        aud={"essential": True, "value": provider.client_id},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
        nonce={"essential": True},
    ).validate(claims)
    if claims["nonce"] != nonce:
        raise RefusedToken("the nonce of another sign-in")
    audience, party = claims["aud"], claims.get("azp")
    if isinstance(audience, list) and len(audience) > 1 and party is None:
        raise RefusedToken("several audiences, and no azp")
    if party is not None and party != provider.client_id:
        raise RefusedToken("made for another client (azp)")
    if claims["iat"] < now - MAX_AGE_S - LEEWAY_S:
        raise RefusedToken("made long ago (iat)")
    if not 0 < len(claims["sub"]) <= 255:
        raise RefusedToken("no sub, or too long a one")


def role_in(claims: Mapping[str, Any], provider: ProviderSettings) -> str | None:
    """The highest role that a person's groups have; None where they have none."""
    given: Any = claims.get(provider.role_claim)
    if given is None:
        given = claims
        for part in provider.role_claim.split("."):
            given = given.get(part) if isinstance(given, dict) else None
    listed = given if isinstance(given, list) else [given]
    groups = {each for each in listed if isinstance(each, str)}
    return next((role for role in reversed(ROLES) if groups & set(getattr(provider.roles, role))), None)
