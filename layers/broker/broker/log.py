"""The log: one line of JSON for each record, in which nothing is left that could be used or that names a person.

The Powertools logger costs a tenth of what a function imports, so this module is imported where a line is written, and by
Lambda's start (broker.runtime). It keeps the standard output that it finds then.
"""

import json
import logging
import re
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.logging.formatter import LambdaPowertoolsFormatter

_PATTERNS = (
    (re.compile(r"tb[a-z]{1,2}_[A-Za-z0-9_-]{16,}"), "[handle]"),
    (re.compile(r"eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)?"), "[jwt]"),
    (re.compile(r"(?i)\b(bearer|basic|dpop)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 [credentials]"),
    (re.compile(r"[A-Za-z0-9._%+'-]+(?:@|%40)[A-Za-z0-9-]+\.[A-Za-z0-9.-]+"), "[email]"),
    (
        re.compile(
            r"(?i)([\"']?\b(?:code|user_code|device_code|state|access_token|refresh_token|id_token|client_secret|client_assertion|code_verifier|password"
            r"|user_token|auth_code|api_key|subject_token|cookie|authorization)[\"']?\s*[=:]\s*[\"']?)[^\s&\"',;}]+"
        ),
        r"\1[redacted]",
    ),
)


def redact(text: str) -> str:
    """`text` without anything that looks like a token, credential or e-mail address."""
    for pattern, replacement in _PATTERNS:
        text = pattern.sub(replacement, text)
    return text


class RedactingFormatter(LambdaPowertoolsFormatter):
    """Redacts the finished line, so that no path into the log (exception text included) goes around it."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON, redacted value by value so that it stays JSON."""
        line = json.loads(super().format(record))
        if "audit" in line:
            del line["message"]  # it says the same, and every byte of a line is paid for
        if "_aws" in line:
            line.pop("timestamp", None)  # the metric's says it
        return json.dumps(_redacted(line), separators=(",", ":"))


def _redacted(value: Any) -> Any:
    match value:
        case str():
            return redact(value)
        case dict():
            return {name: _redacted(entry) for name, entry in value.items()}
        case list():
            return [_redacted(entry) for entry in value]
    return value


# Lambda takes a line's own time where that is in the form of RFC 3339.
logger = Logger(logger_formatter=RedactingFormatter(location=None, use_rfc3339=True))
