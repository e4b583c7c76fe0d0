"""What is Python's own: interrupts, forks, handles of calls, files, times."""

import datetime
import gc
import inspect
import io
import math
import os
import pickle
import random
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
import unittest

import support
import waitq
import waitq.aio
from support import await_that, error_of, reason_of
from waitq import Action, Condition, Deadline, Outcome, PipeMode, PipeOptions


class InAWorld(unittest.TestCase):

    @classmethod
    def setUpClass(cls):
        cls.world = support.World()

    @classmethod
    def tearDownClass(cls):
        cls.world.close()

    def setUp(self):
        self.name = self.id()
        self.client = self.new_client(caller="me")
        self.other = self.new_client()
        watch = support.no_longer_than(support.BOUND_S, self.name)
        watch.__enter__()
        self.addCleanup(watch.__exit__, None, None, None)

    def new_client(self, **options):
        client = self.world.new_client(**options)
        self.addCleanup(client.close)
        return client

    def run_program(self, text, **options):
        return subprocess.Popen(
            [sys.executable, "-B", "-c", PREAMBLE + textwrap.dedent(text),
             self.world.server.address, self.name],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            **options)


PREAMBLE = """
import os, sys, waitq
from waitq import Action, Condition
client = waitq.Client(sys.argv[1], caller="program")
name = sys.argv[2]
"""


class Interrupts(InAWorld):

    def test_ctrl_c_ends_a_sleep_which_takes_nothing(self):
        program = self.run_program("""
            try:
                client.wait(name, Condition.equal(1), Action.set(0))
            except KeyboardInterrupt:
                print("interrupted", client.get(name).value)
            """)
        self.world.await_asleep(self.name, 1)
        program.send_signal(signal.SIGINT)
        out, err = program.communicate()
        self.assertEqual((out, err, program.returncode),
                         ("interrupted 0\n", "", 0))
        self.assertEqual(self.other.wake_up(self.name, Action.set(1)).woken, 0)
        self.assertEqual(self.other.get(self.name).value, 1)

    def test_ctrl_c_ends_a_program(self):
        program = self.run_program("client.wait(name, Condition.equal(1))")
        self.world.await_asleep(self.name, 1)
        program.send_signal(signal.SIGINT)
        _, err = program.communicate()
        self.assertIn("KeyboardInterrupt", err)
        self.assertEqual(program.returncode, -signal.SIGINT)
        self.world.await_asleep(self.name, 0)

    def test_the_handler_of_a_signal_may_cancel(self):
        token = waitq.CancelToken()
        before = signal.signal(signal.SIGALRM, lambda *_: token.cancel())
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.010)
        self.assertEqual(reason_of(self.client.wait, self.name, cancel=token),
                         "ECANCELED")
        self.world.await_asleep(self.name, 0)

    def test_a_signal_that_another_thread_gets_is_not_missed(self):
        token = waitq.CancelToken()
        before = signal.signal(signal.SIGALRM, lambda *_: token.cancel())
        self.addCleanup(signal.signal, signal.SIGALRM, before)

        def get_it():
            self.world.await_asleep(self.name, 1)
            signal.pthread_kill(threading.get_ident(), signal.SIGALRM)

        thread = threading.Thread(target=get_it)
        thread.start()
        self.assertEqual(reason_of(self.client.wait, self.name, cancel=token),
                         "ECANCELED")
        thread.join()

    def test_interrupted_reads_lose_nothing(self):
        dice = random.Random(support.seed())

        class Interrupt(Exception):
            pass

        def interrupt(_, frame):
            # Only in the wait: what was returned is the program's.
            if frame.f_code.co_name == "wait":
                raise Interrupt

        self.client.write(self.name, b"-",
                          pipe=PipeOptions(mode=PipeMode.PACKET))
        before = signal.signal(signal.SIGALRM, interrupt)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)
        packets = [b"%d" % i for i in range(100)]

        def produce():
            for packet in packets:
                time.sleep(0.001)
                self.other.write(self.name, packet)

        producer = threading.Thread(target=produce)
        producer.start()
        got, interrupts = [], 0
        while len(got) < len(packets) + 1:
            signal.setitimer(signal.ITIMER_REAL, dice.uniform(0.0001, 0.003))
            try:
                got.append(self.client.read(self.name).data)
            except Interrupt:
                interrupts += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
        producer.join()
        # One that is given back may come behind its next one.
        self.assertEqual(sorted(got), sorted([b"-"] + packets))
        self.assertGreater(interrupts, 0)

    def test_a_reader_that_was_interrupted_goes_on(self):
        reader = self.client.open_reader(self.name)

        class Interrupt(Exception):
            pass

        def interrupt(*_):
            raise Interrupt

        before = signal.signal(signal.SIGALRM, interrupt)
        self.addCleanup(signal.signal, signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, 0.010)
        with self.assertRaises(Interrupt):
            reader.read_chunk()
        self.other.write(self.name, b"abc")
        self.assertEqual(reader.read_chunk().data, b"abc")


