"""Redbooth's API as far as a client's calls need one to answer: lists, writes, downloads, redirects, and carelessness.

Every call needs an access token, in the header or the query. Each path shows one thing that a caller has to cope with.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable

from sandbox_provider.call import Call
from sandbox_provider.dialects.dialect import Route
from sandbox_provider.resource import Admitted, Fault, admit
from sandbox_provider.wire import Response

LATER_SECONDS = 1
ELSEWHERE = "https://files.redbooth.example/download/3?signature=abc"
"""Where a download that another host serves is found."""
EVERY_BYTE = bytes(range(256)) * 4
ETAG = '"projects-1"'
PROJECTS = ({"type": "Project", "id": 7, "name": "Sandbox"},)

_TOKEN_FAULTS = {
    "missing": "The access token is invalid",
    "unknown": "The access token is invalid",
    "expired": "The access token expired",
    "revoked": "The access token was revoked",
}
_CARELESS = (
    ("Set-Cookie", "redbooth_session=1; Path=/"),
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Credentials", "true"),
    ("Strict-Transport-Security", "max-age=1"),
    ("Content-Security-Policy", "default-src *"),
    ("Clear-Site-Data", '"*"'),
    ("Refresh", "0; url=https://elsewhere.example/"),
    ("X-Frame-Options", "ALLOWALL"),
    ("X-Request-Id", "the-provider's-own"),
    ("Alt-Svc", 'h3=":443"'),
    ("DPoP-Nonce", "the-provider's-own"),
)
"""What an API sends along for callers on its own origin."""

Answer = Callable[[Call, Admitted], Response]


def refused(fault: Fault) -> Response:
    """A token that does not admit, in the words of Doorkeeper."""
    if fault == "twice":
        return error(400, "The access token was sent in more than one way")
    description = _TOKEN_FAULTS[fault]
    challenge = f'Bearer realm="Doorkeeper", error="invalid_token", error_description="{description}"'
    return error(401, description).with_headers(("WWW-Authenticate", challenge))


def error(status: int, message: str) -> Response:
    """The API's nested error."""
    return Response.json({"error": {"message": message, "code": status}}, status)


def _protected(answer: Answer) -> Callable[[Call], Response]:
    def protected(call: Call) -> Response:
        admitted = admit(call, "header", "query")
        return answer(call, admitted) if isinstance(admitted, Admitted) else refused(admitted)

    return protected


def _tasks(call: Call, admitted: Admitted) -> Response:
    """A list that takes its time: 202 first, the answer when the same request comes again. A POST makes a task at once."""
    if call.request.method == "POST":
        made = json.loads(call.request.body or b"{}")
        location = f"{call.issuer}/api/3/tasks/2"
        return Response.json({"type": "Task", "id": 2, **made}, 201, (("Location", location),))
    if call.store.begin_later(admitted.token, "tasks", call.now):
        return Response(202, "", (("Retry-After", str(LATER_SECONDS)), ("Cache-Control", "no-store")))
    return Response.json([{"type": "Task", "id": 1, "name": "Try the sandbox", "status": "open"}])


def _task(call: Call, _: Admitted) -> Response:
    if call.request.method == "DELETE":
        return Response(204)
    return Response.json({"type": "Task", "id": 2, "changed": json.loads(call.request.body or b"{}")})


def _projects(call: Call, _: Admitted) -> Response:
    """A page of a list, with what a caller needs for the next page and for asking again."""
    if call.request.headers.get("if-none-match") == ETAG:
        return Response(304, "", (("ETag", ETAG),))
    links = f'<{call.issuer}/api/3/projects?page=2>; rel="next", <https://redbooth.example/doc>; rel="help"'
    counts = (("X-Total-Count", "1"), ("RateLimit", '"day";r=99;t=60'), ("X-RateLimit-Remaining", "99"))
    return Response.json(PROJECTS, 200, (("ETag", ETAG), ("Link", links), *counts))


