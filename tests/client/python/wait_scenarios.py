"""Wait queues and completions, from end to end: the scenarios of the C++ client
(tests/client/wait_scenarios.cc), by the same names."""

import time
from concurrent.futures import ThreadPoolExecutor
import threading

from support import eq, error_of, false, ge, gt, reason_of, true
from waitq import Action, Condition, Outcome, Sleep, TaskSignal
import waitq


def a_true_condition_ends_a_wait_at_once(scene):
    flag = scene.name("flag")
    stored = scene.b.store(flag, 1)
    eq(stored.value_before, 0)
    result = scene.a.wait(flag, Condition.equal(1), Action.set(5))
    eq(result.outcome, Outcome.DONE)
    false(result.slept)
    eq((result.value_before, result.value_after), (1, 5))
    gt(result.generation, stored.generation)
    eq(scene.b.get(flag).value, 5)


def a_sleeper_is_woken_when_its_condition_holds(scene):
    flag = scene.name("flag")
    call = scene.a.start.wait(flag, Condition.equal(2), Action.set(0))
    scene.await_asleep(flag, 1)
    # A wake that does not make it true uses up nothing.
    early = scene.b.wake_up(flag, Action.set(1))
    eq((early.woken, early.value), (0, 1))
    false(call.done())
    woken = scene.b.wake_up(flag, Action.add(1))
    result = call.result()
    eq(result.outcome, Outcome.DONE)
    true(result.slept)
    eq((result.value_before, result.value_after), (2, 0))
    if scene.world.is_calm:
        eq((woken.woken, woken.woken_exclusive), (1, 1))
    eq(scene.b.get(flag).value, 0, "done once")


def a_timed_sleep_ends_and_never_early(scene):
    flag, timeout = scene.name("flag"), 0.020
    before = time.monotonic()
    result = scene.a.wait(flag, Condition.equal(1), Action.set(7),
                          timeout=timeout, want_timing=True)
    ge(time.monotonic() - before, timeout)
    eq(result.outcome, Outcome.TIMED_OUT)
    false(result)
    true(result.slept)
    ge(result.timing.asleep, timeout)
    for result in (scene.a.await_done(scene.name("job"), timeout=timeout),
                   scene.a.read(scene.name("pipe"), timeout=timeout),
                   scene.a.poll(scene.name("pipe"), readable=True,
                                timeout=timeout)):
        eq(result.outcome, Outcome.TIMED_OUT)


def a_timeout_of_0_is_one_test(scene):
    flag = scene.name("flag")
    eq(scene.a.wait(flag, Condition.equal(1), timeout=0).outcome,
       Outcome.TIMED_OUT)
    scene.b.store(flag, 1)
    eq(scene.a.wait(flag, Condition.equal(1), timeout=0).outcome, Outcome.DONE)


def a_call_that_must_not_sleep_would_block(scene):
    result = scene.a.wait(scene.name("flag"), Condition.equal(1), timeout=3600,
                          nonblock=True)
    eq(result.outcome, Outcome.WOULD_BLOCK)
    false(result.slept)
    for result in (scene.a.await_done(scene.name("job"), nonblock=True),
                   scene.a.read(scene.name("pipe"), nonblock=True)):
        eq(result.outcome, Outcome.WOULD_BLOCK)


def then_changes_the_word(scene):
    word = scene.name("word")
    any_value = Condition.greater_or_equal(0)
    scene.b.store(word, 5)
    for action, value in ((Action.add(8), 13), (Action.and_bits(12), 12),
                          (Action.or_bits(3), 15), (Action.set(2), 2)):
        eq(scene.a.wait(word, any_value, action).value_after, value)
    # What overflows is refused and has changed nothing.
    most = 2**63 - 1
    scene.b.store(word, most)
    error = error_of(scene.a.wait, word, any_value, Action.add(1))
    eq((type(error), error.code.name, error.reason),
       (waitq.InvalidArgument, "OUT_OF_RANGE", "ERANGE"))
    eq(reason_of(scene.a.wake_up, word, Action.add(1)), "ERANGE")
    eq(scene.b.get(word).value, most)


def then_wake_hands_on(scene):
    word = scene.name("word")
    second = scene.b.start.wait(word, Condition.equal(2), Action.set(3))
    scene.await_asleep(word, 1)
    first = scene.a.start.wait(word, Condition.equal(1), Action.set(2),
                               then_wake=True)
    scene.await_asleep(word, 2)
    scene.b.wake_up(word, Action.set(1))
    eq(first.result().value_after, 2)
    eq(second.result().value_before, 2)
    eq(scene.b.get(word).value, 3)


def a_key_reaches_those_who_have_it(scene):
    queue = scene.name("queue")
    one = scene.a.start.wait(queue, key=1)
    both = scene.b.start.wait(queue, key=3)
    two = scene.a.start.wait(queue, key=2)
    scene.await_asleep(queue, 3)
    eq(scene.b.wake_up(queue, all=True, key=4).woken, 0)
    eq(scene.b.wake_up(queue, all=True, key=1).woken, 2)
    one.result()
    both.result()
    scene.await_asleep(queue, 1)
    false(two.done())
    eq(scene.b.wake_up(queue, all=True).woken, 1)
    two.result()


def exclusive_sleepers_are_served_in_order(scene):
    semaphore = scene.name("semaphore")
    calls = []
    for i in range(4):
        calls.append(scene.a.start.wait(
            semaphore, Condition.greater_or_equal(1), Action.add(-1)))
        scene.await_asleep(semaphore, i + 1)
    for i, call in enumerate(calls):
        scene.b.wake_up(semaphore, Action.add(1))
        eq(call.result().value_after, 0)
        false(any(later.done() for later in calls[i + 1:]))
    eq(scene.b.get(semaphore).value, 0)


