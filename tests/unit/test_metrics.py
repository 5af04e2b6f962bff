"""Metrics: every line that is one keeps to the embedded metric format, and nobody outside can invent a dimension's value."""

from __future__ import annotations

import io
import json
import logging
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from broker import audit, clock, log
from broker.audit import EVENTS
from broker.endpoints.entry import lambda_handler
from broker.gateway import Response
from broker.measured_http import MeasuredHttp
from broker.metrics import ERROR_CODES, METRICS, NAMESPACE, Metric
from broker.upstream.http import Deadline, TransportError, UpstreamRequest
from broker_local.server import PROJECT, LocalBroker
from broker_testing.journey import Login, refresh, register

UNITS = {"Count", "Milliseconds", "Percent", "None"}
SAMPLES: dict[str, object] = {"milliseconds": 12, "age_days": 3, "status": 503, "error": "invalid_grant"}


class Lines:
    """What the audit log writes, line by line."""

    def __init__(self, stream: io.StringIO) -> None:
        self._stream = stream

    def all(self) -> list[dict[str, Any]]:
        """Every line so far."""
        return [json.loads(line) for line in self._stream.getvalue().splitlines()]

    def last(self) -> dict[str, Any]:
        """The line written last."""
        return self.all()[-1]


@pytest.fixture
def lines() -> Iterator[Lines]:
    """The lines of this test, through the formatter that a function has."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(log.logger.handlers[0].formatter)
    logger = logging.getLogger(log.logger.name)
    kept, logger.handlers[:] = list(logger.handlers), [handler]
    try:
        yield Lines(stream)
    finally:
        logger.handlers[:] = kept


def check_emf(line: dict[str, Any]) -> list[tuple[str, frozenset[str]]]:
    """The metrics of a line with their dimensions. Fails where CloudWatch would not take them: the rules of the embedded metric
    format specification, version of the `_aws` member."""
    about = line["_aws"]
    assert set(about) == {"Timestamp", "CloudWatchMetrics"}
    assert isinstance(about["Timestamp"], int)
    assert abs(about["Timestamp"] - clock.now_ms()) < 60_000
    found = []
    for directive in about["CloudWatchMetrics"]:
        assert set(directive) == {"Namespace", "Dimensions", "Metrics"}
        assert directive["Namespace"] == NAMESPACE
        assert directive["Dimensions"]
        assert 1 <= len(directive["Metrics"]) <= 100
        for names in directive["Dimensions"]:
            assert 1 <= len(names) <= 30
            assert len(set(names)) == len(names)
            assert all(isinstance(line[name], str) and 1 <= len(line[name]) <= 1024 for name in names)
        for metric in directive["Metrics"]:
            assert set(metric) == {"Name", "Unit"}
            assert metric["Unit"] in UNITS
            assert isinstance(line[metric["Name"]], int | float)
            assert not isinstance(line[metric["Name"]], bool)
            found += [(metric["Name"], frozenset(names)) for names in directive["Dimensions"]]
    return found


def values_for(event: str) -> dict[str, object]:
    """Something for every field of an event."""
    return {field: SAMPLES.get(field, f"some-{field}") for field in EVENTS[event]}


@pytest.mark.parametrize("event", METRICS)
def test_a_line_that_is_a_metric_keeps_to_the_format(event: str, lines: Lines) -> None:
    audit.event(event, **values_for(event))
    line = lines.last()
    assert line["audit"] == event
    assert check_emf(line) == [
        (metric.name, frozenset(names)) for metric in METRICS[event] for names in metric.dimensions
    ]
    measured = {"UpstreamTime": 12, "KeyAge": 3}
    assert all(line[metric.name] == measured.get(metric.name, 1) for metric in METRICS[event])


@pytest.mark.parametrize("event", sorted(EVENTS.keys() - METRICS.keys()))
def test_any_other_line_is_none(event: str, lines: Lines) -> None:
    audit.event(event, **values_for(event))
    assert "_aws" not in lines.last()


def all_metrics() -> Iterator[tuple[str, Metric]]:
    """Every event with each of its metrics."""
    return ((event, metric) for event, metrics in METRICS.items() for metric in metrics)


def test_every_metric_belongs_to_an_event_and_measures_one_of_its_fields() -> None:
    assert METRICS.keys() <= EVENTS.keys()
    for event, metric in all_metrics():
        measured = {
            "UpstreamTime": {"milliseconds"},
            "UpstreamUnserved": {"status", "kind"},
            "KeyAge": {"age_days"},
        }.get(metric.name, set())
        dimensions = {name for names in metric.dimensions for name in names} - {"service"}
        assert measured | dimensions <= EVENTS[event], event
        assert dimensions <= {"provider", "error"}
        assert metric.name[0].isupper()  # the events' own fields are in lower case


def test_a_metric_has_the_same_unit_and_dimensions_wherever_it_comes_from() -> None:
    by_name: dict[str, set[tuple[object, ...]]] = {}
    for _, metric in all_metrics():
        by_name.setdefault(metric.name, set()).add((metric.unit, metric.dimensions))
    assert [name for name, kinds in by_name.items() if len(kinds) > 1] == []


def test_an_error_that_is_none_of_ours_makes_no_metric_of_its_own(lines: Lines) -> None:
    """Each combination that occurs is paid for, so a value that a stranger chose must not become one."""
    audit.event("token.refused", client_id="c", error="anything at all", detail="d")
    assert check_emf(lines.last()) == [("Refusals", frozenset({"service"}))]
    assert {"invalid_grant", "invalid_client"} <= ERROR_CODES


def test_only_the_registrys_providers_are_dimensions() -> None:
    """These events name a provider that was looked up. In callback.refused it may be anything that stands in a URL."""
    assert {event for event, metric in all_metrics() if ("service", "provider") in metric.dimensions} == {
        "upstream.called",
        "upstream.failed",
    }


@pytest.mark.parametrize(
    ("status", "kind", "unserved"),
    [
        (200, None, False),
        (400, None, False),
        (429, None, True),
        (503, None, True),
        (200, "truncated", True),
        (None, "timeout", True),
    ],
)
def test_what_a_provider_did_not_serve(lines: Lines, status: int | None, kind: str | None, unserved: bool) -> None:
    """The alarm looks at its share of all calls, which UpstreamTime counts. A provider that says no has served."""
    audit.event("upstream.called", provider="redbooth", phase="refresh", status=status, kind=kind, milliseconds=1)
    line = lines.last()
    assert {name for name, _ in check_emf(line)} == {"UpstreamTime"} | ({"UpstreamUnserved"} if unserved else set())
    assert line.get("UpstreamUnserved") == (1 if unserved else None)


def test_redaction_leaves_metrics_alone(lines: Lines) -> None:
    """A detail that looks like a secret goes; what CloudWatch reads stays."""
    audit.event(
        "upstream.failed", provider="redbooth", phase="refresh", detail="Bearer abcdefghijklmnop of a@b.example"
    )
    line = lines.last()
    assert "abcdefghijklmnop" not in json.dumps(line)
    assert check_emf(line) == [
        ("UpstreamFailures", frozenset({"service"})),
        ("UpstreamFailures", frozenset({"service", "provider"})),
    ]


def test_a_call_to_a_provider_is_measured_without_its_address(lines: Lines) -> None:
    request = UpstreamRequest("GET", "http://127.0.0.1:9/secret-path?code=abc", provider="redbooth", phase="refresh")
    with pytest.raises(TransportError):
        MeasuredHttp(allow_loopback=True).send(request, Deadline(time.monotonic() + 2))
    line = lines.last()
    assert {name: line[name] for name in ("audit", "provider", "phase", "kind")} == {
        "audit": "upstream.called",
        "provider": "redbooth",
        "phase": "refresh",
        "kind": "unreachable",
    }
    assert line["UpstreamTime"] >= 0
    assert "milliseconds" not in line, "it is the same, and every byte of a log costs"
    assert "secret-path" not in json.dumps(line)


def test_a_call_to_anybody_else_is_not_measured(lines: Lines) -> None:
    with pytest.raises(TransportError):
        MeasuredHttp(allow_loopback=True).send(
            UpstreamRequest("POST", "http://127.0.0.1:9/client"), Deadline(time.monotonic() + 2)
        )
    assert lines.all() == []


def test_a_login_leaves_its_metrics(local_broker: LocalBroker, base: str) -> None:
    """Through the front door: each step counts once, in lines that CloudWatch takes."""
    before = len(local_broker.log_text())
    login = Login(register(base, providers=("redbooth",)), "redbooth")
    tokens = login.tokens(scope="openid offline_access")
    assert refresh(login.client, tokens["refresh_token"]).status_code == 200
    written = local_broker.log_text()[before:].splitlines()
    found = [json.loads(line) for line in written if '"_aws":' in line]
    names = Counter(name for line in found for name, dimensions in check_emf(line) if dimensions == {"service"})
    assert len({line["service"] for line in found}) == 1
    assert {name: names[name] for name in ("LoginsStarted", "CodesIssued", "CodesRedeemed", "Refreshes")} == {
        "LoginsStarted": 1,
        "CodesIssued": 1,
        "CodesRedeemed": 1,
        "Refreshes": 1,
    }
    calls = [line for line in found if line["audit"] == "upstream.called"]
    assert [(line["provider"], line["phase"], line["status"]) for line in calls] == [
        ("redbooth", "code", 200),
        ("redbooth", "userinfo", 200),
    ]


def test_the_first_request_of_an_instance_is_a_cold_start(lines: Lines) -> None:
    """And no other."""
    handler = lambda_handler(lambda _request, _runtime: Response(204))
    event = json.loads((PROJECT / "events" / "metadata.json").read_text("utf-8"))
    for _ in range(3):
        handler(event, None)
    assert [(line["audit"], line["init_type"], line["ColdStarts"]) for line in lines.all()] == [
        ("instance.started", "on-demand", 1)
    ]
