"""Locks and their like when the session is lost just then: the cases of the C++
client (tests/client/kit_failures_test.cc), by the same names; and what is
Python's own of it."""

import asyncio
import gc
import signal
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor

import support
import waitq
from fake_server import FakeServer
from support import error_of
from waitq import Action, Condition, OnDeath, Outcome
from waitq.aio import AsyncClient

ARRIVED = ("wait { outcome: OUTCOME_DONE value_before: %d value_after: %d "
           "generation: 7 }")
LOCKED = "wait { outcome: OUTCOME_DONE value_after: 1 generation: 9 }"


class KitFailures(unittest.TestCase):

    def setUp(self):
        self.pool = ThreadPoolExecutor()
        self.addCleanup(self.pool.shutdown)
        self.begin()
        watch = support.no_longer_than(support.BOUND_S, self.id())
        watch.__enter__()
        self.addCleanup(watch.__exit__, None, None, None)

    def begin(self):
        self.server = FakeServer()
        self.client = self.server.new_client()
        self.addCleanup(self.client.close)

    def arrive(self, on_death=OnDeath.WITHDRAW, value=0, **options):
        """Comes to a barrier of two: the third operation waits."""
        party = self.pool.submit(
            self.client.barrier("b", 2, on_death).arrive, **options)
        self.server.await_operation(1)
        self.server.answer(1, "get { value: %d }" % value)
        come = self.server.await_operation(2).wait
        self.assertEqual((come.condition.less, come.then.add, come.then_wake,
                          come.nonblock),
                         (value // 2 * 2 + 2, 1, True, True))
        self.assertTrue(come.HasField("undo"))
        self.server.answer(2, ARRIVED % (value, value + 1))
        waits = self.server.await_operation(3).wait
        self.assertEqual(waits.condition.greater_or_equal, value // 2 * 2 + 2)
        return party

    def lock(self, **options):
        """Has one: the first operation."""
        party = self.pool.submit(self.client.lock("l").acquire, **options)
        self.server.await_operation(1)
        self.server.answer(1, LOCKED)
        return party.result()

    # Guards on_lost() in BarrierSteps._wait(): the wait can be begun anew, but
    # its arrival is undone.
    def test_whose_arrival_is_lost_does_not_wait_on_at_the_barrier(self):
        for on_death in OnDeath:
            self.begin()
            party = self.arrive(on_death, value=2)
            self.server.lose_session()
            error = error_of(party.result)
            self.assertEqual((error.reason, error.outcome_unknown),
                             ("ESTALE", True))

    # Guards the outcome in arrive(): a grant that is lost before it is looked
    # at is no reason to arrive once more.
    def test_whose_arrival_is_lost_at_once_does_not_arrive_twice(self):
        party = self.pool.submit(self.client.barrier("b", 2).arrive)
        self.server.await_operation(1)
        self.server.answer(1, "get { value: 0 }")
        self.server.await_operation(2)
        self.server.answer(2, ARRIVED % (0, 1))
        self.server.lose_session()
        error = error_of(party.result)
        self.assertEqual((error.reason, error.outcome_unknown),
                         ("ESTALE", True))

    # Guards `undo == Undo()` in acquire(): it may have counted, and count
    # twice.
    def test_an_arrival_is_not_begun_anew(self):
        party = self.pool.submit(self.client.barrier("b", 2).arrive)
        self.server.await_operation(1)
        self.server.answer(1, "get { value: 0 }")
        self.server.await_operation(2)
        self.server.lose_session()
        error = error_of(party.result)
        self.assertEqual((error.reason, error.outcome_unknown),
                         ("ESTALE", True))

    def test_who_waits_for_a_lock_waits_on_in_the_next_session(self):
        party = self.pool.submit(self.client.lock("l").acquire)
        self.server.await_operation(1)
        self.server.lose_session()
        self.server.await_connections(2)
        self.server.await_operation(1)
        self.server.answer(1, LOCKED)
        grant = party.result()
        self.assertEqual(grant.token, 9)
        # Lost before it is given back.
        told = []
        grant.on_lost(told.append)
        self.server.lose_session()
        self.assertTrue(grant.lost.wait(support.BOUND_S))
        self.server.settle()
        self.assertEqual([why.reason for why in told], ["ESTALE"])
        self.assertFalse(grant.held)
        self.assertEqual(error_of(grant.give_back).reason, "ESTALE")

    # The last one came at the moment at which this one was stopped.
    def test_who_is_stopped_when_the_round_is_passed_has_passed_it(self):
        token = waitq.CancelToken()
        party = self.arrive(cancel=token)
        token.cancel()
        self.server.await_cancel(3)
        self.server.answer(3, 'failure { code: 1 reason: "ECANCELED" }')
        self.assertEqual(self.server.await_operation(4).wake_up.grant, 7)
        self.server.answer(4, "wake_up { value: 2 }")
        self.assertEqual(party.result().outcome, Outcome.DONE)

    # The wake may have come, and does not come again.
    def test_a_wait_without_a_condition_is_not_begun_anew(self):
        for begin in (lambda: self.client.start.wait("q"),
                      lambda: self.client.start.acquire("q", None,
                                                        Action.add(1))):
            self.begin()
            call = begin()
            self.server.await_operation(1)
            self.server.lose_session()
            error = error_of(call.result)
            self.assertEqual((error.reason, error.outcome_unknown),
                             ("ESTALE", True))

    # --- The rest of Barrier --------------------------------------------------

    def test_who_is_stopped_before_that_has_not_come(self):
        token = waitq.CancelToken()
        party = self.arrive(cancel=token)
        token.cancel()
        self.server.await_cancel(3)
        self.server.answer(3, 'failure { code: 1 reason: "ECANCELED" }')
        self.server.await_operation(4)
        self.server.answer(4, "wake_up { value: 0 }")
        self.assertEqual(error_of(party.result).reason, "ECANCELED")

    def test_who_counts_goes_by_a_step_of_its_own(self):
        party = self.arrive(OnDeath.COUNT, timeout=60)
        self.server.answer(3, "wait { outcome: OUTCOME_TIMED_OUT }")
        kept = self.server.await_operation(4).wake_up
        self.assertEqual((kept.grant, kept.update.add), (7, 0))
        for number in (5, 6):  # it was passed by, and asks again
            goes = self.server.await_operation(number).wait
            self.assertEqual((goes.condition.less, goes.then.add), (2, -1))
            self.server.answer(number, "wait { outcome: OUTCOME_WOULD_BLOCK "
                               "value_before: %d }" % (number - 4))
        self.assertTrue(party.result())

    def test_a_word_that_is_no_barriers_is_said(self):
        for value, kind in ((-1, waitq.WaitqError),
                            ((1 << 63) - 2, waitq.WaitqError),
                            ((1 << 63) - 1, waitq.OwnerDied)):
            self.begin()
            party = self.pool.submit(self.client.barrier("b", 2).arrive)
            self.server.await_operation(1)
            self.server.answer(1, "get { value: %d }" % value)
            self.assertIs(type(error_of(party.result)), kind)
        self.assertIs(type(error_of(self.client.barrier, "b", 0)),
                      waitq.InvalidArgument)

    # It would break it anew, were it undone after a reset.
    def test_who_finds_it_broken_when_it_wakes_leaves_nothing_to_undo(self):
        party = self.arrive(OnDeath.BREAK)
        self.server.answer(3, "wait { outcome: OUTCOME_DONE value_before: %d "
                           "value_after: %d }" % (((1 << 63) - 1,) * 2))
        self.assertIs(type(error_of(party.result)), waitq.OwnerDied)
        kept = self.server.await_operation(4).wake_up
        self.assertEqual((kept.grant, kept.update.WhichOneof("change"),
                          kept.update.add), (7, "add", 0))

    def test_who_counts_at_a_removed_barrier_takes_nothing_back_from_the_next(self):
        party = self.arrive(OnDeath.COUNT)
        self.server.answer(3, 'failure { code: 10 reason: "EIDRM" }')
        self.assertEqual(error_of(party.result).reason, "EIDRM")
        kept = self.server.await_operation(4)
        self.assertEqual(kept.wake_up.grant, 7)

    # A barrier may be removed, and another one be there, between any two of the
    # calls: who had come to the one slept at the other, and did not count there.
    def test_who_comes_means_one_barrier_in_all_that_he_does(self):
        party = self.pool.submit(
            self.client.barrier("b", 2, OnDeath.COUNT).arrive, timeout=60)
        self.server.await_operation(1)
        self.server.answer(1, "get { value: 2 generation: 5 }")
        come = self.server.await_operation(2).wait
        self.assertEqual(come.seen_generation, 5)
        # Removed meanwhile: he comes to the next one.
        self.server.answer(2, 'failure { code: 10 reason: "EIDRM" }')
        self.server.await_operation(3)
        self.server.answer(3, "get { value: 0 generation: 6 }")
        self.assertEqual(self.server.await_operation(4).wait.seen_generation, 6)
        self.server.answer(4, ARRIVED % (0, 1))
        self.assertEqual(self.server.await_operation(5).wait.seen_generation, 7)
        self.server.answer(5, "wait { outcome: OUTCOME_TIMED_OUT }")
        self.server.await_operation(6)  # the grant is kept
        back = self.server.await_operation(7).wait
        self.assertEqual((back.then.add, back.seen_generation), (-1, 7))
        self.server.answer(7, "wait { outcome: OUTCOME_DONE value_before: 1 }")
        self.assertFalse(party.result())

    # --- The rest of Grant ----------------------------------------------------

    def test_a_block_whose_grant_was_lost_says_so_at_its_end(self):
        with self.assertRaises(waitq.Stale):
            with self.lock() as grant:
                self.server.lose_session()
                self.assertTrue(grant.lost.wait(support.BOUND_S))
        # But not instead of what has left it.
        self.begin()
        with self.assertRaises(ZeroDivisionError):
            with self.lock() as grant:
                self.server.lose_session()
                self.assertTrue(grant.lost.wait(support.BOUND_S))
                raise ZeroDivisionError

    def test_a_block_that_fails_gives_back_and_waits_for_nothing(self):
        with self.assertRaises(ZeroDivisionError):
            with self.lock():
                raise ZeroDivisionError
        self.assertEqual(self.server.await_operation(2).wake_up.grant, 9)

    def test_what_is_dropped_is_given_back_and_watched_no_more(self):
        grant = self.lock()
        told = []
        grant.on_lost(told.append)
        del grant
        gc.collect()
        self.assertEqual(self.server.await_operation(2).wake_up.grant, 9)
        self.server.settle()
        self.assertFalse(self.client._core.machine._watches)
        self.server.lose_session()
        self.server.settle()
        self.assertEqual(told, [])

    def test_what_is_given_back_is_not_lost(self):
        grant = self.lock()
        told = []
        grant.on_lost(told.append)
        party = self.pool.submit(grant.give_back, Action.set(5))
        gives = self.server.await_operation(2).wake_up
        self.assertEqual((gives.grant, gives.update.set), (9, 5))
        self.assertFalse(grant.held)
        self.server.lose_session()
        self.assertEqual(error_of(party.result).reason, "ESTALE")
        self.server.settle()
        self.assertEqual(told, [])

    # Guards `plan.session`: the grant is gone with its server.
    def test_what_a_draining_server_does_not_take_back_is_not_begun_anew(self):
        grant = self.lock()
        party = self.pool.submit(grant.give_back)
        self.server.await_operation(2)
        self.server.answer(2, 'failure { code: 14 reason: "ESHUTDOWN" }')
        self.assertIs(type(error_of(party.result)), waitq.ShuttingDown)

    def test_a_callback_cannot_give_back_and_so_it_stays_held(self):
        grant = self.lock()
        reasons = []
        other = self.client.start.get("w")
        other.add_done_callback(
            lambda _: reasons.append(error_of(grant.give_back).reason))
        self.server.answer(2, "get { value: 1 }")
        other.result()
        self.server.settle()
        self.assertEqual(reasons, ["EDEADLK"])
        self.assertTrue(grant.held)
        grant.keep()
        self.assertFalse(grant.held)

    def test_a_grant_that_nobody_asks_for_is_returned(self):
        call = self.client.start.acquire("l", Condition.equal(0), Action.set(1))
        self.server.await_operation(1)
        self.server.answer(1, LOCKED)
        self.assertTrue(call.wait(support.BOUND_S))
        del call
        gc.collect()
        self.server.settle()
        self.assertEqual(self.client._core.machine._unsettled, 0)
        self.assertFalse(self.client._core.machine._watches)

    def test_a_listener_that_fails_is_noted(self):
        grant, other = self.lock(), []

        def fail(_):
            raise ZeroDivisionError

        grant.on_lost(fail)
        second = self.client.start.acquire("m", Condition.equal(0),
                                           Action.set(1))
        self.server.await_operation(2)
        self.server.answer(2, LOCKED)
        second.result().on_lost(other.append)
        with self.assertLogs("waitq", "ERROR") as logs:
            self.server.lose_session()
            support.await_that(lambda: other)
        self.assertIn("ZeroDivisionError", logs.output[0])

    def test_ctrl_c_at_a_barrier_takes_the_arrival_back(self):
        for on_death in OnDeath:
            self.begin()
            server, main = self.server, threading.main_thread().ident

            def play(server=server):
                server.await_operation(1)
                server.answer(1, "get { value: 0 }")
                server.await_operation(2)
                server.answer(2, ARRIVED % (0, 1))
                server.await_operation(3)
                signal.pthread_kill(main, signal.SIGINT)

            played = self.pool.submit(play)
            with self.assertRaises(KeyboardInterrupt):
                self.client.barrier("b", 2, on_death).arrive()
            played.result()
            gone = server.await_operation(4).wake_up
            self.assertEqual(gone.grant, 7)
            if on_death is OnDeath.COUNT:
                self.assertEqual(gone.update.add, 0)
                for number in (5, 6):
                    goes = server.await_operation(number).wait
                    self.assertEqual(goes.then.add, -1)
                    server.answer(number,
                                  "wait { outcome: OUTCOME_WOULD_BLOCK "
                                  "value_before: %d }" % (number - 4))
            else:
                self.assertFalse(gone.HasField("update"))
            server.await_cancel(3)


class AioKitFailures(unittest.IsolatedAsyncioTestCase):

    async def asyncSetUp(self):
        self.server = FakeServer()
        self.client = self.server.new_client(AsyncClient)
        self.addAsyncCleanup(self.client.close)
        watch = support.no_longer_than(support.BOUND_S, self.id())
        watch.__enter__()
        self.addCleanup(watch.__exit__, None, None, None)

    async def there(self, function, *args):
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(None, function, *args)

    async def lock(self):
        task = asyncio.create_task(self.client.lock("l").acquire())
        await self.there(self.server.await_operation, 1)
        self.server.answer(1, LOCKED)
        return await task

    async def test_who_loses_a_grant_is_told_by_the_loop(self):
        grant = await self.lock()
        told = []
        grant.on_lost(lambda why: told.append(
            (why.reason, asyncio.get_running_loop())))
        self.server.lose_session()
        await grant.lost.wait()
        loop = asyncio.get_running_loop()
        self.assertEqual(told, [("ESTALE", loop)])
        self.assertFalse(grant)
        grant.on_lost(lambda why: told.append((why.reason, None)))
        self.assertEqual(told[1:], [("ESTALE", None)])
        with self.assertRaises(waitq.Stale):
            await grant.give_back()

    async def test_a_block_whose_grant_was_lost_says_so_at_its_end(self):
        with self.assertRaises(waitq.Stale):
            async with await self.lock() as grant:
                self.server.lose_session()
                await grant.lost.wait()

    async def test_what_is_dropped_is_given_back(self):
        grant = await self.lock()
        grant.on_lost(lambda why: None)
        del grant
        gc.collect()
        gone = await self.there(self.server.await_operation, 2)
        self.assertEqual(gone.wake_up.grant, 9)

    async def test_a_give_back_whose_task_is_cancelled_goes_on(self):
        grant = await self.lock()
        task = asyncio.create_task(grant.give_back())
        await self.there(self.server.await_operation, 2)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        await self.there(self.server.settle)
        self.assertNotIn(2, self.server._cancels)
        self.assertFalse(grant)

    async def test_who_is_cancelled_at_a_barrier_takes_the_arrival_back(self):
        task = asyncio.create_task(self.client.barrier("b", 2).arrive())
        await self.there(self.server.await_operation, 1)
        self.server.answer(1, "get { value: 0 }")
        await self.there(self.server.await_operation, 2)
        self.server.answer(2, ARRIVED % (0, 1))
        await self.there(self.server.await_operation, 3)
        task.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await task
        gone = await self.there(self.server.await_operation, 4)
        self.assertEqual(gone.wake_up.grant, 7)
        await self.there(self.server.await_cancel, 3)


CASES = [KitFailures, AioKitFailures]
