"""ministack, corrected where it differs from AWS in what the deployed stack is seen to do. Run as a program, in ministack's
own virtual environment.

A correction makes the emulator do what AWS documents, and never more lenient. Each says what AWS does. They reach into the one
version of ministack that requirements/aws.txt pins; a new version that does these things by itself makes them superfluous.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ministack import app
from ministack.core import lambda_runtime
from ministack.core.responses import error_response_json, json_response, new_uuid
from ministack.services import apigateway, dynamodb, secretsmanager
from ministack.services.cloudformation import provisioners

Properties = dict[str, Any]
Attributes = dict[str, Any]
Provisioned = tuple[str, Attributes]

_HANDLERS = provisioners._RESOURCE_HANDLERS
_ANY_METHOD = "x-amazon-apigateway-any-method"


def correct() -> None:
    """Put all corrections in place."""
    _make_routes_of_the_body()
    _keep_time_to_live()
    _name_secrets_by_arn()
    _leave_rotation_to_the_function()
    _note_what_is_never_evaluated()
    _unpack_layers_once()
    _let_calls_end()


# -- AWS::ApiGatewayV2::Api: SAM writes an HTTP API's routes as an OpenAPI document, from which AWS makes routes and integrations


def _make_routes_of_the_body() -> None:
    handler = _HANDLERS["AWS::ApiGatewayV2::Api"]
    create, update = handler["create"], handler["update"]

    def create_with_routes(logical_id: str, properties: Properties, stack: str) -> Provisioned:
        api_id, attributes = create(logical_id, properties, stack)
        _replace_routes(api_id, properties)
        return api_id, attributes

    def update_with_routes(api_id: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Provisioned:
        updated, attributes = update(api_id, old, new, stack, logical_id)
        _replace_routes(updated, new)
        return updated, attributes

    handler.update(create=create_with_routes, update=update_with_routes)


def _replace_routes(api_id: str, properties: Properties) -> None:
    routes: dict[str, Any] = {}
    integrations: dict[str, Any] = {}
    for path, methods in properties.get("Body", {}).get("paths", {}).items():
        for method, operation in methods.items():
            integration = operation["x-amazon-apigateway-integration"]
            number = f"{len(routes):08x}"
            integrations[number] = {
                "integrationId": number,
                "integrationType": integration["type"].upper(),
                "integrationUri": integration["uri"],
                "integrationMethod": integration["httpMethod"],
                "payloadFormatVersion": integration["payloadFormatVersion"],
                "timeoutInMillis": 30000,
                "connectionType": "INTERNET",
                "description": "",
            }
            routes[number] = {
                "routeId": number,
                "routeKey": f"{'ANY' if method == _ANY_METHOD else method.upper()} {path}",
                "target": f"integrations/{number}",
                "authorizationType": "NONE",
                "apiKeyRequired": False,
                "operationName": "",
            }
    # Exchanged as a whole, so that a request meets the routes of before or those of after.
    apigateway._integrations[api_id] = integrations
    apigateway._routes[api_id] = routes


# -- AWS::DynamoDB::Table: TimeToLiveSpecification is a property of the table


def _keep_time_to_live() -> None:
    handler = _HANDLERS["AWS::DynamoDB::Table"]
    create, update = handler["create"], handler["update"]

    def create_with_expiry(logical_id: str, properties: Properties, stack: str) -> Provisioned:
        name, attributes = create(logical_id, properties, stack)
        _set_time_to_live(name, properties)
        return name, attributes

    def update_with_expiry(name: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Provisioned:
        updated, attributes = update(name, old, new, stack, logical_id)
        _set_time_to_live(updated, new)
        return updated, attributes

    handler.update(create=create_with_expiry, update=update_with_expiry)


def _set_time_to_live(table: str, properties: Properties) -> None:
    wanted = properties.get("TimeToLiveSpecification")
    if wanted:
        enabled = str(wanted["Enabled"]).lower() == "true"
        specification = {"AttributeName": wanted["AttributeName"], "Enabled": enabled}
        dynamodb._update_ttl({"TableName": table, "TimeToLiveSpecification": specification})


# -- AWS::SecretsManager::Secret: Ref is the secret's ARN, and a secret without SecretString and GenerateSecretString has no value


def _name_secrets_by_arn() -> None:
    handler = _HANDLERS["AWS::SecretsManager::Secret"]
    create, update, delete = handler["create"], handler["update"], handler["delete"]

    def create_by_arn(logical_id: str, properties: Properties, stack: str) -> Provisioned:
        name, attributes = create(logical_id, properties, stack)
        if not {"SecretString", "GenerateSecretString"} & properties.keys():
            secretsmanager._secrets[name]["Versions"].clear()
        return attributes["Arn"], attributes

    def update_by_arn(arn: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Provisioned:
        _, attributes = update(_secret_name(arn), old, new, stack, logical_id)
        return attributes["Arn"], attributes

    def delete_by_arn(arn: str, properties: Properties) -> None:
        delete(_secret_name(arn), properties)

    handler.update(create=create_by_arn, update=update_by_arn, delete=delete_by_arn)


def _secret_name(arn: str) -> str:
    return arn.rpartition(":")[2].rpartition("-")[0]


# -- AWS::SecretsManager::RotationSchedule, which is not known; and RotateSecret, which calls no function and promotes a copy of
#    the present value: in AWS it makes a version without a value, labelled AWSPENDING, and the rest is the function's. Such a
#    version cannot be got


def _leave_rotation_to_the_function() -> None:
    def create(logical_id: str, properties: Properties, stack: str) -> Provisioned:
        secret = secretsmanager._secrets[_secret_name(properties["SecretId"])]
        secret["RotationEnabled"] = True
        secret["RotationLambdaARN"] = properties["RotationLambdaARN"]
        secret["RotationRules"] = properties["RotationRules"]
        assert str(properties.get("RotateImmediatelyOnUpdate", True)).lower() == "false", "rotates when deployed"
        return properties["SecretId"], {}

    def update(arn: str, old: Properties, new: Properties, stack: str) -> Provisioned:
        return create("", new, stack)

    def delete(arn: str, properties: Properties) -> None:
        secret = secretsmanager._secrets.get(_secret_name(arn))
        if secret is not None:
            secret["RotationEnabled"] = False

    _HANDLERS["AWS::SecretsManager::RotationSchedule"] = {"create": create, "update": update, "delete": delete}
    secretsmanager._rotate_secret = _begin_rotation
    secretsmanager._get_secret_value = _unless_without_value(secretsmanager._get_secret_value)


def _unless_without_value(get: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
    def get_secret_value(data: dict[str, Any]) -> Any:
        status, headers, body = get(data)
        if status == 200 and not {"SecretString", "SecretBinary"} & json.loads(body).keys():
            return error_response_json("ResourceNotFoundException", "Secrets Manager can't find the secret value.", 400)
        return status, headers, body

    return get_secret_value


def _begin_rotation(data: dict[str, Any]) -> Any:
    _, secret = secretsmanager._resolve(data["SecretId"])
    version = data.get("ClientRequestToken") or new_uuid()
    secret["Versions"][version] = {
        "SecretString": None,
        "SecretBinary": None,
        "CreatedDate": int(time.time()),
        "Stages": ["AWSPENDING"],
    }
    return json_response({"ARN": secret["ARN"], "Name": secret["Name"], "VersionId": version})


# -- What nobody evaluates here is only noted: saved queries, and alarms on a metric that is computed of others


def _note_what_is_never_evaluated() -> None:
    noted = {"create": _note, "update": _note_again, "update_with_logical_id": True, "delete": _forget}
    _HANDLERS["AWS::Logs::QueryDefinition"] = noted
    alarm = _HANDLERS["AWS::CloudWatch::Alarm"]
    create, update, delete = alarm["create"], alarm["update"], alarm["delete"]

    def create_or_note(logical_id: str, properties: Properties, stack: str) -> Provisioned:
        return (_note if "Metrics" in properties else create)(logical_id, properties, stack)

    def update_or_note(name: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Provisioned:
        return (_note_again if "Metrics" in new else update)(name, old, new, stack, logical_id)

    def delete_or_forget(name: str, properties: Properties) -> None:
        (_forget if "Metrics" in properties else delete)(name, properties)

    alarm.update(create=create_or_note, update=update_or_note, delete=delete_or_forget)


def _note(logical_id: str, properties: Properties, stack: str) -> Provisioned:
    name = f"{stack}-{logical_id}"
    return name, {"Arn": f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}"}


def _note_again(name: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Provisioned:
    return _note(logical_id, new, stack)


def _forget(name: str, properties: Properties) -> None:
    """Nothing was made."""


# -- A layer is unpacked once and shared by all instances, as in Lambda; ministack unpacks it anew for each


def _unpack_layers_once() -> None:
    lambda_runtime.zipfile = SimpleNamespace(
        ZipFile=_SharedLayers, BadZipFile=zipfile.BadZipFile, LargeFileError=zipfile.LargeZipFile
    )


class _SharedLayers(zipfile.ZipFile):
    """Extracts `layer_*.zip` into one folder for all and leaves a link to it; other files as ever."""

    _lock = threading.Lock()

    def extractall(self, path: Any = None, members: Any = None, pwd: bytes | None = None) -> None:
        archive, target = Path(str(self.filename)), Path(path)
        if not archive.name.startswith("layer_"):
            super().extractall(path, members, pwd)
            return
        shared = archive.parent.parent / f"layer-{hashlib.sha256(archive.read_bytes()).hexdigest()}"
        with self._lock:
            if not shared.exists():
                super().extractall(shared, members, pwd)
        target.rmdir()
        target.symlink_to(shared)


# -- A changed function's instances end with the call that each of them is at; ministack kills them in the middle of it


def _let_calls_end() -> None:
    kill = lambda_runtime.kill_workers

    def kill_between_calls(workers: list[Any]) -> None:
        idle = [worker for worker in workers if worker._lock.acquire(blocking=False)]
        kill(idle)
        for worker in idle:
            worker._lock.release()
        for worker in workers:
            if worker not in idle:
                threading.Thread(target=kill_after_the_call, args=(worker,), daemon=True).start()

    def kill_after_the_call(worker: Any) -> None:
        with worker._lock:  # held during a call
            kill([worker])

    lambda_runtime.kill_workers = kill_between_calls


if __name__ == "__main__":
    correct()
    app.main()
