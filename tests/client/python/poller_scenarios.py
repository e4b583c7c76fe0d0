"""Many names in a program's own loop: the scenarios of the C++ client
(tests/client/poller_scenarios.cc), by the same names."""

import select

from support import BOUND_S, await_that, eq, false, true
import waitq


def polled(poller, milliseconds):
    """As a program's loop would."""
    poll = select.poll()
    poll.register(poller, select.POLLIN)
    return bool(poll.poll(milliseconds))


def is_readable(poller):
    return polled(poller, 0)


def await_readable(poller):
    true(polled(poller, 1000 * BOUND_S))


def a_poller_gives_a_name_for_as_long_as_it_is_ready(scene):
    pipe = scene.name("pipe")
    with scene.a.poller() as poller:
        poller.watch(pipe, readable=True)
        scene.await_asleep(pipe, 1)
        false(is_readable(poller))
        eq(poller.take(), [])
        eq(poller.wait(0.001), [])
        for _ in range(2):
            scene.b.write(pipe, b"x")
            await_readable(poller)
            for _ in range(3):
                (event,) = poller.take()
                eq((event.name, event.ready, event.error),
                   (pipe, waitq.Readiness(readable=True), None))
                true(is_readable(poller))
            eq(scene.b.read(pipe).data, b"x")
            await_that(lambda: not is_readable(poller))
            eq(poller.take(), [])


def a_poller_gives_only_what_it_watches(scene):
    one, two = scene.name("one"), scene.name("two")
    with scene.a.poller() as poller:
        poller.watch(one, readable=True)
        poller.watch(two, readable=True)
        scene.b.write(one, b"x")
        scene.b.write(two, b"x")
        ready = set()
        while len(ready) < 2:
            # One at a time: each has its turn.
            ready |= {event.name for event in poller.wait(most=1)}
        poller.unwatch(one)
        eq(len(poller), 1)
        eq({event.name for event in poller.take()}, {two})
        poller.unwatch(two)
        false(is_readable(poller))
        scene.await_asleep(one, 0)
        # Another interest takes the place of the first.
        poller.watch(one, readable=True)
        poller.watch(one, writable=True)
        (event,) = poller.wait()
        eq(event.ready, waitq.Readiness(writable=True))
        eq(scene.b.read(one).data + scene.b.read(two).data, b"xx")


def a_poller_tells_once_what_went_wrong(scene):
    pipe, word = scene.name("pipe"), scene.name("word")
    scene.b.store(word, 1)
    with scene.a.poller() as poller:
        poller.watch(pipe, readable=True)
        poller.watch(word, readable=True)
        scene.await_asleep(pipe, 1)
        scene.b.remove(pipe)
        why = []
        while len(why) < 2:
            why += [(event.name, event.error.reason)
                    for event in poller.wait()]
        eq(sorted(why), [(pipe, "EIDRM"), (word, "ENXIO")])
        eq(len(poller), 0)
        false(is_readable(poller))


def a_poller_that_ends_leaves_nobody_asleep(scene):
    names = [scene.name(name) for name in "abc"]
    for i in range(10):
        poller = scene.a.poller()
        for name in names:
            poller.watch(name, readable=True)
        if i % 2 == 0:
            scene.await_asleep(names[2], 1)
        if i % 3 == 0:
            poller.close()
            eq(poller.fileno(), -1)
            poller.close()
        del poller
    for name in names:
        scene.await_asleep(name, 0)


def a_poller_of_many_names_misses_none(scene):
    count, written, read = 60, 0, 0
    with scene.a.poller() as poller:
        for i in range(count):
            poller.watch(scene.name(str(i)), readable=True)
        for i in range(0, 3 * count, 2):
            scene.b.write(scene.name(str(i % count)), b"x")
            written += 1
        while read < written:
            for event in poller.wait():
                read += len(scene.a.read(event.name, 1, nonblock=True).data)
        await_that(lambda: not is_readable(poller))


SCENARIOS = [
    a_poller_gives_a_name_for_as_long_as_it_is_ready,
    a_poller_gives_only_what_it_watches,
    a_poller_tells_once_what_went_wrong,
    a_poller_that_ends_leaves_nobody_asleep,
    a_poller_of_many_names_misses_none,
]
