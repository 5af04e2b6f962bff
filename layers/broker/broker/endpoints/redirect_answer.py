"""Answers of the authorization endpoint and the callback that go back to the client by a redirect."""

from dataclasses import dataclass

from broker.gateway import Request, Response
from broker.protocol.errors import OAuthError
from broker.protocol.redirects import with_parameters


@dataclass(frozen=True)
class ReturnAddress:
    """Where a client's answer goes: its registered redirect URI, and its state, unchanged."""

    redirect_uri: str
    state: str | None


def see_other(location: str, cookies: tuple[str, ...] = ()) -> Response:
    """303: the browser must fetch the target with GET, never repeat a form there (RFC 9700 section 4.12)."""
    return Response(303, headers={"location": location}, cookies=cookies)


def success(request: Request, address: ReturnAddress, code: str, cookies: tuple[str, ...]) -> Response:
    """The authorization response (RFC 6749 section 4.1.2) with the issuer (RFC 9207)."""
    return _answer(request, address, [("code", code)], cookies)


def failure(request: Request, address: ReturnAddress, error: OAuthError, cookies: tuple[str, ...] = ()) -> Response:
    """The error response (RFC 6749 section 4.1.2.1) with the issuer (RFC 9207)."""
    return _answer(request, address, [("error", error.kind.code), ("error_description", error.description)], cookies)


def _answer(
    request: Request, address: ReturnAddress, parameters: list[tuple[str, str]], cookies: tuple[str, ...]
) -> Response:
    state = [("state", address.state)] if address.state is not None else []
    return see_other(with_parameters(address.redirect_uri, [*parameters, *state, ("iss", request.issuer)]), cookies)
