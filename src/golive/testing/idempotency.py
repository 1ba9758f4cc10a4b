"""
The specification of a store of idempotency keys, executable. Subclass it, give it a store, and say how time passes.

    class TestMyStore(IdempotencyStoreContract):
        @pytest.fixture
        async def store(self): ...
        async def advance(self, store, seconds): ...
"""

from __future__ import annotations

import asyncio

from golive.chassis.idempotency import IdempotencyStore

LEASE, TTL = 30.0, 100.0


class IdempotencyStoreContract:
    """What :class:`golive.chassis.idempotency.IdempotencyStore` promises; nothing that is not here is promised."""

    async def advance(self, store: IdempotencyStore, seconds: float) -> None:
        """Let *seconds* pass in *store*."""
        raise AssertionError("a contract subclass says how time passes in its store")

    async def test_a_new_key_is_taken_and_a_second_caller_learns_by_whom(self, store: IdempotencyStore) -> None:
        """The fingerprint of the first request is what the second one is compared with."""
        first = await store.begin("k", b"print", "a", LEASE)
        second = await store.begin("k", b"other", "b", LEASE)
        assert (first.mine, first.done, first.owner) == (True, False, "a")
        assert (second.mine, second.done, second.owner, second.fingerprint) == (False, False, "a", b"print")
        assert 0 < second.left_seconds <= LEASE
        assert (await store.begin("another", b"print", "b", LEASE)).mine

    async def test_of_many_at_once_exactly_one_is_first(self, store: IdempotencyStore) -> None:
        """Also when fifty callers ask for the same five keys in the same moment."""
        records = await asyncio.gather(
            *(store.begin(f"k{number % 5}", b"f", f"owner-{number}", LEASE) for number in range(50))
        )
        assert sum(record.mine for record in records) == 5
        winners = {number % 5: record.owner for number, record in enumerate(records) if record.mine}
        assert all(record.owner == winners[number % 5] for number, record in enumerate(records))

    async def test_a_result_is_given_byte_by_byte_until_its_time_is_over(self, store: IdempotencyStore) -> None:
        """Zero bytes included; then the key is new (I13)."""
        answer = bytes(range(256)) * 40
        await store.begin("k", b"\x00f", "a", LEASE)
        assert await store.finish("k", "a", answer, TTL)
        held = await store.begin("k", b"\x00f", "b", LEASE)
        assert (held.mine, held.done, held.saved, held.fingerprint) == (False, True, answer, b"\x00f")
        assert LEASE < held.left_seconds <= TTL
        await self.advance(store, TTL - 1)
        assert (await store.begin("k", b"f", "b", LEASE)).done
        await self.advance(store, 2)
        assert (await store.begin("k", b"f", "c", LEASE)).mine

    async def test_a_result_may_have_no_answer_and_an_empty_one_is_an_answer(self, store: IdempotencyStore) -> None:
        """Too long to keep is not the same as nothing in it."""
        for key, answer in (("long", None), ("empty", b"")):
            await store.begin(key, b"f", "a", LEASE)
            assert await store.finish(key, "a", answer, TTL)
            held = await store.begin(key, b"f", "b", LEASE)
            assert (held.done, held.saved) == (True, answer)

    async def test_a_lease_that_ended_is_taken_over_once_and_the_zombie_is_fenced(
        self, store: IdempotencyStore
    ) -> None:
        """I9: its owner died. One new owner, and whatever the old one still says is refused."""
        await store.begin("k", b"f", "zombie", LEASE)
        await self.advance(store, LEASE - 1)
        assert not (await store.begin("k", b"f", "b", LEASE)).mine
        await self.advance(store, 2)
        takers = [await store.begin("k", b"f2", owner, LEASE) for owner in ("b", "c")]
        assert [(taker.mine, taker.fingerprint) for taker in takers] == [(True, b"f2"), (False, b"f2")]
        assert not await store.finish("k", "zombie", b"late", TTL)
        assert not await store.renew("k", "zombie", LEASE)
        await store.release("k", "zombie")
        assert await store.finish("k", "b", b"result", TTL)
        assert (await store.begin("k", b"f2", "d", LEASE)).saved == b"result"

    async def test_a_lease_is_renewed_by_its_owner_only(self, store: IdempotencyStore) -> None:
        """A slow handler keeps its key."""
        await store.begin("k", b"f", "a", LEASE)
        await self.advance(store, LEASE - 1)
        assert await store.renew("k", "a", LEASE)
        assert not await store.renew("k", "b", LEASE)
        await self.advance(store, LEASE - 1)
        assert not (await store.begin("k", b"f", "b", LEASE)).mine

    async def test_a_released_key_is_new_and_a_finished_one_cannot_be_released(self, store: IdempotencyStore) -> None:
        """What is done stays done, for its owner too."""
        await store.begin("k", b"f", "a", LEASE)
        await store.release("k", "b")
        assert not (await store.begin("k", b"f", "b", LEASE)).mine
        await store.release("k", "a")
        assert (await store.begin("k", b"f", "b", LEASE)).mine
        assert await store.finish("k", "b", b"result", TTL)
        await store.release("k", "b")
        assert not await store.finish("k", "b", b"again", TTL)
        assert not await store.renew("k", "b", LEASE)
        assert (await store.begin("k", b"f", "c", LEASE)).saved == b"result"

    async def test_everything_at_once_keeps_its_promises(self, store: IdempotencyStore) -> None:
        """Two hundred keys begun, finished, renewed and released together; each ends as it was told to."""
        keys = [f"k{number}" for number in range(200)]
        await asyncio.gather(*(store.begin(key, b"f", key, LEASE) for key in keys))
        await asyncio.gather(
            *(store.finish(key, key, key.encode(), TTL) for key in keys[0::3]),
            *(store.release(key, key) for key in keys[1::3]),
            *(store.renew(key, key, LEASE) for key in keys[2::3]),
        )
        records = await asyncio.gather(*(store.begin(key, b"f", "later", LEASE) for key in keys))
        assert [record.saved for record in records[0::3]] == [key.encode() for key in keys[0::3]]
        assert all(record.mine for record in records[1::3])
        assert all(not record.mine and not record.done for record in records[2::3])

    async def test_a_closed_store_opens_again(self, store: IdempotencyStore) -> None:
        """Closing lets go of connections, not of keys."""
        await store.begin("k", b"f", "a", LEASE)
        await store.close()
        await store.close()
        assert not (await store.begin("k", b"f", "b", LEASE)).mine
