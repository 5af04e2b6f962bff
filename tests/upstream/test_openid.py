"""Discovery and ID tokens: what is believed of an OpenID provider, over real sockets where a document travels."""

import json
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from broker.upstream.client_keys import OF_PROVIDERS, ClientKeys
from broker.upstream.client_keys import STALE_SECONDS as KEYS_STALE_SECONDS
from broker.upstream.discovery import AGAIN_SECONDS, CACHE_SECONDS, PATH, STALE_SECONDS, Discovery, DiscoveryFailed
from broker.upstream.failures import UpstreamFailure, answer_in_callback
from broker.upstream.http import BoundedHttp, TransportError, TransportKind, UpstreamResponse
from broker.upstream.id_token import Expected, check, half_hash, kept_profile
from broker.upstream.provider import Discovered, Provider
from broker.upstream.schema import parse_provider
from broker.upstream.tokens import UpstreamTokens

from .scripted import NOW, ScriptedHttp, answer, deadline, http_of, says, serving, whole

ISSUER = "https://id.example"
DOCUMENT: Mapping[str, object] = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": f"{ISSUER}/jwks",
    "userinfo_endpoint": f"{ISSUER}/me",
    "revocation_endpoint": f"{ISSUER}/revoke",
    "id_token_signing_alg_values_supported": ["none", "HS256", "RS256", "ES256"],
}
JWKS_URI = f"{ISSUER}/jwks"


class _Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> int:
        return self.now


def test_discovery_fills_what_the_file_leaves_out() -> None:
    http = http_of(answer(200, DOCUMENT))
    metadata = Discovery(http, _Clock(), local=False).metadata(ISSUER)
    assert http.only.url == ISSUER + PATH
    assert metadata.discovered == Discovered(JWKS_URI, ("ES256", "RS256"), names_issuer=False)
    file = {"issuer": ISSUER, "token": {"url": "https://own.example/token"}, "revoke": {"url": ""}}
    provider = parse_provider("x", metadata.complete(file), source="x.toml", discovered=metadata.discovered)
    assert (provider.authorize.url, provider.token.url) == (f"{ISSUER}/authorize", "https://own.example/token")
    assert provider.refresh.url == "https://own.example/token"
    assert provider.userinfo is not None
    assert provider.userinfo.url == f"{ISSUER}/me"
    assert provider.revoke is None
    assert provider.token.auth == "basic", "what a document that names no method means"


def test_discovery_takes_the_secret_to_where_the_provider_wants_it() -> None:
    document = {**DOCUMENT, "token_endpoint_auth_methods_supported": ["client_secret_post"]}
    metadata = Discovery(http_of(answer(200, document)), _Clock(), local=False).metadata(ISSUER)
    assert "auth" not in metadata.complete({})["token"]  # type: ignore[operator]
    assert metadata.complete({"token": {"auth": "none"}})["token"]["auth"] == "none"  # type: ignore[index]


def test_a_slash_at_the_end_of_the_issuer_is_not_doubled() -> None:
    http = http_of(answer(200, {**DOCUMENT, "issuer": f"{ISSUER}/"}))
    Discovery(http, _Clock(), local=False).metadata(f"{ISSUER}/")
    assert http.only.url == ISSUER + PATH


def test_discovery_is_remembered_and_outlives_an_outage() -> None:
    outage = TransportError(TransportKind.UNREACHABLE, sent=False)
    http, clock = http_of(answer(200, DOCUMENT), outage, outage), _Clock()
    discovery = Discovery(http, clock, local=False)
    first = discovery.metadata(ISSUER)
    clock.now += CACHE_SECONDS - 1
    assert discovery.metadata(ISSUER) is first
    assert len(http.requests) == 1
    clock.now += 1
    assert discovery.metadata(ISSUER) is first
    assert len(http.requests) == 2
    clock.now = NOW + STALE_SECONDS
    with pytest.raises(DiscoveryFailed, match="unreachable"):
        discovery.metadata(ISSUER)


