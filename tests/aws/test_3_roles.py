"""What each function's role may not do, tried with the role's own credentials: the emulator evaluates policies as IAM does."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from aws.deployment import Deployment
from aws.roles import Actor, Probe, Role, credentials, deployed_roles, make_what_is_somebody_elses, probes

HARMLESS = frozenset(
    {
        *("dynamodb:GetItem", "dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem", "dynamodb:Query"),
        *("secretsmanager:GetSecretValue", "secretsmanager:DescribeSecret"),
    }
)
"""Allowed calls that are made too: they show that the same call is refused elsewhere for want of permission alone."""
WRITES_TO_TABLES = frozenset({"dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:DeleteItem"})
WRITES_TO_SECRETS = frozenset({"secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage"})


@pytest.fixture(scope="module")
def roles(deployment: Deployment) -> Mapping[str, Role]:
    """The roles, by the name that their function has in the template."""
    return {role.function: role for role in deployed_roles(deployment)}


@pytest.fixture(scope="module")
def every_probe(deployment: Deployment) -> tuple[Probe, ...]:
    """The calls to try."""
    make_what_is_somebody_elses(deployment)
    return probes(deployment)


def test_every_function_has_a_role_of_its_own(roles: Mapping[str, Role]) -> None:
    assert len({role.arn for role in roles.values()}) == len(roles)
    assert {"AuthorizeFunction", "TokenFunction", "SandboxFunction"} <= roles.keys()


def test_policies_name_actions_and_resources(roles: Mapping[str, Role]) -> None:
    """The only pattern is that of the providers' secrets, which the operator adds."""
    for role in roles.values():
        for grant in role.grants:
            assert "*" not in grant.action, role.function
            assert "*" not in grant.resource.removesuffix(":secret:token-broker/provider/*"), (role.function, grant)


def test_each_role_may_do_what_its_policy_says_and_nothing_else(
    deployment: Deployment, roles: Mapping[str, Role], every_probe: tuple[Probe, ...]
) -> None:
    wrong, tried, actor = [], 0, Actor(deployment)
    for role in roles.values():
        actor.become(credentials(deployment, role))
        assert f"assumed-role/{role.name}/" in actor.client("sts").get_caller_identity()["Arn"]
        for probe in every_probe:
            allowed = role.allows(probe.action, probe.resource)
            if allowed and probe.action not in HARMLESS:
                continue
            tried += 1
            outcome = probe.outcome(actor.client(probe.service))
            if (outcome == "denied") is allowed:
                wrong.append((role.function, probe, outcome))
    assert wrong == []
    assert tried > 100 * len(roles)


def test_who_may_write_what(deployment: Deployment, roles: Mapping[str, Role]) -> None:
    """Said here once more, apart from the template: what would be a mistake there is a mistake here too."""
    tables = deployment.resources("AWS::DynamoDB::Table")
    writers = {
        logical_id: {
            role.function
            for role in roles.values()
            if any(g.action in WRITES_TO_TABLES and g.resource.endswith(f"table/{name}") for g in role.grants)
        }
        for logical_id, name in tables.items()
    }
    assert writers["RegistryTable"] == {"RegisterFunction"}
    assert writers["SandboxTable"] == {"SandboxFunction"}
    assert not writers["GrantsTable"] & {"SandboxFunction", "MetadataFunction"}
    keepers = {role.function for role in roles.values() if any(g.action in WRITES_TO_SECRETS for g in role.grants)}
    assert keepers == {"RotateFunction"}


def test_who_may_read_the_secrets(deployment: Deployment, roles: Mapping[str, Role]) -> None:
    """The sandbox shares nothing with the broker; who neither signs nor checks needs no keys."""
    keys, providers = deployment.outputs["KeysSecret"], ":secret:token-broker/provider/"
    sandbox = roles["SandboxFunction"]
    assert all(grant.action.startswith("dynamodb:") for grant in sandbox.grants)
    assert {grant.resource.rpartition("/")[2] for grant in sandbox.grants} == {
        deployment.resources("AWS::DynamoDB::Table")["SandboxTable"]
    }
    without_keys = {role.function for role in roles.values() if not role.allows("secretsmanager:GetSecretValue", keys)}
    assert without_keys == {"SandboxFunction", "RegisterFunction"}
    for name in ("ParFunction", "IntrospectFunction", "MetadataFunction", "RegisterFunction", "RotateFunction"):
        assert not any(providers in grant.resource for grant in roles[name].grants), name
