"""Grants, and what is made of them: locks, semaphores, events, latches and
barriers: the scenarios of the C++ client (tests/client/kit_scenarios.cc), by
the same names."""

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import waitq
from support import await_that, eq, error_of, false, gt, reason_of, true
from waitq import Action, Condition, OnDeath, Outcome, Undo

# Of programs that leave: should the connection be cut just then, the server
# hears nothing of it, and waits for so long.
SHORT_GRACE = 2


def start_lock(client, name):
    """What Lock.acquire() asks for."""
    return client.start.acquire(name, Condition.equal(0), Action.set(1))


def a_lock_is_held_by_one(scene):
    name = scene.name("lock")
    mine, theirs = scene.a.lock(name), scene.b.lock(name)
    first = mine.acquire()
    true(first.held)
    true(first)
    refused = theirs.acquire(nonblock=True)
    false(refused)
    eq(refused.result.outcome, Outcome.WOULD_BLOCK)
    eq(theirs.acquire(timeout=0.001).result.outcome, Outcome.TIMED_OUT)

    call = start_lock(scene.b, name)
    scene.await_asleep(name, 1)
    first.give_back()
    false(first.held)
    second = call.result()
    true(second)
    true(second is call.result())
    gt(second.token, first.token)
    error = error_of(first.give_back)
    eq((type(error), error.reason, error.object), (waitq.Stale, "ESTALE", name))
    eq(reason_of(refused.give_back), "")


def what_goes_out_of_scope_is_given_back(scene):
    lock = scene.a.lock(scene.name("lock"))
    for _ in range(3):
        grant = lock.acquire()
        moved = grant
        true(moved.held)
        del grant, moved
        gc.collect()
    grant = lock.acquire()
    grant = None  # given back, too
    gc.collect()
    # A block's.
    with lock as grant:
        true(grant.held)
        false(lock.acquire(nonblock=True))
    false(grant.held)
    with lock.acquire(timeout=60) as grant:
        true(grant)
        grant.give_back()
    try:
        with lock:
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    true(lock.acquire())


def who_leaves_lets_go(scene):
    name = scene.name("lock")
    leaves = scene.world.new_client(grace=SHORT_GRACE)
    grant = leaves.lock(name).acquire()
    true(grant)
    told = []
    grant.on_lost(lambda why: None)  # that is replaced
    grant.on_lost(told.append)
    call = start_lock(scene.b, name)
    scene.await_asleep(name, 1)
    leaves.close()
    eq([type(why) for why in told], [waitq.Cancelled])
    true(grant.lost.is_set())
    false(grant.held)
    true(call.result())
    # Told at once, who asks late.
    late = []
    grant.on_lost(late.append)
    eq([why.object for why in late], [name])
    eq(reason_of(grant.give_back), "ECANCELED")


def a_grant_whose_object_is_removed_is_gone(scene):
    name = scene.name("lock")
    grant = scene.a.lock(name).acquire()
    eq(scene.world.grants(name), 1)
    eq(reason_of(scene.b.remove, name), "EBUSY")
    scene.b.remove(name, force=True)
    eq(reason_of(grant.give_back), "ESTALE")


def a_semaphore_has_so_many_permits(scene):
    name = scene.name("semaphore")
    mine, theirs = scene.a.semaphore(name, 3), scene.b.semaphore(name, 3)
    two = mine.acquire(2)
    true(two)
    false(theirs.acquire(2, nonblock=True))
    one = theirs.acquire()
    true(one)
    false(mine.acquire(nonblock=True))
    two.give_back()
    two = theirs.acquire(2, nonblock=True)
    true(two)
    one.give_back()
    with mine as one:  # in a block, one
        eq(scene.b.get(name).value, 3)
    eq(scene.b.get(name).value, 2)
    for n in (0, 4):
        eq(type(error_of(mine.acquire, n)), waitq.InvalidArgument)


def what_is_kept_is_not_given_back(scene):
    name = scene.name("semaphore")
    with scene.world.new_client(grace=SHORT_GRACE) as leaves:
        leaves.semaphore(name, 3).acquire().keep()
        leaves.get(name)  # it has arrived
    eq(scene.b.get(name).value, 1)


def an_event_wakes_all_or_one(scene):
    name = scene.name("event")
    mine, theirs = scene.a.event(name), scene.b.event(name)
    eq(theirs.wait(nonblock=True).outcome, Outcome.WOULD_BLOCK)
    mine.set()
    true(theirs.wait())
    true(theirs.wait())
    mine.clear()
    eq(theirs.wait(timeout=0).outcome, Outcome.TIMED_OUT)
    mine.set_for_one()
    true(theirs.take_one())
    eq(theirs.take_one(nonblock=True).outcome, Outcome.WOULD_BLOCK)