class Losses(InAWorld):
    """What takes longer than a cut."""

    @classmethod
    def setUpClass(cls):
        cls.world = support.World(cutting=True)

    def setUp(self):
        super().setUp()
        self.near = waitq.Client(self.world.server.address)
        self.addCleanup(self.near.close)

    def test_a_connection_that_falls_silent_is_replaced(self):
        client = self.new_client(grace=8)
        call = client.start.wait(self.name, Condition.equal(1), Action.set(2))
        self.world.await_asleep(self.name, 1)
        self.world.proxy.stall()
        self.near.wake_up(self.name, Action.set(1))
        self.assertEqual(call.result().value_after, 2)
        self.assertEqual(self.near.get(self.name).value, 2)

    def test_a_session_that_is_lost_begins_anew_where_that_is_safe(self):
        client = self.new_client(grace=3)
        looks = client.start.wait(self.name, Condition.equal(1), timeout=3600)
        takes = client.start.wait(self.name, Condition.equal(1), Action.set(2))
        reader = client.open_reader(self.name + "/pipe")
        self.world.await_asleep(self.name, 2)
        before = {task.id for task in self.near.tasks(self.name)}
        machine = client._core.machine
        expire = machine._expire

        def there_again():  # as it gives the session up
            self.world.proxy.block(False)
            expire()

        machine._expire = there_again
        self.world.proxy.block()
        error = error_of(takes.result)
        self.assertEqual((type(error), error.reason, error.outcome_unknown),
                         (waitq.Stale, "ESTALE", True))
        self.assertEqual(reason_of(reader.read_chunk), "ESTALE")
        self.assertFalse(looks.done())
        # The server gives the old session up, and has the new one.
        await_that(lambda: [task.id not in before for task
                            in self.near.tasks(self.name)] == [True])
        self.near.wake_up(self.name, Action.set(1))
        self.assertLess(looks.result().remaining, 3600)


class Processes(InAWorld):

    def test_a_child_cannot_use_its_parents_client(self):
        self.client.store(self.name, 1)
        reader = self.client.open_reader(self.name + "/pipe")
        child = os.fork()
        if child == 0:
            code = 1
            try:
                for call in (lambda: self.client.get(self.name),
                             lambda: self.client.start.get(self.name),
                             lambda: self.client.stat(self.name),
                             reader.read_chunk):
                    try:
                        call()
                    except waitq.ForkedError:
                        continue
                    os._exit(2)
                self.client.close()
                reader.close()
                code = 0
            finally:
                os._exit(code)
        self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
        self.assertEqual(self.client.get(self.name).value, 1)
        self.other.write(self.name + "/pipe", b"abc")
        self.assertEqual(reader.read_chunk().data, b"abc")

    def test_the_end_of_a_program_ends_its_session(self):
        program = self.run_program("""
            call = client.start.wait(name, Condition.equal(1))
            client.write(name + "/pipe", b"abc")
            client.start.read(name + "/pipe").wait()
            writer = client.open_writer(name + "/file")
            print("ready", flush=True)
            sys.stdin.read()
            """, stdin=subprocess.PIPE)
        self.assertEqual(program.stdout.readline(), "ready\n")
        self.world.await_asleep(self.name, 1)
        out, err = program.communicate("")
        self.assertEqual((out, err, program.returncode), ("", "", 0))
        # Its grace is 30 s: it has said so.
        self.world.await_asleep(self.name, 0)
        read = self.other.read(self.name + "/pipe")
        self.assertEqual((read.data, read.redelivered), (b"abc", True))
        end = self.other.open_reader(self.name + "/file").read_chunk()
        self.assertEqual((end.end, end.broken), (Outcome.END_OF_FILE, True))

    def test_a_client_that_is_dropped_ends_its_session(self):
        client = self.world.new_client()
        client.start.wait(self.name, Condition.equal(1))
        self.world.await_asleep(self.name, 1)
        del client
        gc.collect()
        self.world.await_asleep(self.name, 0)

    def test_sleepers_cost_no_thread(self):
        for name in ("a", "b"):
            self.client.store(self.name + name, 0)
        client = self.new_client()  # whose limit is that of the test's servers
        client.store(self.name, 0)
        await_that(lambda: not [t for t in threading.enumerate()
                                if "poll_connectivity" in t.name])
        before = threading.active_count()
        calls = [client.start.wait(self.name, Condition.equal(1))
                 for _ in range(200)]
        self.world.await_asleep(self.name, 200)
        self.assertLessEqual(threading.active_count(), before + 2)
        client.wake_up(self.name, Action.set(1), all=True)
        for call in calls:
            call.result()


