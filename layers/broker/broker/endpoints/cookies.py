"""The broker's cookies: one per login in flight, and one per client that keeps its refresh token in the browser.

On https every name has the __Host- prefix, so that no other host can plant one (RFC 6265bis section 4.1.3).
"""

import hashlib

from broker.gateway import Request

_PREFIX = "__Host-"
_LOGIN = "tb-login-"
MAX_LOGIN_COOKIES = 12
"""More abandoned logins than this in one browser are forgotten: API Gateway refuses headers over 10 KB."""


def login_cookie_name(request: Request, key: str) -> str:
    """The cookie of one login; `key` is its grant id, or the provider where the provider does not return the state."""
    return _name(request, _LOGIN + key)


def refresh_cookie_name(request: Request, client_id: str) -> str:
    """The cookie of one client's refresh token. The client id is hashed, as it may have any characters."""
    return _name(request, "tb-refresh-" + hashlib.sha256(client_id.encode()).hexdigest()[:16])


def device_cookie_name(request: Request) -> str:
    """The cookie that binds the device page's forms to one browser."""
    return _name(request, "tb-device")


def set_login(request: Request, name: str, value: str, lifetime: int, *, by_form: bool = False) -> str:
    """Lax: the provider's redirect back is a cross-site navigation that must carry it.

    by_form: the provider's answer comes in a POST from its own site, which Lax cookies stay away from. What ties the answer
    to this browser is the value, which no other site can plant or read, whatever it makes the browser send.
    """
    return _set(request, name, value, lifetime, "None" if by_form else "Lax")


def set_refresh(request: Request, name: str, value: str, lifetime: int) -> str:
    """Strict: only the client's own pages ever send it."""
    return _set(request, name, value, lifetime, "Strict")


def logout_cookie_name(request: Request) -> str:
    """The cookie that shows that the question whether to sign out was put to this browser."""
    return _name(request, "tb-logout")


def set_logout(request: Request, name: str, value: str, lifetime: int) -> str:
    """Strict: only the question's own form sends it back."""
    return _set(request, name, value, lifetime, "Strict")


def clear_logout(request: Request, name: str) -> str:
    """Delete the cookie of the question."""
    return _set(request, name, "", 0, "Strict")


def clear_login(request: Request, name: str) -> str:
    """Delete a login cookie."""
    return _set(request, name, "", 0, "Lax")


def clear_refresh(request: Request, name: str) -> str:
    """Delete a refresh cookie."""
    return _set(request, name, "", 0, "Strict")


def surplus_logins(request: Request) -> list[str]:
    """Names of login cookies beyond what one browser may have in flight, oldest first as browsers send them."""
    names = [name for name in request.cookies if name.removeprefix(_PREFIX).startswith(_LOGIN)]
    return names[: max(0, len(names) - MAX_LOGIN_COOKIES + 1)]


def _is_secure(request: Request) -> bool:
    return request.issuer.startswith("https://")


def _name(request: Request, name: str) -> str:
    return _PREFIX + name if _is_secure(request) else name


def _set(request: Request, name: str, value: str, lifetime: int, same_site: str) -> str:
    # Browsers drop a SameSite=None cookie that is not Secure, and take one on plain localhost.
    secure = "; Secure" if _is_secure(request) or same_site == "None" else ""
    return f"{name}={value}; Path=/; Max-Age={lifetime}; HttpOnly; SameSite={same_site}{secure}"
