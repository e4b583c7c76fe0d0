"""Objects as such; and calls that are cancelled, refused, or many: the
scenarios of the C++ client (tests/client/object_scenarios.cc), by the same
names."""

import threading
from concurrent.futures import ThreadPoolExecutor

import waitq
from support import eq, error_of, false, is_in, ne, reason_of, true
from waitq import (
    Action, CancelToken, Condition, ObjectKind, PipeMode, PipeOptions)


def what_is_not_there_or_of_another_kind_is_an_error(scene):
    name, a, b = scene.name("thing"), scene.a, scene.b
    for call in (a.get, a.done, a.remove, lambda name: a.accept(name, 1)):
        error = error_of(call, name)
        eq((type(error), error.code.name, error.reason, error.object),
           (waitq.NotFound, "NOT_FOUND", "ENOENT", name))
    b.store(name, 1)
    for call in (a.await_done, a.complete, a.read,
                 lambda name: a.write(name, b"x"), a.open_reader, a.open_writer,
                 a.create_pipe):
        error = error_of(call, name)
        eq((type(error), error.code.name, error.reason),
           (waitq.WrongKind, "FAILED_PRECONDITION", "ENXIO"))
    eq(reason_of(a.get, "no name"), "EINVAL")
    eq(b.get(name).value, 1)


def a_created_object_keeps_its_options(scene):
    pipe, options = scene.name("pipe"), PipeOptions(capacity_bytes=100)
    made = scene.a.create_pipe(pipe, options)
    true(made.created and made.object.created)
    eq((made.object.kind, made.object.state.capacity_bytes),
       (ObjectKind.PIPE, 100))
    again = scene.b.create_pipe(pipe, options)
    false(again.created)
    eq(again.object.incarnation, made.object.incarnation)
    other = error_of(scene.b.create_pipe, pipe, PipeOptions(capacity_bytes=101))
    eq((type(other), other.code.name, other.reason),
       (waitq.AlreadyExists, "ALREADY_EXISTS", "EEXIST"))
    packets = PipeOptions(mode=PipeMode.PACKET)
    eq(reason_of(scene.b.read, pipe, pipe=packets), "EEXIST")
    eq(reason_of(scene.b.open_writer, pipe, pipe=packets), "EEXIST")
    true(scene.a.create_wait_queue(scene.name("queue")).created)
    true(scene.a.create_completion(scene.name("job")).created)


def remove_ends_who_sleeps(scene):
    flag = scene.name("flag")
    call = scene.a.start.wait(flag, Condition.equal(1))
    scene.await_asleep(flag, 1)
    eq(scene.b.remove(flag), 1)
    error = error_of(call.result)
    eq((type(error), error.code.name, error.reason, error.object),
       (waitq.ObjectRemoved, "ABORTED", "EIDRM", flag))
    eq(reason_of(scene.b.get, flag), "ENOENT")
    # The next of this name is another one.
    eq(scene.b.store(flag, 1).value_before, 0)


def a_pipe_in_use_is_removed_only_by_force(scene):
    pipe = scene.name("pipe")
    writer = scene.a.open_writer(pipe)
    reader = scene.b.open_reader(pipe)
    busy = error_of(scene.b.remove, pipe)
    eq((type(busy), busy.code.name, busy.reason),
       (waitq.Busy, "FAILED_PRECONDITION", "EBUSY"))
    scene.b.remove(pipe, force=True)
    eq(reason_of(reader.read_chunk), "EIDRM")
    eq(writer.write(b"abc"), 3, "on its way")
    eq(reason_of(writer.close), "EIDRM")


def a_cancelled_call_consumes_nothing(scene):
    flag = scene.name("flag")
    take = (flag, Condition.equal(1), Action.set(0))
    call = scene.a.start.wait(*take)
    scene.await_asleep(flag, 1)
    call.cancel()
    error = error_of(call.result)
    eq((type(error), error.code.name, error.reason),
       (waitq.Cancelled, "CANCELLED", "ECANCELED"))
    scene.await_asleep(flag, 0)

    token = CancelToken()
    with ThreadPoolExecutor() as pool:
        sleeper = pool.submit(reason_of, scene.a.wait, *take, cancel=token)
        scene.await_asleep(flag, 1)
        token.cancel()
        eq(sleeper.result(), "ECANCELED")
    scene.await_asleep(flag, 0)
    eq(scene.b.wake_up(flag, Action.set(1)).woken, 0)
    eq(scene.b.get(flag).value, 1)
    # Nor is one begun with it.
    eq(reason_of(scene.a.store, flag, 2, cancel=token), "ECANCELED")
    eq(scene.b.get(flag).value, 1)


def a_cancelled_handle_takes_nothing(scene):
    pipe, token = scene.name("pipe"), CancelToken()
    reader = scene.a.open_reader(pipe, cancel=token)
    scene.await_asleep(pipe, 1)
    token.cancel()
    eq(reason_of(reader.read_chunk), "ECANCELED")
    scene.await_asleep(pipe, 0)
    # Its handle is closed with that.
    last = scene.a.open_reader(pipe)
    scene.b.write(pipe, b"abc")
    eq(last.read_chunk().data, b"abc")


def many_sleepers_are_woken_at_once(scene):
    flag, count = scene.name("flag"), 200
    calls = [scene.a.start.wait(flag, Condition.equal(1)) for _ in range(count)]
    scene.await_asleep(flag, count)
    eq(scene.b.wake_up(flag, Action.set(1), all=True).woken, count)
    for call in calls:
        true(call.result())