class Handles(InAWorld):

    def test_what_is_no_bytes_is_not_written(self):
        with self.client.open_writer(self.name) as writer:
            for write in (writer.write,
                          lambda data: self.client.write(self.name, data)):
                for data in (5, "abc", None):
                    with self.assertRaises(TypeError):
                        write(data)
                write(memoryview(b"abc"))

    def test_a_result_can_be_waited_for_a_while(self):
        call = self.client.start.wait(self.name, Condition.equal(1))
        with self.assertRaises(TimeoutError):
            call.result(timeout=0.010)
        self.assertFalse(call.done())
        self.other.wake_up(self.name, Action.set(1))
        self.assertTrue(call.result(timeout=support.BOUND_S))
        self.assertTrue(call.result(), "and again")

    def test_calls_that_come_in_thousands_all_go_out(self):
        # Meanwhile the client's thread is busy with a callback.
        self.client.store(self.name, 0)
        busy, go_on = threading.Event(), threading.Event()
        self.client.start.store(self.name, 1).add_done_callback(
            lambda _: (busy.set(), go_on.wait()))
        busy.wait()
        calls = [self.client.start.wake_up(self.name, Action.add(1))
                 for _ in range(2500)]
        go_on.set()
        self.assertEqual([call.result().value for call in calls],
                         list(range(2, 2502)))

    def test_a_result_that_nobody_takes_is_given_back(self):
        self.other.write(self.name, b"abc")
        call = self.client.start.read(self.name)
        call.wait()
        del call
        gc.collect()
        read = self.other.read(self.name)
        self.assertEqual((read.data, read.redelivered), (b"abc", True))

    def test_a_callback_comes_once_also_when_it_is_late(self):
        calls = []
        call = self.client.start.store(self.name, 1)
        call.result()
        call.add_done_callback(calls.append)
        self.assertEqual(calls, [call])

    def test_a_callback_that_waits_is_refused_and_one_that_fails_is_noted(self):
        call = self.client.start.wait(self.name, Condition.equal(1))
        reasons = []

        def wait(_):
            reasons.append(reason_of(self.client.get, self.name))
            reasons.append(reason_of(self.client.open_reader, self.name))
            reasons.append(reason_of(self.client.close))
            raise ZeroDivisionError

        call.add_done_callback(wait)
        with self.assertLogs("waitq", "ERROR") as logs:
            self.other.wake_up(self.name, Action.set(1))
            await_that(lambda: len(reasons) == 3)
            self.client.get(self.name)
        self.assertEqual(reasons, ["EDEADLK"] * 3)
        self.assertIn("ZeroDivisionError", logs.output[0])

    def test_a_close_ends_all(self):
        call = self.client.start.wait(self.name, Condition.equal(1))
        errors = []
        thread = threading.Thread(target=lambda: errors.append(
            error_of(self.client.await_done, self.name + "/job")))
        thread.start()
        self.world.await_asleep(self.name, 1)
        self.world.await_asleep(self.name + "/job", 1)
        self.client.close()
        thread.join()
        for error in (errors[0], error_of(call.result),
                      error_of(self.client.get, self.name),
                      error_of(self.client.stat, self.name)):
            self.assertEqual((type(error), error.reason),
                             (waitq.Cancelled, "ECANCELED"))
        self.client.close()
        self.world.await_asleep(self.name, 0)

    def test_a_cancel_that_meets_the_start_of_a_call_ends_it(self):
        for call in (self.client.wait, self.client.read):
            for first in (True, False):
                token = waitq.CancelToken()
                add = token._add

                def add_and_cancel(call, add=add, first=first, token=token):
                    if first:
                        token.cancel()
                    added = add(call)
                    token.cancel()
                    return added

                token._add = add_and_cancel
                self.assertEqual(reason_of(call, self.name + call.__name__,
                                           cancel=token), "ECANCELED")

    def test_a_look_can_be_cancelled(self):
        token = waitq.CancelToken()
        token.cancel()
        self.assertTrue(token.cancelled)
        self.assertEqual(reason_of(self.client.tasks, cancel=token),
                         "ECANCELED")

    def test_the_clients_have_the_same_calls(self):
        def calls(kind):
            return {name: method for name, method in vars(kind).items()
                    if callable(method) and name[0] != "_"}
        blocking = calls(waitq.Client)
        self.assertEqual(set(blocking), set(calls(waitq.aio.AsyncClient)))
        self.assertEqual(
            set(blocking) - set(calls(waitq.Starter)),
            {"close", "list", "tasks", "open_reader", "open_writer", "lock",
             "semaphore", "event", "latch", "barrier", "poller"})
        for name, method in blocking.items():
            self.assertTrue(method.__doc__, name)
            bound = getattr(self.client, name)
            if name not in ("close", "list", "poller", "tasks"):
                first = next(iter(inspect.signature(bound).parameters))
                self.assertIn(first, ("name", "task_id", "alternatives"))
        self.assertEqual(
            [inspect.signature(method).return_annotation for method in (
                self.client.list, self.client.wait, self.client.start.wait)],
            ["list[ObjectInfo]", "WaitResult", "Call[WaitResult]"])
        self.assertEqual(
            [inspect.signature(method).return_annotation for method in (
                self.client.acquire, self.client.start.acquire,
                waitq.aio.AsyncClient.acquire)],
            ["Grant", "Call[Grant]", "AsyncGrant"])

    def test_what_is_for_threads_is_for_asyncio_too(self):
        for name in waitq.kit.__all__:
            kind = getattr(waitq, name)
            other = getattr(waitq.aio, "Async" + name)
            self.assertTrue(kind.__doc__ and other.__doc__)
            for method in vars(kind):
                if method[0] == "_":
                    continue
                here, there = getattr(kind, method), getattr(other, method)
                self.assertTrue(here.__doc__ and there.__doc__, method)
                if callable(here):
                    self.assertEqual(
                        list(inspect.signature(here).parameters.values()),
                        list(inspect.signature(there).parameters.values()))


