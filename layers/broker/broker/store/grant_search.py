"""Every login of a client or a person: for the operator, who may wait for a read of the whole table."""

from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

from broker.store.attributes import item
from broker.store.aws import call
from broker.store.grants import Grant, grant_of

SCAN_SEGMENTS = 4
"""Parts of the table that a search reads at the same time. More would take read capacity from the users: a page of 1 MB
costs 128 units, an on-demand table starts at 12,000 a second, and one partition gives 3,000."""


def search(dynamodb: Any, table: str, *, client_id: str | None = None, subject: str | None = None) -> Iterator[Grant]:
    """The logins that were ever active, in no order: a client's, a person's, or a person's at a client.

    Reads the whole table. The reads are eventually consistent: what was written within the last second may be missing.
    However many logins there are, only a few pages of 1 MB are held at a time. Errors: StoreUnavailable.
    """

    def scan(page: Mapping[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = call(dynamodb.scan, **page)
        return answer

    pool = ThreadPoolExecutor(SCAN_SEGMENTS)
    try:
        reading = {pool.submit(scan, page): page for page in _first_pages(table, client_id, subject)}
        while reading:
            done, _ = wait(reading, return_when=FIRST_COMPLETED)
            for future in done:
                page, answer = reading.pop(future), future.result()
                if "LastEvaluatedKey" in answer:
                    page = {**page, "ExclusiveStartKey": answer["LastEvaluatedKey"]}
                    reading[pool.submit(scan, page)] = page
                yield from map(grant_of, answer["Items"])
    finally:  # whoever hears of a failure need not wait for the other parts
        pool.shutdown(wait=False, cancel_futures=True)


def _first_pages(table: str, client_id: str | None, subject: str | None) -> list[dict[str, Any]]:
    """The request for the first page of each part of the table."""
    # A login is of generation 0 until its code is redeemed, and never again, however it ends.
    condition = "sk = :grant AND generation > :zero"
    values: dict[str, object] = {":grant": "grant", ":zero": 0}
    for attribute, wanted in (("client_id", client_id), ("subject", subject)):
        if wanted is not None:
            condition += f" AND {attribute} = :{attribute}"
            values[f":{attribute}"] = wanted
    return [
        {
            "TableName": table,
            "FilterExpression": condition,
            "ExpressionAttributeValues": item(values),
            "Segment": segment,
            "TotalSegments": SCAN_SEGMENTS,
        }
        for segment in range(SCAN_SEGMENTS)
    ]
