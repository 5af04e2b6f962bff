"""Analyses each policy that template.yaml gives to a function with parliament: does the action exist, does it work on that
kind of resource, is anything too wide. Runs in the analysers' virtual environment, without AWS.

Must never pass over a finding: one that is right as it is has its reason in ACCEPTED.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))

import parliament  # type: ignore[import-not-found]

from broker_local.template import ACCOUNT_ID, REGION, Template

ACCEPTED: dict[tuple[str, str], str] = {}
"""(function, issue) -> why it is right as it is."""

VARIANTS: tuple[dict[str, str], ...] = (
    {},
    {
        "EnableSandbox": "true",
        "SandboxClientSecret": "sixteen-characters",
        "KmsKeyArn": f"arn:aws:kms:{REGION}:{ACCOUNT_ID}:key/00000000-0000-0000-0000-000000000000",
    },
)
"""Parameters that bring in every statement."""

_ARNS = {
    "AWS::DynamoDB::Table": "dynamodb:{where}:table/{name}",
    "AWS::SQS::Queue": "sqs:{where}:{name}",
    "AWS::SecretsManager::Secret": "secretsmanager:{where}:secret:{name}-AbCdEf",
}


class _WithArns(Template):
    """The template with ARNs as AWS gives them, where the local server needs only names."""

    def _attribute(self, logical: str, attribute: str) -> str:
        return self._arn(logical) if attribute == "Arn" else super()._attribute(logical, attribute)

    def _reference(self, name: str) -> Any:
        referred = super()._reference(name)
        is_secret = name not in self._references and self._kind(name) == "AWS::SecretsManager::Secret"
        return self._arn(name) if is_secret else referred

    def _arn(self, logical: str) -> str:
        own = _ARNS[self._kind(logical)].format(where=f"{REGION}:{ACCOUNT_ID}", name=self._physical_name(logical))
        return f"arn:aws:{own}"

    def _kind(self, logical: str) -> str:
        return str(self._resources[logical]["Type"]) if logical != "AWS::NoValue" else ""


def findings(path: Path) -> dict[tuple[str, str], str]:
    """(function, issue) -> what parliament says of it."""
    found = {}
    for parameters in VARIANTS:
        template = _WithArns.load(path, stack="example", overrides=parameters)
        for name in template.logical_ids("AWS::Serverless::Function"):
            for policy in template.properties(name)["Policies"]:
                for finding in parliament.analyze_policy_string(json.dumps(policy), config=None).findings:
                    found[name, finding.issue] = f"{finding.detail} {finding.location}"
    return found


def main(path: Path) -> int:
    """Print what is not accepted, and what is accepted but no longer found."""
    found = findings(path)
    for key in sorted(found.keys() - ACCEPTED.keys()):
        print(*key, found[key], file=sys.stderr)  # noqa: T201 - its output is its purpose
    for key in sorted(ACCEPTED.keys() - found.keys()):
        print(*key, "is accepted, but not found any more", file=sys.stderr)  # noqa: T201
    return int(found.keys() != ACCEPTED.keys())


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
