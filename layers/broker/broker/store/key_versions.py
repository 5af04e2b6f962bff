"""The versions of the key document in Secrets Manager, as a rotation moves them.

A new document is first put beside the present one, with the label AWSPENDING, and becomes the present one (AWSCURRENT) only
if that has not changed meanwhile: so of two rotations at once none loses the other's keys. Must never log or quote a document.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.store.aws import Answer, StoreUnavailable

CURRENT, PENDING = "AWSCURRENT", "AWSPENDING"
_LABEL_MOVED = ("InvalidParameterException", "InvalidRequestException")


class VersionsChanged(Exception):
    """Another rotation was faster: the present document is not the one that the new one follows."""


@dataclass(frozen=True)
class Versions:
    """Which versions there are. `labels`: version id -> its labels."""

    rotation_enabled: bool
    labels: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def with_label(self, label: str) -> str | None:
        """The version that has a label, None when none has it."""
        return next((version for version, labels in self.labels.items() if label in labels), None)


class KeyVersions:
    """Errors of every method: StoreUnavailable."""

    def __init__(self, secretsmanager: Any, secret_id: str) -> None:
        self._secretsmanager = secretsmanager
        self._secret_id = secret_id

    def versions(self) -> Versions:
        """What is there now."""
        found = _call(self._secretsmanager.describe_secret, SecretId=self._secret_id)
        labels = {version: frozenset(labels) for version, labels in found.get("VersionIdsToStages", {}).items()}
        return Versions(bool(found.get("RotationEnabled")), labels)

    def text(self, version: str, label: str) -> str | None:
        """The document of a version that has this label; None when it has no value yet."""
        try:
            answer = _call(
                self._secretsmanager.get_secret_value, SecretId=self._secret_id, VersionId=version, VersionStage=label
            )
        except _Refused as refused:
            if refused.code == "ResourceNotFoundException":
                return None
            raise
        return str(answer["SecretString"])

    def put_pending(self, version: str, text: str) -> None:
        """Put a document beside the present one. A version that has a value already keeps it."""
        try:
            _call(
                self._secretsmanager.put_secret_value,
                SecretId=self._secret_id,
                ClientRequestToken=version,
                SecretString=text,
                VersionStages=[PENDING],
            )
        except _Refused as refused:
            if refused.code != "ResourceExistsException":
                raise

    def promote(self, version: str, before: str) -> None:
        """Make a version the present one, in the place of `before`. Errors: VersionsChanged when that is not so any more."""
        try:
            _call(
                self._secretsmanager.update_secret_version_stage,
                SecretId=self._secret_id,
                VersionStage=CURRENT,
                MoveToVersionId=version,
                RemoveFromVersionId=before,
            )
        except StoreUnavailable as failure:
            # It may be done all the same: an attempt whose answer was lost is repeated, and then refused as the label has moved.
            if self.versions().with_label(CURRENT) == version:
                return
            if isinstance(failure, _Refused) and failure.code in _LABEL_MOVED:
                raise VersionsChanged from None
            raise

    def drop_pending(self, version: str) -> None:
        """Give a document up that was put beside the present one, so that it does not stand in the way of the next rotation."""
        _call(
            self._secretsmanager.update_secret_version_stage,
            SecretId=self._secret_id,
            VersionStage=PENDING,
            RemoveFromVersionId=version,
        )


class _Refused(StoreUnavailable):
    def __init__(self, operation: str, code: str) -> None:
        super().__init__(f"{operation}: {code}")
        self.code = code


def _call(operation: Callable[..., Answer], **arguments: Any) -> Answer:
    """Call Secrets Manager; what it answers may quote the request, so only the name of the error is kept."""
    from botocore.exceptions import BotoCoreError, ClientError

    name = getattr(operation, "__name__", "operation")
    try:
        return operation(**arguments)
    except ClientError as error:
        raise _Refused(name, str(error.response.get("Error", {}).get("Code", "unknown"))) from None
    except BotoCoreError as error:
        raise StoreUnavailable(f"{name}: {type(error).__name__}") from None
