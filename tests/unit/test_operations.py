"""What watches a deployment: alarms with their runbooks, the dashboard, saved queries, logs, throttles; and what a deployment may
be given. None of them may name a metric, function, field, command or document that is not there."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from broker.audit import EVENTS
from broker.metrics import METRICS, NAMESPACE
from broker.settings import LIMITS, Settings
from broker.store.secrets import ProviderSecret
from broker_cli.main import broker
from broker_local.server import PROJECT
from broker_local.template import Template

RUNBOOKS = PROJECT / "docs" / "runbooks"
EVERYTHING = {
    "EnableSandbox": "true",
    "SandboxClientSecret": "x" * 16,
    "DetailedAlarms": "true",
    "AlarmEmail": "somebody@example.com",
    "DomainName": "login.example.com",
    "CertificateArn": "arn:aws:acm:us-east-1:123456789012:certificate/1",
    "HostedZoneId": "Z0",
}
AWS_METRICS = {
    "AWS/ApiGateway": {"4xx", "5xx", "Count", "Latency"},
    "AWS/DynamoDB": {
        "ConsumedReadCapacityUnits",
        "ConsumedWriteCapacityUnits",
        "ReadThrottleEvents",
        "WriteThrottleEvents",
    },
    "AWS/Lambda": {"Duration", "Errors", "Throttles"},
    "AWS/SQS": {"ApproximateAgeOfOldestMessage", "ApproximateNumberOfMessagesVisible"},
}
"""Metrics that AWS's documentation names, with the dimensions that DIMENSIONS gives them."""
DIMENSIONS = {
    "AWS/ApiGateway": {"ApiId"},
    "AWS/DynamoDB": {"TableName"},
    "AWS/Lambda": {"FunctionName"},
    "AWS/SQS": {"QueueName"},
}


def deployed(**parameters: str) -> Template:
    """The template as it is deployed with these parameters."""
    return Template.load(PROJECT / "template.yaml", stack="example", overrides=parameters)


@dataclass(frozen=True)
class Used:
    """A metric that an alarm or the dashboard reads."""

    where: str
    namespace: str
    name: str
    dimensions: frozenset[tuple[str, str]]


def alarms(template: Template) -> dict[str, dict[str, Any]]:
    """The alarms by their logical id."""
    return {name: template.properties(name) for name in template.logical_ids("AWS::CloudWatch::Alarm")}


def alarm_metrics(template: Template) -> Iterator[Used]:
    """What the alarms read."""
    for name, alarm in alarms(template).items():
        single = [{"MetricStat": {"Metric": alarm}}] if "MetricName" in alarm else []
        for entry in single + [one for one in alarm.get("Metrics", []) if "MetricStat" in one]:
            metric = entry["MetricStat"]["Metric"]
            dimensions = frozenset((one["Name"], one["Value"]) for one in metric.get("Dimensions", []))
            yield Used(name, metric["Namespace"], metric["MetricName"], dimensions)


def widgets(template: Template) -> list[dict[str, Any]]:
    """The dashboard's widgets."""
    body: dict[str, list[dict[str, Any]]] = json.loads(template.properties("OperationsDashboard")["DashboardBody"])
    return body["widgets"]


SEARCH = re.compile(r"""SEARCH\('\{(\w+),([\w,]+)\} service="([\w-]+)" MetricName="(\w+)"', '(\w+)', 300\)""")


def dashboard_metrics(template: Template) -> Iterator[Used]:
    """What the dashboard reads. A search stands for one metric with each value of its other dimension."""
    for widget in widgets(template):
        for line in widget["properties"].get("metrics", []):
            if isinstance(line[0], dict):
                found = SEARCH.fullmatch(line[0]["expression"])
                assert found, line
                namespace, names, service, metric, _ = found.groups()
                dimensions = frozenset((name, service if name == "service" else "") for name in names.split(","))
                yield Used(widget["properties"]["title"], namespace, metric, dimensions)
                continue
            namespace, metric, *rest = [part for part in line if isinstance(part, str)]
            yield Used(
                widget["properties"]["title"], namespace, metric, frozenset(zip(rest[::2], rest[1::2], strict=True))
            )


