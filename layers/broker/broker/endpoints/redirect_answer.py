"""Answers of the authorization endpoint and the callback that go back to the client through the browser."""

from broker.gateway import Request, Response
from broker.pages import form_post
from broker.protocol.authorization_request import ReturnAddress
from broker.protocol.clients import Client
from broker.protocol.errors import LOGIN_REQUIRED, OAuthError
from broker.protocol.redirects import with_parameters
from broker.store.grants import Grant


def address_of(login: Grant) -> ReturnAddress:
    """Where the answer of a login goes."""
    return ReturnAddress(login.redirect_uri, login.state, login.response_mode or "query", login.dialect)


def see_other(location: str, cookies: tuple[str, ...] = ()) -> Response:
    """303: the browser must fetch the target with GET, never repeat a form there (RFC 9700 section 4.12)."""
    return Response(303, headers={"location": location}, cookies=cookies)


def success(request: Request, address: ReturnAddress, code: str, cookies: tuple[str, ...]) -> Response:
    """The authorization response (RFC 6749 section 4.1.2) with the issuer (RFC 9207)."""
    return _answer(request, address, [(name, code) for name in _code_names(address)], cookies)


def failure(request: Request, address: ReturnAddress, error: OAuthError, cookies: tuple[str, ...] = ()) -> Response:
    """The error response (RFC 6749 section 4.1.2.1) with the issuer (RFC 9207)."""
    return _answer(request, address, _error(error), cookies)


def refusal(request: Request, client: Client, address: ReturnAddress, error: OAuthError) -> Response:
    """The error response to a request that nobody at the browser has had a say in yet.

    Whoever may register clients could send people through the broker to where he likes, by a request that is wrong on purpose
    (RFC 9700 section 4.11.2). So with a client that registered itself a page names the host, and the person goes there or not.
    A silent login (prompt=none) is answered as OpenID Connect wants it.
    """
    if not client.dynamic or error.kind is LOGIN_REQUIRED:
        return failure(request, address, error)
    from broker.pages import refused

    return refused.render(request, address, _with_context(request, address, _error(error)), error)


def _error(error: OAuthError) -> list[tuple[str, str]]:
    return [("error", error.kind.code), ("error_description", error.description)]


def _code_names(address: ReturnAddress) -> tuple[str, ...]:
    if not address.dialect:
        return ("code",)
    from broker.upstream import serve

    return serve.dialects()[address.dialect].authorize.code


def _answer(
    request: Request, address: ReturnAddress, parameters: list[tuple[str, str]], cookies: tuple[str, ...]
) -> Response:
    answer = _with_context(request, address, parameters)
    if address.response_mode == "form_post":
        return form_post.render(request, address.redirect_uri, answer, cookies)
    return see_other(with_parameters(address.redirect_uri, answer), cookies)


def _with_context(request: Request, address: ReturnAddress, parameters: list[tuple[str, str]]) -> list[tuple[str, str]]:
    state = [("state", address.state)] if address.state is not None else []
    return [*parameters, *state, ("iss", request.issuer)]
