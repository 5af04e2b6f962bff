"""One call of a provider's API on behalf of a client: put together, sent, and made fit to go back.

Must never send the client's own credentials or cookies on, follow a redirect, or let the provider's token, cookies or claims
about our origin reach the client. Bodies go through as they are, both ways.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote_plus, urljoin

from broker.upstream.api_rules import BadCall, remapped, url_of
from broker.upstream.authorization import Credentials
from broker.upstream.calls import FIRST_SHARE, Values
from broker.upstream.failures import FailureKind, UpstreamFailure, from_transport
from broker.upstream.quoting import is_cut_out_of, quotes
from broker.upstream.templates import TemplateError, fill, fill_url
from broker.upstream.tokens import UpstreamTokens
from broker.upstream.transport import Deadline, Sender, TransportError, UpstreamRequest, UpstreamResponse

if TYPE_CHECKING:
    from broker.upstream.provider import Provider

SAFE = frozenset({"GET", "HEAD"})
"""Methods that change nothing (RFC 9110 section 9.2.1): only these are ever sent twice."""
MAX_BODY = 4_500_000
"""Bytes of a body, either way: Lambda takes 6 MB of JSON, in which a body is in base64."""
VIA = "1.1 token-broker"
"""RFC 9110 section 7.6.3."""

FORWARDED = frozenset(
    {
        *("accept", "accept-language", "content-type", "content-language", "content-encoding", "content-digest"),
        # Without its Content-Range a part would be taken for the whole (RFC 9110 section 14.5).
        *("content-range", "content-disposition", "content-location"),
        *("content-md5", "digest", "range", "if-range", "if-match", "if-none-match", "if-modified-since"),
        *("if-unmodified-since", "prefer", "idempotency-key", "slug", "traceparent"),
    }
)
"""Request headers that go on to every provider; `api.forward` adds to them. Everything else stays here: credentials, cookies,
what is for this hop alone (RFC 9110 section 7.6.1), what tells who asked, and what could turn a method or path into another."""
_RETURNED = frozenset(
    {
        *(
            "content-type",
            "content-language",
            "content-encoding",
            "content-range",
            "content-disposition",
            "content-md5",
        ),
        *("content-digest", "digest", "etag", "last-modified", "accept-ranges", "allow", "retry-after", "link"),
        *(
            "location",
            "preference-applied",
            "deprecation",
            "sunset",
            "ratelimit",
            "ratelimit-policy",
            "ratelimit-limit",
        ),
        *("ratelimit-remaining", "ratelimit-reset", "ratelimit-used"),
    }
)
# An API's own fields are named X-something; of those these speak to browsers and gateways, about us.
_NOT_RETURNED = re.compile(
    r"x-(frame-options|content-type-options|xss-protection|request-id|forwarded-.*|real-ip|powered-by|accel-.*|sendfile.*|amz.*"
    r"|dns-prefetch-control|permitted-cross-domain-policies|ua-compatible|webkit-csp|content-security-policy.*|robots-tag"
    r"|download-options|original-.*|rewrite-.*|via|cache.*|served-by|timer|runtime|aspnet.*|set-cookie.*|cookie.*)"
)
_SENDABLE = re.compile(r"[ -~]*")
_HEADER_VALUE = re.compile(r"[\t -~]*")
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LINK_TARGET = re.compile(r"<([^<>]*)>")
_MAX_SEARCHED = 4 * MAX_BODY
"""Bytes that a compressed body may have when it is opened to be searched: a few of its own could fill all memory."""


@dataclass(frozen=True)
class ApiCall:
    """What the client asked, taken apart. headers: lower-case names; query: as it was sent."""

    method: str
    segments: tuple[str, ...]
    query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class ApiAnswer:
    """The provider's answer as it may go back. `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