def check(used: Used, template: Template) -> None:
    """The metric exists, with these dimensions."""
    names = {name for name, _ in used.dimensions}
    if used.namespace == NAMESPACE:
        kept = {
            tuple(sets)
            for metrics in METRICS.values()
            for metric in metrics
            if metric.name == used.name
            for sets in map(sorted, metric.dimensions)
        }
        assert tuple(sorted(names)) in kept, used
        assert dict(used.dimensions)["service"] == template.stack
        return
    assert used.name in AWS_METRICS[used.namespace], used
    assert names == DIMENSIONS[used.namespace] or used.where == "FunctionsThrottledAlarm", used


@pytest.mark.parametrize("parameters", [{}, EVERYTHING], ids=["default", "everything"])
def test_alarms_and_dashboard_read_metrics_that_exist(parameters: dict[str, str]) -> None:
    template = deployed(**parameters)
    used = [*alarm_metrics(template), *dashboard_metrics(template)]
    assert len(used) > 60
    for one in used:
        check(one, template)


def test_the_share_of_calls_that_providers_do_not_serve() -> None:
    """Unserved calls alone are told, so a period in which all was served has to count as 0, and not as missing."""
    alarm = alarms(deployed())["UpstreamFailingAlarm"]
    read = {
        one["Id"]: (one["MetricStat"]["Metric"]["MetricName"], one["MetricStat"]["Stat"], one["MetricStat"]["Period"])
        for one in alarm["Metrics"]
        if "MetricStat" in one
    }
    assert read == {"unserved": ("UpstreamUnserved", "Sum", 300), "calls": ("UpstreamTime", "SampleCount", 300)}
    assert [one["Expression"] for one in alarm["Metrics"] if "Expression" in one] == ["100 * FILL(unserved, 0) / calls"]
    assert (alarm["Threshold"], alarm["ComparisonOperator"]) == (50, "GreaterThanThreshold")


def test_every_metric_is_watched_somewhere() -> None:
    """A metric that nobody looks at costs for nothing."""
    template = deployed()
    used = {one.name for one in (*alarm_metrics(template), *dashboard_metrics(template)) if one.namespace == NAMESPACE}
    assert {metric.name for metrics in METRICS.values() for metric in metrics} - used == {
        "LimitsUncounted"
    }  # the query `errors` has it


def test_every_function_has_alarms_that_fit_it() -> None:
    """Errors always; with DetailedAlarms throttles, and durations of more than four fifths of its own timeout."""
    template = deployed(**EVERYTHING)
    found = alarms(template)
    for function in template.functions():
        base = function.name.removesuffix("Function")
        errors = found[f"{base}ErrorsAlarm"]
        assert errors["Dimensions"] == [{"Name": "FunctionName", "Value": f"example-{function.name}"}]
        assert (errors["Namespace"], errors["MetricName"], errors["Threshold"]) == ("AWS/Lambda", "Errors", 1)
        if base == "Sandbox":
            continue
        limits = found[f"{base}LimitsAlarm"]
        of_it = {
            (one.namespace, one.name, one.dimensions)
            for one in alarm_metrics(template)
            if one.where == f"{base}LimitsAlarm"
        }
        dimensions = frozenset({("FunctionName", f"example-{function.name}")})
        assert of_it == {("AWS/Lambda", name, dimensions) for name in ("Throttles", "Duration")}
        assert f"> {function.timeout * 800}," in limits["Metrics"][-1]["Expression"]
    assert not [name for name in alarms(deployed()) if name.endswith("LimitsAlarm")]


