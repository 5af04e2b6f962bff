"""A pushed login hint (OpenID Connect Core section 3.1.2.1), as the table keeps it until the browser comes with the reference.

It names a person. So it is sealed under the reference itself, which only the client and the browser hold: who reads the table,
or a backup of it, learns of nobody. An abandoned request stays in the table for days after its end. A request that is not
pushed goes on to the provider at once, and its hint is written nowhere.
"""

_PURPOSE = "login hint"


def sealed(hint: str, request_uri: str, grant_id: str) -> bytes:
    """The hint for the login's item; nothing for none."""
    if not hint:
        return b""
    # Few requests have a hint, and no other part of a pushed one needs cryptography.
    from broker.crypto.sealing import seal

    return seal(request_uri.encode(), _PURPOSE, hint.encode(), grant_id.encode())


def opened(sealed_hint: bytes, request_uri: str, grant_id: str) -> str:
    """What `sealed` got; "" for nothing. Errors: SealBroken."""
    if not sealed_hint:
        return ""
    from broker.crypto.sealing import unseal

    return unseal(request_uri.encode(), _PURPOSE, sealed_hint, grant_id.encode()).decode()
