"""django-oauth-toolkit at its strictest: the exact redirect URI, PKCE, refresh tokens that are replaced at every use, and no
grace: one that comes twice ends its whole family (REFRESH_TOKEN_REUSE_PROTECTION).

An ordinary Django site around it: accounts, a login page, and one resource that says who is asking.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import django
from django.conf import settings as django_settings
from django.utils import timezone

from upstreams.python.control import ready, settings

LOGIN_PAGE = '<form method="post">{% csrf_token %}{{ form }}<button>Sign in</button></form>'
PEOPLE = ("johndoe", "janedoe")

calls: list[dict[str, str]] = []
_moved = timedelta()
_machine_now = timezone.now


def _now() -> datetime:
    now: datetime = _machine_now()
    return now + _moved


def _move(seconds: float) -> None:
    global _moved  # noqa: PLW0603 - the one clock of the process
    _moved = timedelta(seconds=seconds)


def configure(database: str, access_lifetime: int) -> None:
    """Django's settings, and the toolkit's."""
    os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain http, as everything is on loopback
    django_settings.configure(
        SECRET_KEY=os.urandom(32).hex(),
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        LOGIN_URL="/login",
        USE_TZ=True,
        STATIC_URL="/static/",
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        # Quick to check: client secrets are kept as passwords are, and the tests make thousands of token calls.
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": database,
                "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 30},
            }
        },
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "oauth2_provider",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            f"{__name__}.recording",
        ],
        TEMPLATES=[
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "OPTIONS": {
                    "loaders": [
                        ("django.template.loaders.locmem.Loader", {"login.html": LOGIN_PAGE}),
                        "django.template.loaders.app_directories.Loader",
                    ],
                    "context_processors": [
                        "django.template.context_processors.request",
                        "django.contrib.auth.context_processors.auth",
                    ],
                },
            }
        ],
        OAUTH2_PROVIDER={
            "SCOPES": {"read": "Read your profile"},
            "DEFAULT_SCOPES": ["read"],
            "PKCE_REQUIRED": True,
            "ACCESS_TOKEN_EXPIRE_SECONDS": access_lifetime,
            "AUTHORIZATION_CODE_EXPIRE_SECONDS": 60,
            "REFRESH_TOKEN_EXPIRE_SECONDS": 90 * 86400,
            "ROTATE_REFRESH_TOKEN": True,
            "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
            "REFRESH_TOKEN_REUSE_PROTECTION": True,
            "ALLOWED_REDIRECT_URI_SCHEMES": ["http", "https"],
        },
    )
    django.setup()


def recording(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Middleware: writes down every token call and every revocation, with its outcome."""

    def record(request: Any) -> Any:
        response = get_response(request)
        names = {"/o/token/": request.POST.get("grant_type", ""), "/o/revoke_token/": "revoke"}
        if request.path in names:
            error = "" if response.status_code == 200 else json.loads(response.content or "{}").get("error", "unsaid")
            calls.append({"what": names[request.path], "error": error})
        return response

    return record


def me(request: Any) -> Any:
    """The resource: who the access token speaks for. 401 without a good one (RFC 6750 section 3.1)."""
    from django.http import JsonResponse
    from oauth2_provider.oauth2_backends import get_oauthlib_core

    valid, verified = get_oauthlib_core().verify_request(request, scopes=["read"])
    if not valid:
        return JsonResponse({}, status=401, headers={"www-authenticate": 'Bearer error="invalid_token"'})
    user = verified.user
    return JsonResponse({"id": user.pk, "username": user.username, "email": user.email})


def add_contents(client_id: str, client_secret: str, redirect_uris: Iterable[str]) -> None:
    """Tables, people, and the broker as an application."""
    from django.contrib.auth.models import User
    from django.core.management import call_command
    from oauth2_provider.models import Application

    call_command("migrate", verbosity=0)
    for name in PEOPLE:
        User.objects.create_user(name, f"{name}@example.com", "sandbox")
    Application.objects.create(
        name="The broker",
        client_id=client_id,
        client_secret=client_secret,
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris=" ".join(redirect_uris),
    )


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 256


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_message: object) -> None:
        return


def main() -> None:
    """Start, and serve until the parent ends."""
    given = settings()
    configure(given["database"], given["access_lifetime"])
    timezone.now = _now
    add_contents(given["client_id"], given["client_secret"], given["redirect_uris"])

    from django.contrib.auth.views import LoginView
    from django.core.wsgi import get_wsgi_application
    from django.urls import include, path

    urlpatterns.extend(
        [
            path("login", LoginView.as_view(template_name="login.html")),
            path("me", me),
            path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
        ]
    )
    server = make_server("127.0.0.1", 0, get_wsgi_application(), _Server, _Quiet)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    orders = {"POST /clock": _move, "GET /calls": lambda _: calls, "DELETE /calls": lambda _: calls.clear()}
    ready(f"http://127.0.0.1:{server.server_port}", orders)


urlpatterns: list[Any] = []

if __name__ == "__main__":
    # Django finds middleware and addresses by the module's name, so what runs is the module of that name, not this script.
    from upstreams.python import django_provider

    django_provider.main()
