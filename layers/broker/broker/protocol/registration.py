"""What a client may be registered with, whoever registers it: the operator, or a client itself (RFC 7591).

Pure rules. Must never look anything up: whether a provider exists is for the caller to know.
"""

import json
import re
from collections.abc import Iterator, Mapping
from urllib.parse import parse_qsl, urlsplit

from broker.printable import is_line
from broker.protocol import client_id_urls, jws, token_exchange
from broker.protocol.capabilities import GRANT_TYPES, ID_TOKEN_ALGORITHMS
from broker.protocol.client_authentication import METHODS
from broker.protocol.clients import MAX_ENTRIES, Client, web_origin
from broker.protocol.errors import OAuthError
from broker.protocol.redirects import LOOPBACK_HOSTS
from broker.protocol.scopes import parse_scope

ACCESS_TOKEN_FORMATS = ("jwt", "opaque")
LIFETIMES = ("access_token_lifetime", "idle_lifetime", "absolute_lifetime", "retry_window")
"""The fields of a client that are numbers of seconds."""
MAX_URI = 2000
MAX_NAME = 100
APPLICATION_TYPES = ("web", "native")
_LISTS = (
    *("redirect_uris", "origins", "providers", "scope", "grant_types", "resources", "auth_methods"),
    *("served_resources", "post_logout_redirect_uris", "token_exchange", "proxy"),
)
PAGES = ("client_uri", "logo_uri", "policy_uri", "tos_uri")
MAX_KEYS = 10
MAX_JWKS = 16_384

_CLIENT_ID = re.compile(r"[\x21-\x22\x24-\x2c\x2e-\x7e][\x21-\x22\x24-\x7e]{0,127}")
_URI = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_ANSWER = frozenset({"code", "state", "iss", "error", "error_description", "error_uri", "response", "session_state"})


class InvalidRegistration(ValueError):
    """A client may not be registered like this.

    Attributes:
        field: name of the field of Client; "redirect_uris" is RFC 7591's `invalid_redirect_uri`, all else is
            `invalid_client_metadata` (section 3.2.2).
        rule: what the field must be, as a clause. Quotes a wrong URI, never a secret.
    """

    def __init__(self, field: str, rule: str) -> None:
        super().__init__(f"{field}: {rule}")
        self.field = field
        self.rule = rule


def validate_client(client: Client, limits: Mapping[str, tuple[int, int]]) -> None:
    """Check everything about a client that needs no look-up.

    `limits`: smallest and largest number of seconds for each of LIFETIMES (broker.settings.LIMITS has them).
    Errors: InvalidRegistration for the first rule that is broken.
    """
    for field, rule in _faults(client):
        raise InvalidRegistration(field, rule)
    for field in LIFETIMES:
        value, (low, high) = getattr(client, field), limits[field]
        if value is not None and not low <= value <= high:
            raise InvalidRegistration(field, f"must be from {low} to {high} seconds, not {value}")


def redirect_uri_fault(uri: str) -> str | None:
    """What is wrong with a redirect URI, as a clause, or None (RFC 6749 section 3.1.2, RFC 9700 section 2.1)."""
    if len(uri) > MAX_URI:
        return f"is longer than {MAX_URI} characters"
    if not _URI.fullmatch(uri):
        return "has characters that no URI may have; percent-encode them (RFC 3986 section 2)"
    if "#" in uri:
        return "has a fragment; leave out the # and what follows it"
    if "*" in uri:
        return "has a wildcard; register every redirect URI in full"
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "has a host or port that cannot be read"
    if "@" in parts.netloc:
        return "has a user name or password; leave them out"
    # A second `code` or `iss` beside ours would leave it to the client's parser which of the two counts.
    taken = sorted(_ANSWER & {name for name, _ in parse_qsl(parts.query, keep_blank_values=True)})
    if taken:
        return f"has the query parameter {taken[0]}, which belongs to the broker's answer"
    return _scheme_fault(parts.scheme, host, bool(parts.netloc or parts.path))