def base_of(provider: Provider, credentials: Credentials, tokens: UpstreamTokens) -> str | None:
    """The address of the provider's API for this login, None where the file names none. Raises UpstreamFailure."""
    if provider.api.base is None:
        return None
    try:
        values = Values(provider, credentials, tokens.kept, tokens).by_name()
        return fill_url(provider.api.base, values, local=provider.local)
    except TemplateError as problem:
        raise UpstreamFailure(FailureKind.UNUSABLE, row=15, sent=False, detail=str(problem)) from None


def call_api(
    provider: Provider,
    credentials: Credentials,
    http: Sender,
    tokens: UpstreamTokens,
    call: ApiCall,
    *,
    here: str,
    deadline: Deadline,
) -> ApiAnswer:
    """The provider's answer, whatever its status. At most two requests are sent, and a second one only where the first did
    nothing, or could do nothing.

    here: the URL of the proxy for this provider, with a slash at the end: what leads into the API again leads through it.
    Raises UpstreamFailure; BadCall for what cannot be sent as it was meant.
    """
    base = base_of(provider, credentials, tokens)
    if base is None:
        raise UpstreamFailure(FailureKind.UNUSABLE, row=15, sent=False, detail="the provider has no api.base")
    request = _request(provider, credentials, tokens, call, url_of(base, call.segments, _query(provider, call.query)))
    response = _sent(http, request, deadline)
    return _checked(
        response, tokens, request.url, lambda reference: _mapped(provider, base, request.url, here, reference)
    )


def _sent(http: Sender, request: UpstreamRequest, deadline: Deadline) -> UpstreamResponse:
    """Rows 4 and 5: once more if nothing was sent, or a safe request was not answered in time."""
    first = deadline.share(FIRST_SHARE) if request.method in SAFE else deadline
    try:
        return http.send(request, first)
    except TransportError as problem:
        failure = from_transport(problem)
    again = failure.kind is FailureKind.UNREACHABLE or (failure.kind is FailureKind.TIMEOUT and request.method in SAFE)
    if not again:
        raise failure
    try:
        return http.send(request, deadline)
    except TransportError as problem:
        second = from_transport(problem)
    # What the first request may have met matters more than that the second never left.
    raise failure if failure.sent and not second.sent else second


def _request(
    provider: Provider, credentials: Credentials, tokens: UpstreamTokens, call: ApiCall, url: str
) -> UpstreamRequest:
    values = Values(provider, credentials, tokens.kept, tokens).by_name()
    placement = provider.api.token
    headers = {name: value for name, value in call.headers.items() if name in FORWARDED or name in provider.api.forward}
    if "," in headers.get("range", ""):
        # Many small parts in one answer cannot be searched for a token. To ignore a range is allowed (RFC 9110 section 14.2).
        del headers["range"]
    # To leave one out would change what was asked: a write without its If-Match.
    if not all(_SENDABLE.fullmatch(value) for value in headers.values()):
        raise BadCall("a header is not printable ASCII")
    headers.setdefault("accept", "*/*")
    try:
        headers |= {name.lower(): fill(text, values) for name, text in provider.api.headers.items()}
        if placement.place == "header":
            headers[placement.name.lower()] = fill(placement.text, values)
        else:
            url = f"{url}{'&' if '?' in url else '?'}{quote(placement.name, safe='')}={quote(tokens.access_token, safe='')}"
        sent = tuple({**headers, "via": VIA}.items())
        return UpstreamRequest(call.method, url, sent, call.body or None, provider=provider.name, phase="proxy")
    except ValueError as problem:
        raise UpstreamFailure(FailureKind.UNUSABLE, row=15, sent=False, detail=str(problem)) from None


def _query(provider: Provider, query: str) -> str:
    """The query without parameters that stand for an access token: the broker's own would go to the provider."""
    taken = (
        {"access_token", provider.api.token.name.lower()} if provider.api.token.place == "query" else {"access_token"}
    )
    return "&".join(part for part in query.split("&") if unquote_plus(part.partition("=")[0]).lower() not in taken)


