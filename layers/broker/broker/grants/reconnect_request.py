"""A login that is to take another one's place: the handle that names the old one, and that it must be the same account's.

The handle (docs/links.md) carries no secret and opens nothing. Whoever finds one can do no more with it than log in as himself.
"""

from dataclasses import replace
from urllib.parse import urlencode

from broker import audit
from broker.crypto import handles
from broker.crypto.handles import Handle, Kind
from broker.crypto.keys import KeyRing
from broker.grants.subjects import pseudonym_of
from broker.protocol.authorization_request import AuthorizationRequest, provider_name
from broker.protocol.clients import Client
from broker.protocol.errors import ACCESS_DENIED, INVALID_REQUEST, OAuthError
from broker.protocol.parameters import Parameters
from broker.runtime import Runtime
from broker.store.grants import Grant

OTHER_ACCOUNT = "other_account"
"""The end_detail of a login that was to take another's place and was somebody else's."""


def url(ring: KeyRing, issuer_url: str, grant: Grant) -> str:
    """Where a client sends the person to reconnect this login, once it has added its own redirect_uri, state and challenge."""
    key = ring.handle_key()
    handle = handles.make(Handle(Kind.RECONNECT, grant.grant_id, key_id=key.id), key)
    query = urlencode({"client_id": grant.client_id, "provider": grant.provider, "reconnect": handle})
    return f"{issuer_url}/authorize?{query}"


def asked_for(runtime: Runtime, client: Client, parameters: Parameters) -> Grant | None:
    """The login that a request wants to take the place of, None if it names none. One read, and none for a forged handle.

    Errors: OAuthError invalid_request; StoreUnavailable.
    """
    text = parameters.get("reconnect")
    if text is None:
        return None
    handle = handles.read(Kind.RECONNECT, text, runtime.keys.ring())
    if handle is None:
        raise OAuthError(INVALID_REQUEST, "reconnect is not a value that was issued here")
    old = runtime.grants.read_grant(handle.grant_id)
    if old is None:
        raise OAuthError(INVALID_REQUEST, "the login to reconnect is no longer known, please begin without reconnect")
    if old.client_id != client.client_id:
        raise OAuthError(INVALID_REQUEST, "the login to reconnect is another client's")
    if parameters.get("provider") not in (None, old.provider):
        raise OAuthError(INVALID_REQUEST, "the login to reconnect is one at another provider")
    return old


def applied_to(
    asked: AuthorizationRequest, runtime: Runtime, client: Client, parameters: Parameters
) -> AuthorizationRequest:
    """The checked request with the login that it is to take the place of, at that one's provider. Errors: as `asked_for`."""
    old = asked_for(runtime, client, parameters)
    if old is None:
        return asked
    return replace(asked, provider=provider_name(client, old.provider), reconnects=old.grant_id)


def require_same_account(runtime: Runtime, login: Grant, subject: str) -> None:
    """The person who came back from the provider must be the one whose login this is to take the place of.

    Where a provider cannot say who somebody is, there is nothing to compare, and the login is a new one.
    Errors: OAuthError access_denied; StoreUnavailable.
    """
    if not login.reconnects:
        return
    old = runtime.grants.read_grant(login.reconnects)
    if old is None or (old.client_id, old.provider) != (login.client_id, login.provider):
        raise OAuthError(ACCESS_DENIED, "the login to reconnect is no longer known, please begin without reconnect")
    nameless = {pseudonym_of(one.provider, one.grant_id) for one in (old, login)}
    if subject == old.subject or nameless & {old.subject, subject}:
        return
    audit.event(
        "link.other_account",
        grant_id=login.grant_id,
        client_id=login.client_id,
        provider=login.provider,
        reconnects=login.reconnects,
    )
    # The tokens that the provider has just given out are not revoked there: with many providers that would end all that the
    # broker holds for this account, and with it somebody's link that works.
    description = "the person signed in with another account than the one to reconnect"
    raise OAuthError(ACCESS_DENIED, description, detail=OTHER_ACCOUNT)