@pytest.mark.parametrize(
    ("parameters", "actions"),
    [
        ({}, []),
        ({"AlarmEmail": "somebody@example.com"}, ["example-AlarmTopic"]),
        ({"AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:mine"}, ["arn:aws:sns:eu-west-1:123456789012:mine"]),
        (
            {"AlarmTopicArn": "arn:aws:sns:eu-west-1:123456789012:mine", "AlarmEmail": "somebody@example.com"},
            ["arn:aws:sns:eu-west-1:123456789012:mine"],
        ),
    ],
)
def test_whom_alarms_tell(parameters: dict[str, str], actions: list[str]) -> None:
    """Every alarm tells the same, when it goes off and when it is over; without a receiver it is only seen."""
    template = deployed(**parameters)
    for name, alarm in alarms(template).items():
        assert alarm["AlarmActions"] == alarm["OKActions"] == actions, name
    assert bool(template.logical_ids("AWS::SNS::Topic")) is (actions == ["example-AlarmTopic"])


def test_no_data_is_no_alarm() -> None:
    """A broker that nobody uses writes no metrics."""
    assert {alarm["TreatMissingData"] for alarm in alarms(deployed(**EVERYTHING)).values()} == {"notBreaching"}


def test_every_alarm_has_a_runbook_and_every_runbook_an_alarm() -> None:
    named: dict[str, set[str]] = {}
    for name, alarm in alarms(deployed(**EVERYTHING)).items():
        match = re.fullmatch(r".+\. Runbook docs/runbooks/([a-z-]+)\.md", alarm["AlarmDescription"])
        assert match, name
        named.setdefault(match[1], set()).add(name)
    assert named.keys() == {path.stem for path in RUNBOOKS.glob("*.md")}
    for stem, names in named.items():
        text = (RUNBOOKS / f"{stem}.md").read_text("utf-8")
        of_functions = stem in {"function-errors", "function-limits"}
        assert of_functions or all(f"`{name}`" in text for name in names), stem


def test_runbooks_have_their_parts_and_name_only_what_exists() -> None:
    """Sections, saved queries, audit events, parameters, alarms, commands and documents."""
    template = deployed(**EVERYTHING)
    queries = {name.rpartition("/")[2] for name in query_names(template)}
    for path in sorted(RUNBOOKS.glob("*.md")):
        text = path.read_text("utf-8")
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["What it means", "What to look at", "What to do"], (
            path.name
        )
        mentioned = re.findall(r"(?:[Ss]aved query|the query) `([^`]+)`", text)
        assert set(mentioned) <= queries, path.name
        assert {
            word for word in re.findall(r"`([a-z_]+\.[a-z_]+)`", text) if word.split(".")[0] in EVENT_FAMILIES
        } <= EVENTS.keys()
        for parameter in re.findall(r"`([A-Z][A-Za-z]+)=", text):
            assert parameter in document()["Parameters"], (path.name, parameter)
        check_commands(text, path.name)
        check_links(path)


def access_log(template: Template) -> set[str]:
    """The fields of the API's access log."""
    return set(json.loads(template.properties("BrokerApi")["AccessLogSettings"]["Format"]))


PROMISE = re.compile(r"(?:[Ss]aved query|the query) `([a-z-]+)`(.*?)(?=(?:[Ss]aved query|the query) `|$)", re.MULTILINE)
"""A query, and what the rest of the line says of it."""


@pytest.mark.parametrize("path", sorted(RUNBOOKS.glob("*.md")), ids=lambda path: path.stem)
def test_saved_queries_show_what_runbooks_send_people_there_for(path: Path) -> None:
    template = deployed()
    queries = {
        template.properties(name)["Name"].rpartition("/")[2]: template.properties(name)["QueryString"]
        for name in template.logical_ids("AWS::Logs::QueryDefinition")
    }
    fields = {field for fields in EVENTS.values() for field in fields} | {"frames", "correlation_id"}
    for name, said in PROMISE.findall(path.read_text("utf-8")):
        shown = set(re.findall(r"[\w.]+", queries[name]))
        promised = set(re.findall(r"`([\w.]+)`", said))
        assert promised & (fields | access_log(template)) <= shown, name
        # A query that asks for no event shows all.
        assert not promised & EVENTS.keys() - shown or ("audit" in shown and "filter audit" not in queries[name]), name