def a_latch_opens_once(scene):
    name = scene.name("latch")
    mine, theirs = scene.a.latch(name, 3), scene.b.latch(name, 3)
    mine.count_down()
    eq(theirs.wait(nonblock=True).outcome, Outcome.WOULD_BLOCK)
    theirs.count_down(2)
    true(mine.wait())
    true(theirs.wait(nonblock=True))


def come_and_die(scene, name, parties, undo):
    """As a barrier comes, in a program that ends before it has passed. Without
    a way to undo it, it counts."""
    with scene.world.new_client(grace=SHORT_GRACE) as dies:
        # The session is there before it comes: its first message may be in
        # doubt.
        error_of(dies.get, name + "/nothing")
        come = Condition.less(parties), Action.add(1)
        if undo is None:
            true(dies.wait(name, *come, then_wake=True))
            return
        grant = dies.acquire(name, *come, undo=undo, then_wake=True)
        true(grant)
        dies.close()
        true(grant.lost.is_set())


def in_threads(*functions):
    """They arrive in threads of their own: that has two steps."""
    with ThreadPoolExecutor(len(functions)) as pool:
        return [future.result() for future in
                [pool.submit(function) for function in functions]]


def a_barrier_lets_all_through_again_and_again(scene):
    name = scene.name("barrier")
    for round_ in range(3):
        first, second = in_threads(scene.a.barrier(name, 2).arrive,
                                   scene.b.barrier(name, 2).arrive)
        true(first and second)
        eq((first.round, second.round), (round_, round_))
        eq(first.place + second.place, 1)
    # Who has passed it has nothing that could be undone.
    await_that(lambda: scene.world.grants(name) == 0)
    eq(scene.b.get(name).value, 6)


def who_dies_at_a_barrier_has_not_come(scene):
    name = scene.name("barrier")
    come_and_die(scene, name, 2, Undo(only_while=Condition.less(2)))
    true(scene.b.wait(name, Condition.equal(0)))
    true(all(in_threads(scene.a.barrier(name, 2).arrive,
                        scene.b.barrier(name, 2).arrive)))
    # Who has passed it has come for good.
    eq(scene.b.get(name).value, 2)


def who_dies_may_break_a_barrier(scene):
    name = scene.name("barrier")
    barrier = scene.b.barrier(name, 3, OnDeath.BREAK)
    errors = []
    waits = threading.Thread(target=lambda: errors.append(
        error_of(scene.a.barrier(name, 3, OnDeath.BREAK).arrive)))
    waits.start()
    scene.await_asleep(name, 1)
    come_and_die(scene, name, 3, Undo(Condition.less(3),
                                      Action.set((1 << 63) - 1)))
    waits.join()
    errors.append(error_of(barrier.arrive))
    for error in errors:
        eq((type(error), error.reason, error.object, error.outcome_unknown),
           (waitq.OwnerDied, "EOWNERDEAD", name, False))
    barrier.reset()
    eq(scene.b.get(name).value, 0)
    # Nothing of those who have come is left, which would break it anew.
    await_that(lambda: scene.world.grants(name) == 0)
    eq(scene.b.get(name).value, 0)


def who_dies_may_count_at_a_barrier(scene):
    name = scene.name("barrier")
    come_and_die(scene, name, 2, None)
    eq(scene.b.barrier(name, 2, OnDeath.COUNT).arrive().place, 1)


def whose_time_is_over_has_not_come(scene):
    for on_death in (OnDeath.WITHDRAW, OnDeath.COUNT):
        name = scene.name(on_death.name)
        late = scene.a.barrier(name, 2, on_death).arrive(timeout=0.001)
        false(late)
        eq(late.outcome, Outcome.TIMED_OUT)
        eq(scene.b.get(name).value, 0)


SCENARIOS = [
    a_lock_is_held_by_one,
    what_goes_out_of_scope_is_given_back,
    who_leaves_lets_go,
    a_grant_whose_object_is_removed_is_gone,
    a_semaphore_has_so_many_permits,
    what_is_kept_is_not_given_back,
    an_event_wakes_all_or_one,
    a_latch_opens_once,
    a_barrier_lets_all_through_again_and_again,
    who_dies_at_a_barrier_has_not_come,
    who_dies_may_break_a_barrier,
    who_dies_may_count_at_a_barrier,
    whose_time_is_over_has_not_come,
]
