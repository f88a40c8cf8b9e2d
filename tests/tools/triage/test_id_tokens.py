"""A token proves who somebody is only if this provider signed it, for us, now, and for this sign-in."""

import base64
import hmac
import time
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwt
from joserfc.jwk import ECKey, Key, RSAKey
from joserfc.jws import JWSRegistry

from pipeline.tools.triage.id_tokens import MAX_TOKEN_BYTES, RefusedToken, UnknownKey, claims_in, keys_of, role_in
from pipeline.tools.triage.provider_settings import ProviderSettings

ISSUER, CLIENT, NONCE = "https://id.plant.example", "forebay", "n-1"
NOW = int(time.time())
GROUPS = {"viewer": ["plant"], "analyst": ["ot-security"], "admin": ["it-admins", "heads"]}
PROVIDER = ProviderSettings.model_validate({"issuer": ISSUER, "client_id": CLIENT, "roles": GROUPS})
RSA = RSAKey.generate_key(2048, {"kid": "a"})
EC = ECKey.generate_key("P-256", {"kid": "b"})
OTHER = RSAKey.generate_key(2048, {"kid": "a"})
KEYS = keys_of({"keys": [RSA.as_dict(private=False), EC.as_dict(private=False)]})
HONEST = {"iss": ISSUER, "aud": CLIENT, "sub": "kim", "iat": NOW, "exp": NOW + 300, "nonce": NONCE}
SPOILT = "left out"


def token(key: Key = RSA, algorithm: str = "RS256", header: dict[str, Any] | None = None, **claims: Any) -> str:
    """A signed token with other claims than the honest ones; SPOILT leaves one out."""
    said = {name: value for name, value in {**HONEST, **claims}.items() if value != SPOILT}
    registry = JWSRegistry(algorithms=[algorithm], strict_check_header=False)
    return jwt.encode({"alg": algorithm, "kid": key.kid, **(header or {})}, said, key, registry=registry)


def raw(header: dict[str, Any], signature: bytes = b"", **claims: Any) -> str:
    """A token put together by hand."""
    parts = (orjson.dumps(header), orjson.dumps({**HONEST, **claims}), signature)
    return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)


PUBLIC = RSA.as_pem(private=False)


def _rs256(unsigned: bytes) -> bytes:
    assert RSA.private_key is not None
    return RSA.private_key.sign(unsigned, PKCS1v15(), SHA256())


def by_hand(header: dict[str, Any], sign: Callable[[bytes], bytes] = _rs256) -> str:
    """A token with a true signature and a header that no library would write."""
    unsigned = raw(header).rpartition(".")[0]
    return f"{unsigned}.{base64.urlsafe_b64encode(sign(unsigned.encode())).decode().rstrip('=')}"


def says(given_token: Any) -> Any:
    return claims_in(given_token, KEYS, PROVIDER, NONCE, lambda: NOW)


@pytest.mark.parametrize(
    "good",
    [
        token(),
        token(EC, "ES256"),
        token(aud=[CLIENT]),
        token(aud=[CLIENT, "other"], azp=CLIENT),
        token(azp=CLIENT),
        token(exp=NOW - 30),
        token(iat=NOW + 30),
        by_hand({"alg": "RS256", "kid": "a"}),
        token(header={"x-unheard-of": "a header that nobody has to read"}),
        token(groups=["g" * 100] * 100),
        jwt.encode({"alg": "RS256"}, HONEST, RSA, ["RS256"]),
    ],
)
def test_a_token_of_this_sign_in_proves_who_it_is(good: str) -> None:
    assert says(good)["sub"] == "kim"


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "of another sign-in"},
        {"nonce": SPOILT},
        {"nonce": [NONCE]},
        {"iss": "https://elsewhere.example"},
        {"iss": ISSUER + "/"},
        {"iss": SPOILT},
        {"iss": [ISSUER]},
        {"aud": "another client"},
        {"aud": []},
        {"aud": SPOILT},
        {"aud": [CLIENT, "other"]},
        {"aud": [CLIENT, "other"], "azp": "other"},
        {"aud": {CLIENT: 1}},
        {"azp": "other"},
        {"exp": NOW - 61},
        {"exp": SPOILT},
        {"exp": str(NOW + 300)},
        {"exp": True},
        {"iat": NOW + 120},
        {"iat": NOW - 3_600},
        {"iat": SPOILT},
        {"nbf": NOW + 120},
        {"sub": SPOILT},
        {"sub": ""},
        {"sub": "x" * 256},
        {"sub": 7},
    ],
    ids="+".join,
)
def test_a_signed_token_of_another_time_client_or_sign_in_proves_nothing(claims: dict[str, Any]) -> None:
    with pytest.raises(RefusedToken):
        says(token(**claims))