def test_the_runbook_of_the_second_secret_has_every_slot() -> None:
    text = (RUNBOOKS / "provider-secret-fallback.md").read_text("utf-8")
    with_both = ProviderSecret("c", "a", client_secret_next="b", client_secret_old="d")
    slots = {slot.name for slot in with_both.slots}
    assert slots >= {"current", "next", "old"}
    for part in (text.partition("## What to do")[0], text.partition("## What to do")[2]):
        assert all(f"`{slot}`:" in part for slot in slots)


EVENT_FAMILIES = {name.split(".")[0] for name in EVENTS}


@cache
def document() -> dict[str, Any]:
    """The template's text, with every intrinsic function left as it is."""
    loaded: dict[str, Any] = deployed()._document  # type: ignore[assignment]
    return loaded


def query_names(template: Template) -> list[str]:
    """The full names of the saved queries."""
    return [template.properties(name)["Name"] for name in template.logical_ids("AWS::Logs::QueryDefinition")]


def check_commands(text: str, where: str) -> None:
    """Every `broker ...` in the text is a command with these options."""
    for line in re.findall(r"`broker ([^`]+)`", text) + re.findall(r"^(?:    )?broker ([^#\n|<]+)", text, re.MULTILINE):
        command: click.Command = broker
        words = line.split()
        while words and isinstance(command, click.Group):
            found = command.commands.get(words.pop(0))
            assert found is not None, (where, line)
            command = found
        known = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        given = {word for word in words if word.startswith("--")}
        assert given <= known | {"--stack", "--json", "--region"}, (where, line)


def check_links(path: Path) -> None:
    """Every relative link leads to a file, and to a heading of it."""
    for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]+))?\)", path.read_text("utf-8")):
        file = (path.parent / target).resolve() if target else path
        assert file.is_file(), (path.name, target)
        headings = re.findall(r"^#+ (.+)$", file.read_text("utf-8"), re.MULTILINE)
        slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in slugs, (path.name, target, anchor)


@pytest.mark.parametrize("name", ["dashboard.md", "deploying.md"])
def test_documents_for_the_operator_name_only_what_exists(name: str) -> None:
    path = PROJECT / "docs" / name
    text = path.read_text("utf-8")
    check_commands(text, name)
    check_links(path)


def test_every_parameter_is_documented_with_its_default() -> None:
    text = (PROJECT / "docs" / "deploying.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([A-Z]\w+)` \| ([^|]+) \|", text, re.MULTILINE))
    assert rows.keys() == document()["Parameters"].keys()
    for name, written in rows.items():
        default = str(document()["Parameters"][name]["Default"])
        said = re.match(r"`([^`]+)`|([0-9]+)", written)
        assert (said[1] or said[2] if said else "") == default, name


def test_the_dashboard_s_document_lists_widgets_alarms_and_queries() -> None:
    template = deployed(**EVERYTHING)
    text = (PROJECT / "docs" / "dashboard.md").read_text("utf-8")
    named = set(re.findall(r"^\| ([A-Z][^|`]+) \|", text, re.MULTILINE))
    assert named == {widget["properties"]["title"] for widget in widgets(template)}
    assert set(re.findall(r"\(runbooks/([a-z-]+)\.md\)", text)) == {path.stem for path in RUNBOOKS.glob("*.md")}
    of_functions = {
        f"{f.name.removesuffix('Function')}{kind}"
        for f in template.functions()
        for kind in ("ErrorsAlarm", "LimitsAlarm")
    }
    assert set(re.findall(r"`(\w+Alarm)`", text)) == alarms(template).keys() - of_functions
    queries = re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE)
    assert sorted(queries) == sorted(name.rpartition("/")[2] for name in query_names(template))


