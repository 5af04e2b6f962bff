"""The providers' client credentials in Secrets Manager, as the operator writes them.

One secret per provider (broker.store.secrets.ProviderSecret). Secrets and private keys go in and are never shown.
"""

from typing import Any

from botocore.exceptions import ClientError

from broker.store.secrets import ProviderSecret
from broker.upstream.provider import Provider
from broker_cli.failures import ServiceFailure, aws_failures, error_code

RECOVERY_DAYS = 7
"""Days in which a removed secret can still be restored: `provider add` under the same name does so."""


class ProviderSecrets:
    """Errors of every method: ServiceFailure."""

    def __init__(self, secretsmanager: Any, prefix: str) -> None:
        self._secretsmanager = secretsmanager
        self._prefix = prefix

    def put(self, provider: str, secret: ProviderSecret) -> None:
        """Write the credentials, whether or not there are some already."""
        name, text = self._prefix + provider, secret.text()
        with aws_failures():
            try:
                self._secretsmanager.create_secret(
                    Name=name, SecretString=text, Description=f"The broker's client credentials at {provider}."
                )
            except ClientError as error:
                # InvalidRequest is the answer for a secret that waits for its deletion.
                if error_code(error) not in ("ResourceExistsException", "InvalidRequestException"):
                    raise
                self._secretsmanager.restore_secret(SecretId=name)
                self._secretsmanager.put_secret_value(SecretId=name, SecretString=text)

    def client_id(self, provider: str) -> str | None:
        """The broker's client id at the provider; None when no credentials are there."""
        found = self.read(provider)
        return None if found is None else found.client_id

    def read(self, provider: str) -> ProviderSecret | None:
        """What is kept for the provider; None when nothing is."""
        with aws_failures():
            try:
                answer = self._secretsmanager.get_secret_value(
                    SecretId=self._prefix + provider, VersionStage="AWSCURRENT"
                )
            except ClientError as error:
                if error_code(error) in ("ResourceNotFoundException", "InvalidRequestException"):
                    return None
                raise
        try:
            return ProviderSecret.of_text(answer["SecretString"])
        except (KeyError, ValueError):
            raise ServiceFailure(
                f"The secret of {provider} is not in the broker's form; write all of it anew with"
                f" `broker provider set-secret {provider} --client-id ID --client-secret-stdin`."
            ) from None

    def remove(self, provider: str) -> None:
        """Let the credentials be deleted after RECOVERY_DAYS. Nothing happens when there are none."""
        with aws_failures():
            try:
                self._secretsmanager.delete_secret(SecretId=self._prefix + provider, RecoveryWindowInDays=RECOVERY_DAYS)
            except ClientError as error:
                if error_code(error) not in ("ResourceNotFoundException", "InvalidRequestException"):
                    raise


def lacks(dialect: Provider, held: ProviderSecret | None) -> str:
    """What is missing from the provider's secret, in words; "" for nothing."""
    if held is None:
        return "no credentials are kept"
    if dialect.needs_secret and not held.client_secret:
        return "no client secret is kept"
    return "no private key is kept" if dialect.needs_key and not held.private_key else ""


def remedy(dialect: Provider, held: ProviderSecret | None) -> str:
    """The command that gives the broker what it lacks."""
    words = ["set-key" if dialect.needs_key else "set-secret", dialect.name]
    words += ["--client-id ID"] if held is None else []
    if dialect.needs_key:
        words.append("--private-key-stdin")
    elif dialect.needs_secret:
        words.append("--client-secret-stdin")
    return f"`broker provider {' '.join(words)}`"
