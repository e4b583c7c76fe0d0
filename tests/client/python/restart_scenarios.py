"""What becomes of calls whose server is killed, with all that it knew: the
scenarios of the C++ client (tests/client/restart_scenarios.cc), by the same
names."""

import threading
from concurrent.futures import ThreadPoolExecutor

import waitq
from support import await_that, eq, error_of, false, ne, reason_of, true
from waitq import Action, Alternative, Condition, Outcome, PipeOptions


def expect_owner_dead(function):
    error = error_of(function)
    eq((type(error), error.code.name, error.reason),
       (waitq.OwnerDied, "ABORTED", "EOWNERDEAD"))
    true(error.outcome_unknown)


def every_call_that_slept_is_told(scene):
    a, b, name = scene.a, scene.b, scene.name
    calls = [
        a.start.wait(name("flag"), Condition.equal(1)),
        a.start.wait(name("flag"), Condition.equal(1), Action.set(0)),
        a.start.await_done(name("job")),
        a.start.read(name("pipe")),
        a.start.poll(name("pipe"), readable=True),
        a.start.wait_any([Alternative.await_done(name("job")),
                          Alternative.read(name("pipe"))])]
    b.create_pipe(name("full"), PipeOptions(capacity_bytes=4))
    b.write(name("full"), b"abcd")
    calls.append(b.start.write(name("full"), b"e"))
    asleep = {"flag": 2, "job": 2, "pipe": 3, "full": 1}
    for thing, count in asleep.items():
        scene.await_asleep(name(thing), count)
    scene.world.restart_server()
    for call in calls:
        expect_owner_dead(call.result)
    # Nothing of it goes on at the other server, and new calls do.
    for thing in asleep:
        eq(scene.world.asleep(name(thing)), 0)
    eq(reason_of(a.get, name("flag")), "ENOENT")
    eq(a.store(name("flag"), 5).value_before, 0)
    eq(b.get(name("flag")).value, 5)


def handles_end_and_may_be_opened_anew(scene):
    pipe = scene.name("pipe")
    writer, reader = scene.a.open_writer(pipe), scene.b.open_reader(pipe)
    writer.write(b"abc")
    eq(reader.read_chunk().data, b"abc")
    scene.await_asleep(pipe, 1)
    scene.world.restart_server()
    expect_owner_dead(reader.read_chunk)
    error_of(writer.close)
    error_of(lambda: writer.write(b"x"))

    new_writer = scene.a.open_writer(pipe)
    new_reader = scene.b.open_reader(pipe)
    ne(new_writer.incarnation, writer.incarnation)
    new_writer.write(b"def")
    new_writer.close()
    chunk = new_reader.read_chunk()
    eq((chunk.data, chunk.offset), (b"def", 0))
    eq(new_reader.read_chunk().end, Outcome.END_OF_FILE)


def nothing_is_done_twice(scene):
    counter, mu, stop = scene.name("counter"), threading.Lock(), []
    done = []  # (generation, value)

    def count(client):
        # From four threads, while servers come and go.
        while not stop:
            try:
                result = client.wake_up(counter, Action.add(1))
            except (waitq.OwnerDied, waitq.Unavailable):
                continue  # or no server was there for a new session
            with mu:
                done.append((result.generation, result.value))

    def await_more():
        enough = len(done) + 20
        await_that(lambda: len(done) >= enough, "more")

    with ThreadPoolExecutor() as pool:
        counters = [pool.submit(count, client)
                    for client in (scene.a, scene.b, scene.a, scene.b)]
        try:
            await_more()
            for _ in range(5):
                scene.world.restart_server()
                await_more()
        finally:
            stop.append(True)
        for thread in counters:
            thread.result()
    # Each server counted from 0, by one for each success, and perhaps for some
    # whose outcome is unknown: never the same twice.
    done.sort()
    for (before, less), (after, more) in zip(done, done[1:]):
        ne(before, after)
        # It goes up, but where another server begins.
        true(more > less or more <= 8, f"{less}, then {more}: done twice")


def what_was_not_sent_is_done_by_the_next_server(scene):
    flag = scene.name("flag")
    slept = scene.a.start.wait(flag, Condition.equal(1))
    scene.await_asleep(flag, 1)
    scene.world.stop_server()
    # By now it knows, and sends nothing more to the old one.
    await_that(lambda: scene.a._core.machine.state.name != "ATTACHED")
    woken = scene.a.start.wake_up(flag, Action.add(1))
    scene.world.start_server()
    expect_owner_dead(slept.result)
    eq(woken.result().value, 1)
    eq(scene.b.get(flag).value, 1)


def without_a_server_a_call_waits_for_the_session_and_then_is_refused(scene):
    flag = scene.name("flag")
    with scene.world.new_client(grace=2) as client:
        client.store(flag, 1)
        scene.world.stop_server()
        # While the session may live on it waits; then nobody is there. (Should
        # it have been sent before the loss was seen, that is told.)
        await_that(lambda: client._core.machine.state.name != "ATTACHED")
        error = error_of(client.store, flag, 2)
        eq(type(error), waitq.Unavailable)
        false(error.outcome_unknown)
        scene.world.start_server()
        eq(client.store(flag, 3).value_before, 0)


def a_poller_asks_the_next_server_anew(scene):
    pipe = scene.name("pipe")
    with scene.a.poller() as poller:
        scene.b.write(pipe, b"x")
        poller.watch(pipe, readable=True)
        eq(len(poller.wait()), 1)
        scene.world.restart_server()
        # What was there is gone, and is not given any more.
        await_that(lambda: not poller.take())
        scene.await_asleep(pipe, 1)
        scene.b.write(pipe, b"y")
        (event,) = poller.wait()
        eq((event.name, event.error), (pipe, None))


SCENARIOS = [
    a_poller_asks_the_next_server_anew,
    every_call_that_slept_is_told,
    handles_end_and_may_be_opened_anew,
    nothing_is_done_twice,
    what_was_not_sent_is_done_by_the_next_server,
    without_a_server_a_call_waits_for_the_session_and_then_is_refused,
]