def test_the_dashboard_shows_every_function_table_and_alarm() -> None:
    template = deployed()
    text = json.dumps(widgets(template))
    quiet = {"RotateFunction"}  # it runs once a month
    assert all(f.name in quiet or f'"example-{f.name}"' in text for f in template.functions())
    assert all(f'"{table.name}"' in text for table in template.tables())
    (row,) = [widget["properties"]["alarms"] for widget in widgets(template) if widget["type"] == "alarm"]
    assert {arn.rpartition(":")[2].removeprefix("example-") for arn in row} == alarms(template).keys() - {"KeyAgeAlarm"}
    assert {(w["x"], w["width"]) for w in widgets(template)} <= {(0, 24), (0, 12), (12, 12)}


def test_the_dashboard_is_free() -> None:
    """CloudWatch charges for a dashboard of more than 50 metrics. Searches find a few more, where there is traffic."""
    shown = {(one.namespace, one.name, one.dimensions) for one in dashboard_metrics(deployed())}
    assert len(shown) <= 50


def test_two_regions_have_two_dashboards() -> None:
    """A dashboard is the account's and not a Region's, so the stack's name alone would be taken in the second one."""
    name = document()["Resources"]["OperationsDashboard"]["Properties"]["DashboardName"]["Fn::Sub"]
    assert {"${AWS::StackName}", "${AWS::Region}"} <= set(re.findall(r"\$\{[^}]+\}", name))
    assert re.fullmatch(r"[A-Za-z0-9_-]+", str(deployed().properties("OperationsDashboard")["DashboardName"]))


def test_the_dashboard_s_address_is_told_where_it_is_right() -> None:
    """The consoles of other partitions have other addresses."""
    output = document()["Outputs"]["Dashboard"]
    assert "console.aws.amazon.com" in output["Value"]["Fn::Sub"]
    assert document()["Conditions"][output["Condition"]] == {
        "Fn::And": [{"Condition": "HasDashboard"}, {"Fn::Equals": [{"Ref": "AWS::Partition"}, "aws"]}]
    }


def test_dashboard_and_queries_can_be_left_out() -> None:
    plain = deployed(Dashboard="false", SavedQueries="false")
    assert not plain.logical_ids("AWS::CloudWatch::Dashboard")
    assert not plain.logical_ids("AWS::Logs::QueryDefinition")


def test_saved_queries_read_fields_that_are_written() -> None:
    template = deployed()
    written = {field for fields in EVENTS.values() for field in fields}
    written |= {"audit", "level", "message", "correlation_id", "frames"}
    written |= {"record"}  # of Lambda's own lines, in JSON
    for name in template.logical_ids("AWS::Logs::QueryDefinition"):
        properties = template.properties(name)
        own = access_log(template) if properties["LogGroupNames"] == ["example-ApiLogGroup"] else written
        text = re.sub(r'"[^"]*"', "", properties["QueryString"])
        words = set(re.findall(r"(?<![@\w.])[A-Za-z_]\w*(?!\w*\()", text))
        made = set(re.findall(r"as (\w+)", text))
        assert words - made - KEYWORDS <= own, name
        named = set(re.findall(r'"([a-z_]+\.[a-z_]+)"', properties["QueryString"]))
        assert named <= EVENTS.keys(), name
    groups = {name for name in template.logical_ids("AWS::Logs::LogGroup") if name != "ApiLogGroup"}
    assert {group.removeprefix("example-") for group in template.properties("ErrorsQuery")["LogGroupNames"]} == groups


KEYWORDS = {"fields", "filter", "sort", "limit", "stats", "by", "asc", "desc", "in", "and", "or", "as"}


def test_the_access_log_identifies_nobody() -> None:
    """No path, query, header, user agent; an address only where the operator asked for it."""
    plain = json.loads(deployed().properties("BrokerApi")["AccessLogSettings"]["Format"])
    asked = json.loads(deployed(AccessLogAddresses="true").properties("BrokerApi")["AccessLogSettings"]["Format"])
    assert set(plain.values()) == {
        "$context.requestId",
        "$context.routeKey",
        "$context.httpMethod",
        "$context.status",
        "$context.responseLatency",
        "$context.integrationLatency",
        "$context.integrationStatus",
        "$context.integrationErrorMessage",
        "$context.error.responseType",
    }
    assert set(asked.values()) - set(plain.values()) == {"$context.identity.sourceIp"}
    assert all(
        deployed().properties(name)["RetentionInDays"] == "30" for name in deployed().logical_ids("AWS::Logs::LogGroup")
    )


