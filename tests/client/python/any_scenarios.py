"""Waits for any of several, from end to end: the scenarios of the C++ client
(tests/client/any_scenarios.cc), by the same names."""

import threading
import time

from support import eq, false, ge, gt, reason_of, true
from waitq import (
    Action, Alternative, Condition, Outcome, PipeMode, PipeOptions, TaskSignal)


def all_of(scene):
    """A word, a completion and a pipe."""
    return [Alternative.wait(scene.name("word"), Condition.greater_or_equal(1),
                             Action.add(-1)),
            Alternative.await_done(scene.name("done")),
            Alternative.read(scene.name("pipe"), 3)]


def await_asleep_on_all(scene, count):
    for name in ("word", "done", "pipe"):
        scene.await_asleep(scene.name(name), count)


def each_kind_ends_it_and_takes_from_that_one_only(scene):
    call = scene.a.start.wait_any(all_of(scene))
    await_asleep_on_all(scene, 1)
    scene.b.wake_up(scene.name("word"), Action.add(1))
    found = call.result()
    eq((found.outcome, found.alternative), (Outcome.DONE, 0))
    eq((found.result.value_before, found.result.value_after), (1, 0))
    true(found)
    true(found.slept)
    await_asleep_on_all(scene, 0)

    call = scene.a.start.wait_any(all_of(scene))
    await_asleep_on_all(scene, 1)
    scene.b.complete(scene.name("done"))
    found = call.result()
    eq(found.alternative, 1)
    gt(found.result.generation, 0)
    await_asleep_on_all(scene, 0)

    call = scene.a.start.wait_any(all_of(scene))
    await_asleep_on_all(scene, 1)
    scene.b.write(scene.name("pipe"), b"abcde")
    found = call.result()
    eq(found.alternative, 2)
    eq(found.result.data, b"abc")
    await_asleep_on_all(scene, 0)

    eq(scene.b.get(scene.name("word")).value, 0)
    false(scene.b.done(scene.name("done")))
    eq(scene.b.read(scene.name("pipe"), nonblock=True).data, b"de")


def the_first_that_holds_at_once_is_chosen(scene):
    scene.b.complete(scene.name("done"))
    scene.b.write(scene.name("pipe"), b"abc")
    first = scene.a.wait_any(all_of(scene))
    eq((first.alternative, first.slept), (1, False))
    second = scene.a.wait_any(all_of(scene), nonblock=True)
    eq((second.alternative, second.result.data), (2, b"abc"))


def any_times_out_never_early_or_would_block(scene):
    timeout = 0.020
    before = time.monotonic()
    timed = scene.a.wait_any(all_of(scene), timeout=timeout, want_timing=True)
    ge(time.monotonic() - before, timeout)
    eq((timed.outcome, timed.alternative, timed.result, timed.remaining),
       (Outcome.TIMED_OUT, None, None, 0.0))
    false(timed)
    ge(timed.timing.asleep, timeout)
    eq(scene.a.wait_any(all_of(scene), nonblock=True).outcome,
       Outcome.WOULD_BLOCK)
    await_asleep_on_all(scene, 0)


def any_that_is_cancelled_takes_nothing(scene):
    call = scene.a.start.wait_any(all_of(scene))
    await_asleep_on_all(scene, 1)
    call.cancel()
    eq(reason_of(call.result), "ECANCELED")
    await_asleep_on_all(scene, 0)
    eq(scene.b.complete(scene.name("done")).woken, 0)
    true(scene.b.try_wait(scene.name("done")))


def any_ends_with_one_of_its_objects_or_by_a_signal(scene):
    call = scene.a.start.wait_any(all_of(scene))
    await_asleep_on_all(scene, 1)
    scene.b.remove(scene.name("done"))
    eq(reason_of(call.result), "EIDRM")
    await_asleep_on_all(scene, 0)
    call = scene.a.start.wait_any(all_of(scene))
    await_asleep_on_all(scene, 1)
    eq(scene.world.signal(scene.name("pipe"), TaskSignal.TERM), 1)
    eq(reason_of(call.result), "EINTR")
    await_asleep_on_all(scene, 0)


def none_and_too_many_are_refused(scene):
    one = Alternative.await_done(scene.name("done"))
    eq(reason_of(scene.a.wait_any, []), "EINVAL")
    eq(reason_of(scene.a.wait_any, [one] * 65), "EINVAL")
    eq(scene.a.wait_any([one] * 64, nonblock=True).outcome,
       Outcome.WOULD_BLOCK)


def workers_take_each_job_once_until_they_are_to_stop(scene):
    jobs, stop = scene.name("jobs"), scene.name("stop")
    scene.b.create_pipe(jobs, PipeOptions(mode=PipeMode.PACKET))
    taken = []

    def work(client):
        while True:
            found = client.wait_any([Alternative.read(jobs),
                                     Alternative.await_done(stop)])
            if found.alternative == 1:
                return
            taken.append(found.result.data)

    workers = [threading.Thread(target=work, args=(client,))
               for client in (scene.a, scene.b) * 2]
    for worker in workers:
        worker.start()
    given = [b"job %d" % (100 + i) for i in range(30)]
    for job in given:
        scene.b.write(jobs, job)
    while len(taken) < len(given):
        time.sleep(0.001)
    scene.b.complete_all(stop)
    for worker in workers:
        worker.join()
    eq(sorted(taken), given)


SCENARIOS = [
    each_kind_ends_it_and_takes_from_that_one_only,
    the_first_that_holds_at_once_is_chosen,
    any_times_out_never_early_or_would_block,
    any_that_is_cancelled_takes_nothing,
    any_ends_with_one_of_its_objects_or_by_a_signal,
    none_and_too_many_are_refused,
    workers_take_each_job_once_until_they_are_to_stop,
]
