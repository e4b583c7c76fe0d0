"""The client for asyncio."""

import asyncio
import random
import unittest

import support
import waitq
from support import eq
from waitq import (
    Action, Alternative, Condition, Outcome, PipeMode, PipeOptions)
from waitq.aio import AsyncClient


class Aio(unittest.IsolatedAsyncioTestCase):

    @classmethod
    def setUpClass(cls):
        cls.world = support.World()

    @classmethod
    def tearDownClass(cls):
        cls.world.close()

    async def asyncSetUp(self):
        self.name = self.id()
        watch = support.no_longer_than(support.BOUND_S, self.name)
        watch.__enter__()
        self.addCleanup(watch.__exit__, None, None, None)
        address = self.world.server.address
        self.client = AsyncClient(address, caller="aio")
        self.addAsyncCleanup(self.client.close)
        self.other = AsyncClient(address)
        self.addAsyncCleanup(self.other.close)

    async def asleep(self, name, count):
        while len(await self.other.tasks(name)) != count:
            await asyncio.sleep(0.003)

    async def test_a_wait_and_a_wake(self):
        task = asyncio.create_task(self.client.wait(
            self.name, Condition.equal(1), Action.set(0)))
        await self.asleep(self.name, 1)
        woken = await self.other.wake_up(self.name, Action.set(1))
        result = await task
        self.assertEqual((woken.woken, result.value_before, result.value_after),
                         (1, 1, 0))
        self.assertEqual((await self.client.get(self.name)).value, 0)
        (info,) = await self.client.list(self.name)
        self.assertEqual(info, await self.client.stat(self.name))

    async def test_a_cancelled_task_takes_nothing(self):
        task = asyncio.create_task(self.client.wait(
            self.name, Condition.equal(1), Action.set(0)))
        await self.asleep(self.name, 1)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        await self.asleep(self.name, 0)
        self.assertEqual(
            (await self.other.wake_up(self.name, Action.set(1))).woken, 0)

    async def test_any_of_several(self):
        word, done = self.name, self.name + "-done"
        either = [Alternative.wait(word, Condition.equal(1), Action.set(0)),
                  Alternative.await_done(done)]
        task = asyncio.create_task(self.client.wait_any(either))
        await self.asleep(done, 1)
        await self.other.wake_up(word, Action.set(1))
        found = await task
        self.assertEqual((found.alternative, found.result.value_after), (0, 0))
        await self.asleep(done, 0)
        # A cancelled task takes nothing.
        task = asyncio.create_task(self.client.wait_any(either))
        await self.asleep(done, 1)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        await self.asleep(done, 0)
        self.assertEqual((await self.other.complete(done)).woken, 0)
        self.assertTrue(await self.other.try_wait(done))

    async def test_a_poller(self):
        with self.client.poller() as poller:
            poller.watch(self.name, readable=True)
            task = asyncio.create_task(poller.ready())
            await self.asleep(self.name, 1)
            self.assertFalse(task.done())
            await self.other.write(self.name, b"x")
            (event,) = await task
            self.assertEqual((event.name, event.ready.readable),
                             (self.name, True))
            self.assertEqual((await self.client.read(self.name)).data, b"x")
            # A task that is cancelled leaves the next one its turn.
            while poller.take():
                await asyncio.sleep(0.001)
            task = asyncio.create_task(poller.ready())
            await asyncio.sleep(0)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            await self.other.write(self.name, b"y")
            self.assertEqual(len(await poller.ready()), 1)
            with self.assertRaises(RuntimeError):
                poller.wait()
        await self.asleep(self.name, 0)

    async def test_an_error_is_raised(self):
        with self.assertRaises(waitq.NotFound) as raised:
            await self.client.get(self.name)
        self.assertEqual(raised.exception.object, self.name)
        with self.assertRaises(waitq.InvalidArgument):
            await self.client.write(self.name, bytes(5 << 20))

    async def test_a_timeout_is_an_outcome(self):
        result = await self.client.await_done(self.name, timeout=0.010)
        self.assertIs(result.outcome, Outcome.TIMED_OUT)

    async def test_200_sleepers_and_one_wake(self):
        tasks = [asyncio.create_task(self.client.wait(
            self.name, Condition.equal(1))) for _ in range(200)]
        await self.asleep(self.name, 200)
        await self.other.wake_up(self.name, Action.set(1), all=True)
        self.assertTrue(all(await asyncio.gather(*tasks)))

    async def test_cancelled_reads_lose_nothing(self):
        dice = random.Random(support.seed())
        await self.other.write(self.name, b"-",
                               pipe=PipeOptions(mode=PipeMode.PACKET))
        packets = [b"%d" % i for i in range(200)]

        async def produce():
            for packet in packets:
                await asyncio.sleep(dice.uniform(0, 0.002))
                await self.other.write(self.name, packet)

        producer = asyncio.create_task(produce())
        got, cancelled = [], 0
        while len(got) < len(packets) + 1:
            try:
                read = await asyncio.wait_for(
                    self.client.read(self.name), dice.uniform(0.0001, 0.003))
                got.append(read.data)
            except asyncio.TimeoutError:
                cancelled += 1
        await producer
        self.assertEqual(sorted(got), sorted([b"-"] + packets))
        self.assertGreater(cancelled, 0)

    async def test_a_file_through_handles(self):
        data = support.file_bytes(1_000_000)
        async with await self.client.open_reader(self.name) as reader:
            async def produce():
                async with await self.other.open_writer(self.name) as writer:
                    self.assertEqual(await writer.write(data), len(data))
                return writer

            producer = asyncio.create_task(produce())
            self.assertEqual(await reader.read_all(), data)
            writer = await producer
        self.assertEqual((writer.accepted_bytes, writer.offset),
                         (len(data), len(data)))

    async def test_a_reader_whose_task_was_cancelled_goes_on(self):
        reader = await self.client.open_reader(self.name)
        with self.assertRaises(asyncio.TimeoutError):
            await asyncio.wait_for(reader.read_chunk(), 0.010)
        await self.other.write(self.name, b"abc")
        self.assertEqual((await reader.read_chunk()).data, b"abc")
        reader.close()
        with self.assertRaises(waitq.Cancelled):
            await reader.read_chunk()

    async def test_a_writer_whose_task_was_cancelled_is_broken(self):
        writer = await self.client.open_writer(
            self.name, pipe=PipeOptions(capacity_bytes=4))
        with self.assertRaises(asyncio.TimeoutError):
            await asyncio.wait_for(writer.write(bytes(300_000)), 0.050)
        async with await self.other.open_reader(self.name) as reader:
            with self.assertRaises(waitq.StreamEnded) as raised:
                await reader.read_all()
        self.assertIs(raised.exception.outcome, Outcome.END_OF_FILE)
        with self.assertRaises(waitq.Cancelled):
            await writer.close()

    async def test_an_open_whose_task_was_cancelled_leaves_no_handle(self):
        dice = random.Random(support.seed())
        await self.other.create_pipe(self.name)
        cancelled = 0
        for _ in range(100):
            try:
                writer = await asyncio.wait_for(
                    self.client.open_writer(self.name), dice.uniform(0, 0.002))
                await writer.close()
            except asyncio.TimeoutError:
                cancelled += 1
        self.assertGreater(cancelled, 0)
        while (await self.other.stat(self.name)).state.writers:
            await asyncio.sleep(0.003)

    async def test_a_lock_is_held_by_one_task(self):
        inside, most, tokens = 0, 0, []

        async def enter(lock):
            nonlocal inside, most
            async with lock as grant:
                inside += 1
                most = max(most, inside)
                tokens.append(grant.token)
                await self.other.get(self.name)
                inside -= 1
            self.assertFalse(grant)

        # Of one lock several blocks, each in its own task.
        locks = [self.client.lock(self.name), self.other.lock(self.name)]
        await asyncio.gather(*(enter(locks[i % 2]) for i in range(20)))
        self.assertEqual(most, 1)
        self.assertEqual((len(tokens), tokens), (20, sorted(tokens)))
        self.assertEqual((await self.client.get(self.name)).value, 0)

    async def test_a_lock_that_is_waited_for_is_left_by_a_cancelled_task(self):
        grant = await self.client.lock(self.name).acquire()
        task = asyncio.create_task(self.other.lock(self.name).acquire())
        await self.asleep(self.name, 1)
        self.assertFalse(
            await self.other.lock(self.name).acquire(nonblock=True))
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        await self.asleep(self.name, 0)
        await grant.give_back()
        self.assertEqual((await self.client.get(self.name)).value, 0)

    async def test_a_semaphore_has_so_many_permits(self):
        semaphore = self.client.semaphore(self.name, 2)
        async with semaphore, semaphore:
            self.assertFalse(await semaphore.acquire(nonblock=True))
        two = await semaphore.acquire(2)
        two.keep()
        self.assertEqual((await self.client.get(self.name)).value, 2)
        with self.assertRaises(waitq.InvalidArgument):
            await semaphore.acquire(3)

    async def test_events_latches_and_barriers(self):
        event = self.client.event(self.name + "/event")
        task = asyncio.create_task(event.wait())
        await self.asleep(self.name + "/event", 1)
        await self.other.event(self.name + "/event").set()
        self.assertTrue(await task)
        self.assertTrue(await event.take_one())
        self.assertFalse(await event.take_one(nonblock=True))
        await event.set_for_one()
        await event.clear()
        self.assertFalse(await event.wait(timeout=0))

        latch = self.client.latch(self.name + "/latch", 2)
        await latch.count_down()
        self.assertFalse(await latch.wait(nonblock=True))
        await latch.count_down()
        self.assertTrue(await latch.wait())

        barrier = self.client.barrier(self.name + "/barrier", 3)
        results = await asyncio.gather(*(barrier.arrive() for _ in range(6)))
        self.assertEqual(sorted((r.round, r.place) for r in results),
                         [(r, p) for r in range(2) for p in range(3)])
        await barrier.reset()  # it is not broken
        self.assertFalse(await barrier.arrive(timeout=0.001))

    async def test_a_close_ends_all(self):
        task = asyncio.create_task(self.client.wait(self.name))
        await self.asleep(self.name, 1)
        await self.client.close()
        with self.assertRaises(waitq.Cancelled):
            await task

    async def test_a_server_that_is_restarted(self):
        server = support.Server()
        self.addCleanup(server.close)
        async with AsyncClient(server.address) as client:
            task = asyncio.create_task(client.wait(self.name))
            while not await client.tasks(self.name):
                await asyncio.sleep(0.003)
            server.kill()
            server.start()
            with self.assertRaises(waitq.OwnerDied):
                await task
            eq((await client.store(self.name, 1)).value_before, 0)


CASES = [Aio]