class Files(InAWorld):

    def test_files_of_python_read_and_write_pipes(self):
        text = "".join(f"line {i}\n" for i in range(20_000))
        with self.other.open_writer(self.name) as writer:
            thread = threading.Thread(target=lambda: (
                shutil.copyfileobj(io.BytesIO(text.encode()), writer),
                writer.close()))
            thread.start()
            with self.client.open_reader(self.name).as_file() as file:
                lines = io.TextIOWrapper(file, encoding="ascii").readlines()
            thread.join()
        self.assertEqual("".join(lines), text)

    def test_read_takes_up_to_what_was_asked_for(self):
        with self.other.open_writer(self.name) as writer:
            writer.write(b"abcdef")
        reader = self.client.open_reader(self.name)
        self.assertEqual([reader.read(4), reader.read(0), reader.read(4),
                          reader.read(4), reader.read(4)],
                         [b"abcd", b"", b"ef", b"", b""])

    def test_iteration_gives_packets(self):
        packets = [b"one", b"the second", bytes(300_000)]
        with self.other.open_writer(self.name, pipe=PipeOptions(
                mode=PipeMode.PACKET, profile=waitq.PipeProfile.FIFO,
                capacity_bytes=1 << 20)) as writer:
            for packet in packets:
                writer.write(packet)
        with self.client.open_reader(self.name) as reader:
            self.assertEqual(list(reader), packets)
        self.assertEqual(reader.read_chunk().end, Outcome.END_OF_FILE)
        with self.client.open_reader(self.name) as reader:
            pass
        self.assertEqual(reason_of(reader.read_chunk), "ECANCELED")

    def test_an_exception_breaks_the_file(self):
        with self.assertRaises(ZeroDivisionError):
            with self.other.open_writer(self.name) as writer:
                writer.write(b"abc")
                raise ZeroDivisionError
        # What was on its way may be there.
        with self.client.open_reader(self.name) as reader:
            error = error_of(list, reader)
        self.assertEqual((type(error), error.outcome, error.object),
                         (waitq.StreamEnded, Outcome.END_OF_FILE, self.name))
        with self.assertRaises(waitq.Cancelled):
            writer.write(b"x")


