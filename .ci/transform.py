"""Prints template.yaml as SAM transforms it, for cfn-lint and the analysers: transform.py FILE [PARAMETER=VALUE ...].

Runs in the SAM CLI's virtual environment, without AWS.
"""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse  # type: ignore[import-not-found]
from samtranslator.translator.transform import transform  # type: ignore[import-not-found]

_MANAGED_POLICIES = {
    "AWSLambdaBasicExecutionRole": "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole",
    "AWSXRayDaemonWriteAccess": "arn:aws:iam::aws:policy/AWSXRayDaemonWriteAccess",
    "AWSCodeDeployRoleForLambda": "arn:aws:iam::aws:policy/service-role/AWSCodeDeployRoleForLambda",
}


class ManagedPolicies:
    """The few managed policies that SAM adds by itself; without this it would ask IAM for the list."""

    def load(self) -> dict[str, str]:
        """Name -> ARN."""
        return _MANAGED_POLICIES


def transformed(path: Path, parameters: dict[str, str]) -> dict[str, Any]:
    """The CloudFormation template that SAM makes of `path` with these parameters, with stand-ins for the artefacts that
    `sam build` makes.
    """
    template: dict[str, Any] = yaml_parse(path.read_text("utf-8"))
    template["Globals"]["Function"].pop("CodeUri")
    for resource in template["Resources"].values():
        location = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}
        if resource["Type"] in location:
            resource["Properties"][location[resource["Type"]]] = "s3://bucket/artefact"
    result: dict[str, Any] = transform(template, parameters, ManagedPolicies())
    return result


if __name__ == "__main__":
    logging.disable(logging.WARNING)  # SAM's translator warns of its own absent settings, once for each function
    given = dict(argument.split("=", 1) for argument in sys.argv[2:])
    print(json.dumps(transformed(Path(sys.argv[1]), given), indent=2))  # noqa: T201 - its output is its purpose