def test_a_failure_is_remembered_for_seconds() -> None:
    http, clock = http_of(answer(500), answer(200, DOCUMENT)), _Clock()
    discovery = Discovery(http, clock, local=False)
    for _ in range(2):
        with pytest.raises(DiscoveryFailed, match="HTTP 500"):
            discovery.metadata(ISSUER)
    assert len(http.requests) == 1
    clock.now += AGAIN_SECONDS
    assert discovery.metadata(ISSUER).token == f"{ISSUER}/token"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"issuer": f"{ISSUER}/"}, "another issuer's"),
        ({"issuer": None}, "another issuer's"),
        ({"jwks_uri": None}, "missing"),
        ({"token_endpoint": "http://id.example/token"}, "https"),
        ({"token_endpoint": "http://127.0.0.1/token"}, "https"),
        ({"userinfo_endpoint": "https://{client_secret}.example/"}, "braces"),
        ({"revocation_endpoint": 7}, "no text"),
    ],
)
def test_a_document_that_is_not_believed(change: Mapping[str, object], reason: str) -> None:
    discovery = Discovery(http_of(answer(200, {**DOCUMENT, **change})), _Clock(), local=False)
    with pytest.raises(DiscoveryFailed, match=reason):
        discovery.metadata(ISSUER)


def test_discovery_over_a_socket_follows_no_redirect() -> None:
    moved = says(whole("302 Found", b"", "Location: http://127.0.0.1:1/"))
    with serving(moved) as server:
        discovery = Discovery(BoundedHttp(allow_loopback=True), _Clock(), local=True)
        with pytest.raises(DiscoveryFailed, match="HTTP 302"):
            discovery.metadata(server.url(""))
        assert server.requests[0].startswith(f"GET {PATH} ".encode())


# -- the ID token, signed by a library that is not the broker's ----------------------------------------------------

KEYS: Mapping[str, Any] = {
    "ES256": ec.generate_private_key(ec.SECP256R1()),
    "RS256": (_RSA := rsa.generate_private_key(65537, 2048)),
    "PS256": _RSA,
    "EdDSA": ed25519.Ed25519PrivateKey.generate(),
}
_MAKERS: Mapping[str, Any] = {
    "ES256": jwt.algorithms.ECAlgorithm,
    "RS256": jwt.algorithms.RSAAlgorithm,
    "PS256": jwt.algorithms.RSAAlgorithm,
    "EdDSA": jwt.algorithms.OKPAlgorithm,
}


def jwks_of(algorithm: str, kid: str = "one") -> str:
    return json.dumps({"keys": [{**_MAKERS[algorithm].to_jwk(KEYS[algorithm].public_key(), as_dict=True), "kid": kid}]})


def provider_of(*algorithms: str, **more: object) -> Provider:
    authorize = {"url": f"{ISSUER}/a", "scope": ["openid"]} if more else {"url": f"{ISSUER}/a"}
    document = {"issuer": ISSUER, "authorize": authorize, "token": {"url": f"{ISSUER}/t"}, **more}
    return parse_provider("x", document, source="x", discovered=Discovered(JWKS_URI, algorithms, names_issuer=False))


def tokens_with(algorithm: str, kid: str = "one", **claims: object) -> UpstreamTokens:
    right = {"iss": ISSUER, "sub": "me", "aud": "us", "exp": NOW + 60, "iat": NOW, "nonce": "n"}
    text = jwt.encode({**right, **claims}, KEYS[algorithm], algorithm, headers={"kid": kid})
    return UpstreamTokens("the-access-token", id_token=text)


def expected(max_age: int | None = None) -> Expected:
    return Expected("us", "n", max_age, NOW)


def keys_from(http: ScriptedHttp, clock: _Clock | None = None) -> ClientKeys:
    return ClientKeys(http, clock or _Clock(), OF_PROVIDERS)


@pytest.mark.parametrize("algorithm", KEYS)
def test_every_algorithm(algorithm: str) -> None:
    tokens = tokens_with(algorithm, at_hash=half_hash(algorithm, "the-access-token"), email="me@x.example")
    identity = check(
        provider_of(algorithm), tokens, keys_from(http_of(answer(200, jwks_of(algorithm)))), expected(), deadline()
    )
    assert (identity.subject, dict(identity.claims)) == ("me", {"sub": "me", "email": "me@x.example"})
    assert identity.auth_time is None


@pytest.mark.parametrize(
    "skewed", [{"exp": NOW - 299}, {"iat": NOW + 300}, {"iat": NOW - 600}, {"nbf": NOW + 300}, {"nbf": 0}]
)
def test_clocks_may_differ_by_five_minutes(skewed: Mapping[str, Any]) -> None:
    """And a provider may date its tokens five minutes back, as Microsoft does, whatever its clock says."""
    keys = keys_from(http_of(answer(200, jwks_of("ES256"))))
    assert check(provider_of("ES256"), tokens_with("ES256", **skewed), keys, expected(), deadline()).subject == "me"