def test_throttles_are_for_routes_that_exist() -> None:
    """API Gateway refuses a stage that throttles a route it does not have."""
    template = deployed(ThrottleRate="7", LoginThrottleRate="5", RegistrationThrottleRate="3")
    api = template.properties("BrokerApi")
    routes = {route.key for function in template.functions() for route in function.routes}
    assert api["RouteSettings"].keys() <= routes
    rates = {key: settings["ThrottlingRateLimit"] for key, settings in api["RouteSettings"].items()}
    assert api["DefaultRouteSettings"]["ThrottlingRateLimit"] == "7"
    begins = {route.key for f in template.functions() if f.name in LOGIN_STARTS for route in f.routes}
    assert {key for key, rate in rates.items() if rate == "5"} == begins
    assert {key for key, rate in rates.items() if rate == "3"} == {"ANY /register", "ANY /register/{client_id}"}


def test_bursts_fit_into_every_account() -> None:
    """An API may not have more than its account, and some Regions give an account 1,250 (API Gateway's quotas)."""
    bursts = {name: one["Default"] for name, one in document()["Parameters"].items() if name.endswith("Burst")}
    assert len(bursts) == 3
    assert max(bursts.values()) <= 1250


def test_every_log_is_under_the_key_of_ones_own() -> None:
    arn = "arn:aws:kms:us-east-1:123456789012:key/1"
    own, plain = deployed(**EVERYTHING, KmsKeyArn=arn), deployed(**EVERYTHING)
    for name in own.logical_ids("AWS::Logs::LogGroup"):
        assert own.properties(name)["KmsKeyId"] == arn, name
        assert "KmsKeyId" not in plain.properties(name), name


LOGIN_STARTS = {"AuthorizeFunction", "ParFunction", "DeviceFunction"}


@pytest.mark.parametrize("setting", LIMITS)
def test_a_lifetime_is_a_parameter_with_the_codes_own_limits(setting: str) -> None:
    """What the template lets through the functions must not refuse at their start."""
    parameter = document()["Parameters"]["".join(part.title() for part in setting.split("_"))]
    low, high = LIMITS[setting]
    assert (int(parameter["Default"]), parameter["MinValue"], parameter["MaxValue"]) == (
        getattr(Settings(), setting),
        low,
        high,
    )


