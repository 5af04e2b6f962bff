"""The way to a provider's hosts: names, addresses and certificates, before a word of HTTP is said.

Must never connect to an address that the broker's functions would not call.
"""

import socket
import ssl
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from broker import clock
from broker.upstream.addresses import may_be_called, parse_address
from broker.upstream.http import MAX_ADDRESSES, no_connection, system_resolver
from broker.upstream.provider import Provider
from broker.upstream.templates import TemplateError, fill_url
from broker_cli.findings import Finding, cannot_say, right, wrong

CONNECT_SECONDS = 5
SOON_DAYS = 10


def addresses_of(provider: Provider, client_id: str) -> Mapping[str, str]:
    """Every address that a login leads to, by its field, as far as it is known before a login."""
    userinfo, revoke, discovered = provider.userinfo, provider.revoke, provider.discovered
    templates = {
        "issuer": provider.issuer,
        "authorize.url": provider.authorize.url,
        "token.url": provider.token.url,
        "refresh.url": provider.refresh.url,
        "userinfo.url": userinfo.url if userinfo else None,
        "revoke.url": revoke.url if revoke else None,
        "api.base": provider.api.base,
        "jwks_uri": discovered.jwks_uri if discovered else None,
    }
    known = {name: variable.value for name, variable in provider.variables.items() if variable.value is not None}
    found: dict[str, str] = {}
    for name, template in templates.items():
        try:
            if template:
                found[name] = fill_url(template, {**known, "client_id": client_id}, local=provider.local)
        except TemplateError:
            continue  # filled from each login's own answers
    return found


def look_at(provider: Provider, client_id: str) -> Iterator[Finding]:
    """One finding on the name and one on the certificate of each host."""
    fields_by_host: dict[tuple[str, str, int], list[str]] = {}
    for name, url in addresses_of(provider, client_id).items():
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        fields_by_host.setdefault((parts.scheme, parts.hostname or "", port), []).append(name)
    for (scheme, host, port), names in fields_by_host.items():
        yield from _look_at_host(provider, scheme, host, port, names)


def _look_at_host(provider: Provider, scheme: str, host: str, port: int, names: list[str]) -> Iterator[Finding]:
    fields = ", ".join(names)
    try:
        found = [host] if parse_address(host) else list(system_resolver(host, port))
    except (OSError, UnicodeError):
        yield wrong("name", f"{host} has no address.", f"Check {fields}, or this machine's name server.")
        return
    parsed = [address for text in found if (address := parse_address(text)) is not None]
    callable_ = [str(one) for one in parsed if may_be_called(one, scheme=scheme, allow_loopback=provider.local)]
    if callable_:
        yield right("name", f"{host} is {', '.join(callable_)}.")
    elif names == ["authorize.url"]:
        # The person's browser goes there, and never the broker.
        yield cannot_say("name", f"{host} leads to {', '.join(found)}, where only browsers of that network get.")
    else:
        refused = f"{host} leads to {', '.join(found)}, which is no public address; the broker calls none of them."
        yield wrong("name", refused, f"Check {fields}: the provider must be on the public internet.")
    if callable_ and scheme == "https":
        yield _certificate(host, port, callable_[:MAX_ADDRESSES], fields)


def _certificate(host: str, port: int, addresses: list[str], fields: str) -> Finding:
    """Verified as the functions verify it, at the first address that answers."""
    try:
        with (
            _connected(addresses, port) as plain,
            ssl.create_default_context().wrap_socket(plain, server_hostname=host) as secured,
        ):
            shown = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as problem:
        return wrong(
            "certificate",
            f"{host}: {problem.verify_message}.",
            "The broker calls no server that it cannot verify; tell the provider.",
        )
    except OSError as problem:
        return wrong(
            "certificate", f"{host} cannot be reached at port {port}: {no_connection(problem)}.", f"Check {fields}."
        )
    ends = str(shown.get("notAfter", ""))
    days = int(ssl.cert_time_to_seconds(ends) - clock.now()) // 86400
    if days < SOON_DAYS:
        return cannot_say(
            "certificate", f"{host} has a good certificate, for {days} more days.", "The provider has to renew it."
        )
    return right("certificate", f"{host} has a good certificate, for {days} more days.")


def _connected(addresses: list[str], port: int) -> socket.socket:
    """A connection to the first address that takes one. Errors: OSError."""
    for address in addresses[:-1]:
        try:
            return socket.create_connection((address, port), timeout=CONNECT_SECONDS)
        except OSError:
            continue
    return socket.create_connection((addresses[-1], port), timeout=CONNECT_SECONDS)