@pytest.mark.parametrize(
    "forged",
    [
        raw({"alg": "none"}),
        raw({"alg": "none", "kid": "a"}),
        raw({"alg": "None", "kid": "a"}),
        raw({"alg": "RS256", "kid": "a"}),
        raw({"alg": "RS256", "kid": "a"}, b"\0" * 256),
        raw({"alg": "ES256", "kid": "b"}, b"\0" * 64),
        raw({"alg": ["RS256"], "kid": "a"}),
        raw({"kid": "a"}),
        token(OTHER),
        token(OTHER, header={"jwk": OTHER.as_dict(private=False)}),
        by_hand({"alg": "RS256", "kid": "a", "crit": ["exp"], "exp": 1}),
        token(RSA, "PS256"),
        token(RSA, "RS512"),
        by_hand({"alg": "HS256", "kid": "a"}, lambda unsigned: hmac.digest(PUBLIC, unsigned, "sha256")),
        token()[:-8] + "AAAAAAAA",
        "", "a.b.c", "..", "a", "é.é.é", None, 7, {"a": 1}, "x" * (MAX_TOKEN_BYTES + 1),
        base64.urlsafe_b64encode(b"[" * 6_000).decode() + ".e30.AA",
    ],
    ids=lambda forged: str(forged)[:40],
)  # fmt: skip
def test_nothing_but_a_key_of_the_provider_signs(forged: Any) -> None:
    with pytest.raises(RefusedToken):
        says(forged)


def test_a_key_that_is_not_listed_is_told_from_a_wrong_signature() -> None:
    with pytest.raises(UnknownKey):
        says(token(RSAKey.generate_key(2048, {"kid": "new"})))
    with pytest.raises(RefusedToken) as wrong:
        says(token(OTHER))
    assert not isinstance(wrong.value, UnknownKey)


@given(
    st.text(max_size=200)
    | st.binary(max_size=200).map(lambda part: base64.urlsafe_b64encode(part).decode() + ".e30.AA")
)
def test_whatever_comes_is_refused_and_breaks_nothing(text: str) -> None:
    with pytest.raises(RefusedToken):
        says(text)


@pytest.mark.parametrize(
    ("document", "count"),
    [
        ({"keys": [RSA.as_dict(private=False), {"kty": "oct", "k": "c2VjcmV0"}, {"kty": "none"}, 7, None]}, 1),
        ({"keys": [{**RSA.as_dict(private=False), "use": "enc"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}, 0),
        ({"keys": [{"kty": "RSA", "n": 7}, {"kty": "EC", "crv": "P-256", "x": "", "y": None}, {"kty": []}]}, 0),
        ({"keys": [ECKey.generate_key("P-384").as_dict(private=False)]}, 0),
        ({"keys": [EC.as_dict(private=False)] * 1_000}, 50),
        ({"keys": {}}, 0),
        ([], 0),
        (None, 0),
    ],
)
def test_of_a_key_set_counts_what_can_sign(document: Any, count: int) -> None:
    assert len(keys_of(document)) == count


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["plant"], "viewer"),
        (["plant", "ot-security"], "analyst"),
        (["heads", "plant"], "admin"),
        ("ot-security", "analyst"),
        (["Plant", "plant ", ["plant"], {"plant": 1}, 7, None], None),
        ([], None),
        (None, None),
        ({"plant": True}, None),
    ],
)
def test_groups_give_the_highest_of_their_roles_and_none_gives_none(groups: Any, role: str | None) -> None:
    assert role_in({"groups": groups}, PROVIDER) == role
    nested = PROVIDER.model_copy(update={"role_claim": "realm_access.roles"})
    assert role_in({"realm_access": {"roles": groups}}, nested) == role
    assert role_in({"https://plant.example/groups": groups}, nested) is None
    assert role_in({"realm_access": 7}, nested) is None