def test_parameters_say_what_they_are_and_what_they_take() -> None:
    for name, parameter in document()["Parameters"].items():
        assert parameter["Description"].endswith((".", "(docs/rate-limits.md).")), name
        bounded = {"AllowedValues", "AllowedPattern"} & set(parameter) or {"MinValue", "MaxValue"} <= set(parameter)
        assert bounded, name
        if "AllowedPattern" in parameter:
            assert re.fullmatch(parameter["AllowedPattern"], parameter["Default"]) is not None, name
            assert parameter["ConstraintDescription"]
    groups = document()["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    assert sorted(shown) == sorted(document()["Parameters"])


@pytest.mark.parametrize(
    ("parameter", "value", "accepted"),
    [
        ("DomainName", "login.example.com", True),
        ("DomainName", "https://login.example.com", False),
        ("DomainName", "login", False),
        ("CertificateArn", "arn:aws:acm:us-east-1:123456789012:certificate/12ab-34", True),
        ("CertificateArn", "arn:aws:iam::123456789012:server-certificate/x", False),
        ("KmsKeyArn", "arn:aws:kms:eu-west-1:123456789012:key/1234-abcd", True),
        ("KmsKeyArn", "arn:aws:kms:eu-west-1:123456789012:alias/mine", False),
        ("AlarmTopicArn", "arn:aws:sns:eu-west-1:123456789012:ops", True),
        ("AlarmTopicArn", "ops", False),
        ("AlarmEmail", "ops@example.com", True),
        ("AlarmEmail", "ops", False),
        ("HostedZoneId", "Z0123456789ABCDEF", True),
        ("HostedZoneId", "/hostedzone/Z01", False),
        ("EventBusName", "default", True),
        ("EventBusName", "a bus", False),
    ],
)
def test_patterns_of_parameters(parameter: str, value: str, accepted: bool) -> None:
    pattern = document()["Parameters"][parameter]["AllowedPattern"]
    assert (re.fullmatch(pattern, value) is not None) is accepted


def told() -> dict[str, str]:
    """The texts that change with what a function is given: of a version, and of the layer that a version names."""
    functions = document()["Resources"]
    layer = functions["BrokerLayer"]["Properties"]
    _, (_, _, settings) = functions["TokenFunction"]["Properties"]["VersionDescription"]["Fn::Join"]
    return {
        "version": settings["Fn::Sub"],
        "description": layer["Description"]["Fn::Sub"],
        "license": layer["LicenseInfo"]["Fn::Sub"],
    }


def test_a_changed_parameter_reaches_the_running_version() -> None:
    """The API calls published versions, and a version never changes. So all that a function is given must be told in a text whose
    change makes a new version: its description, or the texts of the layer that the description names."""
    common = document()["Globals"]["Function"]
    given = json.dumps(
        [common[name] for name in ("Environment", "LoggingConfig", "Tracing", "SnapStart", "MemorySize", "Timeout")]
    )
    parameters = {name for name in document()["Parameters"] if f'"{name}"' in given or f"${{{name}}}" in given}
    assert len(parameters) > 15
    assert {name for name in parameters | {"Architecture"} if f"${{{name}}}" not in "".join(told().values())} == set()

    # SAM leaves TracingConfig out for Disabled, which is PassThrough to Lambda: a change between these two would change nothing.
    assert document()["Parameters"]["Tracing"]["AllowedValues"] == ["Active", "Disabled"]

    def version(arm: str) -> str:
        template = deployed(Architecture=arm, RetryWindow="17")
        return str(template.properties("TokenFunction")["VersionDescription"])

    assert version("arm64").startswith("1 1 arm64 192 INFO WARN required Disabled None 600 ")
    assert " 17 " in version("x86_64")
    functions = document()["Resources"]
    for name, function in functions.items():
        if function["Type"] == "AWS::Serverless::Function" and name not in {"SandboxFunction", "RotateFunction"}:
            description = functions["TokenFunction"]["Properties"]["VersionDescription"]
            assert function["Properties"]["VersionDescription"] == description, name
            # What is no parameter; .ci/promises.py tries it.
            assert function["Properties"]["AutoPublishAliasAllProperties"] is True, name
            assert "Environment" not in function["Properties"], name
    layers = json.dumps(functions["TokenFunction"]["Properties"]["VersionDescription"])
    assert all(f'{{"Ref": "{name}"}}' in layers for name in deployed().logical_ids("AWS::Serverless::LayerVersion"))


def test_what_is_told_is_never_too_long() -> None:
    """Lambda takes 256 characters of a description, and 512 of a layer's license information."""
    parameters = document()["Parameters"]

    def longest(name: str) -> int:
        parameter = parameters[name]
        if "AllowedValues" in parameter:
            return max(map(len, parameter["AllowedValues"]))
        return int(parameter.get("MaxLength") or len(str(parameter.get("MaxValue", "x" * 100))))

    versions_of_layers = 2 * len("12345 ")
    for name, limit in (("version", 256 - versions_of_layers), ("description", 256), ("license", 512)):
        names = re.findall(r"\$\{(\w+)\}", told()[name])
        assert len(re.sub(r"\$\{\w+\}", "", told()[name])) + sum(map(longest, names)) <= limit
    assert "{0,100}" in parameters["EventBusName"]["AllowedPattern"]


def test_a_canary_goes_back_when_an_alarm_of_its_function_goes_off() -> None:
    """And never waits for one of the API: that would make a circle of dependencies."""
    globals_ = document()["Globals"]["Function"]["DeploymentPreference"]
    assert globals_["Enabled"] == {"Ref": "CanaryDeployments"}  # SAM takes a condition for true, whatever it is
    assert globals_["Alarms"] == [{"Ref": "RequestsFailedAlarm"}, {"Ref": "StoreUnavailableAlarm"}]
    for name, resource in document()["Resources"].items():
        if resource["Type"] != "AWS::Serverless::Function":
            continue
        preference = resource["Properties"]["DeploymentPreference"]
        aliased = resource["Properties"].get("AutoPublishAlias") != ""
        errors = {"Alarms": [{"Ref": f"{name.removesuffix('Function')}ErrorsAlarm"}]}
        assert preference == (errors if aliased else {"Enabled": False}), name
        assert aliased is (name not in {"SandboxFunction", "RotateFunction"})


def test_what_outlives_the_stack() -> None:
    """What cannot be made again stays when the stack goes; a first deployment that failed can always be undone."""
    policies = {
        name: resource["DeletionPolicy"]
        for name, resource in document()["Resources"].items()
        if "DeletionPolicy" in resource
    }
    kept = {name for name, policy in policies.items() if policy.startswith("Retain")}
    assert kept == {"RegistryTable", "GrantsTable", "KeysSecret"}
    protected = deployed()
    for table in ("RegistryTable", "GrantsTable"):
        # A protected table cannot be deleted, so RetainExceptOnCreate would leave a stack that cannot be rolled back.
        assert policies[table] == "Retain"
        assert protected.properties(table)["DeletionProtectionEnabled"] == "true"
        assert deployed(DeletionProtection="false").properties(table)["DeletionProtectionEnabled"] == "false"
    assert protected.properties("RegistryTable")["PointInTimeRecoverySpecification"] == {
        "PointInTimeRecoveryEnabled": True
    }
    grants = deployed(GrantsPointInTimeRecovery="true").properties("GrantsTable")
    assert grants["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": "true"}


def test_a_domain_of_ones_own() -> None:
    """The API's own address is off then, so that nobody goes around the domain, and the issuer is the domain."""
    own, plain = deployed(**EVERYTHING), deployed()
    assert own.properties("BrokerApi")["DisableExecuteApiEndpoint"] is True
    assert plain.properties("BrokerApi")["DisableExecuteApiEndpoint"] is False
    assert own.properties("ApiDomain")["DomainName"] == "login.example.com"
    assert own.properties("ApiDomainRecord")["HostedZoneId"] == "Z0"
    environments = [function.environment for function in own.functions()]
    assert {environment["BROKER_ISSUER"] for environment in environments} == {"https://login.example.com"}
    both = deployed(**EVERYTHING, Issuer="https://login.example.com/tenant").functions()
    assert {function.environment["BROKER_ISSUER"] for function in both} == {"https://login.example.com/tenant"}
    assert not plain.logical_ids("AWS::ApiGatewayV2::DomainName")
    without_zone = {name: value for name, value in EVERYTHING.items() if name != "HostedZoneId"}
    assert not deployed(**without_zone).logical_ids("AWS::Route53::RecordSet")
    assert document()["Rules"]["DomainNeedsCertificate"]["RuleCondition"] == {
        "Fn::Not": [{"Fn::Equals": [{"Ref": "DomainName"}, ""]}]
    }


def test_the_analysers_exceptions_have_reasons() -> None:
    """Each check that is not made has a comment right above it."""
    lines = (PROJECT / ".ci" / "checkov.yaml").read_text("utf-8").splitlines()
    skipped = [index for index, line in enumerate(lines) if line.startswith("  - CKV")]
    assert skipped
    assert all(lines[index - 1].startswith("  # ") for index in skipped)
    assert yaml.safe_load("\n".join(lines))["framework"] == ["cloudformation"]