@pytest.mark.parametrize(
    "skewed", [{"exp": NOW - 300}, {"iat": NOW + 301}, {"iat": NOW - 601}, {"nbf": NOW + 301}, {"nbf": "now"}]
)
def test_clocks_may_not_differ_by_more(skewed: Mapping[str, Any]) -> None:
    keys = keys_from(http_of(answer(200, jwks_of("ES256"))))
    with pytest.raises(UpstreamFailure) as failure:
        check(provider_of("ES256"), tokens_with("ES256", **skewed), keys, expected(), deadline())
    assert answer_in_callback(failure.value) == "server_error"


def test_an_algorithm_that_the_provider_does_not_announce() -> None:
    http = http_of()
    with pytest.raises(UpstreamFailure, match="not one that the provider announces"):
        check(provider_of("RS256"), tokens_with("ES256"), keys_from(http), expected(), deadline())
    assert http.requests == []


@pytest.mark.parametrize("name", [float("inf"), float("nan"), {"of": [float("-inf")]}, "a\ud800", "a" * 4097])
def test_a_claim_that_the_broker_could_not_pass_on_is_left_out(name: object) -> None:
    keys = keys_from(http_of(answer(200, jwks_of("ES256"))))
    spoiled = tokens_with("ES256", name=name, email="jo@example.com")
    found = check(provider_of("ES256"), spoiled, keys, expected(), deadline())
    assert (found.claims["email"], "name" in found.claims) == ("jo@example.com", False)


@pytest.mark.parametrize("spoiled", [{"nonce": "\ud800"}, {"sub": "\ud800"}])
def test_half_a_character_is_refused_and_no_accident(spoiled: Mapping[str, Any]) -> None:
    keys = keys_from(http_of(answer(200, jwks_of("ES256"))))
    with pytest.raises(UpstreamFailure):
        check(provider_of("ES256"), tokens_with("ES256", **spoiled), keys, expected(), deadline())


def test_no_detail_quotes_the_token() -> None:
    tokens = tokens_with("ES256", nonce="another")
    with pytest.raises(UpstreamFailure) as failure:
        check(provider_of("ES256"), tokens, keys_from(http_of(answer(200, jwks_of("ES256")))), expected(), deadline())
    assert not [part for part in (tokens.id_token or "").split(".") if part in str(failure.value)]
    assert "another" not in str(failure.value)


def test_an_unknown_key_is_looked_for_every_few_seconds() -> None:
    clock = _Clock()
    http = http_of(answer(200, jwks_of("ES256")), answer(200, jwks_of("ES256", kid="two")))
    keys, provider = keys_from(http, clock), provider_of("ES256")
    check(provider, tokens_with("ES256"), keys, expected(), deadline())
    with pytest.raises(UpstreamFailure, match="no key of the provider"):
        check(provider, tokens_with("ES256", kid="two"), keys, expected(), deadline())
    assert len(http.requests) == 1
    clock.now += OF_PROVIDERS.again_seconds
    assert check(provider, tokens_with("ES256", kid="two"), keys, expected(), deadline()).subject == "me"
    assert len(http.requests) == 2


NO_KEY_SETS = {
    "gone": answer(404, b"<html>"),
    "moved": answer(302, b"", {"location": f"{ISSUER}/elsewhere"}),
    "forbidden": answer(403, {"error": "blocked"}),
    "in trouble": answer(503),
    "a page": answer(200, b"<html>We will be back soon"),
    "not UTF-8": answer(200, b"\xff\xfe"),
    "empty": answer(200, {"keys": []}),
    "too many": answer(200, {"keys": [{"kty": "oct-public"}] * 101}),
    "unreachable": TransportError(TransportKind.UNREACHABLE, sent=False),
}


