"""Rotation of the broker's keys: how one key document becomes the next, without anybody noticing. Pure, but for new keys.

Each rotation adds to every kind a *next* key, which is published at once and used only after the lead time, when every
instance and every verifier has seen it. The key that it follows goes on being accepted for as long as anything that it made
may live, and is then dropped. Must never say more of a key than its id.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from typing import Literal, TypeVar

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from broker.crypto import handles, sealing
from broker.crypto.handles import GRANT_ID_BYTES, Handle, Kind
from broker.crypto.keys import (
    ALGORITHMS,
    Algorithm,
    KeyRing,
    PastKey,
    SecretKey,
    SigningKey,
    document_of,
    new_secret_key,
    new_signing_key,
    thumbprint,
)
from broker.encoding import b64url

MAX_DOCUMENT = 65536
"""Bytes that a secret may have in Secrets Manager."""
MAX_PAST = 40
"""Retired signing keys that are remembered, the latest; only the hint of who signs out needs them."""
ALL = "all"

Use = Literal["handle", "sealing", "signing"]
State = Literal["next", "active", "retiring", "retired"]
Key = TypeVar("Key", bound=SecretKey | SigningKey)


class RotationRefused(ValueError):
    """The keys cannot become what was asked for. The sentence names keys by their ids alone."""


@dataclass(frozen=True)
class Lives:
    """How long what a key made may live, at most, in seconds.

    Attributes:
        lead: from the publication of a key to its first use.
        handle: codes, refresh tokens and the other handles, nonces.
        sealing: access tokens, which carry the grant secret sealed.
        signing: signed tokens, as long as somebody verifies them with the published key.
        hint: a login, as an ID token of it may be shown at sign-out long after it has expired.
    """

    lead: int
    handle: int
    sealing: int
    signing: int
    hint: int


@dataclass(frozen=True)
class KeyReport:
    """A key as an operator may see it. Times are epoch seconds; `name` is what `revoked` takes.

    state: "next" is published and not yet used; "active" makes what is new; "retiring" is still accepted; "retired" is not.
    """

    use: Use
    name: str
    alg: str
    state: State
    active_from: int
    retires_at: int | None


def rotated(ring: KeyRing, now: int, lives: Lives, *, at_once: bool = False) -> KeyRing:
    """The next ring. A kind that has a next key already gets no other.

    at_once: the new keys are used from now on; next keys are superseded as well, but kept, as instances that remember the old
    document may be about to use them. These look again when they meet a new key, but verifiers elsewhere may refuse its
    tokens for some minutes.
    """
    handle = _successors(ring.handle, now, lives.lead, lives.handle, at_once, _new_secret(ring.handle))
    sealed = _successors(ring.sealing, now, lives.lead, lives.sealing, at_once, _new_secret(ring.sealing))
    signing = [
        key
        for alg in ALGORITHMS
        for key in _successors(_of(ring, alg), now, lives.lead, lives.signing, at_once, partial(new_signing_key, alg))
    ]
    return _within_limits(KeyRing(handle, sealed, tuple(signing), _past(ring, now, lives)))


def _new_secret(keys: tuple[SecretKey, ...]) -> Callable[[int], SecretKey]:
    """An id is never used twice, not even that of a key which is revoked now: an instance may remember it."""
    return partial(new_secret_key, max((key.id for key in keys), default=0) + 1)


def _successors(
    keys: tuple[Key, ...], now: int, lead: int, life: int, at_once: bool, make: Callable[[int], Key]
) -> tuple[Key, ...]:
    """The keys of one kind after a rotation."""
    alive = tuple(key for key in keys if _alive(key, now))
    if not at_once and any(key.active_from > now for key in alive):
        return alive
    new = make(now if at_once else now + lead)

    def superseded(key: Key) -> Key:
        """Of two keys that begin at the same second the later one of the document is in use."""
        begins = min(key.active_from, new.active_from)
        end = max(key.active_from, new.active_from) + life
        return replace(key, active_from=begins, retires_at=end if key.retires_at is None else key.retires_at)

    return (*map(superseded, alive), new)


def replaced(ring: KeyRing, names: Iterable[str], now: int, lives: Lives) -> KeyRing:
    """The ring rotated at once and without the keys of these names (KeyReport.name, or "all"): whatever they made is dead.

    Errors: RotationRefused.
    """
    wanted, known = set(names), {report.name for report in reports(ring, now)}
    if unknown := sorted(wanted - known - {ALL}):
        raise RotationRefused(f"there is no key {', '.join(unknown)}")
    if ALL in wanted:
        wanted = known
    # Rotated with the revoked keys in sight, so that their ids are not used again.
    new = rotated(ring, now, lives, at_once=True)
    left = KeyRing(
        tuple(key for key in new.handle if _name("handle", key) not in wanted),
        tuple(key for key in new.sealing if _name("sealing", key) not in wanted),
        tuple(key for key in new.signing if key.kid not in wanted),
        tuple(key for key in new.past if key.kid not in wanted),
    )
    return replace(
        left,
        handle=_following(left.handle, lives.handle),
        sealing=_following(left.sealing, lives.sealing),
        signing=tuple(key for alg in ALGORITHMS for key in _following(_of(left, alg), lives.signing)),
    )


def _following(keys: tuple[Key, ...], life: int) -> tuple[Key, ...]:
    """The keys of one kind, each kept for as long as if the next of them had followed it.

    It was another that did, if that is gone now; and a key that retires before the next one's time would look like a mistake.
    """
    ordered = sorted(keys, key=lambda key: key.active_from)
    ends = {_id(key): successor.active_from + life for key, successor in pairwise(ordered)}

    def kept(key: Key) -> Key:
        end = ends.get(_id(key))
        return key if key.retires_at is None or end is None or key.retires_at >= end else replace(key, retires_at=end)

    return tuple(kept(key) for key in keys)


def reports(ring: KeyRing, now: int) -> tuple[KeyReport, ...]:
    """All keys, as an operator may see them."""
    found = [
        *_reports("handle", "HMAC-SHA-256", ring.handle, now),
        *_reports("sealing", "AES-256-GCM", ring.sealing, now),
        *(report for alg in ALGORITHMS for report in _reports("signing", alg, _of(ring, alg), now)),
        *(KeyReport("signing", key.kid, key.alg, "retired", 0, key.retires_at) for key in ring.past),
    ]
    return tuple(found)


def problems(ring: KeyRing, now: int, lives: Lives, *, oldest: int) -> tuple[str, ...]:
    """What is wrong with the keys, a sentence each, naming ids alone.

    oldest: seconds that a key may be in use before somebody should ask why it was not rotated; 0 for any time.
    """
    found: list[str] = []
    for what, keys, life in _kinds(ring, lives):
        used = [key for key in keys if key.active_from <= now and _alive(key, now)]
        if not used:
            found.append(f"there is no {what} key that may be used")
            continue
        newest = max(reversed(used), key=lambda key: key.active_from)
        age = now - newest.active_from
        if oldest and age > oldest and not any(key.active_from > now for key in keys):
            found.append(
                f"the {what} key {_id(newest)} has been in use for {age // 86400} days, and none is there to follow it"
            )
        found += _early(what, keys, life)
    return tuple(found)


def check_follows(ring: KeyRing, before: KeyRing, now: int) -> None:
    """See that no key of the ring before is missing that is still needed. Errors: RotationRefused."""
    if missing := _missing(ring, before, now):
        raise RotationRefused(f"keys that are still needed are missing or changed: {', '.join(missing)}")


def check_lead(ring: KeyRing, before: KeyRing, now: int, lead: int) -> None:
    """See that keys which the ring before has not are used `lead` seconds from now at the earliest. Errors: RotationRefused.

    Published too late, their first tokens are refused as nobody knows them, and the keys before them retire too soon.
    """
    known = _contents(before)
    new = (report for report in reports(ring, now) if report.state != "retired" and report.name not in known)
    if early := sorted(report.name for report in new if report.active_from < now + lead):
        raise RotationRefused(
            f"the rotation took too long: {', '.join(early)} would be used too soon after they are published;"
            " the next rotation makes others"
        )


def try_out(ring: KeyRing, now: int) -> None:
    """Try every key out, and see that there is one of each kind to use. Errors: RotationRefused."""
    for use, secret_keys in (("handle", ring.handle), ("sealing", ring.sealing)):
        if len({key.id for key in secret_keys}) != len(secret_keys):
            raise RotationRefused(f"two {use} keys have the same id")
    in_use = {(report.use, report.alg) for report in reports(ring, now) if report.state == "active"}
    if len(in_use) != 2 + len(ALGORITHMS):
        raise RotationRefused("a kind of key has none that may be used")
    for key in ring.handle:
        _try_handle(key)
    for key in ring.sealing:
        if sealing.unseal(key.secret, "trial", sealing.seal(key.secret, "trial", b"trial", b""), b"") != b"trial":
            raise RotationRefused(f"the sealing key {key.id} does not work")
    for signing in ring.signing:
        _try_signature(signing)


def _try_handle(key: SecretKey) -> None:
    handle = Handle(Kind.STATE, b64url(bytes(GRANT_ID_BYTES)), key_id=key.id)
    alone = KeyRing((replace(key, retires_at=None),), (), ())
    if handles.read(Kind.STATE, handles.make(handle, key), alone) != handle:
        raise RotationRefused(f"the handle key {key.id} does not work")


def _try_signature(key: SigningKey) -> None:
    """A signature by the private half is good for the published half, and the kid is its thumbprint."""
    import jwt

    try:
        serialization.load_pem_private_key(key.private_pem.encode(), None)
        token = jwt.encode({"trial": True}, key.private_key, algorithm=key.alg)
        jwt.decode(token, jwt.PyJWK(key.public_jwk).key, algorithms=[key.alg])
    except (jwt.PyJWTError, TypeError, ValueError):
        raise RotationRefused(f"the signing key {key.kid} does not work") from None
    if thumbprint(key.private_key) != key.kid:
        raise RotationRefused(f"the signing key {key.kid} has another's kid")


def _missing(ring: KeyRing, before: KeyRing, now: int) -> list[str]:
    """Names of keys of the ring before that are accepted still, and are not the same in this one."""
    there = _contents(ring)
    needed = {report.name for report in reports(before, now) if report.state != "retired"}
    return sorted(name for name, content in _contents(before).items() if name in needed and there.get(name) != content)


def _contents(ring: KeyRing) -> dict[str, bytes]:
    """What is secret of each key, by its name."""
    found = {_name("handle", key): key.secret for key in ring.handle}
    found |= {_name("sealing", key): key.secret for key in ring.sealing}
    return found | {key.kid: key.private_pem.encode() for key in ring.signing}


def _past(ring: KeyRing, now: int, lives: Lives) -> tuple[PastKey, ...]:
    """The signing keys that have retired, without what is private of them."""
    kept = [key for key in ring.past if now < key.retires_at]
    for key in ring.signing:
        if key.retires_at is not None and key.retires_at <= now < (end := key.retires_at - lives.signing + lives.hint):
            public = key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
            kept.append(PastKey(key.kid, key.alg, public.decode(), end))
    return tuple(sorted(kept, key=lambda key: key.retires_at)[-MAX_PAST:])


def _within_limits(ring: KeyRing) -> KeyRing:
    if len(document_of(ring)) > MAX_DOCUMENT:
        raise RotationRefused(
            f"the key document would have more than {MAX_DOCUMENT} bytes; let older keys retire first"
        )
    return ring


def _kinds(ring: KeyRing, lives: Lives) -> tuple[tuple[str, Sequence[SecretKey | SigningKey], int], ...]:
    """(what it is called, its keys, how long what they made may live)"""
    return (
        ("handle", ring.handle, lives.handle),
        ("sealing", ring.sealing, lives.sealing),
        *((alg, _of(ring, alg), lives.signing) for alg in ALGORITHMS),
    )


def _early(what: str, keys: Sequence[SecretKey | SigningKey], life: int) -> list[str]:
    """Keys that retire before what they made is dead, or never although another has followed."""
    ordered = sorted(keys, key=lambda key: key.active_from)
    found = []
    for key, successor in pairwise(ordered):
        if key.retires_at is None:
            found.append(f"the {what} key {_id(key)} was followed by another and never retires")
        elif key.retires_at < successor.active_from + life:
            found.append(f"the {what} key {_id(key)} retires while tokens that it made may still live")
    return found


def _reports(use: Use, alg: str, keys: tuple[Key, ...], now: int) -> list[KeyReport]:
    used = [key for key in keys if key.active_from <= now and _alive(key, now)]
    active = max(reversed(used), key=lambda key: key.active_from, default=None)

    def state(key: Key) -> State:
        if key.retires_at is not None and key.retires_at <= now:
            return "retired"
        if key.active_from > now:
            return "next"
        return "active" if key is active else "retiring"

    return [KeyReport(use, _name(use, key), alg, state(key), key.active_from, key.retires_at) for key in keys]


def _alive(key: SecretKey | SigningKey, now: int) -> bool:
    return key.retires_at is None or now < key.retires_at


def _of(ring: KeyRing, alg: Algorithm) -> tuple[SigningKey, ...]:
    return tuple(key for key in ring.signing if key.alg == alg)


def _id(key: SecretKey | SigningKey) -> str:
    return key.kid if isinstance(key, SigningKey) else str(key.id)


def _name(use: Use, key: SecretKey | SigningKey) -> str:
    return key.kid if isinstance(key, SigningKey) else f"{use}:{key.id}"
