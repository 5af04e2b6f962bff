"""Rules on the deployed stack: what protects the tables, who may do what, who hears of trouble."""

from collections.abc import Iterator

from broker.settings import from_environment
from broker_cli.doctor.posture import Rule, Verdict, fail, warn
from broker_cli.doctor.snapshot import MISSING, Attached, Snapshot, Stack

API_TIMEOUT = 30
"""Seconds after which an HTTP API gives up on a function."""
_OF_FUNCTIONS = ("service-role/AWSLambdaBasicExecutionRole", "AWSXrayWriteOnlyAccess", "AWSXRayDaemonWriteAccess")
_OF_CODEDEPLOY = ("service-role/AWSCodeDeployRoleForLambda", "service-role/AWSCodeDeployRoleForLambdaLimited")
"""AWS's own policies that SAM attaches: to a function's role (which of the two for X-Ray depends on the partition), and, with
CanaryDeployments, to CodeDeploy's."""


_BY_HAND = "If it was changed by hand: docs/deploying.md#what-was-changed-by-hand."
"""A deployment restores nothing of it: CloudFormation compares the template with the last one."""


def _stack(snapshot: Snapshot) -> Stack:
    assert snapshot.stack is not None  # noqa: S101 - every rule here names it in `sees`
    return snapshot.stack


def _alarms(snapshot: Snapshot) -> Iterator[Verdict]:
    alarms = _stack(snapshot).alarms or ()
    if not alarms:
        yield fail("the stack has no alarms")
    elif not any(alarm.tells for alarm in alarms):
        yield warn(f"none of the {len(alarms)} alarms tells anybody")
    for alarm in alarms:
        if alarm.state == MISSING:
            yield fail(f"{alarm.logical_name} is not there any more: somebody deleted it")
        elif not alarm.tells and any(other.tells for other in alarms):
            yield warn(f"{alarm.logical_name} tells nobody: somebody switched its actions off")
        elif alarm.state == "ALARM":
            yield warn(f"{alarm.logical_name} is in alarm now")


def _retention(snapshot: Snapshot) -> Iterator[Verdict]:
    for function in _stack(snapshot).functions or ():
        if function.retention is None:
            yield fail(f"the log of {function.name} is kept for ever, or in a group that nobody made")


def _timeouts(snapshot: Snapshot) -> Iterator[Verdict]:
    for function in _stack(snapshot).functions or ():
        if function.timeout >= API_TIMEOUT and function.name != "RotateFunction":
            yield fail(f"{function.name} may take {function.timeout} seconds, and the API gives up after {API_TIMEOUT}")


def _environment(snapshot: Snapshot) -> Iterator[Verdict]:
    for function in _stack(snapshot).functions or ():
        if function.environment.get("BROKER_LOCAL"):
            yield fail(f"{function.name} is in local mode, which allows http and private addresses")
        if function.environment.get("POWERTOOLS_LOG_LEVEL") == "DEBUG":
            yield warn(f"{function.name} logs at level DEBUG")
        try:
            from_environment(function.environment)
        except ValueError as problem:
            yield fail(f"{function.name} cannot start, as {problem}")


def _ttl(snapshot: Snapshot) -> Iterator[Verdict]:
    for table in _stack(snapshot).tables or ():
        if table.logical_name == "GrantsTable" and table.ttl != "delete_at":
            yield fail("the table of logins does not delete what has expired (TTL on delete_at)")


def _tables(snapshot: Snapshot) -> Iterator[Verdict]:
    for table in _stack(snapshot).tables or ():
        if table.logical_name == "SandboxTable":
            continue
        if not table.deletion_protected:
            yield warn(f"{table.logical_name} can be deleted by one call")
        if table.logical_name == "RegistryTable" and not table.recoverable:
            yield fail("RegistryTable has no point-in-time recovery")


def _policies(snapshot: Snapshot) -> Iterator[Verdict]:
    prefix = snapshot.settings.provider_secret_prefix
    provider_secrets = f":secret:{prefix}*" if prefix else ""
    for allowed in _stack(snapshot).statements or ():
        if "*" in allowed.action:
            yield fail(f"{allowed.function} may do {allowed.action}")
        elif allowed.resource == "*" and not allowed.action.startswith("xray:"):
            yield fail(f"{allowed.function} may do {allowed.action} on everything")
        elif "*" in allowed.resource.removesuffix(provider_secrets) and allowed.resource != "*":
            yield fail(f"{allowed.function} may do {allowed.action} on all of {allowed.resource}")
    for attached in _stack(snapshot).attached or ():
        if not _is_of_sam(attached):
            yield fail(f"{attached.role} has the policy {attached.policy}, which the template does not give it")