def _echo(call: Call, _: Admitted) -> Response:
    """What came, but for the credentials, of which it says the kind and the hash."""
    scheme, _space, credentials = call.request.headers.get("authorization", "").partition(" ")
    shown = {name: value for name, value in call.request.headers.items() if name != "authorization"}
    document = {
        "method": call.request.method,
        "path": call.request.path,
        "query": call.request.raw_query,
        "headers": shown,
        "scheme": scheme,
        "credentials_sha256": hashlib.sha256(credentials.encode()).hexdigest(),
        "body": base64.b64encode(call.request.body).decode(),
    }
    return Response.json(document, 200, _CARELESS)


def _file(_call: Call, _: Admitted) -> Response:
    headers = (("Content-Type", "image/x-sandbox"), ("Content-Disposition", 'attachment; filename="all.bin"'))
    return Response(200, "", headers, EVERY_BYTE)


def _page(_call: Call, _: Admitted) -> Response:
    return Response(
        200, "<script>alert(1)</script>", (("Content-Type", "text/html"), ("Content-Disposition", "inline"))
    )


def _at_another_host(_call: Call, _: Admitted) -> Response:
    return Response.redirect(ELSEWHERE)


def _moved(_call: Call, _: Admitted) -> Response:
    return Response(307, "", (("Location", "../1/download?v=2"),))


def _out_of_the_api(call: Call, _: Admitted) -> Response:
    return Response.redirect(f"{call.issuer}/oauth2/authorize")


def _quota(_call: Call, _: Admitted) -> Response:
    return error(429, "Too many requests").with_headers(("Retry-After", "17"), ("RateLimit", '"day";r=0;t=17'))


def _indiscreet(call: Call, _: Admitted) -> Response:
    """An API that repeats the caller's token, also in part (RFC 9110 section 14.2)."""
    whole = json.dumps({"token": call.request.credentials("bearer")}).encode()
    asked = re.fullmatch(r"bytes=([0-9]{1,4})-([0-9]{1,4})", call.request.headers.get("range", ""))
    if asked is None:
        return Response(200, "", (("Content-Type", "application/json"),), whole)
    part = whole[int(asked[1]) : int(asked[2]) + 1]
    where = f"bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(whole)}"
    return Response(206, "", (("Content-Type", "application/json"), ("Content-Range", where)), part)


def _forbidden(_call: Call, _: Admitted) -> Response:
    return error(403, "You may not see this")


def _unwelcome(_call: Call, _: Admitted) -> Response:
    """Refuses every token, however good: as where an API wants more than a token."""
    return refused("revoked")


def _route(answer: Answer, *methods: str) -> Route:
    return Route("api", methods, _protected(answer))


_ECHO = _route(_echo, "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")

ROUTES = {
    "/api/3/tasks": _route(_tasks, "GET", "POST"),
    "/api/3/tasks/2": _route(_task, "PUT", "PATCH", "DELETE"),
    "/api/3/projects": _route(_projects, "GET", "HEAD"),
    "/api/3/echo": _ECHO,
    "/api/3/echo/": _ECHO,
    "/api/3/echo/Ünï cødé": _ECHO,
    "/api/3/echo/a;b=c,d&e=f+g@h:i": _ECHO,
    "/api/3/files/1/download": _route(_file, "GET"),
    "/api/3/files/2/download": _route(_page, "GET"),
    "/api/3/files/3/download": _route(_at_another_host, "GET"),
    "/api/3/files/4/download": _route(_moved, "GET", "POST"),
    "/api/3/files/5/download": _route(_out_of_the_api, "GET"),
    "/api/3/quota": _route(_quota, "GET"),
    "/api/3/forbidden": _route(_forbidden, "GET"),
    "/api/3/unwelcome": _route(_unwelcome, "GET"),
    "/api/3/indiscreet": _route(_indiscreet, "GET"),
}
