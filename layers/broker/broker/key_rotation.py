"""The rotation of the keys, as Secrets Manager calls for it (its four steps) and as an operator does.

Each step may come again, and changes nothing when it was done before. A step that fails raises, so that Secrets Manager knows
and tries again; until the last one the present keys stay. Must never log, return or quote a document.
"""

import secrets
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from broker import audit, clock
from broker.crypto import rotation
from broker.crypto.keys import KeyRing, document_of, parse
from broker.crypto.rotation import RotationRefused
from broker.key_lives import LEAD, MOST_DELAY, lives
from broker.runtime import runtime, start_type
from broker.store.aws import StoreUnavailable, client
from broker.store.key_versions import CURRENT, PENDING, KeyVersions, Versions, VersionsChanged

if start_type():  # what the steps need
    import jwt  # noqa: F401

    from broker import log  # noqa: F401


class RotationFailed(Exception):
    """A step could not be done. The text names the step and why, and no key but by its id."""


def handler(event: dict[str, Any], _context: Any) -> None:
    """The Lambda handler. `event`: Step, SecretId and ClientRequestToken (the new version). Errors: RotationFailed."""
    step = str(event.get("Step"))
    try:
        secret_id = runtime().settings.keys_secret
        if event.get("SecretId") != secret_id:
            raise RotationRefused("this function rotates another secret")
        if step not in _STEPS:
            raise RotationRefused("there is no such step")
        _run(KeyVersions(client("secretsmanager"), secret_id), step, str(event.get("ClientRequestToken")))
    except (RotationRefused, StoreUnavailable) as error:
        raise _failed(step, str(error)) from None
    except VersionsChanged:
        raise _failed(step, "the present keys were changed meanwhile") from None
    except Exception as error:  # its message may quote anything, so that the runtime must not log it
        raise _failed(step, type(error).__name__) from None


def rotate(versions: KeyVersions, *, at_once: bool = False, without: Collection[str] = ()) -> KeyRing:
    """What an operator does by hand. Returns the new keys.

    at_once: the new keys are used from now on; without: names of keys that are good for nothing from then on
    (rotation.replaced), which needs at_once.
    Errors: RotationRefused, VersionsChanged, StoreUnavailable.
    """
    now = clock.now()
    before, ring = _current(versions, versions.versions())
    if ring is None or before is None:
        raise RotationRefused("there are no keys yet")
    new = rotation.replaced(ring, without, now, lives()) if at_once else rotation.rotated(ring, now, lives())
    rotation.try_out(new, now)
    if not without:
        rotation.check_follows(new, ring, now)
    version = secrets.token_hex(16)
    with _dropped_on(BaseException, versions, version):  # an interrupt as well
        # The label moves with it: a rotation of Secrets Manager's own that is going on gives up.
        versions.put_pending(version, document_of(new))
        versions.promote(version, before)
    return new


def _run(versions: KeyVersions, step: str, version: str) -> None:
    found = versions.versions()
    if not found.rotation_enabled:
        raise RotationRefused("rotation is not switched on for this secret")
    labels = found.labels.get(version)
    if labels is None:
        raise RotationRefused("the secret has no such version")
    if CURRENT in labels:
        return  # done before
    if PENDING not in labels:
        raise RotationRefused("the version is not one that waits for its rotation")
    _STEPS[step](versions, found, version)


def _create(versions: KeyVersions, found: Versions, version: str) -> None:
    """The next document, beside the present one."""
    text = versions.text(version, PENDING)
    with _dropped_on(RotationRefused, versions, version):
        _, ring = _current(versions, found)
        if ring is None:
            raise RotationRefused("there are no keys yet; `broker keys init` makes them")
        if text is not None:
            # A version's value cannot be replaced (PutSecretValue): one that has waited too long is of no use any more.
            _check_next(_parsed(text), ring)
            return
        new = rotation.rotated(ring, clock.now(), lives())
    versions.put_pending(version, document_of(new))
    audit.event("keys.rotated", step="createSecret", added=_names(new, ring), removed=_names(ring, new))


def _set(_versions: KeyVersions, _found: Versions, _version: str) -> None:
    """Nothing: whoever reads the document has the keys, so there is no other place to set them."""


def _test(versions: KeyVersions, found: Versions, version: str) -> None:
    """Try every key out. Before the first rotation Secrets Manager calls this step alone, to see whether the function works;
    it is tried on the present keys then, if there are any."""
    text = versions.text(version, PENDING)
    _, ring = _current(versions, found)
    if text is None:
        if ring is not None:
            rotation.try_out(ring, clock.now())
        return
    with _dropped_on(RotationRefused, versions, version):
        new = _parsed(text)
        rotation.try_out(new, clock.now())
        _check_next(new, ring)


def _finish(versions: KeyVersions, found: Versions, version: str) -> None:
    """Make the next document the present one, if it follows the present one still, and in time."""
    text = versions.text(version, PENDING)
    if text is None:
        raise RotationRefused("the new version has no value")
    before, ring = _current(versions, found)
    if before is None:
        raise RotationRefused("there are no keys yet")
    with _dropped_on((RotationRefused, VersionsChanged), versions, version):
        new = _parsed(text)
        _check_next(new, ring)
        versions.promote(version, before)
    audit.event("keys.rotated", step="finishSecret", added=_names(new, ring), removed=_names(ring, new))


_STEPS: Mapping[str, Callable[[KeyVersions, Versions, str], None]] = {
    "createSecret": _create,
    "setSecret": _set,
    "testSecret": _test,
    "finishSecret": _finish,
}


def _check_next(new: KeyRing, ring: KeyRing | None) -> None:
    """See that the next keys follow the present ones, and wait long enough still. Errors: RotationRefused."""
    if ring is not None:
        now = clock.now()
        rotation.check_follows(new, ring, now)
        rotation.check_lead(new, ring, now, LEAD - MOST_DELAY)


@contextmanager
def _dropped_on(
    reasons: type[BaseException] | tuple[type[BaseException], ...], versions: KeyVersions, version: str
) -> Iterator[None]:
    """For these reasons the version does not become the present one, and must not wait for that either: RotateSecret fails
    as long as AWSPENDING is on another version than AWSCURRENT."""
    try:
        yield
    except reasons:
        with suppress(StoreUnavailable):  # that it was not done is worth less to know than why
            versions.drop_pending(version)
        raise


def _current(versions: KeyVersions, found: Versions) -> tuple[str | None, KeyRing | None]:
    """(version id, ring) of the present document; (None, None) before there is one."""
    version = found.with_label(CURRENT)
    text = versions.text(version, CURRENT) if version is not None else None
    return version, _parsed(text) if text is not None else None


def _parsed(text: str) -> KeyRing:
    try:
        return parse(text)
    except ValueError as error:
        raise RotationRefused(str(error)) from None


def _names(ring: KeyRing | None, other: KeyRing | None) -> str:
    """The keys that are in `ring` and not in `other`."""
    there = {key.name for key in rotation.reports(other, 0)} if other is not None else set()
    names = [key.name for key in rotation.reports(ring, 0)] if ring is not None else []
    return " ".join(name for name in names if name not in there)


def _failed(step: str, detail: str) -> RotationFailed:
    audit.event("keys.rotation_failed", step=step if step in _STEPS else None, detail=detail)
    return RotationFailed(f"{step if step in _STEPS else 'rotation'}: {detail}")
