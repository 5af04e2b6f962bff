"""What is known of a broker at one moment, for the posture rules to judge. It never holds a secret, only facts about secrets.

A part that could not be read is None, and says nothing: its rules are skipped, with the reason that `unseen` keeps.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from broker.crypto.keys import KeyRing
from broker.protocol.clients import Client
from broker.protocol.registration_policy import RegistrationPolicy
from broker.settings import Settings
from broker.upstream.provider import Provider


@dataclass(frozen=True)
class Endpoint:
    """What the broker answers over HTTP. status: of the metadata; documents: None when it is no JSON object.

    skew: seconds by which the answer's Date is ahead of this machine's clock, None when it has none.
    """

    status: int
    metadata: Mapping[str, Any] | None
    jwks: Mapping[str, Any] | None
    skew: float | None


@dataclass(frozen=True)
class ProviderFacts:
    """One registered provider. dialect: None when its file cannot be used, which `problem` says why.

    credentials: "secret", "key", "" (none is kept) or "unreadable"; slots: names of the secrets that are kept; lacks: what the
    dialect needs of the credentials and they have not, "" for nothing.
    """

    name: str
    disabled: bool
    dialect: Provider | None
    problem: str
    credentials: str
    slots: tuple[str, ...] = ()
    lacks: str = ""


@dataclass(frozen=True)
class Statement:
    """One action that a role is allowed, on one resource, by a policy of its own. "*" for what is not named but excepted."""

    function: str
    action: str
    resource: str


@dataclass(frozen=True)
class Attached:
    """One managed policy that a role has. role: its logical id; policy: the policy's ARN."""

    role: str
    policy: str


@dataclass(frozen=True)
class FunctionFacts:
    """One Lambda function. environment: as configured; retention: days of its log group, None for ever."""

    name: str
    environment: Mapping[str, str]
    timeout: int
    retention: int | None


@dataclass(frozen=True)
class Table:
    """One DynamoDB table. ttl: the attribute of its time to live, "" when that is off."""

    logical_name: str
    ttl: str
    recoverable: bool
    deletion_protected: bool


MISSING = "MISSING"


@dataclass(frozen=True)
class Alarm:
    """One CloudWatch alarm of the stack. tells: it has an action, so that somebody hears of it; state: as CloudWatch has it,
    MISSING when it is not there any more.
    """

    logical_name: str
    tells: bool
    state: str


@dataclass(frozen=True)
class Stack:
    """A deployed stack. None in an attribute: it could not be read (Snapshot.unseen).

    rotation_days: days between two rotations of the keys, 0 when nothing rotates them.
    """

    functions: tuple[FunctionFacts, ...] | None
    statements: tuple[Statement, ...] | None
    attached: tuple[Attached, ...] | None
    tables: tuple[Table, ...] | None
    alarms: tuple[Alarm, ...] | None
    throttled: bool | None
    rescued: int | None
    rotation_days: int | None
    has_sandbox: bool


@dataclass(frozen=True)
class Snapshot:
    """One broker at one moment.

    Attributes:
        now: epoch seconds.
        settings: of its functions, as they read them from their environment.
        policy: for clients that register themselves.
        keys: None when there are none, or they cannot be read.
        stack: None for a local broker.
        unseen: what could not be read, and why, by the name of the part.
    """

    now: int
    local: bool
    settings: Settings
    clients: tuple[Client, ...]
    providers: tuple[ProviderFacts, ...]
    policy: RegistrationPolicy
    keys: KeyRing | None
    endpoint: Endpoint | None
    stack: Stack | None
    unseen: Mapping[str, str] = field(default_factory=dict)