class Times(InAWorld):

    def test_times_are_numbers_timedeltas_or_deadlines(self):
        deadline = Deadline(0.030)
        before = time.monotonic()
        for timeout in (0, 0.010, 1e-9, datetime.timedelta(milliseconds=10),
                        deadline, deadline):
            result = self.client.wait(self.name, Condition.equal(1),
                                      timeout=timeout)
            self.assertEqual(result.outcome, Outcome.TIMED_OUT)
        self.assertGreaterEqual(time.monotonic() - before, 0.030)
        self.assertEqual(deadline.remaining(), 0)
        self.client.store(self.name, 1)
        for timeout in (None, math.inf, 1e12, deadline):
            self.assertTrue(self.client.wait(self.name, Condition.equal(1),
                                             timeout=timeout))

    def test_what_is_no_time_is_refused(self):
        with self.assertRaises(ValueError):
            self.client.wait(self.name, timeout=math.nan)
        for timeout in (-1, datetime.timedelta(seconds=-1e-3)):
            error = error_of(self.client.wait, self.name, timeout=timeout)
            self.assertEqual((type(error), error.reason),
                             (waitq.InvalidArgument, "EINVAL"))
        for grace in (0, 0.01, math.inf, 90_000):
            with self.assertRaises(ValueError):
                waitq.Client(grace=grace)

    def test_what_was_left_of_the_timeout_is_told(self):
        self.client.store(self.name, 1)
        result = self.client.wait(self.name, Condition.equal(1), timeout=3600)
        self.assertGreater(result.remaining, 3500)
        self.assertLessEqual(result.remaining, 3600)
        self.assertIsNone(
            self.client.wait(self.name, Condition.equal(1)).remaining)


class Errors(InAWorld):

    def test_where_no_server_is(self):
        with waitq.Client("127.0.0.1:1") as client:
            for call in (client.get, client.stat):
                error = error_of(call, self.name)
                self.assertEqual((type(error), error.reason, error.object,
                                  error.outcome_unknown),
                                 (waitq.Unavailable, "", self.name, False))
                self.assertIn("Connection refused", str(error))

    def test_bad_addresses(self):
        for address in ("", "host", ":1", "host:", "host:0", "host:65536",
                        "host:x", "::1:80", "[::1]", "a b:1", "unix:",
                        "unix:" + "x/" * 100 + "y", "-/-:1"):
            with self.assertRaises(ValueError, msg=address):
                waitq.Client(address)
        for address in ("host:1", "[::1]:65535", "unix:s", "unix:/a b/s"):
            waitq.Client(address).close()

    def test_errors_can_be_sent_on(self):
        error = error_of(self.client.get, self.name)
        copy = pickle.loads(pickle.dumps(error))
        self.assertEqual((type(copy), str(copy), copy.reason, copy.object),
                         (waitq.NotFound, str(error), "ENOENT", self.name))
        ended = waitq.StreamEnded(error._failure, Outcome.TIMED_OUT)
        self.assertIs(pickle.loads(pickle.dumps(ended)).outcome,
                      Outcome.TIMED_OUT)

    def test_without_another_server_a_drain_is_said_when_the_time_is_over(self):
        server = support.Server()
        self.addCleanup(server.close)
        with waitq.Client(server.address) as client:
            call = client.start.wait(self.name, timeout=3)
            await_that(lambda: client.tasks(self.name))
            server.send_signal(signal.SIGTERM)
            error = error_of(call.result)
        self.assertEqual((type(error), error.code.name, error.reason),
                         (waitq.ShuttingDown, "UNAVAILABLE", "ESHUTDOWN"))
        self.assertGreater(error.retry_after, 0)

    def test_a_server_that_is_replaced(self):
        server = support.Server()
        self.addCleanup(server.close)
        with waitq.Client(server.address) as client, \
                waitq.Client(server.address) as other:
            calls = [client.start.wait(self.name, Condition.equal(1)),
                     client.start.wait(self.name, Condition.equal(1),
                                       Action.set(0)),
                     client.start.await_done(self.name + "/job"),
                     client.start.read(self.name + "/pipe")]
            await_that(lambda: len(other.tasks()) == len(calls))
            server.send_signal(signal.SIGTERM)
            server.await_end()
            server.start()
            # By themselves.
            await_that(lambda: self.asleep_there(other) == len(calls))
            other.wake_up(self.name, Action.set(1))
            other.complete(self.name + "/job")
            other.write(self.name + "/pipe", b"x")
            for call in calls:
                call.result()

    @staticmethod
    def asleep_there(client):
        try:
            return len(client.tasks())
        except waitq.Unavailable:
            return 0

    def test_what_speaks_something_else_is_unavailable(self):
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def answer():
            connection, _ = listener.accept()
            connection.sendall(b"SSH-2.0-x\r\n")
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        with waitq.Client("127.0.0.1:%d" % listener.getsockname()[1]) as client:
            error = error_of(client.store, self.name, 1)
        self.assertEqual((type(error), error.outcome_unknown),
                         (waitq.Unavailable, False))


CASES = [Interrupts, Losses, Processes, Handles, Files, Times, Errors]
