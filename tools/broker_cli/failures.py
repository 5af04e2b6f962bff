"""How the command fails: one sentence on stderr, and an exit status that says whose fault it was.

A sentence never holds a secret; what AWS or a file said is quoted only as far as it is a code or a name.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)

from broker.store.aws import StoreUnavailable


class WrongInput(click.ClickException):
    """The operator asked for something that cannot be. The sentence says what, and how to fix it."""

    exit_code = 2


class ServiceFailure(click.ClickException):
    """AWS, or the local stand-in for it, did not do what was asked."""

    exit_code = 1


@contextmanager
def aws_failures() -> Iterator[None]:
    """Turn every failure of an AWS service into a ServiceFailure."""
    try:
        yield
    except StoreUnavailable as failure:
        raise ServiceFailure(f"AWS refused or did not answer ({failure.detail}); nothing more was done.") from None
    except ClientError as error:
        raise ServiceFailure(
            f"AWS refused {error.operation_name} ({error_code(error)}); check your permissions."
        ) from None
    except (NoCredentialsError, PartialCredentialsError):
        raise ServiceFailure("No AWS credentials were found; log in to AWS, or use --local.") from None
    except ProfileNotFound:
        raise WrongInput("The AWS profile of this shell does not exist; set AWS_PROFILE to one that does.") from None
    except NoRegionError:
        raise WrongInput("No AWS Region is set; give --region or set AWS_REGION, or use --local.") from None
    except BotoCoreError as error:
        raise ServiceFailure(
            f"AWS could not be reached ({type(error).__name__}); check the network and your AWS configuration."
        ) from None


def error_code(error: ClientError) -> str:
    """The service's own name for what went wrong."""
    return str(error.response.get("Error", {}).get("Code", "unknown"))


def changed_meanwhile(name: str) -> ServiceFailure:
    """For an entry that is not any more what it was when the command read it."""
    return ServiceFailure(
        f"Nothing was changed: somebody else changed {name} at the same moment; run the command again."
    )
