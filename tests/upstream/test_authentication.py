"""How the broker shows a provider who it is without a secret of the provider's: against a provider that checks everything."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt
import pytest

from broker import clock
from broker.upstream.authorization import Credentials, read_callback
from broker.upstream.dialect import exchange_code, refresh_tokens, revoke_tokens
from broker.upstream.failures import FailureKind, UpstreamFailure
from broker.upstream.hooks import HOOKS, SELF_STATED, Hook, stated_claims
from broker.upstream.http import Deadline, TransportError, TransportKind, UpstreamRequest, UpstreamResponse
from broker.upstream.provider import Provider
from broker.upstream.reader import ProviderFileError
from broker.upstream.schema import parse_provider
from broker.upstream.signing import ALGORITHMS, Algorithm, BadClientKey, ClientKey, new_key
from broker.upstream.tokens import UpstreamTokens
from broker_testing.signing import ASSERTION_TYPE
from broker_testing.signing import new_key as other_key

from .scripted import TOKENS, answer, deadline, form_of, from_catalogue, plain

TOKEN_URL = "https://provider.example/token"
GRANTED = {"access_token": "a-1", "refresh_token": "r-1"}


@dataclass
class StrictProvider:
    """Knows the broker by a public JWK alone, and takes an assertion once (RFC 7523 section 3). `fails`: what becomes of
    the first requests after they were judged.
    """

    jwk: Mapping[str, Any]
    audience: str = TOKEN_URL
    client_id: str = "the-client"
    fails: list[TransportError | UpstreamResponse] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    requests: list[UpstreamRequest] = field(default_factory=list)

    def send(self, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:  # noqa: ARG002
        self.requests.append(request)
        problem = self._problem(request)
        if problem:
            return answer(401, {"error": "invalid_client", "error_description": problem})
        if self.fails:
            failure = self.fails.pop(0)
            if isinstance(failure, TransportError):
                raise failure
            return failure
        return answer(200, GRANTED)

    def _problem(self, request: UpstreamRequest) -> str:
        form = form_of(request)
        if "client_secret" in form or "Authorization" in dict(request.headers):
            return "more than one way"
        if form.get("client_assertion_type") != ASSERTION_TYPE or form.get("client_id") != self.client_id:
            return "type or client"
        text = form["client_assertion"]
        if jwt.get_unverified_header(text).get("kid") != self.jwk.get("kid"):
            return "kid"
        key = jwt.PyJWK.from_dict(dict(self.jwk)).key
        required = ["iss", "sub", "aud", "exp", "iat", "jti"]
        try:
            claims = jwt.decode(
                text,
                key,
                algorithms=[self.jwk["alg"]],
                audience=self.audience,
                issuer=self.client_id,
                options={"require": required},
            )
        except jwt.PyJWTError as error:
            return type(error).__name__
        if claims["sub"] != self.client_id or claims["exp"] - claims["iat"] > 300 or claims["jti"] in self.seen:
            return "sub, life or replay"
        self.seen.add(claims["jti"])
        return ""


def known_by(algorithm: Algorithm = "ES256") -> tuple[Credentials, dict[str, str]]:
    key = new_key(algorithm)
    return Credentials("the-client", key=key), key.public_jwk


def exchange(provider: Provider, credentials: Credentials, http: StrictProvider) -> UpstreamTokens:
    return exchange_code(
        provider,
        credentials,
        http,
        code="c-1",
        redirect_uri="https://broker.example/callback/x",
        code_verifier="v-1",
        state="s-1",
        asked_scope=(),
        kept={},
        now=clock.now(),
        deadline=deadline(),
        sleep=lambda _: None,
    )


def by_key(**overrides: object) -> Provider:
    return plain(token__auth="private_key_jwt", **overrides)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_call_has_an_assertion_of_its_own(algorithm: Algorithm) -> None:
    credentials, jwk = known_by(algorithm)
    http = StrictProvider(jwk)
    assert exchange(by_key(), credentials, http).access_token == "a-1"
    assert (
        refresh_tokens(by_key(), credentials, http, TOKENS, now=clock.now(), deadline=deadline()).refresh_token == "r-1"
    )
    assert revoke_tokens(by_key(), credentials, http, TOKENS, deadline=deadline())
    assert len(http.seen) == 3
    assert [request.url.rpartition("/")[2] for request in http.requests] == ["token", "token", "revoke"]


@pytest.mark.parametrize(
    "failure",
    [TransportError(TransportKind.TRUNCATED, sent=True), answer(503), answer(429, headers={"retry-after": "1"})],
    ids=["truncated", "503", "429"],
)
def test_a_second_attempt_has_a_new_assertion(failure: TransportError | UpstreamResponse) -> None:
    credentials, jwk = known_by()
    http = StrictProvider(jwk, fails=[failure])
    new = refresh_tokens(
        by_key(), credentials, http, TOKENS, now=clock.now(), deadline=deadline(), sleep=lambda _: None
    )
    assert (new.access_token, len(http.seen)) == ("a-1", 2)


@pytest.mark.parametrize(
    ("option", "audience"),
    [
        ("token_endpoint", TOKEN_URL),
        ("issuer", "https://id.example"),
        ("https://id.example/realms/one", "https://id.example/realms/one"),
    ],
)
def test_whom_the_assertion_is_for(option: str, audience: str) -> None:
    credentials, jwk = known_by()
    provider = by_key(issuer="https://id.example", token__assertion_audience=option)
    assert exchange(provider, credentials, StrictProvider(jwk, audience=audience)).access_token == "a-1"
    http = StrictProvider(jwk, audience=audience)
    assert revoke_tokens(provider, credentials, http, TOKENS, deadline=deadline()), "the same at every endpoint"


def test_another_key_is_refused() -> None:
    _, jwk = known_by()
    with pytest.raises(UpstreamFailure) as caught:
        exchange(by_key(), known_by()[0], StrictProvider(jwk))
    assert (caught.value.kind, caught.value.alarm) == (FailureKind.CLIENT_REFUSED, True)


@pytest.mark.parametrize("pem", ["", "not a key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_without_a_usable_key_nothing_is_sent(pem: str) -> None:
    credentials = Credentials("the-client", key=ClientKey("kid", pem) if pem else None)
    http = StrictProvider({})
    with pytest.raises(UpstreamFailure) as caught:
        exchange(by_key(), credentials, http)
    failure = caught.value
    assert (failure.kind, failure.row, failure.sent, http.requests) == (FailureKind.CLIENT_REFUSED, 10, False, [])
    assert "AAAA" not in str(failure)


def test_keys_of_other_kinds() -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, rsa

    weak: list[Any] = [
        other_key("EdDSA"),
        ec.generate_private_key(ec.SECP384R1()),
        rsa.generate_private_key(65537, 1024),  # noqa: S505 - which is the point
    ]
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    for key in weak:
        pem = key.private_bytes(*form, serialization.NoEncryption()).decode()
        with pytest.raises(BadClientKey, match="must be EC P-256 or RSA"):
            _ = ClientKey("", pem).private_key
    locked = other_key().private_bytes(*form, serialization.BestAvailableEncryption(b"x")).decode()
    with pytest.raises(BadClientKey, match="has a password"):
        _ = ClientKey("", locked).private_key


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_what_is_shown_of_a_key(algorithm: Algorithm) -> None:
    key = new_key(algorithm)
    jwk = key.public_jwk
    members = {"kty", "crv", "x", "y"} if algorithm == "ES256" else {"kty", "n", "e"}
    assert set(jwk) == members | {"kid", "alg", "use"}
    assert jwk["kid"] == key.kid != ""
    thumbprint = jwt.PyJWK.from_dict(jwk)
    assert thumbprint.key_type == jwk["kty"]
    shown = repr(key) + repr(Credentials("c", "planted-secret", key))
    assert "PRIVATE" not in shown
    assert "planted" not in shown


def test_the_audience_must_be_one() -> None:
    with pytest.raises(ProviderFileError, match="needs an issuer"):
        by_key(token__assertion_audience="issuer")
    with pytest.raises(ProviderFileError, match='must be "token_endpoint", "issuer" or a URL'):
        by_key(token__assertion_audience="the provider")


def test_what_has_to_be_in_the_secret() -> None:
    assert (by_key().needs_key, by_key().needs_secret) == (True, False)
    mixed = by_key(revoke__auth="basic")
    assert (mixed.needs_key, mixed.needs_secret) == (True, True)
    assert (plain().needs_key, plain().needs_secret) == (False, True)
    none = plain(token__auth="none")
    assert (none.needs_key, none.needs_secret) == (False, False)
    apple = from_catalogue("apple")
    assert (apple.needs_key, apple.needs_secret, apple.answers_by_form) == (True, False, True)


# -- hooks ---------------------------------------------------------------------------------------------------------


def apple_with(team_id: str | None = "TEAM123456", **document: object) -> Provider:
    base = {
        "hook": "apple",
        "vars": {"team_id": {"pattern": "[A-Z0-9]{10}"}},
        "authorize": {"url": "https://appleid.apple.com/auth/authorize", "params": {"response_mode": "form_post"}},
        "token": {"url": TOKEN_URL},
        "revoke": {"url": "https://provider.example/revoke"},
    }
    variables = {"team_id": team_id} if team_id else {}
    return parse_provider("apple", {**base, **document}, source="apple.toml", variables=variables)


def test_the_secret_is_made_for_each_call() -> None:
    """What Apple's "Creating a client secret" demands, judged by a library that is not the broker's."""
    key = new_key("ES256")
    credentials = Credentials("com.example.web", "not-used", ClientKey("KEY1234567", key.private_pem))
    sent: list[UpstreamRequest] = []

    class Recorder:
        def send(self, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:  # noqa: ARG002
            sent.append(request)
            return answer(200, GRANTED)

    exchange_code(
        apple_with(), credentials, Recorder(), code="c", redirect_uri="https://b.example/cb", code_verifier=None, state="s",
        asked_scope=(), kept={}, now=clock.now(), deadline=deadline(),
    )  # fmt: skip
    revoke_tokens(apple_with(), credentials, Recorder(), TOKENS, deadline=deadline())
    for request in sent:
        form = form_of(request)
        assert form["client_id"] == "com.example.web"
        secret = form["client_secret"]
        assert jwt.get_unverified_header(secret) == {"alg": "ES256", "kid": "KEY1234567", "typ": "JWT"}
        public = jwt.PyJWK.from_dict(dict(key.public_jwk)).key
        claims = jwt.decode(secret, public, algorithms=["ES256"], audience="https://appleid.apple.com")
        assert (claims["iss"], claims["sub"]) == ("TEAM123456", "com.example.web")
        assert 0 < claims["exp"] - claims["iat"] <= 15_777_000
        assert "client_assertion" not in form
        assert "not-used" not in (request.body or b"").decode()


def test_apple_takes_no_rsa_key() -> None:
    credentials = Credentials("com.example.web", key=new_key("RS256"))
    with pytest.raises(UpstreamFailure, match="EC P-256") as caught:
        exchange(apple_with(), credentials, StrictProvider({}))
    assert caught.value.sent is False


def test_a_hook_wants_its_variables() -> None:
    with pytest.raises(ProviderFileError, match=r'hook: "apple" needs vars\.team_id\.pattern'):
        apple_with(vars={}, team_id=None)
    with pytest.raises(ProviderFileError, match=r"vars\.team_id: needs a value: the hook uses it"):
        apple_with(team_id=None)
    with pytest.raises(ProviderFileError, match="does not match the pattern"):
        apple_with(team_id="x")


@pytest.mark.parametrize(
    ("user", "claims"),
    [
        (
            {"name": {"firstName": "Jane", "lastName": "Doe"}, "email": "jane@example.com"},
            {"name": "Jane Doe", "given_name": "Jane", "family_name": "Doe"},
        ),
        ({"name": {"firstName": "Jane"}}, {"name": "Jane", "given_name": "Jane"}),
        ({"name": {"firstName": "", "lastName": "Doe"}}, {"name": "Doe", "family_name": "Doe"}),
        ({"name": {"firstName": 5, "lastName": ["Doe"]}}, {}),
        ({"name": {"firstName": "x" * 201, "lastName": "a\nb"}}, {}),
        ({"name": "Jane"}, {}),
        ({"email": "jane@example.com"}, {}),
        ([], {}),
        (None, {}),
    ],
)
def test_the_name_that_comes_once(user: object, claims: Mapping[str, str]) -> None:
    pairs = [("state", "s"), ("code", "c"), ("user", json.dumps(user))]
    found = read_callback(apple_with(), pairs)
    assert (dict(found.claims), found.code, found.state) == (claims, "c", "s")
    assert "Jane" not in repr(found)


@pytest.mark.parametrize("text", ["", "{", "[" * 4000, '"' + "x" * 5000 + '"', '{"name":'])
def test_a_name_that_is_none(text: str) -> None:
    assert read_callback(apple_with(), [("state", "s"), ("code", "c"), ("user", text)]).claims == {}


def test_other_providers_read_no_name_from_the_redirect() -> None:
    user = json.dumps({"name": {"firstName": "Jane", "lastName": "Doe"}})
    assert read_callback(plain(), [("state", "s"), ("code", "c"), ("user", user)]).claims == {}


def test_a_hook_cannot_say_who_somebody_is() -> None:
    eager = Hook(
        parameter="user",
        read_claims=lambda _: {"sub": "1", "email": "a@b.example", "email_verified": True, "name": "N"},
    )
    assert stated_claims(eager, "{}") == {"name": "N"}
    assert not {"sub", "email"} & set(SELF_STATED)


def test_cancelled_at_apple_is_denied() -> None:
    found = read_callback(from_catalogue("apple"), [("state", "s"), ("error", "user_cancelled_authorize")])
    assert found.error == "access_denied"


def test_every_hook_is_used_by_a_file_of_the_catalogue() -> None:
    from broker.upstream import catalogue

    used = {catalogue.document(name).get("hook") for name in catalogue.names()} - {None}
    assert used == set(HOOKS)
