"""What a provider file cannot say, in Python: one named hook for each of the few providers that need it.

A hook gets what its fields name and nothing else: it must never see a code, a token or another provider's secret, make a
call, or decide who somebody is.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from broker.printable import is_line
from broker.upstream.signing import BadClientKey, ClientKey, signed

SELF_STATED = ("name", "given_name", "family_name")
"""The claims that a hook may read out of the redirect. It comes through the browser, so it is the person's own word, which
is good enough for what to call him and for nothing else."""
MAX_NAME = 200


@dataclass(frozen=True)
class SecretRequest:
    """All that a hook gets to make a client secret of. now: epoch seconds."""

    client_id: str
    key: ClientKey = field(repr=False)
    variables: Mapping[str, str]
    now: int


@dataclass(frozen=True)
class Hook:
    """What a provider needs beyond its file; a member that is None is as in the file.

    variables: the operator's variables that the hook gets, each of which the file must declare.
    client_secret: makes the client secret of one call, with the broker's key at the provider. Errors: BadClientKey.
    parameter: the one parameter of the redirect that the hook gets; read_claims: its text, of at most MAX_PARAMETER
    characters, to claims, of which SELF_STATED are used.
    """

    variables: tuple[str, ...] = ()
    client_secret: Callable[[SecretRequest], str] | None = None
    parameter: str | None = None
    read_claims: Callable[[str], Mapping[str, object]] | None = None


MAX_PARAMETER = 4096


def stated_claims(hook: Hook, text: str) -> Mapping[str, str]:
    """What the redirect says of the person, as far as it may be used. Nothing when it is not understood."""
    if hook.read_claims is None or len(text) > MAX_PARAMETER:
        return MappingProxyType({})
    read = hook.read_claims(text)
    found = {name: value for name in SELF_STATED if isinstance(value := read.get(name), str)}
    return MappingProxyType({name: value for name, value in found.items() if is_line(value, MAX_NAME)})


# -- Sign in with Apple --------------------------------------------------------------------------------------------

_APPLE = "https://appleid.apple.com"
_APPLE_SECRET_SECONDS = 300  # Apple takes up to six months; a secret made for one call need not live on


def _apple_secret(request: SecretRequest) -> str:
    """The client secret is a JWT of the team, signed with the team's key."""
    if request.key.algorithm != "ES256":
        raise BadClientKey("Apple's keys are EC P-256")
    return signed(
        request.key,
        {
            "iss": request.variables["team_id"],
            "iat": request.now,
            "exp": request.now + _APPLE_SECRET_SECONDS,
            "aud": _APPLE,
            "sub": request.client_id,
        },
    )


def _apple_name(text: str) -> Mapping[str, object]:
    """`user`: {"name": {"firstName", "lastName"}, "email"}, sent with the person's first login alone. The address is left
    alone: the one in the ID token is signed.
    """
    try:
        name = json.loads(text)["name"]
        given, family = name.get("firstName"), name.get("lastName")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}
    whole = " ".join(part for part in (given, family) if isinstance(part, str) and part)
    return {"name": whole, "given_name": given, "family_name": family}


HOOKS: Mapping[str, Hook] = MappingProxyType(
    {
        "apple": Hook(variables=("team_id",), client_secret=_apple_secret, parameter="user", read_claims=_apple_name),
    }
)
"""Every hook by the name that a provider file gives in `hook`."""
