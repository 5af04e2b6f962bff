"""Authlib and requests-oauthlib when the provider has ended the access: where to reconnect, as docs/links.md reads it."""

from __future__ import annotations

import os
from typing import Any

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # plain HTTP on localhost

import requests
import requests_oauthlib
from authlib.integrations import requests_client
from authlib.integrations.base_client import OAuthError
from oauthlib.oauth2 import InvalidGrantError

from clients.python.script import TIMEOUT, Settings, discover, person_opens, read_settings, report

SCOPE = ["openid", "offline_access"]


def authlib_session(settings: Settings, metadata: dict[str, Any]) -> Any:
    """A session of Authlib that is logged in."""
    session = requests_client.OAuth2Session(
        settings.client_id, scope=SCOPE, redirect_uri=settings.redirect_uri, code_challenge_method="S256",
        token_endpoint_auth_method="none",
    )  # fmt: skip
    verifier = "v" * 64
    url, state = session.create_authorization_url(metadata["authorization_endpoint"], code_verifier=verifier)
    arrived = person_opens(settings, url)
    session.fetch_token(metadata["token_endpoint"], authorization_response=arrived, state=state, code_verifier=verifier)
    return session


def requests_oauthlib_session(settings: Settings, metadata: dict[str, Any]) -> Any:
    """A session of requests-oauthlib that is logged in."""
    session = requests_oauthlib.OAuth2Session(
        settings.client_id, redirect_uri=settings.redirect_uri, scope=SCOPE, pkce="S256",
        auto_refresh_kwargs={"client_id": settings.client_id},
    )  # fmt: skip
    url, _state = session.authorization_url(metadata["authorization_endpoint"])
    arrived = person_opens(settings, url)
    session.fetch_token(metadata["token_endpoint"], authorization_response=arrived, include_client_id=True)
    return session


def main(settings: Settings) -> None:
    """Login, the provider ends it, userinfo, refresh."""
    metadata = discover(settings)
    begin = {"authlib": authlib_session, "requests_oauthlib": requests_oauthlib_session}[settings.library]
    session = begin(settings, metadata)
    order = {"provider": "openid", "what": "grant"}
    requests.post(f"{settings.issuer}/sandbox/_expire", json=order, timeout=TIMEOUT).raise_for_status()
    at_userinfo = session.get(metadata["userinfo_endpoint"]).json()["reconnect_url"]
    answers: list[requests.Response] = []

    def keep(answer: requests.Response) -> requests.Response:
        answers.append(answer)
        return answer

    session.register_compliance_hook("refresh_token_response", keep)
    try:
        session.refresh_token(metadata["token_endpoint"])
    except (OAuthError, InvalidGrantError):
        report(userinfo=at_userinfo, refresh=answers[-1].json()["reconnect_url"])


if __name__ == "__main__":
    main(read_settings())
