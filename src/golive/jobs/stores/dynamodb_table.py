"""
Calls to the table: pages of a query, batches of reads, transactions that other writers got in the way of.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from golive.errors import ConfigError, UnavailableError
from golive.jobs.aws import Address, AwsClient, AwsError
from golive.jobs.stores.dynamodb_items import Item, bindings, table_of

#: What one transaction takes.
TRANSACTION_MAX = 100
READ_BATCH_MAX = 100
#: Tries of a transaction that meets another one on an item, with jitter in between.
CONFLICTS_MAX = 8
PAUSE_SECONDS = 0.02

FAILED = "ConditionalCheckFailedException"
_CANCELLED = "TransactionCanceledException"


class Table:
    """One table of DynamoDB; errors as :class:`golive.jobs.aws.AwsClient` has them."""

    def __init__(self, address: Address) -> None:
        self.name = address.name
        self._client = AwsClient("dynamodb", address)

    def close(self) -> None:
        """Let go."""
        self._client.close()

    async def ensure(self, create: bool) -> None:
        """
        Check that the table is there and has its indexes.

        Raises: ConfigError when it is missing and must not be made, or is another table.
        """
        try:
            found = (await self._client.call("describe_table", TableName=self.name))["Table"]
        except AwsError as error:
            if error.code != "ResourceNotFoundException":
                raise
            if not create:
                raise ConfigError(
                    f"jobs.url: expected a DynamoDB table {self.name!r}, got none of that name. Make it as "
                    "docs/jobs.md says, or add ?create=true."
                ) from error
            found = await self._create()
        wanted = table_of(self.name)
        there = {each["IndexName"]: each["KeySchema"] for each in found.get("GlobalSecondaryIndexes", ())}
        expected = {each["IndexName"]: each["KeySchema"] for each in wanted["GlobalSecondaryIndexes"]}
        if found["KeySchema"] != wanted["KeySchema"] or any(there.get(name) != keys for name, keys in expected.items()):
            raise ConfigError(
                f"jobs.url: expected the table {self.name!r} to have the key pk and the indexes work (w, o) and "
                "seen (s, pk), got another table."
            )

    async def get(self, key: Item) -> Item | None:
        """The item as it is now."""
        answer = await self._client.call("get_item", TableName=self.name, Key=key, ConsistentRead=True)
        found: Item | None = answer.get("Item")
        return found

    async def get_all(self, keys: Sequence[Item]) -> list[Item]:
        """Those that are there, as they are now, in any order."""
        found: list[Item] = []
        for at in range(0, len(keys), READ_BATCH_MAX):
            wanted: Any = {self.name: {"Keys": list(keys[at : at + READ_BATCH_MAX]), "ConsistentRead": True}}
            while wanted:
                answer = await self._client.call("batch_get_item", RequestItems=wanted)
                found += answer["Responses"].get(self.name, [])
                wanted = answer.get("UnprocessedKeys")
        return found

    async def put_new(self, item: Item) -> bool:
        """Write *item* unless there is one of its key."""
        return await self._unless_refused(
            "put_item", Item=item, ConditionExpression="attribute_not_exists(#pk)",
            **bindings("#pk", {}),
        )  # fmt: skip

    async def update(self, arguments: Mapping[str, Any]) -> Item | None:
        """The item afterwards; None if the condition did not hold."""
        try:
            answer = await self._client.call("update_item", TableName=self.name, ReturnValues="ALL_NEW", **arguments)
        except AwsError as error:
            if error.code == FAILED:
                return None
            raise
        found: Item = answer["Attributes"]
        return found

    async def delete(self, key: Item) -> None:
        """Gone, if it was there."""
        await self._client.call("delete_item", TableName=self.name, Key=key)

    async def transact(self, actions: Sequence[tuple[str, Mapping[str, Any]]]) -> list[int]:
        """
        All of *actions* ("Put", "Update", "Delete" and its arguments) or none. Returns the places of those whose
        condition did not hold; when there are none, it is done.

        Raises: UnavailableError when other transactions were in the way all the time.
        """
        items = [{verb: {"TableName": self.name, **arguments}} for verb, arguments in actions]
        for attempt in range(CONFLICTS_MAX):
            try:
                await self._client.call("transact_write_items", TransactItems=items)
                return []
            except AwsError as error:
                if error.code == "TransactionInProgressException":
                    reasons = []
                elif error.code == _CANCELLED:
                    reasons = [str(each.get("Code")) for each in error.response.get("CancellationReasons", ())]
                else:
                    raise
                if refused := [at for at, code in enumerate(reasons) if code == "ConditionalCheckFailed"]:
                    return refused
            await asyncio.sleep(PAUSE_SECONDS * 2**attempt * random.random())  # noqa: S311 - jitter, not a secret
        raise UnavailableError(f"dynamodb: {self.name}: other transactions were in the way {CONFLICTS_MAX} times.")

    async def query(
        self, index: str, condition: str, values: Mapping[str, object], *, limit: int | None = None,
        descending: bool = False, where: str = "",
    ) -> AsyncIterator[Item]:  # fmt: skip
        """What *index* has, in order, page by page; *where* filters what was read."""
        arguments: dict[str, Any] = {
            "TableName": self.name, "IndexName": index, "KeyConditionExpression": condition,
            "ScanIndexForward": not descending, **bindings(f"{condition} {where}", values),
        }  # fmt: skip
        if where:
            arguments["FilterExpression"] = where
        elif limit is not None:
            arguments["Limit"] = limit
        while True:
            answer = await self._client.call("query", **arguments)
            for item in answer["Items"]:
                yield item
            if "LastEvaluatedKey" not in answer:
                return
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    async def count(self, index: str, condition: str, values: Mapping[str, object]) -> int:
        """How many there are."""
        total = 0
        arguments = {"KeyConditionExpression": condition, **bindings(condition, values)}
        while True:
            answer = await self._client.call("query", TableName=self.name, IndexName=index, Select="COUNT", **arguments)
            total += int(answer["Count"])
            if "LastEvaluatedKey" not in answer:
                return total
            arguments["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    async def _create(self) -> dict[str, Any]:
        try:
            await self._client.call("create_table", **table_of(self.name))
        except AwsError as error:
            if error.code != "ResourceInUseException":  # another process was faster
                raise
        while True:
            found: dict[str, Any] = (await self._client.call("describe_table", TableName=self.name))["Table"]
            states = [found["TableStatus"], *(each.get("IndexStatus", "ACTIVE")
                                              for each in found.get("GlobalSecondaryIndexes", ()))]  # fmt: skip
            if all(state == "ACTIVE" for state in states):
                return found
            await asyncio.sleep(1.0)

    async def _unless_refused(self, method: str, **arguments: Any) -> bool:
        try:
            await self._client.call(method, TableName=self.name, **arguments)
        except AwsError as error:
            if error.code == FAILED:
                return False
            raise
        return True