def _is_of_sam(attached: Attached) -> bool:
    expected = _OF_CODEDEPLOY if attached.role == "CodeDeployServiceRole" else _OF_FUNCTIONS
    # arn:aws:iam::aws:policy/NAME: where an account's own policies have its number, AWS's have "aws".
    account, _, name = attached.policy.partition(":iam::")[2].partition(":policy/")
    return account == "aws" and name in expected


def _throttles(snapshot: Snapshot) -> Iterator[Verdict]:
    if not _stack(snapshot).throttled:
        yield warn("the API has no throttle of its own, so one client can use up the account's")


def _rescued(snapshot: Snapshot) -> Iterator[Verdict]:
    if _stack(snapshot).rescued:
        yield warn(f"{_stack(snapshot).rescued} refreshed provider token(s) wait in the rescue queue")


def _rotates(snapshot: Snapshot) -> Iterator[Verdict]:
    if not _stack(snapshot).rotation_days:
        yield warn("the keys are not rotated on a schedule")


def _sandbox(snapshot: Snapshot) -> Iterator[Verdict]:
    if _stack(snapshot).has_sandbox:
        yield warn("the sandbox is deployed: anybody can log in at its providers, as anybody")


RULES = (
    Rule(
        "TB-OPS-002",
        "Alarms are there, tell somebody, and are quiet",
        "docs/runbooks",
        f"Deploy with AlarmEmail or AlarmTopicArn; look up the alarm's runbook. {_BY_HAND}",
        _alarms,
        ("stack.alarms",),
    ),
    Rule(
        "TB-OPS-003",
        "Logs end some day",
        "docs/operating.md",
        f"Deploy the template as it is: it makes every log group, with LogRetentionDays. {_BY_HAND}",
        _retention,
        ("stack.functions",),
    ),
    Rule(
        "TB-OPS-004",
        "Functions answer before the API gives up",
        "Quotas of HTTP APIs",
        f"Deploy the template's timeouts. {_BY_HAND}",
        _timeouts,
        ("stack.functions",),
    ),
    Rule(
        "TB-OPS-005",
        "No function has a setting that stops it, is in local mode or logs at DEBUG",
        "docs/operating.md",
        f"Deploy with LogLevel=INFO, and without BROKER_LOCAL. {_BY_HAND}",
        _environment,
        ("stack.functions",),
    ),
    Rule(
        "TB-OPS-006",
        "Expired logins are deleted",
        "docs/storage.md",
        f"Enable TTL on delete_at, as the template does. {_BY_HAND}",
        _ttl,
        ("stack.tables",),
    ),
    Rule(
        "TB-OPS-007",
        "Tables are protected",
        "docs/deploying.md",
        f"Deploy with DeletionProtection=true; the registry's recovery is in the template. {_BY_HAND}",
        _tables,
        ("stack.tables",),
    ),
    Rule(
        "TB-OPS-008",
        "No role may more than it needs",
        "RFC 9700 section 2.6 (least privilege)",
        f"Find out who widened the role. {_BY_HAND}",
        _policies,
        ("stack.statements", "stack.attached"),
    ),
    Rule(
        "TB-OPS-009",
        "The API is throttled",
        "docs/deploying.md",
        f"Deploy with ThrottleRate and ThrottleBurst. {_BY_HAND}",
        _throttles,
        ("stack.throttled",),
    ),
    Rule(
        "TB-OPS-010",
        "No rescued token waits",
        "docs/runbooks",
        "See the runbook of RescueQueueAlarm.",
        _rescued,
        ("stack.rescued",),
    ),
    Rule(
        "TB-KEY-003",
        "Keys rotate on a schedule",
        "docs/keys.md",
        "Deploy with another KeyRotationDays, 31 say: with the same one a deployment changes nothing.",
        _rotates,
        ("stack.rotation_days",),
    ),
    Rule(
        "TB-OPS-011",
        "The sandbox is not deployed",
        "docs/deploying.md",
        "Deploy with EnableSandbox=false where real people log in.",
        _sandbox,
        ("stack",),
    ),
)