@pytest.mark.parametrize("outage", NO_KEY_SETS.values(), ids=NO_KEY_SETS)
def test_what_is_no_key_set_takes_no_key_away(outage: UpstreamResponse | TransportError) -> None:
    clock = _Clock()
    http = http_of(answer(200, jwks_of("ES256")), *[outage] * 4, answer(200, jwks_of("ES256")))
    keys, provider = keys_from(http, clock), provider_of("ES256")

    def log_in() -> str:
        token = tokens_with("ES256", iat=clock.now, exp=clock.now + 60)
        return check(provider, token, keys, Expected("us", "n", None, clock.now), deadline()).subject

    assert log_in() == "me"
    clock.now += OF_PROVIDERS.cache_seconds
    for asked in (2, 3):
        assert (log_in(), log_in(), len(http.requests)) == ("me", "me", asked)
        clock.now += OF_PROVIDERS.again_seconds
    clock.now = NOW + KEYS_STALE_SECONDS
    for _ in range(2):
        with pytest.raises(UpstreamFailure) as failure:
            log_in()
        assert answer_in_callback(failure.value) == "temporarily_unavailable"
    clock.now += 2 * OF_PROVIDERS.again_seconds
    with pytest.raises(UpstreamFailure):
        log_in()
    clock.now += OF_PROVIDERS.again_seconds
    assert log_in() == "me"


def test_a_provider_may_have_more_keys_than_a_client() -> None:
    jwk = json.loads(jwks_of("ES256"))["keys"][0]
    many = [{**jwk, "kid": str(number)} for number in range(OF_PROVIDERS.max_keys)]
    keys = keys_from(http_of(answer(200, {"keys": many})))
    assert check(provider_of("ES256"), tokens_with("ES256", kid="99"), keys, expected(), deadline()).subject == "me"


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c"])
def test_a_key_that_the_token_brings_itself(member: str) -> None:
    """RFC 8725 section 3.10: whoever makes a token must not choose the key that it is checked with."""
    own = ec.generate_private_key(ec.SECP256R1())
    brought = {"jwk": _MAKERS["ES256"].to_jwk(own.public_key(), as_dict=True), "x5c": ["AAAA"]}
    header = {"kid": "one", member: brought.get(member, "https://attacker.example/keys")}
    claims = {"iss": ISSUER, "sub": "me", "aud": "us", "exp": NOW + 60, "iat": NOW, "nonce": "n"}
    tokens = UpstreamTokens("a", id_token=jwt.encode(claims, own, "ES256", headers=header))
    http = http_of(answer(200, jwks_of("ES256")))
    with pytest.raises(UpstreamFailure, match="no key of the provider"):
        check(provider_of("ES256"), tokens, keys_from(http), expected(), deadline())
    assert [request.url for request in http.requests] == [JWKS_URI]