def where_the_server_takes_no_more_sleepers_wait_and_wakers_do_not(scene):
    # More than operations_per_session.
    semaphore, count = scene.name("semaphore"), 400
    left, mu, finished = [count], threading.Lock(), threading.Event()
    failures = []

    def ended(call):
        try:
            call.result()
        except waitq.WaitqError as error:
            failures.append(error)
        with mu:
            left[0] -= 1
            if left[0] == 0:
                finished.set()

    for _ in range(count):
        scene.a.start.wait(semaphore, Condition.greater(0),
                           Action.add(-1)).add_done_callback(ended)
    scene.a.wake_up(semaphore, Action.add(count), all=True)
    finished.wait()
    eq(failures, [])
    eq(scene.b.get(semaphore).value, 0)


def a_limit_is_an_error_that_names_it(scene):
    large = error_of(scene.a.create_pipe, scene.name("pipe"),
                     PipeOptions(capacity_bytes=9 << 20))
    eq((type(large), large.limit), (waitq.InvalidArgument, "pipe-bytes"))
    eq(reason_of(scene.a.write, scene.name("pipe"), bytes(5 << 20)), "EMSGSIZE")

    flag, most = scene.name("flag"), 300  # of LIMITS
    calls = [(scene.a if i % 2 == 0 else scene.b).start.wait(
        flag, Condition.equal(1)) for i in range(most)]
    scene.await_asleep(flag, most)
    error = error_of(scene.a.wait, flag, Condition.equal(1))
    eq((type(error), error.code.name, error.reason, error.limit, error.object),
       (waitq.LimitReached, "RESOURCE_EXHAUSTED", "ENOSPC",
        "sleepers-per-object", flag))
    ne(error.retry_after, None)
    scene.b.wake_up(flag, Action.set(1), all=True)
    for call in calls:
        true(call.result())


def a_chain_of_callbacks_goes_on(scene):
    # Each result asks for the next; nobody waits in between.
    ball, rounds = scene.name("ball"), 10

    class Player:
        def __init__(self, client, mine, others):
            self.client, self.mine, self.others = client, mine, others
            self.rounds, self.failure = 0, None
            self.finished = threading.Event()

        def wait(self):
            self.client.start.wait(ball, Condition.equal(
                self.mine)).add_done_callback(self.throw)

        def throw(self, call):
            if not self.failed(call):
                self.client.start.wake_up(ball, Action.set(
                    self.others)).add_done_callback(self.thrown)

        def thrown(self, call):
            if self.failed(call):
                return
            self.rounds += 1
            if self.rounds == rounds:
                self.finished.set()
            else:
                self.wait()

        def failed(self, call):
            try:
                call.result()
            except waitq.WaitqError as error:
                self.failure = error
                self.finished.set()
            return self.failure is not None

    one, two = Player(scene.a, 1, 2), Player(scene.b, 2, 1)
    two.wait()
    one.wait()
    scene.a.wake_up(ball, Action.set(1))
    for player in (one, two):
        player.finished.wait()
        eq((player.failure, player.rounds), (None, rounds))


def what_is_there_and_who_sleeps_can_be_seen(scene):
    # Of the C++ client: looking_test.cc. On connections that are not cut.
    if not scene.world.is_calm:
        return
    flag, pipe = scene.name("a-flag"), scene.name("b-pipe")
    scene.a.store(flag, 7)
    scene.b.write(pipe, b"abc")
    call = scene.a.start.wait(flag, Condition.equal(1), timeout=3600)
    scene.await_asleep(flag, 1)
    infos = scene.b.list(scene.name(""))
    eq([(info.name, info.kind, info.created) for info in infos],
       [(flag, ObjectKind.WAIT_QUEUE, False), (pipe, ObjectKind.PIPE, False)])
    eq((infos[0].state.value, infos[0].sleepers), (7, 1))
    eq((infos[1].state.unread_bytes, infos[1].state.mode),
       (3, PipeMode.STREAM))
    eq(scene.b.stat(pipe), infos[1])
    eq(reason_of(scene.b.stat, scene.name("c")), "ENOENT")
    (task,) = scene.b.tasks(flag)
    eq((task.caller, task.object, task.condition, task.detached),
       ("a", flag, "value == 1", False))
    true(3500 < task.remaining <= 3600)
    is_in(task.id, [task.id for task in scene.b.tasks()])
    true(scene.b.signal(task.id, waitq.TaskSignal.TERM))
    eq(error_of(call.result).signal, 15)
    eq(reason_of(scene.b.signal, task.id, waitq.TaskSignal.TERM), "ESRCH")


SCENARIOS = [
    what_is_not_there_or_of_another_kind_is_an_error,
    a_created_object_keeps_its_options,
    remove_ends_who_sleeps,
    a_pipe_in_use_is_removed_only_by_force,
    a_cancelled_call_consumes_nothing,
    a_cancelled_handle_takes_nothing,
    many_sleepers_are_woken_at_once,
    where_the_server_takes_no_more_sleepers_wait_and_wakers_do_not,
    a_limit_is_an_error_that_names_it,
    a_chain_of_callbacks_goes_on,
    what_is_there_and_who_sleeps_can_be_seen,
]
