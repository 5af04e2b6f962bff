"""The first state of a login: what an authorization request asked for, as it is written into the Grants table."""

from broker import clock
from broker.protocol.authorization_request import AuthorizationRequest
from broker.protocol.clients import Client
from broker.store.grants import Grant


def login_of(client: Client, asked: AuthorizationRequest, grant_id: str, expires_at: int) -> Grant:
    """The login's item, for a request that was checked. `expires_at`: epoch seconds."""
    return Grant(
        grant_id=grant_id,
        stage="login",
        client_id=client.client_id,
        provider=asked.provider or "",
        created_at=clock.now(),
        expires_at=expires_at,
        redirect_uri=asked.address.redirect_uri,
        redirect_uri_sent=asked.redirect_uri_sent,
        response_mode=asked.address.response_mode if asked.address.response_mode != "query" else "",
        scope=asked.scope,
        resource=asked.resource,
        state=asked.address.state,
        code_challenge=asked.code_challenge,
        nonce=asked.nonce,
        code_jkt=asked.dpop_jkt,
        dialect=asked.address.dialect,
        max_age=asked.max_age,
        ask_consent="consent" in asked.prompts,
        ask_login="login" in asked.prompts,
        ask_account="select_account" in asked.prompts,
        reconnects=asked.reconnects,
    )