def test_the_public_key_is_no_hmac_secret() -> None:
    """RFC 8725 section 2.1: the algorithm fits the key, never the other way round."""
    import base64
    import hashlib
    import hmac

    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    public = KEYS["RS256"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    claims = {"iss": ISSUER, "sub": "me", "aud": "us", "exp": NOW + 60, "iat": NOW, "nonce": "n"}
    parts = ({"alg": "HS256", "kid": "one"}, claims)
    signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    mac = base64.urlsafe_b64encode(hmac.new(public, signed, hashlib.sha256).digest()).rstrip(b"=")
    tokens = UpstreamTokens("a", id_token=f"{signed.decode()}.{mac.decode()}")
    http = http_of()
    with pytest.raises(UpstreamFailure, match="its algorithm is not one of"):
        check(provider_of("RS256", "HS256"), tokens, keys_from(http), expected(), deadline())
    assert http.requests == []


@pytest.mark.parametrize("change", [{"use": "enc"}, {"alg": "ES384"}, {"key_ops": ["sign"]}, {"kid": "two"}])
def test_a_key_that_is_for_something_else(change: Mapping[str, object]) -> None:
    jwk = json.loads(jwks_of("ES256"))["keys"][0]
    keys = keys_from(http_of(answer(200, {"keys": [{**jwk, **change}]})))
    with pytest.raises(UpstreamFailure, match=r"no key of the provider|no .* key for signatures"):
        check(provider_of("ES256"), tokens_with("ES256"), keys, expected(), deadline())


def test_a_key_of_another_kind_under_the_same_name() -> None:
    keys = keys_from(http_of(answer(200, jwks_of("RS256"))))
    with pytest.raises(UpstreamFailure, match="no key of the provider"):
        check(provider_of("ES256", "RS256"), tokens_with("ES256"), keys, expected(), deadline())


def test_two_providers_do_not_share_keys() -> None:
    """The same key name at another provider's address is another key."""
    theirs = ec.generate_private_key(ec.SECP256R1())
    other = {"keys": [{**_MAKERS["ES256"].to_jwk(theirs.public_key(), as_dict=True), "kid": "one"}]}
    http = http_of(answer(200, other), answer(200, jwks_of("ES256")))
    keys, evil = keys_from(http), "https://evil.example"
    document = {"issuer": evil, "authorize": {"url": f"{evil}/a"}, "token": {"url": f"{evil}/t"}}
    discovered = Discovered(f"{evil}/jwks", ("ES256",), names_issuer=False)
    provider = parse_provider("evil", document, source="evil", discovered=discovered)
    right = {"iss": evil, "sub": "me", "aud": "us", "exp": NOW + 60, "iat": NOW, "nonce": "n"}
    own = UpstreamTokens("a", id_token=jwt.encode(right, theirs, "ES256", headers={"kid": "one"}))
    assert check(provider, own, keys, expected(), deadline()).subject == "me"
    forged = UpstreamTokens("a", id_token=jwt.encode({**right, "iss": ISSUER}, theirs, "ES256", headers={"kid": "one"}))
    with pytest.raises(UpstreamFailure, match="no key of the provider"):
        check(provider_of("ES256"), forged, keys, expected(), deadline())


def test_an_enormous_token_is_not_read() -> None:
    http = http_of()
    with pytest.raises(UpstreamFailure, match="longer than"):
        check(provider_of("ES256"), tokens_with("ES256", groups="x" * 70_000), keys_from(http), expected(), deadline())
    assert http.requests == []


def test_the_kept_id_token_answers_for_a_provider_without_userinfo() -> None:
    document = {
        "issuer": ISSUER,
        "authorize": {"url": f"{ISSUER}/a", "scope": ["openid"]},
        "token": {"url": f"{ISSUER}/t"},
    }
    discovered = Discovered(JWKS_URI, ("ES256",), names_issuer=False)
    provider = parse_provider("x", document, source="x", discovered=discovered)
    profile = kept_profile(provider, (), tokens_with("ES256", email="me@x.example", groups=["a"]))
    assert profile is not None
    assert (profile.subject, dict(profile.claims)) == ("me", {"sub": "me", "email": "me@x.example"})
    assert kept_profile(provider, (), UpstreamTokens("a")) is None
    assert kept_profile(provider_of("ES256"), (), tokens_with("ES256")) is None, "no login has checked that one"


def test_an_issuer_that_has_another_name_too() -> None:
    provider = provider_of("ES256", id_token={"issuers": "id.example"})
    keys = keys_from(http_of(answer(200, jwks_of("ES256"))))
    for iss in (ISSUER, "id.example"):
        assert check(provider, tokens_with("ES256", iss=iss), keys, expected(), deadline()).subject == "me"
    for iss in ("http://id.example", "ID.example", ""):
        with pytest.raises(UpstreamFailure, match="iss is another issuer's"):
            check(provider, tokens_with("ES256", iss=iss), keys, expected(), deadline())


def test_a_claim_that_the_operator_requires() -> None:
    provider = provider_of("ES256", id_token={"require": {"hd": "acme.example", "gone": ""}})
    keys = keys_from(http_of(answer(200, jwks_of("ES256"))))
    assert check(provider, tokens_with("ES256", hd="acme.example"), keys, expected(), deadline()).subject == "me"
    for claims in ({}, {"hd": "ACME.example"}, {"hd": ["acme.example"]}, {"hd": "acme.example."}, {"hd": None}):
        with pytest.raises(UpstreamFailure, match="the claim hd is not what the file requires") as failure:
            check(provider, tokens_with("ES256", **claims), keys, expected(), deadline())
        assert answer_in_callback(failure.value) == "access_denied"
    with pytest.raises(UpstreamFailure, match="nonce"):
        check(provider, tokens_with("ES256", nonce="another"), keys, expected(), deadline())


def test_max_age_wants_an_auth_time_that_fits() -> None:
    keys, provider = keys_from(http_of(answer(200, jwks_of("ES256")))), provider_of("ES256")
    assert (
        check(provider, tokens_with("ES256", auth_time=NOW - 60), keys, expected(60), deadline()).auth_time == NOW - 60
    )
    for claims in ({}, {"auth_time": NOW - 361}, {"auth_time": "now"}):
        with pytest.raises(UpstreamFailure, match="auth_time"):
            check(provider, tokens_with("ES256", **claims), keys, expected(60), deadline())
