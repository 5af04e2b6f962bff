"""Rules on what the broker says and how long things live: OAuth 2.1, RFC 9700, RFC 8414."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from broker.protocol.capabilities import metadata
from broker.protocol.limits import parse_limits
from broker_cli.doctor.posture import Rule, Verdict, fail, warn
from broker_cli.doctor.snapshot import Snapshot

MOST_SKEW = 5
"""Seconds that clocks may differ before tokens with `iat` and `nbf` are refused by strict verifiers."""


def _issuer(snapshot: Snapshot) -> Iterator[Verdict]:
    parts = urlsplit(snapshot.settings.issuer)
    if parts.scheme != "https" and not snapshot.local:
        yield fail(f"the issuer {snapshot.settings.issuer or '(empty)'} is no https URL")


def _metadata(snapshot: Snapshot) -> Iterator[Verdict]:
    found = snapshot.endpoint
    assert found is not None  # noqa: S101 - the rule names it in `sees`
    if found.status != 200 or found.metadata is None:
        yield fail(f"the metadata was answered with status {found.status}")
        return
    expected = metadata(
        snapshot.settings.issuer,
        registration=snapshot.policy.lets_register(),
        client_documents=snapshot.policy.documents,
    )
    if found.metadata.get("issuer") != snapshot.settings.issuer:
        yield fail(f"the metadata names the issuer {str(found.metadata.get('issuer'))[:120]!r}")
    different = sorted(name for name in expected if found.metadata.get(name) != expected[name])
    if different and found.metadata.get("issuer") == snapshot.settings.issuer:
        yield warn(f"the metadata differs from what this version publishes in {', '.join(different[:5])}")


def _jwks(snapshot: Snapshot) -> Iterator[Verdict]:
    found = snapshot.endpoint
    assert found is not None  # noqa: S101
    assert snapshot.keys is not None  # noqa: S101
    if found.jwks is None:
        yield fail("the JWK Set could not be read")
        return
    published = {str(key.get("kid")) for key in found.jwks.get("keys", []) if isinstance(key, dict)}
    missing = sorted({key["kid"] for key in snapshot.keys.jwks()["keys"]} - published)
    if missing:
        yield fail(f"{len(missing)} signing key(s) of the key document are not published: {', '.join(missing)}")


def _clock(snapshot: Snapshot) -> Iterator[Verdict]:
    skew = snapshot.endpoint.skew if snapshot.endpoint else None
    if skew is None:
        yield warn("the answer has no Date header to compare clocks with")
    elif abs(skew) > MOST_SKEW:
        yield warn(f"this machine's clock differs from the broker's by {abs(skew):.0f} seconds")


def _code(snapshot: Snapshot) -> Iterator[Verdict]:
    if snapshot.settings.code_lifetime > 600:
        yield fail(f"codes live {snapshot.settings.code_lifetime} seconds; 600 is the most that RFC 6749 allows")
    elif snapshot.settings.code_lifetime > 60:
        yield warn(f"codes live {snapshot.settings.code_lifetime} seconds; a client redeems one within a few")


def _retry_window(snapshot: Snapshot) -> Iterator[Verdict]:
    windows = {f"client {client.client_id}": client.retry_window for client in snapshot.clients}
    windows["the deployment"] = snapshot.settings.retry_window
    for name, window in windows.items():
        if window is not None and window > 60:
            yield fail(f"{name} has a retry window of {window} seconds")


def _access_tokens(snapshot: Snapshot) -> Iterator[Verdict]:
    lives = {f"client {client.client_id}": client.access_token_lifetime for client in snapshot.clients}
    lives["the deployment"] = snapshot.settings.access_token_lifetime
    for name, life in lives.items():
        if life is not None and life > 3600:
            yield warn(
                f"{name} has access tokens of {life} seconds, which a backend that verifies by itself cannot take back"
            )


def _dpop_nonce(snapshot: Snapshot) -> Iterator[Verdict]:
    if not snapshot.settings.dpop_nonce_required:
        yield warn("DPoP proofs need no nonce, so one made ahead of time can be used")


def _rate_limits(snapshot: Snapshot) -> Iterator[Verdict]:
    if snapshot.settings.rate_limits == "off":
        yield warn("the rate limits are off")
    try:
        parse_limits(snapshot.settings.rate_limits)
    except ValueError as problem:
        yield fail(f"the default limits hold, as the setting cannot be read: {problem}")


RULES = (
    Rule(
        "TB-OAUTH-001",
        "The issuer is an https URL",
        "RFC 8414 section 2",
        "Deploy with an https Issuer or DomainName.",
        _issuer,
    ),
    Rule(
        "TB-OAUTH-002",
        "The metadata is served at the issuer and names it",
        "RFC 8414 section 3.3",
        "Compare the parameter Issuer with the address that clients use; docs/issuer.md.",
        _metadata,
        ("endpoint",),
    ),
    Rule(
        "TB-OAUTH-003",
        "Every signing key that is accepted is published",
        "RFC 7517, OpenID Connect Core section 10.1.1",
        "Wait five minutes (instances read the keys again), then look at `broker keys list`.",
        _jwks,
        ("endpoint", "keys"),
    ),
    Rule(
        "TB-OAUTH-004",
        "Clocks agree",
        "RFC 7519 section 4.1.4",
        "Set this machine's clock by NTP.",
        _clock,
        ("endpoint",),
    ),
    Rule(
        "TB-9700-001",
        "Authorization codes are short-lived",
        "RFC 6749 section 4.1.2, RFC 9700",
        "Deploy with CodeLifetime=60.",
        _code,
    ),
    Rule(
        "TB-9700-002",
        "Refresh tokens rotate, and a retry window is short",
        "RFC 9700 section 4.14.2",
        "Deploy with RetryWindow of 60 or less, or `broker client update ID --retry-window default`.",
        _retry_window,
    ),
    Rule(
        "TB-9700-003",
        "Access tokens are short-lived",
        "RFC 9700 section 4.10",
        "Lower AccessTokenLifetime, or `broker client update ID --access-token-lifetime default`; docs/verify-tokens.md.",
        _access_tokens,
    ),
    Rule(
        "TB-9449-001", "DPoP proofs need a nonce", "RFC 9449 section 8", "Deploy with DpopNonce=required.", _dpop_nonce
    ),
    Rule(
        "TB-OPS-001",
        "Rate limits are on",
        "docs/rate-limits.md",
        """Deploy with 'RateLimits=""', or with entries that can be read; docs/deploying.md#parameters.""",
        _rate_limits,
    ),
)