def default_origins(client: Client) -> tuple[str, ...]:
    """The browser origins that follow from a public client's redirect URIs: the pages it returns to call the broker."""
    if not client.is_public:
        return ()
    origins = (web_origin(uri) for uri in client.redirect_uris)
    return tuple(dict.fromkeys(_without_default_port(origin) for origin in origins if origin))


def _scheme_fault(scheme: str, host: str | None, has_more: bool) -> str | None:
    if not scheme:
        return "is not absolute; write it in full, like https://app.example/callback"
    if scheme == "https" and not host:
        return "names no host"
    if scheme == "http" and host not in LOOPBACK_HOSTS:
        return "must use https; plain http is for 127.0.0.1, [::1] and localhost alone"
    # A dotted scheme is a domain name in reverse, so that it belongs to somebody (RFC 8252 section 7.1). This also
    # keeps out javascript: and data:, which would run in the page that follows the redirect.
    if scheme not in ("http", "https") and ("." not in scheme or not has_more):
        return "must use https, or an app's own scheme with a dot in it, like com.example.app:/callback"
    return None


def _faults(client: Client) -> Iterator[tuple[str, str]]:
    if not _CLIENT_ID.fullmatch(client.client_id) and client_id_urls.fault(client.client_id, local=True) is not None:
        yield "client_id", "must be 1 to 128 printable ASCII characters without space and #, and not begin with -"
    if not is_line(client.name, MAX_NAME):
        yield "name", f"must be 1 to {MAX_NAME} printable characters"
    for field in _LISTS:
        values = getattr(client, field)
        if len(values) > MAX_ENTRIES:
            yield field, f"must have at most {MAX_ENTRIES} entries"
        if len(set(values)) < len(values):
            yield field, "has the same entry twice"
    yield from _grant_faults(client)
    yield from _authentication_faults(client)
    yield from _address_faults(client)
    yield from _key_faults(client)
    yield from _stated_faults(client)
    yield from _dialect_faults(client)
    if not client.scope or not all(is_scope_token(token) for token in client.scope):
        yield "scope", "must be scopes of printable ASCII without space, quote and backslash (RFC 6749 section 3.3)"
    if client.id_token_alg not in ID_TOKEN_ALGORITHMS:
        yield "id_token_alg", f"must be {' or '.join(ID_TOKEN_ALGORITHMS)}"
    if client.access_token_alg not in ID_TOKEN_ALGORITHMS:
        yield "access_token_alg", f"must be {' or '.join(ID_TOKEN_ALGORITHMS)}"
    if client.access_token_format not in ACCESS_TOKEN_FORMATS:
        yield "access_token_format", f"must be {' or '.join(ACCESS_TOKEN_FORMATS)}"


def _grant_faults(client: Client) -> Iterator[tuple[str, str]]:
    unknown = [name for name in client.grant_types if name not in GRANT_TYPES]
    if unknown or not client.grant_types:
        yield "grant_types", f"must be of {', '.join(GRANT_TYPES)}"
    if set(client.grant_types) - {token_exchange.GRANT_TYPE} == {"refresh_token"}:
        yield "grant_types", "refresh_token needs another beside it, as only a login gives a refresh token"
    if "authorization_code" in client.grant_types and not client.redirect_uris:
        yield "redirect_uris", "must have at least one, as the grant type authorization_code returns to it"


def _authentication_faults(client: Client) -> Iterator[tuple[str, str]]:
    if client.is_public:
        if client.secrets:
            yield "secrets", "a public client cannot keep a secret (RFC 6749 section 2.1)"
        if not client.require_pkce:
            yield "require_pkce", "only a confidential client may go without PKCE (RFC 9700 section 2.1.1)"
        return
    known = [method for method in METHODS if method != "none"]
    if not client.auth_methods or set(client.auth_methods) - set(known):
        yield "auth_methods", f"must be of {', '.join(known)}"
    if "private_key_jwt" in client.auth_methods and (len(client.auth_methods) > 1 or client.secrets):
        yield "auth_methods", "private_key_jwt stands alone, as a secret beside it would be a weaker way in"
    if client.uses_secret and not 1 <= len(client.secrets) <= 2:
        yield "secrets", "a client that sends a secret has one, or two while one is being replaced"
    if client.refresh_cookie:
        yield (
            "refresh_cookie",
            "is for public clients: a confidential client would have to put its secret into a browser",
        )