def _checked(
    response: UpstreamResponse, tokens: UpstreamTokens, called: str, mapped: Callable[[str], str | None]
) -> ApiAnswer:
    """Errors: UpstreamFailure for what must not go back."""
    # What is above 599 is no status (RFC 9110 section 15), and a client could not tell what went wrong.
    if not 200 <= response.status <= 599 or response.status == 407:
        detail = f"API call: HTTP {response.status}"
        raise UpstreamFailure(FailureKind.UNREADABLE, row=7, status=response.status, detail=detail)
    headers = dict(_returned(response, tokens, called, mapped))
    if response.status in _REDIRECTS and "location" not in headers and response.header("location") is not None:
        detail = f"API call: HTTP {response.status} to another host, or out of the API"
        raise UpstreamFailure(FailureKind.REDIRECT, row=14, status=response.status, detail=detail)
    if _tells_a_token(response, tokens):
        detail = f"API call: HTTP {response.status} with the access token in its body"
        raise UpstreamFailure(FailureKind.UNUSABLE, row=15, status=response.status, detail=detail)
    return ApiAnswer(response.status, headers, response.body)


def _tells_a_token(response: UpstreamResponse, tokens: UpstreamTokens) -> bool:
    """Errors: UpstreamFailure."""
    body = _searchable(response)
    if response.status != 206:
        return quotes(body, tokens)
    at_start = (response.header("content-range") or "").startswith("bytes 0-")
    return quotes(body, tokens) or is_cut_out_of(body, tokens, at_start=at_start)


def _returned(
    response: UpstreamResponse, tokens: UpstreamTokens, called: str, mapped: Callable[[str], str | None]
) -> Iterator[tuple[str, str]]:
    """The answer's headers that go back, repeated ones joined (RFC 9110 section 5.3)."""
    named = {
        part.strip().lower() for name, value in response.headers if name == "connection" for part in value.split(",")
    }
    values: dict[str, list[str]] = {}
    for name, value in response.headers:
        own = name.startswith("x-") and not _NOT_RETURNED.fullmatch(name)
        if (name in _RETURNED or own) and name not in named and _HEADER_VALUE.fullmatch(value):
            values.setdefault(name, []).append(value)
    for name, found in values.items():
        text = found[0] if name in ("location", "content-type", "content-disposition") else ", ".join(found)
        if name == "link":
            text = _LINK_TARGET.sub(lambda target: f"<{mapped(target[1]) or _absolute(called, target[1])}>", text)
        shown = mapped(text) if name == "location" else text
        if shown is not None and not quotes(shown.encode(), tokens):
            yield name, shown


def _absolute(called: str, reference: str) -> str:
    """A reference out of the API, as it is meant there. The query of the call may have the token, and is left out."""
    try:
        return urljoin(called.partition("?")[0], reference.strip())
    except ValueError:
        return reference


def _mapped(provider: Provider, base: str, called: str, here: str, reference: str) -> str | None:
    """A reference into the API as one through the proxy, None for every other."""
    below = remapped(base, called, reference)
    if below is None:
        return None
    path, _, query = below.partition("?")
    kept = _query(provider, query)
    return f"{here}{path}?{kept}" if kept else here + path


def _searchable(response: UpstreamResponse) -> bytes:
    """The body without the content coding that some servers use although they are asked for none (Accept-Encoding: identity).

    Errors: UpstreamFailure for a body that cannot be opened: nobody knows whether it quotes a token.
    """
    listed = ",".join(value for name, value in response.headers if name == "content-encoding").lower().split(",")
    codings = [coding.strip() for coding in listed if coding.strip() not in ("", "identity")]
    if not codings or not response.body:
        return response.body
    try:
        if codings in (["gzip"], ["x-gzip"], ["deflate"]):
            inflater = zlib.decompressobj(zlib.MAX_WBITS | 32)  # whichever of the two formats it is
            opened = inflater.decompress(response.body, _MAX_SEARCHED)
            if inflater.eof and not inflater.unused_data:
                return opened
    except zlib.error:
        pass
    detail = f"API call: HTTP {response.status} with a body in a coding that was not asked for"
    raise UpstreamFailure(FailureKind.UNREADABLE, row=7, status=response.status, detail=detail)
