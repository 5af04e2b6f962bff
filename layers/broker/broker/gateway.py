"""API Gateway HTTP API events (payload 2.0) <-> Request and Response. Nothing else knows what an event looks like."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from broker.protocol.errors import INVALID_REQUEST, UNSUPPORTED_MEDIA_TYPE, OAuthError
from broker.protocol.parameters import MalformedParameters, Parameters, parse

FORM = "application/x-www-form-urlencoded"

STANDARD_HEADERS: Mapping[str, str] = {
    "cache-control": "no-store",
    "pragma": "no-cache",
    # Without includeSubDomains (RFC 6797 section 6.1.2): the issuer may live on a host whose subdomains are not the broker's.
    "strict-transport-security": "max-age=31536000",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}


@dataclass(frozen=True)
class Request:
    """One HTTP request.

    Attributes:
        path: below the issuer.
        sent_parameters: the path parameters percent-encoded, as they were sent.
        issuer: the issuer URL that this request is answered as. From the settings or the API's own id, never from a
            header that the client can choose (RFC 9700 section 4.13).
        headers: lower-cased names; API Gateway joins repeated ones with a comma.
    """

    method: str
    path: str
    issuer: str
    path_parameters: Mapping[str, str] = field(default_factory=dict)
    sent_parameters: Mapping[str, str] = field(default_factory=dict)
    raw_query: str = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    cookies: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    source_ip: str = ""
    request_id: str = ""

    @property
    def origin(self) -> str | None:
        """The browser origin that the request comes from, None outside a browser's cross-origin calls."""
        return self.headers.get("origin")

    @property
    def is_of_foreign_page(self) -> bool:
        """Whether the browser says that a page of another origin made it send this (Fetch Metadata, section 2.3). `origin` does
        not say so of the broker's own forms: pages whose referrer policy is no-referrer send "null"."""
        return self.headers.get("sec-fetch-site") in ("cross-site", "same-site")

    @property
    def url(self) -> str:
        """The URL that this request is for, as the metadata names it: under the issuer, without query."""
        return self.issuer + self.path

    def query(self) -> Parameters:
        """The query's parameters. Errors: MalformedParameters."""
        return parse(self.raw_query)

    def has_form(self) -> bool:
        """Whether the body says that it is a form."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower() == FORM

    def form(self) -> Parameters:
        """The form in the body. Errors: MalformedParameters."""
        try:
            return parse(self.body.decode("utf-8"))
        except UnicodeDecodeError:
            raise MalformedParameters("the body is not UTF-8") from None

    def strict_form(self) -> Parameters:
        """The form of a request to an API endpoint, without repeats. Errors: OAuthError invalid_request."""
        if not self.has_form():
            raise OAuthError(UNSUPPORTED_MEDIA_TYPE, f"the Content-Type must be {FORM}")
        try:
            parameters = self.form()
        except MalformedParameters as error:
            raise OAuthError(INVALID_REQUEST, str(error)) from None
        parameters.reject_repeated()
        return parameters


@dataclass(frozen=True)
class Response:
    """One HTTP answer. `headers` have lower-case names; `cookies` are whole Set-Cookie values; a `body` of bytes, which may be of
    any kind, goes through the gateway in base64."""

    status: int
    body: str | bytes = field(default="", repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    cookies: Sequence[str] = field(default=(), repr=False)


def request_of(event: Mapping[str, Any], *, issuer: str, api_domain: str) -> Request:
    """The request in an event. `issuer` empty: it is derived from the API's id, which stands before `api_domain`."""
    context = event["requestContext"]
    own = issuer or f"https://{context['apiId']}.{api_domain}"
    return Request(
        method=context["http"]["method"].upper(),
        path=_below_issuer(event["rawPath"], own),
        issuer=own,
        path_parameters={name: unquote(value) for name, value in (event.get("pathParameters") or {}).items()},
        sent_parameters=dict(event.get("pathParameters") or {}),
        raw_query=event.get("rawQueryString", ""),
        headers={name.lower(): value for name, value in event.get("headers", {}).items()},
        cookies=_cookies(event),
        body=_body(event),
        source_ip=context["http"].get("sourceIp", ""),
        request_id=context.get("requestId", ""),
    )


def event_answer(response: Response, request_id: str) -> dict[str, Any]:
    """The response in the form that API Gateway takes, with the headers that every answer has."""
    own = {name: value for name, value in response.headers.items() if value}
    dropped = {name for name, value in response.headers.items() if not value}
    standard = {name: value for name, value in STANDARD_HEADERS.items() if name not in dropped}
    answer: dict[str, Any] = {
        "statusCode": response.status,
        "headers": {**standard, "x-request-id": request_id, **own},
        "cookies": list(response.cookies),
    }
    if isinstance(response.body, str):
        return answer | {"body": response.body}
    return answer | {"body": base64.b64encode(response.body).decode("ascii"), "isBase64Encoded": True}


def _below_issuer(path: str, issuer: str) -> str:
    """`path` without the issuer's own path: under a custom domain, rawPath starts with the API mapping's key."""
    prefix = urlsplit(issuer).path
    return path[len(prefix) :] if prefix and path.startswith(prefix + "/") else path


def _cookies(event: Mapping[str, Any]) -> dict[str, str]:
    """Cookies by name; of two with one name the first counts (RFC 6265 section 5.4: the more specific comes first)."""
    found = event.get("cookies")
    if found is None:
        found = event.get("headers", {}).get("cookie", "").split(";")
    cookies: dict[str, str] = {}
    for cookie in found:
        # What RFC 6265 section 4.2.1 has between cookies and no more: with U+2000 before its name, a cookie that another host
        # has planted has no prefix __Host- to the browser.
        name, equals, value = cookie.strip(" \t").partition("=")
        if equals:
            cookies.setdefault(name, value)
    return cookies


def _body(event: Mapping[str, Any]) -> bytes:
    body = event.get("body") or ""
    if not event.get("isBase64Encoded"):
        return str(body).encode("utf-8", "surrogatepass")
    try:
        return base64.b64decode(body)
    except binascii.Error:
        return b""
