"""requests-oauthlib with its own PKCE and its own automatic refresh."""

from __future__ import annotations

import os

os.environ["OAUTHLIB_INSECURE_TRANSPORT"] = "1"  # the broker of the tests speaks plain HTTP on localhost

import requests
from oauthlib.oauth2 import InvalidGrantError, WebApplicationClient
from requests_oauthlib import OAuth2Session

from clients.python.script import TIMEOUT, Settings, discover, person_opens, read_settings, report

SCOPE = ["openid", "profile", "email", "offline_access"]


def main(settings: Settings) -> None:
    """Login, profile, automatic refresh, refresh, revocation."""
    metadata = discover(settings)
    kept: list[dict[str, str]] = []
    client = WebApplicationClient(settings.client_id)
    session = OAuth2Session(
        client=client,
        redirect_uri=settings.redirect_uri,
        scope=SCOPE,
        pkce="S256",
        auto_refresh_url=metadata["token_endpoint"],
        auto_refresh_kwargs={"client_id": settings.client_id, "client_secret": settings.client_secret},
        token_updater=kept.append,
    )
    url, _state = session.authorization_url(metadata["authorization_endpoint"])
    arrived = person_opens(settings, url)
    tokens = dict(
        session.fetch_token(
            metadata["token_endpoint"],
            authorization_response=arrived,
            client_secret=settings.client_secret,
            include_client_id=True,
        )
    )
    profile = session.get(metadata["userinfo_endpoint"]).json()

    session.token = tokens | {"expires_at": 1, "expires_in": -1}
    again = session.get(metadata["userinfo_endpoint"]).json()
    refreshed = kept[0]

    words, headers, body = client.prepare_token_revocation_request(
        metadata["revocation_endpoint"], refreshed["refresh_token"], "refresh_token", client_id=settings.client_id,
        client_secret=settings.client_secret or "",
    )  # fmt: skip
    revoked = requests.post(words, headers=headers, data=body, timeout=TIMEOUT)
    try:
        session.refresh_token(
            metadata["token_endpoint"],
            refresh_token=refreshed["refresh_token"],
            client_id=settings.client_id,
            client_secret=settings.client_secret,
        )
        refused = ""
    except InvalidGrantError as error:
        refused = error.error
    bearer = {"authorization": f"Bearer {refreshed['access_token']}"}
    unknown = requests.get(metadata["userinfo_endpoint"], headers=bearer, timeout=TIMEOUT)
    report(
        sub=profile["sub"],
        name=profile["name"],
        email=again["email"],
        token_type=tokens["token_type"].lower(),
        rotated=refreshed["refresh_token"] != tokens["refresh_token"],
        revoked=revoked.status_code,
        after_revocation={"refresh": refused, "userinfo": unknown.status_code},
    )


if __name__ == "__main__":
    main(read_settings())