def _address_faults(client: Client) -> Iterator[tuple[str, str]]:
    for uri in client.redirect_uris:
        if rule := redirect_uri_fault(uri):
            yield "redirect_uris", f"{_quoted(uri)} {rule}"
    for origin in client.origins:
        if rule := _origin_fault(origin):
            yield "origins", f"{_quoted(origin)} {rule}"
    for resource in client.resources:
        if not is_resource(resource):
            yield "resources", f"{_quoted(resource)} must be an absolute URI without a fragment (RFC 8707 section 2)"
    for resource in client.served_resources:
        if not is_resource(resource):
            yield (
                "served_resources",
                f"{_quoted(resource)} must be an absolute URI without a fragment (RFC 8707 section 2)",
            )
    if client.served_resources and client.is_public:
        yield "served_resources", "introspection is for a confidential client: anybody could claim a public one's id"
    if client.refresh_cookie and not client.origins:
        yield "refresh_cookie", "needs an origin: the cookie's door opens only to pages of a registered origin"
    if client.refresh_cookie and "refresh_token" not in client.grant_types:
        yield "refresh_cookie", "needs the grant type refresh_token"


def _dialect_faults(client: Client) -> Iterator[tuple[str, str]]:
    """What an application that was written for a provider's guide cannot do."""
    if client.dialect is None:
        if client.token_by_get:
            yield "token_by_get", "is for clients that speak a dialect"
        return
    for field in ("refresh_cookie", "dpop_bound", "require_par"):
        if getattr(client, field):
            yield "dialect", f"excludes {field}, which no application that was written for a provider's guide knows"


def _key_faults(client: Client) -> Iterator[tuple[str, str]]:
    """RFC 7591 section 2: one of jwks and jwks_uri, never both; and only public keys."""
    if client.jwks is not None and client.jwks_uri is not None:
        yield "jwks", "must not be there together with jwks_uri (RFC 7591 section 2)"
    if "private_key_jwt" in client.auth_methods and client.jwks is None and client.jwks_uri is None:
        yield "jwks", "private_key_jwt needs the client's public keys, as jwks or jwks_uri"
    if client.jwks is not None and not _is_public_key_set(client.jwks):
        yield "jwks", f"must be a JWK Set of 1 to {MAX_KEYS} public keys (RFC 7517 section 5)"
    elif rule := _assertion_fault(client):
        yield "jwks", rule
    if client.jwks_uri is not None and not _is_web_address(client.jwks_uri, ("https",)):
        yield "jwks_uri", "must be an https URL"
    yield from _port_faults(client)


def _port_faults(client: Client) -> Iterator[tuple[str, str]]:
    """Of the addresses that the broker itself calls. The operator knows where he sends it; nobody else may choose any port."""
    for field in ("jwks_uri", "backchannel_logout_uri"):
        address = getattr(client, field)
        if client.dynamic and address is not None and not _names_callable_port(address):
            yield field, f"must be at port 443, or at one from {client_id_urls.LOWEST_PORT}"


def _names_callable_port(address: str) -> bool:
    try:
        return client_id_urls.is_callable_port(urlsplit(address).port)
    except ValueError:
        return False


def _is_public_key_set(text: str) -> bool:
    try:
        keys = json.loads(text)["keys"]
        kinds = frozenset(key["kty"] for key in keys)
        has_secrets = any(_SECRET_MEMBERS & set(key) for key in keys)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
    return len(text) <= MAX_JWKS and 1 <= len(keys) <= MAX_KEYS and kinds <= _KEY_TYPES and not has_secrets


