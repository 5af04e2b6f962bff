"""Authlib's OAuth2Session, and its OpenID Connect checks of the ID token."""

from __future__ import annotations

import os
import secrets

os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"  # the broker of the tests speaks plain HTTP on localhost

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.jwk import KeySet

from clients.python.script import TIMEOUT, Settings, discover, person_opens, read_settings, report


def main(settings: Settings) -> None:
    """Login, ID token, profile, refresh, introspection, revocation."""
    metadata = discover(settings)
    session = OAuth2Session(
        settings.client_id,
        settings.client_secret,
        token_endpoint_auth_method=settings.auth,
        revocation_endpoint_auth_method=settings.auth,
        scope="openid profile email offline_access",
        redirect_uri=settings.redirect_uri,
        code_challenge_method="S256",
        token_endpoint=metadata["token_endpoint"],
    )
    verifier, nonce = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
    url, state = session.create_authorization_url(
        metadata["authorization_endpoint"], code_verifier=verifier, nonce=nonce
    )
    arrived = person_opens(settings, url)
    tokens = dict(
        session.fetch_token(
            metadata["token_endpoint"], authorization_response=arrived, state=state, code_verifier=verifier
        )
    )
    keys = KeySet.import_key_set(requests.get(metadata["jwks_uri"], timeout=TIMEOUT).json())
    decoded = jwt.decode(tokens["id_token"], keys, algorithms=[settings.id_token_alg])
    claims = CodeIDToken(
        decoded.claims,
        decoded.header,
        options={"iss": {"values": [settings.issuer]}, "aud": {"values": [settings.client_id]}},
        params={"nonce": nonce, "client_id": settings.client_id, "access_token": tokens["access_token"]},
    )
    claims.validate()
    profile = session.get(metadata["userinfo_endpoint"]).json()

    refreshed = dict(session.refresh_token(metadata["token_endpoint"]))
    again = session.get(metadata["userinfo_endpoint"]).json()
    introspected = None
    if settings.auth != "none":
        introspected = session.introspect_token(
            metadata["introspection_endpoint"], token=refreshed["access_token"]
        ).json()
    revoked = session.revoke_token(metadata["revocation_endpoint"], token=refreshed["refresh_token"])
    try:
        session.refresh_token(metadata["token_endpoint"], refresh_token=refreshed["refresh_token"])
        refused = ""
    except OAuthError as error:
        refused = error.error
    headers = {"authorization": f"Bearer {refreshed['access_token']}"}
    unknown = requests.get(metadata["userinfo_endpoint"], headers=headers, timeout=TIMEOUT)
    report(
        sub=claims["sub"],
        name=profile["name"],
        email=again["email"],
        token_type=tokens["token_type"].lower(),
        rotated=refreshed["refresh_token"] != tokens["refresh_token"],
        introspected=introspected,
        revoked=revoked.status_code,
        after_revocation={"refresh": refused, "userinfo": unknown.status_code},
    )


if __name__ == "__main__":
    main(read_settings())
