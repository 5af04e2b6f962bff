"""What a provider's answer to a deliberately wrong request says about the registration: judged by the functions' own classifier.

Pure: an UpstreamFailure, or none, in, a Finding out.
"""

from urllib.parse import parse_qsl, urlsplit

from broker.upstream.discovery import DiscoveryFailed, address_of
from broker.upstream.failures import FailureKind, UpstreamFailure
from broker.upstream.reader import shown
from broker_cli.findings import Finding, cannot_say, right, wrong

_NOT_THERE = (404, 405, 410, 501)
_LATER = "Try again later."


def is_taken(failure: UpstreamFailure | None) -> bool:
    """Whether a made-up code alone was complained about, so that the credentials beside it can be right."""
    return failure is not None and failure.kind is FailureKind.GRANT_REFUSED


def of_token(step: str, failure: UpstreamFailure | None, name: str, taken: str | None = None) -> Finding:
    """Of the token endpoint, which was given a code that nobody issued. taken: the other slot, "next" or "old", that it takes."""
    if failure is None:
        return wrong(step, "It gave tokens for a made-up code.", "Is token.url a test server? Do not use it.")
    match failure.kind:
        case FailureKind.GRANT_REFUSED:
            return right(step, "It refused a made-up code, as it should.")
        case FailureKind.CLIENT_REFUSED if not failure.sent:
            return wrong(step, f"Nothing could be sent: {_detail(failure)}.", f"`broker provider set-key {name}`.")
        case FailureKind.CLIENT_REFUSED if taken is not None:
            return wrong(
                step,
                f"It refuses this one ({_detail(failure)}) and takes the {taken} one, so logins succeed at their second try.",
                f"`broker provider secret {name} --promote` lets the next one be tried first."
                if taken == "next"
                else "Make the provider use the current one, or compare it with the provider's console.",
            )
        case FailureKind.CLIENT_REFUSED:
            return wrong(
                step,
                f"It refuses the client id, the secret or key, or the way they are sent ({_detail(failure)}).",
                f"Compare them with the provider's console; `broker provider set-secret {name}` or set-key; see token.auth.",
            )
        case FailureKind.REQUEST_REFUSED:
            return wrong(
                step,
                f"It does not allow this client an authorization code ({_detail(failure)}).",
                "Allow the authorization code grant for the client in the provider's console.",
            )
        case FailureKind.UNKNOWN_REFUSAL if failure.status not in _NOT_THERE:
            return cannot_say(
                step,
                f"It refused a made-up code, but in words that this file does not know ({_detail(failure)}).",
                "If that means a wrong code or a wrong client, say so in errors.map; else look at token.params and token.body.",
            )
    return _of_endpoint(step, failure, "token.url")


def of_wrong_secret(step: str, failure: UpstreamFailure | None) -> Finding:
    """Of the token endpoint that refused a made-up code, now given a wrong secret besides."""
    if failure is not None and failure.kind is FailureKind.CLIENT_REFUSED:
        return right(step, "The client id and the secret or key are right: with others it complains about those.")
    return cannot_say(
        step,
        "It refuses a made-up code before it looks at the secret, so the secret is not proven.",
        "`broker provider try` proves it by a whole login.",
    )


def of_other_secret(step: str, failure: UpstreamFailure | None) -> Finding:
    """Of the token endpoint, given the secret that waits beside the current one, or that was before it."""
    if failure is not None and failure.kind is FailureKind.CLIENT_REFUSED:
        return cannot_say(
            step, "It does not take this one now; the broker tries it only when the current one is refused."
        )
    if is_taken(failure):
        return right(step, "It takes this one.")
    return cannot_say(step, "It does not say whether it takes this one.")


def of_userinfo(failure: UpstreamFailure | None) -> Finding:
    """Of the profile, which was asked with an access token that nobody issued."""
    step = "userinfo"
    if failure is None:
        return wrong(step, "It gave a profile for a made-up token.", "Check userinfo.url: that is nobody's profile.")
    match failure.kind:
        case FailureKind.TOKEN_REFUSED | FailureKind.GRANT_REFUSED:
            return right(step, f"It refused a made-up token, as it should ({_detail(failure)}).")
        case FailureKind.TOKEN_OR_CLIENT_REFUSED:
            return cannot_say(
                step,
                f"It refused a made-up token or the broker's own secret, which it got as well ({_detail(failure)}).",
                "A login that its user ended there cannot be told from a wrong secret; if it has codes for them, see errors.map.",
            )
        case FailureKind.FORBIDDEN | FailureKind.NO_SUBJECT:
            return cannot_say(
                step,
                f"It refused a made-up token, but not with a 401 ({_detail(failure)}).",
                "An expired token may not be noticed; see userinfo.ok and errors.map.",
            )
        case FailureKind.UNKNOWN_REFUSAL if failure.status not in _NOT_THERE:
            return cannot_say(
                step, f"It refused a made-up token in words that this file does not know ({_detail(failure)})."
            )
    return _of_endpoint(step, failure, "userinfo.url")