def a_lock_admits_one_at_a_time(scene):
    lock, mu = scene.name("lock"), threading.Lock()
    inside = [0, 0]

    def work(client):
        for _ in range(4):
            client.wait(lock, Condition.equal(0), Action.set(1))
            with mu:
                inside[0] += 1
                inside[1] += 1
                eq(inside[0], 1)
            with mu:
                inside[0] -= 1
            client.wake_up(lock, Action.set(0))

    with ThreadPoolExecutor() as pool:
        list(pool.map(work, [scene.a, scene.b, scene.a, scene.b]))
    eq(inside, [0, 16])
    eq(scene.a.get(lock).value, 0)


def a_barrier_lets_all_go_together(scene):
    barrier, parties = scene.name("barrier"), 6
    calls = [(scene.a if i % 2 == 0 else scene.b).start.wait(
        barrier, Condition.greater_or_equal(parties)) for i in range(parties)]
    scene.await_asleep(barrier, parties)
    for i in range(parties):
        false(any(call.done() for call in calls))
        woken = scene.b.wake_up(barrier, Action.add(1), all=True)
        eq(woken.value, i + 1, "each counts once")
    for call in calls:
        eq(call.result().value_after, parties)


def an_event_counter_misses_nothing(scene):
    counter, events = scene.name("counter"), 10
    seen = scene.a.store(counter, 0).generation

    def produce():
        for _ in range(events):
            scene.b.wake_up(counter, Action.add(1), all=True)

    with ThreadPoolExecutor() as pool:
        producer = pool.submit(produce)
        value = 0
        while value < events:
            result = scene.a.wait(counter, Condition.changed_since(seen))
            gt(result.generation, seen)
            gt(result.value_after, value)
            seen, value = result.generation, result.value_after
        producer.result()
    eq(value, events)


def a_store_wakes_nobody_but_is_seen_at_the_timeout(scene):
    flag = scene.name("flag")
    call = scene.a.start.wait(flag, Condition.equal(1), timeout=0.060)
    scene.b.store(flag, 1)
    result = call.result()
    # Unless it came too late.
    eq(result.outcome is Outcome.DONE, result.value_before == 1)


def signals_end_the_sleeps_that_admit_them(scene):
    flag = scene.name("flag")
    light = scene.a.start.wait(flag, Condition.equal(1))
    scene.await_asleep(flag, 1)
    eq(scene.world.signal(flag, TaskSignal.INT), 1)
    error = error_of(light.result)
    eq((type(error), error.code.name, error.reason, error.signal, error.object),
       (waitq.Interrupted, "ABORTED", "EINTR", 2, flag))

    deep = scene.a.start.wait(flag, Condition.equal(1), sleep=Sleep.KILLABLE)
    scene.await_asleep(flag, 1)
    eq(scene.world.signal(flag, TaskSignal.INT), 0)
    eq(scene.world.asleep(flag), 1)
    eq(scene.world.signal(flag, TaskSignal.TERM), 1)
    eq(error_of(deep.result).signal, 15)


# --- Completions --------------------------------------------------------------


def a_completion_is_taken_as_often_as_it_is_done(scene):
    job = scene.name("job")
    eq(scene.b.complete(job, 3).done, 3)
    true(scene.a.done(job))
    true(scene.a.try_wait(job))
    for _ in range(2):
        result = scene.a.await_done(job)
        eq(result.outcome, Outcome.DONE)
        false(result.slept)
        false(result.redelivered)
    false(scene.a.try_wait(job))
    false(scene.b.done(job))


def completions_are_handed_over_in_order(scene):
    job = scene.name("job")
    first = scene.a.start.await_done(job)
    scene.await_asleep(job, 1)
    second = scene.a.start.await_done(job)
    scene.await_asleep(job, 2)
    completed = scene.b.complete(job)
    if scene.world.is_calm:
        eq((completed.woken, completed.done), (1, 0))
    true(first.result().slept)
    false(second.done())
    scene.b.complete(job)
    true(second.result().slept)
    false(scene.b.try_wait(job))


def complete_all_lasts_until_reinit(scene):
    job = scene.name("job")
    sleeper = scene.a.start.await_done(job)
    scene.await_asleep(job, 1)
    eq(scene.b.complete_all(job).done, 2**32 - 1)
    true(sleeper.result())
    for _ in range(3):
        true(scene.a.try_wait(job))
    true(scene.a.reinit(job))
    false(scene.b.done(job))
    false(scene.a.try_wait(job))


SCENARIOS = [
    a_true_condition_ends_a_wait_at_once,
    a_sleeper_is_woken_when_its_condition_holds,
    a_timed_sleep_ends_and_never_early,
    a_timeout_of_0_is_one_test,
    a_call_that_must_not_sleep_would_block,
    then_changes_the_word,
    then_wake_hands_on,
    a_key_reaches_those_who_have_it,
    exclusive_sleepers_are_served_in_order,
    a_lock_admits_one_at_a_time,
    a_barrier_lets_all_go_together,
    an_event_counter_misses_nothing,
    a_store_wakes_nobody_but_is_seen_at_the_timeout,
    signals_end_the_sleeps_that_admit_them,
    a_completion_is_taken_as_often_as_it_is_done,
    completions_are_handed_over_in_order,
    complete_all_lasts_until_reinit,
]