def _assertion_fault(client: Client) -> str | None:
    """What keeps a client's JWK Set from verifying its assertions (RFC 7523), as a clause, or None."""
    if client.jwks is None or "private_key_jwt" not in client.auth_methods:
        return None
    try:
        jws.key_set(client.jwks)
    except jws.BadKey as error:
        return f"cannot verify client assertions: {error}"
    return None


_KEY_TYPES = frozenset({"RSA", "EC", "OKP"})
_SECRET_MEMBERS = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
"""Private parts of a key (RFC 7518 section 6): a client that sends them has given its key away, and should learn so."""


def _stated_faults(client: Client) -> Iterator[tuple[str, str]]:
    """What a client says of itself for people to see."""
    for field in PAGES:
        value = getattr(client, field)
        # Plain http does no harm in a link, and applications under development are at http://localhost.
        if value is not None and not _is_web_address(value, ("https", "http")):
            yield field, "must be the URL of a web page"
    if client.backchannel_logout_uri is not None and not _is_web_address(client.backchannel_logout_uri, ("https",)):
        yield "backchannel_logout_uri", "must be an https URL without a fragment"
    for uri in client.post_logout_redirect_uris:
        if rule := redirect_uri_fault(uri):
            yield "post_logout_redirect_uris", f"{_quoted(uri)} {rule}"
    for field in ("software_id", "software_version"):
        value = getattr(client, field)
        if value is not None and not is_line(value, MAX_NAME):
            yield field, f"must be 1 to {MAX_NAME} printable characters"
    if len(client.contacts) > MAX_ENTRIES or not all(is_line(entry, MAX_NAME) for entry in client.contacts):
        yield "contacts", f"must be at most {MAX_ENTRIES} texts of 1 to {MAX_NAME} printable characters"
    yield from _application_faults(client)


def _application_faults(client: Client) -> Iterator[tuple[str, str]]:
    if client.application_type not in APPLICATION_TYPES:
        yield "application_type", f"must be {' or '.join(APPLICATION_TYPES)}"
    if client.dynamic and client.application_type == "web":
        for uri in client.redirect_uris:
            if web_origin(uri) is None:
                yield "redirect_uris", f"{_quoted(uri)} is for a native application (application_type)"


def _is_web_address(text: str, schemes: tuple[str, ...]) -> bool:
    if len(text) > MAX_URI or not _URI.fullmatch(text) or "#" in text:
        return False
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    return parts.scheme in schemes and bool(host) and "@" not in parts.netloc


def is_scope_token(token: str) -> bool:
    """Whether the text is exactly one scope (RFC 6749 section 3.3)."""
    try:
        return parse_scope(token) == (token,)
    except OAuthError:
        return False


def is_resource(uri: str) -> bool:
    """Whether the text is an absolute URI without a fragment (RFC 8707 section 2)."""
    try:
        return bool(_URI.fullmatch(uri) and urlsplit(uri).scheme) and "#" not in uri and len(uri) <= MAX_URI
    except ValueError:
        return False


def _origin_fault(origin: str) -> str | None:
    try:
        canonical = web_origin(origin) if _URI.fullmatch(origin) else None
        host, _ = urlsplit(origin).hostname, urlsplit(origin).port
    except ValueError:
        canonical = None
    # Browsers send exactly this spelling (RFC 6454 section 6.2), and it is compared as a string.
    if canonical is None or _without_default_port(canonical) != origin or "*" in origin:
        return "must be an origin as browsers send it, like https://app.example: lower case, no path, no default port"
    if origin.startswith("http:") and host not in LOOPBACK_HOSTS:
        return "must use https; plain http is for 127.0.0.1, [::1] and localhost alone"
    return None


def _without_default_port(origin: str) -> str:
    return origin.removesuffix(":443") if origin.startswith("https:") else origin.removesuffix(":80")


def _quoted(text: str) -> str:
    """As an error may show it: on one line, with nothing that a terminal would act on."""
    shown = json.dumps(text)
    return shown if len(shown) <= 120 else shown[:116] + '..."'
