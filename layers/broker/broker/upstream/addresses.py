"""Which addresses the broker may call, decided after the name is resolved (server-side request forgery).

Must never look at a name: names lie, and may answer differently the next time (DNS rebinding), so the caller connects
to the very address that was checked here.
"""

import ipaddress

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LOOPBACK_V4 = ipaddress.IPv4Network("127.0.0.0/8")
_LOOPBACK_V6 = ipaddress.IPv6Address("::1")
# IANA's special-purpose IPv4 registry (RFC 6890), in full: `is_global` differs between versions of Python.
_SPECIAL_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip

# The whole of IPv6 that is handed out to the public today (RFC 4291, IANA); everything else is local, reserved or
# multicast.
_PUBLIC_V6 = ipaddress.IPv6Network("2000::/3")
# Inside it, ranges that wrap an IPv4 address (Teredo, 6to4), carry no service or are for documentation: RFC 4380,
# 3056, 6890, 3849, 9637.
_WRAPPED_V6 = tuple(
    ipaddress.IPv6Network(network) for network in ("2001::/23", "2002::/16", "2001:db8::/32", "3fff::/20")
)


def parse_address(text: str) -> Address | None:
    """An IP address as written in a URL or given by the resolver, or None. A zone (`fe80::1%eth0`) makes it none."""
    try:
        return ipaddress.ip_address(text) if "%" not in text else None
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether the address is on the public internet: not loopback, private, link-local (cloud metadata), shared (RFC
    6598), multicast, reserved, nor an IPv6 form that wraps an IPv4 address (mapped, NAT64, 6to4, Teredo)."""
    if isinstance(address, ipaddress.IPv4Address):
        return not any(address in network for network in _SPECIAL_V4)
    return address in _PUBLIC_V6 and not any(address in network for network in _WRAPPED_V6)


def is_loopback(address: Address) -> bool:
    """Whether the address is this machine's own. Not by `ipaddress`: newer versions say so of ::ffff:127.0.0.1 too."""
    return address in _LOOPBACK_V4 if isinstance(address, ipaddress.IPv4Address) else address == _LOOPBACK_V6


def may_be_called(address: Address, *, scheme: str, allow_loopback: bool) -> bool:
    """Public addresses over https; with allow_loopback this machine's own loopback too, and there plain http."""
    if is_loopback(address):
        return allow_loopback
    return scheme == "https" and is_public(address)