def of_revoke(failure: UpstreamFailure | None, name: str) -> Finding:
    """Of the revocation endpoint, which was given a token that nobody issued."""
    step = "revoke"
    if failure is None:
        return right(step, "It takes a made-up token without a complaint, as RFC 7009 section 2.2 wants.")
    match failure.kind:
        case FailureKind.CLIENT_REFUSED:
            return wrong(
                step,
                f"It refuses the broker ({_detail(failure)}).",
                f"See revoke.auth; `broker provider set-secret {name}` if the token endpoint refuses it too.",
            )
        case FailureKind.UNKNOWN_REFUSAL | FailureKind.GRANT_REFUSED | FailureKind.REQUEST_REFUSED:
            # Some answer 404 for a token that they do not know, so the address may be right.
            return cannot_say(step, f"It refused a made-up token ({_detail(failure)}).", "`broker provider try` tells.")
    return _of_endpoint(step, failure, "revoke.url")


def of_discovery(issuer: str, failure: DiscoveryFailed) -> Finding:
    """Of the issuer, whose document cannot be had or used."""
    step, address = "discovery", address_of(issuer)
    if failure.named is not None:
        return wrong(
            step,
            f"{address} is the document of another issuer ({shown(failure.named)}), and not of {issuer}.",
            "Check issuer: the document must name it to the letter.",
        )
    return wrong(
        step,
        f"{address} cannot be used ({failure.detail.removeprefix('discovery: ')}).",
        "Open it in a browser: it must be there. Check issuer.",
    )


def of_unspoken(methods: tuple[str, ...]) -> Finding:
    """Of an issuer whose token endpoint announces no client authentication that the broker has."""
    return wrong(
        "discovery",
        f"Its token endpoint knows clients by {', '.join(methods)}, of which the broker can do none; it tries HTTP Basic.",
        "Choose a client secret or private_key_jwt for the client at the provider; then set token.auth to how it is sent.",
    )


def of_authorize(status: int, error: str | None, location: str, name: str) -> Finding:
    """Of the authorization endpoint. error: what it sent back to the redirect URI at once, None when it did not; location: where
    it redirects to, "" for nowhere.
    """
    step = "authorize"
    if error is not None:
        return wrong(
            step,
            f"It sends every browser straight back with the error {error}.",
            "invalid_scope: see authorize.scope. Else: see the client in the provider's console.",
        )
    if _names_an_error(location):
        return wrong(
            step,
            f"It sends every browser to a page of its own that looks like an error (HTTP {status}).",
            f"Is the redirect URI registered, and the client id right? `broker provider try {name}` shows its page.",
        )
    if 200 <= status < 400:
        return cannot_say(
            step,
            f"It answers a browser (HTTP {status}); whether it takes the client id and the redirect URI, its page shows.",
            f"`broker provider try {name}` shows.",
        )
    if status in _NOT_THERE:
        return wrong(step, f"There is nothing for a browser (HTTP {status}).", "Check authorize.url.")
    if status in (400, 422):
        return wrong(
            step,
            f"It refuses the request (HTTP {status}).",
            f"Is the redirect URI registered, and the client id right? `broker provider try {name}` shows its page.",
        )
    return cannot_say(
        step,
        f"It gave this program no page (HTTP {status}); a browser may get one.",
        f"`broker provider try {name}` shows.",
    )


def _names_an_error(location: str) -> bool:
    """Whether the path or a parameter's name says so; a value may hold the word by chance."""
    parts = urlsplit(location)
    names = (name for name, _ in parse_qsl(parts.query, keep_blank_values=True))
    return any("error" in text.lower() for text in (parts.path, parts.fragment, *names))


def _of_endpoint(step: str, failure: UpstreamFailure, field: str) -> Finding:
    """What is the same of every endpoint."""
    match failure.kind:
        case FailureKind.UNREACHABLE:
            return wrong(step, f"It cannot be reached ({failure.detail}).", f"Check {field}.")
        case FailureKind.UNTRUSTED | FailureKind.ADDRESS_REFUSED:
            return wrong(step, f"The broker does not call it ({failure.detail}).", f"Check {field}.")
        case FailureKind.REDIRECT:
            return wrong(
                step,
                f"It redirects (HTTP {failure.status}), which the broker does not follow with credentials.",
                f"Set {field} to where it leads.",
            )
        case FailureKind.UNUSABLE if not failure.sent:
            return cannot_say(
                step, f"It needs what only a login brings ({failure.detail}).", "`broker provider try` makes one."
            )
        case FailureKind.UNREADABLE | FailureKind.UNUSABLE | FailureKind.TOO_LARGE:
            return wrong(
                step, f"It answers with what is no answer to this ({failure.detail}).", f"Is {field} a page for people?"
            )
        case FailureKind.UNKNOWN_REFUSAL:
            return wrong(step, f"There is nothing (HTTP {failure.status}).", f"Check {field}.")
    return cannot_say(step, f"It is in trouble at present ({failure.detail or failure.kind.value}).", _LATER)


def _detail(failure: UpstreamFailure) -> str:
    return failure.detail or failure.kind.value
