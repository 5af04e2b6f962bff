"""Rules on clients, providers, registration and keys."""

from collections.abc import Iterator
from urllib.parse import urlsplit

from broker.crypto import rotation
from broker.key_lives import lives
from broker.protocol.clients import Client
from broker_cli.client_rules import PROVIDER_LISTS
from broker_cli.doctor.posture import Rule, Verdict, fail, warn
from broker_cli.doctor.snapshot import Snapshot

DAY = 86400
OLD_SECRET = 365 * DAY
BOTH_SECRETS = 30 * DAY
OLDEST_KEY = 100 * DAY
LATE_DAYS = 10
"""Days that a scheduled rotation may be late: a lead of one day, and the repetitions of one that failed."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def _named(client: Client) -> str:
    return f"client {client.client_id} ({client.name[:40]})"


def _pkce(snapshot: Snapshot) -> Iterator[Verdict]:
    for client in snapshot.clients:
        if not client.require_pkce:
            yield (fail if client.is_public else warn)(f"{_named(client)} may leave PKCE out")


def _redirects(snapshot: Snapshot) -> Iterator[Verdict]:
    for client in snapshot.clients:
        for uri in client.redirect_uris:
            parts = urlsplit(uri)
            if "*" in uri or "#" in uri:
                yield fail(f"{_named(client)} has a redirect URI with a wildcard or a fragment")
            elif parts.scheme == "http" and parts.hostname not in _LOOPBACK:
                yield fail(f"{_named(client)} has a redirect URI without TLS at {parts.hostname}")
            elif parts.scheme not in ("http", "https") and "." not in parts.scheme:
                yield warn(f"{_named(client)} has a redirect URI of the scheme {parts.scheme}, which any app may claim")


def _dialects(snapshot: Snapshot) -> Iterator[Verdict]:
    for client in snapshot.clients:
        if client.token_by_get:
            yield warn(f"{_named(client)} may ask for tokens by GET, which puts its secret into URLs and logs")
        elif client.dialect and not client.disabled:
            yield warn(f"{_named(client)} speaks the dialect {client.dialect} and has none of OAuth 2.1's protections")


def _old_secrets(snapshot: Snapshot) -> Iterator[Verdict]:
    for client in snapshot.clients:
        made = sorted(secret.created_at for secret in client.secrets)
        if made and snapshot.now - made[-1] > OLD_SECRET:
            yield warn(f"{_named(client)} has had the same secret for {(snapshot.now - made[-1]) // DAY} days")
        if len(made) > 1 and snapshot.now - made[-1] > BOTH_SECRETS:
            yield warn(
                f"{_named(client)} has had two secrets for {(snapshot.now - made[-1]) // DAY} days; one is not needed"
            )


def _no_secret(snapshot: Snapshot) -> Iterator[Verdict]:
    for client in snapshot.clients:
        if client.uses_secret and not client.secrets:
            yield fail(f"{_named(client)} is confidential and has no secret, so it cannot authenticate")


def _reach(snapshot: Snapshot) -> Iterator[Verdict]:
    registered = {provider.name: provider for provider in snapshot.providers}
    for client in snapshot.clients:
        if client.disabled:
            continue
        named = dict.fromkeys(name for field in PROVIDER_LISTS for name in getattr(client, field))
        unknown = [name for name in named if name not in registered]
        if unknown:
            yield fail(f"{_named(client)} is to use {', '.join(unknown)}, which is not registered")
        if not client.providers:
            yield warn(f"{_named(client)} may use no provider, so nobody can log in with it")
    unknown = [name for name in snapshot.policy.providers if name not in registered]
    if unknown and (snapshot.policy.lets_register() or snapshot.policy.documents):
        yield fail(f"clients that register themselves are to use {', '.join(unknown)}, which is not registered")


def _browser_clients(snapshot: Snapshot) -> Iterator[Verdict]:
    for client in snapshot.clients:
        if client.refresh_cookie and not client.origins:
            yield fail(f"{_named(client)} keeps its refresh token in a cookie and has no origin that may use it")
        if any(
            origin.startswith("http://") and urlsplit(origin).hostname not in _LOOPBACK for origin in client.origins
        ):
            yield fail(f"{_named(client)} has an origin without TLS")


def _given_tokens(snapshot: Snapshot) -> Iterator[Verdict]:
    for client in snapshot.clients:
        if client.is_public and client.token_exchange:
            yield warn(f"{_named(client)} is public and may have the provider's own tokens")


def _registration(snapshot: Snapshot) -> Iterator[Verdict]:
    policy = snapshot.policy
    if policy.mode == "open" and not policy.redirect_hosts:
        yield warn("anybody may register a client with any redirect URI")
    if policy.documents and not policy.document_hosts:
        yield warn("client ids may be URLs of any host")


def _provider_files(snapshot: Snapshot) -> Iterator[Verdict]:
    for provider in snapshot.providers:
        if provider.problem and not provider.disabled:
            yield fail(f"provider {provider.name}: {provider.problem}")


def _provider_secrets(snapshot: Snapshot) -> Iterator[Verdict]:
    used = {name for client in snapshot.clients if not client.disabled for name in client.providers}
    used |= set(snapshot.policy.providers)
    for provider in snapshot.providers:
        if provider.disabled:
            continue
        if not provider.credentials:
            yield fail(f"provider {provider.name} has no credentials")
        elif provider.credentials == "unreadable":
            yield fail(f"the credentials of provider {provider.name} are not in the broker's form, or cannot be read")
        elif provider.lacks:
            yield fail(f"nobody can log in with provider {provider.name}: {provider.lacks}")
        elif provider.name not in used:
            yield warn(f"no client uses provider {provider.name}, whose secret is kept")
        if len(provider.slots) > 1:
            yield warn(
                f"provider {provider.name} has a second secret ({', '.join(provider.slots[1:])}) kept beside the current one"
            )


def _upstream_protection(snapshot: Snapshot) -> Iterator[Verdict]:
    for provider in snapshot.providers:
        if provider.dialect is None or provider.disabled:
            continue
        if not provider.dialect.uses_pkce and not provider.dialect.issuer:
            yield warn(f"provider {provider.name} is used without PKCE; state and cookie are all that bind its answer")


def _keys_there(snapshot: Snapshot) -> Iterator[Verdict]:
    if snapshot.keys is None:
        yield fail(snapshot.unseen.get("keys", "there are no keys"))


def _keys(snapshot: Snapshot) -> Iterator[Verdict]:
    assert snapshot.keys is not None  # noqa: S101 - the rule names it in `sees`
    scheduled = (snapshot.stack and snapshot.stack.rotation_days) or 0
    oldest = max(OLDEST_KEY, (scheduled + LATE_DAYS) * DAY)  # whoever chose a longer schedule knows
    for problem in rotation.problems(snapshot.keys, snapshot.now, lives(), oldest=oldest):
        yield warn(problem) if "has been in use" in problem else fail(problem)


RULES = (
    Rule(
        "TB-9700-004",
        "Every client uses PKCE",
        "RFC 9700 section 2.1.1, OAuth 2.1 section 7.5",
        "`broker client update ID --pkce`; for a client of an old dialect there may be no other way.",
        _pkce,
    ),
    Rule(
        "TB-9700-005",
        "Redirect URIs are exact, and travel over TLS",
        "RFC 9700 section 2.1, RFC 8252 section 7",
        "`broker client update ID --redirect-uri ...` with https, a loopback address, or a reverse-domain scheme.",
        _redirects,
    ),
    Rule(
        "TB-9700-006",
        "No client speaks a dialect that is less than OAuth 2.1",
        "RFC 9700 section 2",
        "Move the client to standard OAuth when it can be; docs/drop-in.md.",
        _dialects,
    ),
    Rule(
        "TB-9700-007",
        "Client secrets are changed, and old ones dropped",
        "RFC 6819 section 5.1.4.1",
        "`broker client rotate-secret ID`, and `broker client drop-secret ID` when the client uses the new one.",
        _old_secrets,
    ),
    Rule(
        "TB-CLIENT-001",
        "Confidential clients have a secret",
        "RFC 6749 section 2.3",
        "`broker client rotate-secret ID` makes one.",
        _no_secret,
    ),
    Rule(
        "TB-CLIENT-002",
        "Every client has a provider that is registered",
        "docs/operating.md",
        "`broker provider add NAME`, `broker client update ID --provider NAME`, or `broker registration set --provider NAME`.",
        _reach,
    ),
    Rule(
        "TB-CLIENT-003",
        "Browser clients name their origins",
        "Fetch standard (CORS)",
        "`broker client update ID --origin https://...`.",
        _browser_clients,
    ),
    Rule(
        "TB-CLIENT-004",
        "Only clients that keep a secret get a provider's tokens",
        "RFC 8693 section 5",
        "Let it call the provider through the proxy instead; docs/proxy.md.",
        _given_tokens,
    ),
    Rule(
        "TB-CLIENT-005",
        "Self-registration is bounded",
        "RFC 7591 section 5",
        "`broker registration set --redirect-host HOST --allow-host HOST`, or --mode token.",
        _registration,
    ),
    Rule(
        "TB-PROVIDER-001",
        "Provider files can be used",
        "docs/providers.md",
        "`broker provider show NAME` says what is wrong; `broker provider test NAME` goes further.",
        _provider_files,
    ),
    Rule(
        "TB-PROVIDER-002",
        "Every provider has one set of credentials, and is used",
        "docs/providers.md",
        "`broker provider test NAME` says which credentials it needs; `broker provider set-secret NAME --client-id ID"
        " --client-secret-stdin`, `broker provider secret --help`, or `broker provider remove NAME`.",
        _provider_secrets,
    ),
    Rule(
        "TB-PROVIDER-003",
        "Upstream logins are bound by PKCE or an ID token",
        "RFC 9700 section 2.1.1",
        "If the provider has PKCE: `broker provider update NAME --set authorize.pkce=S256`.",
        _upstream_protection,
    ),
    Rule("TB-KEY-001", "The keys are there", "docs/keys.md", "`broker keys init`.", _keys_there),
    Rule(
        "TB-KEY-002",
        "Keys are rotated, and none retires before what it made",
        "docs/keys.md",
        "`broker keys list`, then `broker keys rotate`; deploy with KeyRotationDays=30.",
        _keys,
        ("keys",),
    ),
)
