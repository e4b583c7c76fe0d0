"""waitqd, as a Python program sees it that knows only the published protos.

Every case runs over TCP and again over a socket file, each against one server
that all cases share; so every case uses names of its own. run.sh starts this.
"""

import faulthandler
import hashlib
import itertools
import threading
import time
import unittest
import uuid

import grpc
from google.protobuf import descriptor_pb2, duration_pb2
from waitq.v1 import common_pb2, completions_pb2, objects_pb2, pipes_pb2
from waitq.v1 import sessions_pb2, tasks_pb2, wait_queues_pb2
import health_pb2
import health_pb2_grpc
import reflection_pb2
import reflection_pb2_grpc

import python_support as support
from python_support import DONE, END_OF_FILE, TIMED_OUT, WOULD_BLOCK
from python_support import Client, Error, Server, Session, Stream, duration
from python_support import seconds

Code = grpc.StatusCode
Condition = wait_queues_pb2.Condition
Action = wait_queues_pb2.Action
ReadOpen = pipes_pb2.ReadStreamRequest.Open
WriteOpen = pipes_pb2.WriteStreamRequest.Open

INT64_MAX = 2**63 - 1
INT64_MIN = -2**63
FOR_EVER = 4294967295  # what a completion counts after complete_all

_names = itertools.count(1)


# --- requests ----------------------------------------------------------------


def wait_request(name, **fields):
    return wait_queues_pb2.WaitRequest(name=name, **fields)


def wake_request(name, **fields):
    return wait_queues_pb2.WakeUpRequest(name=name, **fields)


def read_request(name, **fields):
    return pipes_pb2.ReadRequest(name=name, **fields)


def write_request(name, data, **fields):
    return pipes_pb2.WriteRequest(name=name, data=data, **fields)


def data_of(data):
    return pipes_pb2.WriteStreamRequest(data=data)


class Case(unittest.TestCase):
    """What every case has: a server, a client, a new name."""

    listen = "127.0.0.1:0"
    flags = ()

    @classmethod
    def setUpClass(cls):
        cls.server = Server(*cls.flags, listen=cls.listen)

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def setUp(self):
        # A case that hangs shows where.
        faulthandler.dump_traceback_later(support.BOUND_S + 10, exit=True)
        self.client = self.new_client()
        self.name = f"case/{next(_names)}"

    def tearDown(self):
        faulthandler.cancel_dump_traceback_later()

    def new_client(self, *options):
        client = Client(self.server.address, options)
        self.addCleanup(client.close)
        return client

    def assert_error(self, call, code, reason):
        """Calls `call` (or awaits that future); gives its Error."""
        try:
            answer = call.result() if hasattr(call, "result") else call()
        except grpc.RpcError as error:
            found = Error(error)
        else:
            self.fail(f"{reason} expected, answered {answer}")
        self.assertEqual((found.code, found.reason), (code, reason), found)
        self.assertEqual(found.domain, "waitq")
        self.assertTrue(found.message)
        return found

    # --- shorthands ---

    def wait(self, name=None, **fields):
        return self.client.queues.Wait(
            wait_request(name or self.name, **fields))

    def asleep(self, count=1, name=None, **fields):
        """Starts a Wait and returns once `count` calls sleep."""
        name = name or self.name
        future = self.client.queues.Wait.future(wait_request(name, **fields))
        self.client.await_sleepers(name, count)
        return future

    def wake(self, name=None, **fields):
        return self.client.queues.WakeUp(
            wake_request(name or self.name, **fields))

    def store(self, value, name=None):
        return self.client.queues.Store(wait_queues_pb2.StoreRequest(
            name=name or self.name, value=value))

    def get(self, name=None):
        return self.client.queues.Get(
            wait_queues_pb2.GetRequest(name=name or self.name))

    def complete(self, **fields):
        return self.client.completions.Complete(
            completions_pb2.CompleteRequest(name=self.name, **fields))

    def completion_wait(self, **fields):
        return completions_pb2.CompletionWaitRequest(name=self.name, **fields)

    def create_pipe(self, **options):
        return self.client.objects.Create(objects_pb2.CreateRequest(
            name=self.name, pipe=pipes_pb2.PipeOptions(**options)))

    def read(self, **fields):
        return self.client.pipes.Read(read_request(self.name, **fields))

    def write(self, data, **fields):
        return self.client.pipes.Write(write_request(self.name, data, **fields))

    def poll(self, **fields):
        return self.client.pipes.Poll(
            pipes_pb2.PollRequest(name=self.name, **fields))

    def stat(self):
        return self.client.objects.Stat(
            objects_pb2.StatRequest(name=self.name)).object

    def remove(self, force=False):
        return self.client.objects.Remove(
            objects_pb2.RemoveRequest(name=self.name, force=force))

    def reader(self, client=None, **fields):
        """An open ReadStream; its first response is read."""
        stream = Stream((client or self.client).pipes.ReadStream,
                        pipes_pb2.ReadStreamRequest(
                            open=ReadOpen(name=self.name, **fields)))
        first = stream.read()
        self.assertEqual((first.data, first.outcome), (b"", 0))
        return stream

    def writer(self, client=None, **fields):
        """An open WriteStream; its first response is read."""
        stream = Stream((client or self.client).pipes.WriteStream,
                        pipes_pb2.WriteStreamRequest(
                            open=WriteOpen(name=self.name, **fields)))
        first = stream.read()
        self.assertEqual((first.accepted_bytes, first.outcome), (0, 0))
        return stream

    def finish_writing(self, stream, accepted):
        stream.half_close()
        last, _, _ = stream.last()
        self.assertEqual((last.outcome, last.accepted_bytes), (DONE, accepted))


# --- wait queues -------------------------------------------------------------


class WaitQueues(Case):

    def test_condition_that_holds_is_done_at_once(self):
        self.store(5)
        answer = self.wait(condition=Condition(greater=4), then=Action(add=-5))
        self.assertEqual(answer.outcome, DONE)
        self.assertEqual((answer.value_before, answer.value_after), (5, 0))
        self.assertFalse(answer.slept)
        self.assertFalse(answer.HasField("remaining"))

    def test_every_condition(self):
        self.store(6)
        holds = [dict(equal=6), dict(not_equal=5), dict(less=7),
                 dict(less_or_equal=6), dict(greater=5),
                 dict(greater_or_equal=6), dict(all_bits=6), dict(any_bits=3),
                 dict(changed_since=1)]
        fails = [dict(equal=5), dict(not_equal=6), dict(less=6),
                 dict(less_or_equal=5), dict(greater=6),
                 dict(greater_or_equal=7), dict(all_bits=7), dict(any_bits=9),
                 dict(changed_since=self.get().generation)]
        for expected, tests in ((DONE, holds), (WOULD_BLOCK, fails)):
            for test in tests:
                answer = self.wait(condition=Condition(**test), nonblock=True)
                self.assertEqual(answer.outcome, expected, test)

    def test_every_action(self):
        for change, value in ((dict(set=12), 12), (dict(add=-2), 10),
                              (dict(and_bits=8), 8), (dict(or_bits=3), 11)):
            self.assertEqual(self.wake(update=Action(**change)).value, value)
            self.assertEqual(self.get().value, value)

    def test_the_whole_range_of_the_word(self):
        for value in (INT64_MIN, INT64_MAX, -1, 0):
            self.store(value)
            self.assertEqual(self.get().value, value)
            answer = self.wait(condition=Condition(equal=value))
            self.assertEqual(answer.value_before, value)
        self.store(0)
        self.wake(update=Action(or_bits=2**64 - 1))
        self.assertEqual(self.get().value, -1)

    def test_wake_up_ends_a_sleep(self):
        sleeper = self.asleep(condition=Condition(equal=1), then=Action(set=0),
                              timeout=duration(1000))
        woken = self.wake(update=Action(set=1))
        self.assertEqual((woken.woken, woken.woken_exclusive), (1, 1))
        answer = sleeper.result()
        self.assertEqual(answer.outcome, DONE)
        self.assertEqual((answer.value_before, answer.value_after), (1, 0))
        self.assertTrue(answer.slept)
        self.assertGreater(seconds(answer.remaining), 900)
        self.assertEqual(answer.generation, woken.generation)

    def test_without_a_condition_any_wake_ends_it(self):
        self.store(1)
        sleeper = self.asleep()
        self.assertEqual(self.wake().woken, 1)
        self.assertEqual(sleeper.result().outcome, DONE)

    def test_store_wakes_nobody(self):
        sleeper = self.asleep(condition=Condition(equal=1))
        self.assertEqual(self.store(1).value_before, 0)
        self.assertEqual(len(self.client.sleepers(self.name)), 1)
        self.assertEqual(self.wake().woken, 1)
        self.assertEqual(sleeper.result().value_before, 1)

    def test_then_goes_from_sleeper_to_sleeper(self):
        sleepers = [self.asleep(count, condition=Condition(greater=0),
                                then=Action(add=-1)) for count in (1, 2, 3)]
        woken = self.wake(update=Action(set=2), all=True)
        self.assertEqual((woken.woken, woken.value), (2, 0))
        self.assertEqual(sleepers[0].result().value_before, 2)
        self.assertEqual(sleepers[1].result().value_before, 1)
        self.assertEqual(len(self.client.sleepers(self.name)), 1)

    def test_then_wake_repeats_the_walk(self):
        # The younger one is tried last, and does what the older waits for.
        first = self.asleep(1, condition=Condition(equal=2), exclusive=True)
        second = self.asleep(2, condition=Condition(equal=1),
                             then=Action(set=2), then_wake=True)
        self.assertEqual(self.wake(update=Action(set=1), all=True).woken, 2)
        self.assertEqual(first.result().value_before, 2)
        self.assertEqual(second.result().value_after, 2)

    def test_then_wake_of_a_call_that_did_not_sleep(self):
        sleeper = self.asleep(condition=Condition(equal=2))
        self.wait(condition=Condition(equal=0), then=Action(set=2),
                  then_wake=True)
        self.assertEqual(sleeper.result().value_before, 2)

    def test_nr_counts_exclusive_sleepers(self):
        sleepers = [self.asleep(count, exclusive=True)
                    for count in (1, 2, 3, 4)]
        shared = [self.asleep(count, exclusive=False) for count in (5, 6)]
        one = self.wake()
        self.assertEqual((one.woken, one.woken_exclusive), (3, 1))
        for sleeper in shared + sleepers[:1]:
            self.assertEqual(sleeper.result().outcome, DONE)
        self.assertEqual(self.wake(nr=2).woken_exclusive, 2)
        self.assertEqual(sleepers[2].result().outcome, DONE)
        self.assertEqual(self.wake(all=True).woken_exclusive, 1)

    def test_keys(self):
        odd = self.asleep(1, key=1)
        even = self.asleep(2, key=2)
        any_key = self.asleep(3)
        self.assertEqual(self.wake(key=2, all=True).woken, 2)
        self.assertEqual(even.result().outcome, DONE)
        self.assertEqual(any_key.result().outcome, DONE)
        self.assertEqual(self.wake(key=4, all=True).woken, 0)
        self.assertEqual(self.wake(all=True).woken, 1)
        self.assertEqual(odd.result().outcome, DONE)

    def test_mode_interruptible_passes_killable_ones(self):
        killable = self.asleep(1, sleep=common_pb2.SLEEP_KILLABLE)
        interruptible = self.asleep(2)
        mode = wait_queues_pb2.WakeUpRequest.MODE_INTERRUPTIBLE
        self.assertEqual(self.wake(mode=mode, all=True).woken, 1)
        self.assertEqual(interruptible.result().outcome, DONE)
        self.assertEqual(self.wake(all=True, sync=True).woken, 1)
        self.assertEqual(killable.result().outcome, DONE)

    def test_the_generation_rises(self):
        seen = [self.store(1).generation, self.wake().generation,
                self.wait(condition=Condition(equal=1),
                          then=Action(set=1)).generation,
                self.store(1).generation]
        self.assertEqual(seen, sorted(set(seen)))
        self.assertEqual(self.get().generation, seen[-1])

    def test_changed_since(self):
        before = self.store(0).generation
        sleeper = self.asleep(condition=Condition(changed_since=before))
        woken = self.wake(all=True)  # no update: the wake itself is the change
        self.assertEqual(woken.woken, 1)
        answer = sleeper.result()
        self.assertGreater(answer.generation, before)
        again = self.wait(condition=Condition(changed_since=before))
        self.assertFalse(again.slept)


class Time(Case):

    def test_timeout(self):
        begin = time.monotonic()
        answer = self.wait(condition=Condition(equal=1), then=Action(set=7),
                           timeout=duration(0.2))
        self.assertGreaterEqual(time.monotonic() - begin, 0.2)
        self.assertEqual((answer.outcome, answer.slept), (TIMED_OUT, True))
        self.assertEqual(answer.value_after, 0)
        self.assertEqual(seconds(answer.remaining), 0)

    def test_timeout_of_zero_tests_once(self):
        never = Condition(equal=1)
        answer = self.wait(condition=never, timeout=duration(0))
        self.assertEqual((answer.outcome, answer.slept), (TIMED_OUT, False))
        self.store(1)
        answer = self.wait(condition=never, timeout=duration(0))
        self.assertEqual(answer.outcome, DONE)

    def test_nonblock_beats_the_timeout(self):
        answer = self.wait(condition=Condition(equal=1), nonblock=True,
                           timeout=duration(100))
        self.assertEqual((answer.outcome, answer.slept), (WOULD_BLOCK, False))

    def test_the_longest_duration(self):
        sleeper = self.asleep(
            timeout=duration_pb2.Duration(seconds=315576000000))
        self.wake()
        self.assertEqual(sleeper.result().outcome, DONE)

    def test_a_deadline_without_timeout_is_answered_before_it(self):
        for fields in ({}, {"timeout": duration(100)}):
            answer = self.client.queues.Wait(
                wait_request(self.name, condition=Condition(equal=1),
                             **fields), timeout=1)
            self.assertEqual(answer.outcome, TIMED_OUT)
        read = self.client.pipes.Read(
            read_request(self.name + "/pipe"), timeout=1)
        self.assertEqual(read.outcome, TIMED_OUT)

    def test_a_deadline_of_a_stream_is_answered_before_it(self):
        stream = Stream(
            lambda requests: self.client.pipes.ReadStream(requests, timeout=1),
            pipes_pb2.ReadStreamRequest(open=ReadOpen(name=self.name)))
        last, _, _ = stream.last()
        self.assertEqual(last.outcome, TIMED_OUT)

    def test_a_timeout_before_the_deadline_is_exact(self):
        begin = time.monotonic()
        answer = self.client.queues.Wait(
            wait_request(self.name, condition=Condition(equal=1),
                         timeout=duration(0.3)), timeout=30)
        self.assertEqual(answer.outcome, TIMED_OUT)
        self.assertGreaterEqual(time.monotonic() - begin, 0.3)


class Cancel(Case):

    def test_a_cancelled_wait_changes_nothing(self):
        sleeper = self.asleep(condition=Condition(equal=1), then=Action(set=7))
        sleeper.cancel()
        self.client.await_sleepers(self.name, 0)
        self.assertEqual(sleeper.code(), Code.CANCELLED)
        self.assertEqual(self.wake(update=Action(set=1)).woken, 0)
        self.assertEqual(self.get().value, 1)

    def test_a_cancelled_read_takes_nothing(self):
        sleeper = self.client.pipes.Read.future(
            read_request(self.name, min_bytes=5))
        self.client.await_sleepers(self.name, 1)
        self.write(b"abc")
        sleeper.cancel()
        self.client.await_sleepers(self.name, 0)
        self.assertEqual(self.read().data, b"abc")

    def test_a_cancelled_write_puts_nothing(self):
        self.create_pipe(capacity_bytes=4)
        self.write(b"full")
        sleeper = self.client.pipes.Write.future(
            write_request(self.name, b"more"))
        self.client.await_sleepers(self.name, 1)
        sleeper.cancel()
        self.client.await_sleepers(self.name, 0)
        self.assertEqual(self.read().data, b"full")
        self.assertEqual(self.read(nonblock=True).outcome, WOULD_BLOCK)

    def test_a_cancelled_completion_wait_takes_nothing(self):
        sleeper = self.client.completions.Wait.future(self.completion_wait())
        self.client.await_sleepers(self.name, 1)
        sleeper.cancel()
        self.client.await_sleepers(self.name, 0)
        answer = self.complete()
        self.assertEqual((answer.woken, answer.done), (0, 1))

    def test_an_uninterruptible_write_runs_on(self):
        self.create_pipe(capacity_bytes=4)
        self.write(b"full")
        sleeper = self.client.pipes.Write.future(
            write_request(self.name, b"more",
                          sleep=common_pb2.SLEEP_UNINTERRUPTIBLE))
        self.client.await_sleepers(self.name, 1)
        sleeper.cancel()
        self.assertEqual(self.read().data, b"full")
        self.assertEqual(self.read().data, b"more")

    def test_a_lost_connection_ends_its_sleepers(self):
        other = self.new_client()
        # Kept, because a future that nobody holds cancels its call.
        sleeper = other.queues.Wait.future(wait_request(self.name))
        self.client.await_sleepers(self.name, 1)
        other.close()
        self.client.await_sleepers(self.name, 0)
        self.assertEqual(sleeper.code(), Code.CANCELLED)


class Connection(Case):

    def test_two_callers_on_one_connection(self):
        answers = []
        thread = threading.Thread(target=lambda: answers.append(
            self.wait(condition=Condition(equal=1), then=Action(set=2))))
        thread.start()
        self.client.await_sleepers(self.name, 1)
        self.assertEqual(self.wake(update=Action(set=1)).woken, 1)
        thread.join(support.BOUND_S)
        self.assertEqual(answers[0].value_after, 2)

    def test_500_sleepers_on_one_connection_are_woken_at_once(self):
        sleepers = [
            self.client.queues.Wait.future(wait_request(
                self.name, condition=Condition(equal=1)))
            for _ in range(500)]
        self.client.await_sleepers(self.name, 500)
        self.assertEqual(self.stat().sleepers, 500)
        self.assertEqual(self.wake(update=Action(set=1)).woken, 500)
        for sleeper in sleepers:
            self.assertEqual(sleeper.result(support.BOUND_S).outcome, DONE)

    def test_metadata_of_others_is_ignored(self):
        answer, call = self.client.queues.Store.with_call(
            wait_queues_pb2.StoreRequest(name=self.name, value=1),
            metadata=(("x-request", "7"), ("x-bytes-bin", b"\0\xff"),
                      ("user-agent", "foreign")))
        self.assertGreater(answer.generation, 0)
        self.assertEqual(call.code(), Code.OK)
        self.assertNotIn("grpc-status-details-bin",
                         dict(call.trailing_metadata()))

    def test_unknown_fields_are_ignored(self):
        # Field 1000, a varint, and field 1001, a string, behind what we know.
        unknown = b"\xc0\x3e\x01" + b"\xca\x3e\x03new"
        method = self.client.channel.unary_unary(
            "/waitq.v1.WaitQueues/Store",
            response_deserializer=wait_queues_pb2.StoreResponse.FromString)
        method(wait_queues_pb2.StoreRequest(
            name=self.name, value=3).SerializeToString() + unknown)
        self.assertEqual(self.get().value, 3)
        nested = Condition(equal=3).SerializeToString() + unknown
        request = (wait_request(self.name).SerializeToString() +
                   b"\x12" + bytes([len(nested)]) + nested)
        wait = self.client.channel.unary_unary(
            "/waitq.v1.WaitQueues/Wait",
            response_deserializer=wait_queues_pb2.WaitResponse.FromString)
        self.assertEqual(wait(request).outcome, DONE)

    def test_bytes_that_are_no_message(self):
        method = self.client.channel.unary_unary("/waitq.v1.WaitQueues/Get")
        self.assert_error(lambda: method(b"\xff\xff\xff"),
                          Code.INVALID_ARGUMENT, "EINVAL")

    def test_unknown_methods(self):
        for path in ("/waitq.v1.WaitQueues/Nap", "/waitq.v2.WaitQueues/Wait"):
            with self.assertRaises(grpc.RpcError) as caught:
                self.client.channel.unary_unary(path)(b"")
            self.assertEqual(caught.exception.code(), Code.UNIMPLEMENTED)

    def test_compressed_messages_are_refused(self):
        with self.assertRaises(grpc.RpcError) as caught:
            self.client.queues.Store(
                wait_queues_pb2.StoreRequest(name=self.name, value=1),
                compression=grpc.Compression.Gzip)
        self.assertEqual(caught.exception.code(), Code.UNIMPLEMENTED)
        self.assert_error(self.get, Code.NOT_FOUND, "ENOENT")

    def test_health_says_serving(self):
        health = health_pb2_grpc.HealthStub(self.client.channel)
        answer = health.Check(health_pb2.HealthCheckRequest())
        self.assertEqual(answer.status, health_pb2.HealthCheckResponse.SERVING)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        self.assertEqual(next(watch).status,
                         health_pb2.HealthCheckResponse.SERVING)
        watch.cancel()

    def test_reflection_describes_what_the_protos_say(self):
        stub = reflection_pb2_grpc.ServerReflectionStub(self.client.channel)

        def ask(**question):
            stream = stub.ServerReflectionInfo(iter(
                [reflection_pb2.ServerReflectionRequest(**question)]))
            return next(stream)

        listed = {service.name for service in
                  ask(list_services="").list_services_response.service}
        self.assertLessEqual(
            {s.full_name for s in published_services()}, listed)
        for service in listed:
            if not service.startswith("waitq."):
                continue
            answer = ask(file_containing_symbol=service)
            methods = set()
            for file in answer.file_descriptor_response.file_descriptor_proto:
                parsed = descriptor_pb2.FileDescriptorProto.FromString(file)
                methods |= {m.name for s in parsed.service for m in s.method
                            if f"{parsed.package}.{s.name}" == service}
            [ours] = [s for s in published_services() if s.full_name == service]
            self.assertEqual(methods, {m.name for m in ours.methods})


# --- errors ------------------------------------------------------------------


class Errors(Case):

    def test_einval(self):
        wait = self.client.queues.Wait
        wake = self.client.queues.WakeUp
        uninterruptible = common_pb2.SLEEP_UNINTERRUPTIBLE
        for method, request in (
                (wait, wait_request("")),
                (wait, wait_request("a b")),
                (wait, wait_request("x" * 256)),
                (wait, wait_request(self.name, condition=Condition())),
                (wait, wait_request(self.name,
                                    condition=Condition(all_bits=0))),
                (wait, wait_request(self.name, then=Action())),
                (wait, wait_request(self.name, then_wake=True)),
                (wait, wait_request(self.name, timeout=duration(-1))),
                (wait, wait_request(self.name, sleep=uninterruptible)),
                (wait, wait_request(self.name, sleep=77)),
                (wait, wait_request(self.name, caller="x" * 129)),
                (wake, wake_request(self.name, nr=0)),
                (wake, wake_request(self.name, nr=1, all=True)),
                (wake, wake_request(self.name, mode=77)),
                (self.client.completions.Complete,
                 completions_pb2.CompleteRequest(name=self.name, nr=0)),
                (self.client.objects.Create,
                 objects_pb2.CreateRequest(name=self.name)),
                (self.client.pipes.Read, read_request(self.name, min_bytes=0)),
                (self.client.objects.List,
                 objects_pb2.ListObjectsRequest(page_size=10001)),
                (self.client.tasks.List,
                 tasks_pb2.ListTasksRequest(page_token="?")),
                (self.client.tasks.Signal, tasks_pb2.SignalRequest(id=1))):
            with self.subTest(request=str(request)):
                self.assert_error(lambda m=method, r=request: m(r),
                                  Code.INVALID_ARGUMENT, "EINVAL")
        # None of these has made anything.
        self.assert_error(self.stat, Code.NOT_FOUND, "ENOENT")

    def test_enoent(self):
        for call in (self.get, self.stat, self.remove,
                     lambda: self.client.completions.Done(
                         completions_pb2.DoneRequest(name=self.name))):
            error = self.assert_error(call, Code.NOT_FOUND, "ENOENT")
            self.assertEqual(error.metadata, {"object": self.name})

    def test_enxio(self):
        self.store(1)
        for call in (self.complete, self.read, lambda: self.write(b"x"),
                     self.create_pipe,
                     lambda: self.client.completions.TryWait(
                         completions_pb2.TryWaitRequest(name=self.name))):
            error = self.assert_error(call, Code.FAILED_PRECONDITION, "ENXIO")
            self.assertEqual(error.metadata["object"], self.name)

    def test_eexist(self):
        self.create_pipe(capacity_bytes=100)
        self.assert_error(lambda: self.create_pipe(capacity_bytes=101),
                          Code.ALREADY_EXISTS, "EEXIST")
        packets = pipes_pb2.PipeOptions(mode=pipes_pb2.PIPE_MODE_PACKET)
        self.assert_error(lambda: self.write(b"x", options=packets),
                          Code.ALREADY_EXISTS, "EEXIST")

    def test_ebusy(self):
        writer = self.writer()
        self.assert_error(self.remove, Code.FAILED_PRECONDITION, "EBUSY")
        self.finish_writing(writer, 0)
        self.remove()

    def test_eidrm(self):
        sleeper = self.asleep()
        self.assertEqual(self.remove().ended, 1)
        error = self.assert_error(sleeper, Code.ABORTED, "EIDRM")
        self.assertEqual(error.metadata["object"], self.name)

    def test_eidrm_of_streams(self):
        reader, writer = self.reader(), self.writer()
        self.client.await_sleepers(self.name, 1)
        self.remove(force=True)
        self.assert_error(reader.last, Code.ABORTED, "EIDRM")
        # The writer said nothing.
        self.assert_error(writer.last, Code.ABORTED, "EIDRM")

    def test_epipe(self):
        reader = self.reader(max_bytes=1)
        self.write(b"x")
        last, data, _ = reader.last()
        self.assertEqual((last.outcome, data), (DONE, b"x"))
        self.assert_error(lambda: self.write(b"y"),
                          Code.FAILED_PRECONDITION, "EPIPE")
        self.assertEqual(self.write(b"").outcome, DONE)

    def test_epipe_of_a_stream_says_how_much_was_accepted(self):
        self.create_pipe(capacity_bytes=8, atomic_max_bytes=1)
        reader = self.reader(window_bytes=1)
        writer = self.writer()
        writer.send(data_of(b"x" * 100))
        # One byte is out, eight fill the pipe.
        support.await_that(
            lambda: self.stat().pipe.write_offset == 9, "a full pipe")
        reader.cancel()
        responses = []
        error = self.assert_error(
            lambda: [responses.append(r) for r in writer.call],
            Code.FAILED_PRECONDITION, "EPIPE")
        self.assertEqual(error.metadata["object"], self.name)
        self.assertEqual(responses[-1].accepted_bytes, 9)
        self.assertEqual(responses[-1].outcome, 0)

    def test_eintr_and_esrch(self):
        sleeper = self.asleep(caller="to be signalled")
        [task] = self.client.sleepers(self.name)
        signal = tasks_pb2.SignalRequest(
            id=task.id, signal=tasks_pb2.SignalRequest.SIGNAL_INT)
        self.assertTrue(self.client.tasks.Signal(signal).ended)
        error = self.assert_error(sleeper, Code.ABORTED, "EINTR")
        self.assertEqual(error.metadata["signal"], "2")
        self.assert_error(lambda: self.client.tasks.Signal(signal),
                          Code.NOT_FOUND, "ESRCH")

    def test_int_does_not_end_a_killable_sleep(self):
        sleeper = self.asleep(sleep=common_pb2.SLEEP_KILLABLE)
        [task] = self.client.sleepers(self.name)
        request = tasks_pb2.SignalRequest(
            id=task.id, signal=tasks_pb2.SignalRequest.SIGNAL_INT)
        self.assertFalse(self.client.tasks.Signal(request).ended)
        request.signal = tasks_pb2.SignalRequest.SIGNAL_TERM
        self.assertTrue(self.client.tasks.Signal(request).ended)
        self.assert_error(sleeper, Code.ABORTED, "EINTR")

    def test_emsgsize(self):
        self.create_pipe(mode=pipes_pb2.PIPE_MODE_PACKET, capacity_bytes=100)
        self.write(b"packet")
        self.assert_error(lambda: self.read(max_bytes=5),
                          Code.INVALID_ARGUMENT, "EMSGSIZE")
        self.assertEqual(self.read(max_bytes=6).data, b"packet")
        self.assert_error(lambda: self.write(b"x" * 37),
                          Code.INVALID_ARGUMENT, "EMSGSIZE")

    def test_emsgsize_of_a_message(self):
        error = self.assert_error(lambda: self.write(b"x" * (4 << 20)),
                                  Code.INVALID_ARGUMENT, "EMSGSIZE")
        self.assertEqual(error.metadata["limit"], "message-bytes")

    def test_erange(self):
        self.store(INT64_MAX)
        self.assert_error(lambda: self.wake(update=Action(add=1)),
                          Code.OUT_OF_RANGE, "ERANGE")
        self.assert_error(lambda: self.wait(condition=Condition(greater=0),
                                            then=Action(add=1)),
                          Code.OUT_OF_RANGE, "ERANGE")
        self.assertEqual(self.get().value, INT64_MAX)

    def test_misused_streams(self):
        open_read = pipes_pb2.ReadStreamRequest(open=ReadOpen(name=self.name))
        open_write = pipes_pb2.WriteStreamRequest(
            open=WriteOpen(name=self.name))
        pipes = self.client.pipes
        for method, requests in (
                (pipes.ReadStream, []),
                (pipes.ReadStream,
                 [pipes_pb2.ReadStreamRequest(read_up_to=1)]),
                (pipes.ReadStream, [open_read, open_read]),
                (pipes.ReadStream,
                 [open_read, pipes_pb2.ReadStreamRequest(read_up_to=1)]),
                (pipes.WriteStream, []),
                (pipes.WriteStream, [data_of(b"x")]),
                (pipes.WriteStream, [open_write, open_write]),
                (pipes.WriteStream,
                 [open_write, pipes_pb2.WriteStreamRequest()])):
            with self.subTest(requests=str(requests)):
                self.assert_error(
                    lambda m=method, r=requests: list(m(iter(r))),
                    Code.INVALID_ARGUMENT, "EINVAL")


class Limits(Case):

    flags = ("--objects", "3", "--sleepers-per-object", "2", "--sleepers", "3",
             "--pipe-bytes", "64K", "--pipe-bytes-in-all", "96K",
             "--bytes-asleep", "128K", "--message-bytes", "128K")

    def tearDown(self):
        for item in self.client.objects.List(
                objects_pb2.ListObjectsRequest()).objects:
            self.client.objects.Remove(
                objects_pb2.RemoveRequest(name=item.name, force=True))
        super().tearDown()

    def assert_limit(self, call, limit):
        error = self.assert_error(call, Code.RESOURCE_EXHAUSTED, "ENOSPC")
        self.assertEqual(error.metadata["limit"], limit)
        self.assertGreater(error.retry_s, 0)

    def test_objects(self):
        for i in range(3):
            self.store(1, f"{self.name}/{i}")
        self.assert_limit(lambda: self.store(1, f"{self.name}/3"), "objects")
        self.assertEqual(self.get(f"{self.name}/0").value, 1)

    def test_sleepers(self):
        sleepers = [self.asleep(1), self.asleep(2)]
        self.assert_limit(self.wait, "sleepers-per-object")
        sleepers.append(self.asleep(1, self.name + "/2"))
        self.assert_limit(lambda: self.wait(self.name + "/2"), "sleepers")
        self.wake(all=True)
        self.wake(self.name + "/2")
        for sleeper in sleepers:
            self.assertEqual(sleeper.result().outcome, DONE)

    def test_bytes(self):
        piece = b"x" * 32768
        for _ in range(2):
            self.write(piece)
        # More than half of what may sleep, so that it fits once.
        sleeper = self.client.pipes.Write.future(
            write_request(self.name, 2 * piece + b"x"))
        self.client.await_sleepers(self.name, 1)
        self.assert_limit(lambda: self.write(2 * piece), "bytes-asleep")
        sleeper.cancel()
        self.client.await_sleepers(self.name, 0)
        self.name += "/2"
        self.write(piece)
        self.assert_limit(lambda: self.write(b"x"), "pipe-bytes-in-all")


# --- completions -------------------------------------------------------------


class Completions(Case):

    def test_n_completes_admit_n_waits(self):
        answer = self.complete(nr=3)
        self.assertEqual((answer.woken, answer.done), (0, 3))
        for _ in range(3):
            self.assertEqual(self.client.completions.Wait(
                self.completion_wait()).outcome, DONE)
        self.assertEqual(self.client.completions.Wait(
            self.completion_wait(nonblock=True)).outcome, WOULD_BLOCK)

    def test_completes_wake_the_oldest(self):
        sleepers = []
        for count in (1, 2, 3):
            sleepers.append(self.client.completions.Wait.future(
                self.completion_wait(timeout=duration(100))))
            self.client.await_sleepers(self.name, count)
        self.assertEqual(self.complete(nr=2).woken, 2)
        for sleeper in sleepers[:2]:
            answer = sleeper.result()
            self.assertEqual((answer.outcome, answer.slept), (DONE, True))
            self.assertGreater(seconds(answer.remaining), 0)
        self.assertFalse(sleepers[2].done())
        answer = self.complete()
        self.assertEqual((answer.woken, answer.done), (1, 0))

    def test_complete_all_and_reinit(self):
        sleeper = self.client.completions.Wait.future(self.completion_wait())
        self.client.await_sleepers(self.name, 1)
        answer = self.complete(all=True)
        self.assertEqual((answer.woken, answer.done), (1, FOR_EVER))
        self.assertEqual(sleeper.result().outcome, DONE)
        for _ in range(3):
            self.assertEqual(self.client.completions.Wait(
                self.completion_wait()).outcome, DONE)
        done = completions_pb2.DoneRequest(name=self.name)
        self.assertTrue(self.client.completions.Done(done).done)
        self.client.completions.Reinit(
            completions_pb2.ReinitRequest(name=self.name))
        self.assertFalse(self.client.completions.Done(done).done)
        self.assertEqual(self.client.completions.Wait(
            self.completion_wait(timeout=duration(0))).outcome, TIMED_OUT)

    def test_try_wait(self):
        request = completions_pb2.TryWaitRequest(name=self.name)
        self.assertFalse(self.client.completions.TryWait(request).taken)
        self.complete()
        self.assertTrue(self.client.completions.TryWait(request).taken)
        self.assertFalse(self.client.completions.TryWait(request).taken)
        self.assertEqual(self.stat().completion.done, 0)


# --- pipes -------------------------------------------------------------------


class Pipes(Case):

    def test_write_then_read(self):
        written = self.write(b"hello")
        self.assertEqual((written.outcome, written.accepted_bytes,
                          written.offset), (DONE, 5, 5))
        first, second = self.read(max_bytes=3), self.read()
        self.assertEqual((first.data, first.offset), (b"hel", 0))
        self.assertEqual((second.data, second.offset), (b"lo", 3))
        self.assertEqual(written.incarnation, second.incarnation)
        self.assertFalse(second.slept)

    def test_a_read_sleeps_until_there_is_something(self):
        sleeper = self.client.pipes.Read.future(read_request(self.name))
        self.client.await_sleepers(self.name, 1)
        self.write(b"x")
        answer = sleeper.result()
        self.assertEqual((answer.data, answer.slept), (b"x", True))

    def test_read_without_bytes(self):
        self.assertEqual(self.read(max_bytes=0).outcome, DONE)
        self.assertEqual(self.read(nonblock=True).outcome, WOULD_BLOCK)
        self.assertEqual(self.read(timeout=duration(0.05)).outcome, TIMED_OUT)

    def test_a_repeated_call_is_done_once(self):
        request = write_request(self.name, b"abc", request_id=str(uuid.uuid4()))
        first = self.client.pipes.Write(request)
        self.assertEqual(self.client.pipes.Write(request), first)
        self.assertEqual(self.stat().pipe.unread_bytes, 3)
        request.data = b"other"
        self.assert_error(lambda: self.client.pipes.Write(request),
                          Code.INVALID_ARGUMENT, "EINVAL")
        # The acknowledgement: after it the id is new.
        cancel = tasks_pb2.CancelRequest(
            request_id=request.request_id, name=self.name,
            method="Pipes/Write")
        self.assertTrue(self.client.tasks.Cancel(cancel).cancelled)
        self.assertFalse(self.client.tasks.Cancel(cancel).cancelled)
        self.client.pipes.Write(request)
        self.assertEqual(self.stat().pipe.unread_bytes, 8)
        request.server_epoch = first.server_epoch - 1
        self.assert_error(lambda: self.client.pipes.Write(request),
                          Code.ABORTED, "EOWNERDEAD")

    def test_a_hold_is_accepted_or_read_again(self):
        self.write(b"abcdef")
        held = self.client.pipes.Read(
            read_request(self.name, max_bytes=4, hold=duration(30)))
        self.assertEqual((held.data, held.redelivered), (b"abcd", False))
        self.assertEqual(self.stat().pipe.held_bytes, 4)
        self.client.pipes.Accept(pipes_pb2.AcceptRequest(
            name=self.name, hold_id=held.hold_id, up_to_offset=2))
        release = pipes_pb2.ReleaseRequest(
            name=self.name, hold_id=held.hold_id)
        self.client.pipes.Release(release)
        self.assert_error(lambda: self.client.pipes.Release(release),
                          Code.FAILED_PRECONDITION, "ESTALE")
        again = self.client.pipes.Read(read_request(self.name))
        self.assertEqual((again.data, again.offset, again.redelivered),
                         (b"cd", 2, True))
        self.assertEqual(
            self.client.pipes.Read(read_request(self.name)).data, b"ef")

    def test_min_bytes(self):
        self.write(b"ab")
        short = self.read(min_bytes=4, timeout=duration(0.05))
        self.assertEqual((short.outcome, short.data), (TIMED_OUT, b""))
        sleeper = self.client.pipes.Read.future(
            read_request(self.name, min_bytes=4))
        self.client.await_sleepers(self.name, 1)
        self.write(b"c")
        self.assertEqual(len(self.client.sleepers(self.name)), 1)
        self.write(b"de")
        self.assertEqual(sleeper.result().data, b"abcde")

    def test_min_bytes_where_the_file_ends(self):
        writer = self.writer()
        writer.send(data_of(b"ab"))
        sleeper = self.client.pipes.Read.future(
            read_request(self.name, min_bytes=4))
        self.client.await_sleepers(self.name, 1)
        self.finish_writing(writer, 2)
        self.assertEqual(sleeper.result().data, b"ab")

    def test_the_largest_read_fits_a_default_client(self):
        self.create_pipe(capacity_bytes=8 << 20)
        piece = b"x" * ((4 << 20) - 1024)
        self.write(piece)
        self.write(piece)
        answer = self.read(max_bytes=8 << 20)
        self.assertEqual(len(answer.data), len(piece))

    def test_a_write_that_is_cut_short_says_by_what(self):
        self.create_pipe(capacity_bytes=8, atomic_max_bytes=4)
        answer = self.write(b"x" * 20, timeout=duration(0.05))
        self.assertEqual((answer.outcome, answer.accepted_bytes), (DONE, 8))
        self.assertEqual(answer.ended_by, TIMED_OUT)
        answer = self.write(b"y", nonblock=True)
        self.assertEqual((answer.outcome, answer.accepted_bytes),
                         (WOULD_BLOCK, 0))
        sleeper = self.client.pipes.Write.future(
            write_request(self.name, b"z" * 20))
        self.client.await_sleepers(self.name, 1)
        self.read(max_bytes=6)
        self.remove()
        answer = sleeper.result()
        self.assertEqual((answer.outcome, answer.ended_by_error,
                          answer.accepted_bytes), (DONE, "EIDRM", 6))

    def test_an_atomic_write_is_whole_or_nothing(self):
        self.create_pipe(capacity_bytes=8)
        self.write(b"12345")
        answer = self.write(b"6789", timeout=duration(0.05))
        self.assertEqual((answer.outcome, answer.accepted_bytes),
                         (TIMED_OUT, 0))

    def test_packets(self):
        packets = pipes_pb2.PipeOptions(mode=pipes_pb2.PIPE_MODE_PACKET)
        for packet in (b"one", b"two!", b"3"):
            self.write(packet, options=packets)
        self.assertEqual(self.write(b"").outcome, DONE)
        self.assertEqual(self.stat().pipe.profile,
                         pipes_pb2.PIPE_PROFILE_QUEUE)
        got = [self.read().data for _ in range(3)]
        self.assertEqual(got, [b"one", b"two!", b"3"])
        self.assertEqual(self.read(nonblock=True).outcome, WOULD_BLOCK)

    def test_packets_in_streams(self):
        packets = pipes_pb2.PipeOptions(mode=pipes_pb2.PIPE_MODE_PACKET,
                                        profile=pipes_pb2.PIPE_PROFILE_FIFO)
        reader = self.reader(options=packets)
        writer = self.writer()
        sent = [b"a" * n for n in (1, 1000, 5, 60000, 2)]
        for packet in sent:
            writer.send(data_of(packet))
        self.finish_writing(writer, sum(map(len, sent)))
        last, _, responses = reader.last()
        self.assertEqual([r.data for r in responses if r.data], sent)
        self.assertEqual((last.outcome, last.broken), (END_OF_FILE, False))

    def test_scull(self):
        self.create_pipe(capacity_bytes=5,
                         profile=pipes_pb2.PIPE_PROFILE_SCULL)
        self.assertEqual(self.write(b"abcdefg", nonblock=True).accepted_bytes,
                         4)
        self.assertEqual(self.read(max_bytes=3).data, b"abc")
        # Two more fit, but the first of them is at the ring's end.
        self.assertEqual(self.write(b"efg", nonblock=True).accepted_bytes, 1)
        self.assertEqual(self.read().data, b"de")


class Streams(Case):

    def copy(self, reader, writer):
        for piece in (b"abc", b"def"):
            writer.send(data_of(piece))
        self.finish_writing(writer, 6)
        last, data, responses = reader.last()
        self.assertEqual(data, b"abcdef")
        self.assertEqual((last.outcome, last.broken, last.offset),
                         (END_OF_FILE, False, 6))
        self.assertTrue(all(r.outcome == 0 for r in responses[:-1]))
        self.assertEqual(reader.call.code(), Code.OK)

    def test_the_reader_comes_first(self):
        reader = self.reader()
        self.client.await_sleepers(self.name, 1)
        self.copy(reader, self.writer())

    def test_the_writer_comes_first(self):
        writer = self.writer()
        self.copy(self.reader(), writer)

    def test_the_writer_is_gone_before_the_reader_comes(self):
        writer = self.writer()
        writer.send(data_of(b"kept"))
        self.finish_writing(writer, 4)
        last, data, _ = self.reader().last()
        self.assertEqual((data, last.outcome), (b"kept", END_OF_FILE))
        # The end was seen; who comes now waits for a new writer.
        self.assertEqual(self.read(nonblock=True).outcome, WOULD_BLOCK)

    def test_a_file_of_no_bytes(self):
        self.finish_writing(self.writer(), 0)
        answer = self.read()
        self.assertEqual((answer.outcome, answer.data, answer.broken),
                         (END_OF_FILE, b"", False))

    def test_a_cancelled_writer_breaks_the_file(self):
        reader, writer = self.reader(), self.writer()
        writer.send(data_of(b"half"))
        while writer.read().accepted_bytes < 4:
            pass
        writer.cancel()
        last, data, _ = reader.last()
        self.assertEqual(data, b"half")
        self.assertEqual((last.outcome, last.broken), (END_OF_FILE, True))

    def test_a_lost_connection_breaks_the_file(self):
        other = self.new_client()
        writer = self.writer(client=other)
        writer.send(data_of(b"half"))
        self.assertEqual(self.read().data, b"half")
        other.close()
        writer.half_close()
        answer = self.read()
        self.assertEqual((answer.outcome, answer.broken), (END_OF_FILE, True))

    def test_two_writers_end_once(self):
        reader, one, two = self.reader(), self.writer(), self.writer()
        one.send(data_of(b"1"))
        self.finish_writing(one, 1)
        two.send(data_of(b"2"))
        self.finish_writing(two, 1)
        last, data, _ = reader.last()
        self.assertEqual((data, last.outcome), (b"12", END_OF_FILE))

    def test_max_bytes(self):
        reader = self.reader(max_bytes=4)
        self.write(b"abcdef")
        last, data, _ = reader.last()
        self.assertEqual((last.outcome, data), (DONE, b"abcd"))

    def test_timeouts_and_nonblock_of_a_reader(self):
        for fields, outcome in (({"timeout": duration(0.05)}, TIMED_OUT),
                                ({"nonblock": True}, WOULD_BLOCK)):
            last, _, _ = self.reader(**fields).last()
            self.assertEqual(last.outcome, outcome)

    def test_timeouts_and_nonblock_of_a_writer(self):
        self.create_pipe(capacity_bytes=2)
        for fields, outcome in (({"timeout": duration(0.05)}, TIMED_OUT),
                                ({"nonblock": True}, WOULD_BLOCK)):
            writer = self.writer(**fields)
            writer.send(data_of(b"a"))
            writer.send(data_of(b"bc"))
            last, _, _ = writer.last()
            self.assertEqual((last.outcome, last.accepted_bytes), (outcome, 1))
            self.assertEqual(self.read().data, b"a")
            # What it had sent is not all there.
            self.assertTrue(self.read().broken)

    def test_a_window_bounds_what_is_under_way(self):
        reader = self.reader(window_bytes=3)
        self.write(b"abcdefgh")
        got = b""
        while len(got) < 3:
            got += reader.read().data
        self.assertEqual(got, b"abc")
        self.assertEqual(self.stat().pipe.unread_bytes, 5)
        reader.send(pipes_pb2.ReadStreamRequest(read_up_to=2))
        while len(got) < 5:
            got += reader.read().data
        self.assertEqual(got, b"abcde")
        self.assertEqual(self.stat().pipe.unread_bytes, 3)
        reader.cancel()

    def test_1_mib_through_64_kib_with_a_slow_reader(self):
        piece = bytes(range(256)) * 64  # 16 KiB
        total = 1 << 20
        pieces = [hashlib.sha256(bytes([i])).digest() + piece[32:]
                  for i in range(total // len(piece))]
        reader = self.reader(window_bytes=16384)
        writer = self.writer()
        for p in pieces:
            writer.send(data_of(p))
        writer.half_close()
        # Nobody acknowledges: the window is out, the pipe is full.
        support.await_that(
            lambda: self.stat().pipe.write_offset == 81920, "a full pipe")
        self.client.await_sleepers(self.name, 1)
        digest, got, last = hashlib.sha256(), 0, None
        while last is None or not last.outcome:
            last = reader.read()
            digest.update(last.data)
            got += len(last.data)
            self.assertLessEqual(self.stat().pipe.unread_bytes, 65536)
            if last.data:
                time.sleep(0.002)
                reader.send(pipes_pb2.ReadStreamRequest(read_up_to=got))
        self.assertEqual((got, last.outcome, last.broken),
                         (total, END_OF_FILE, False))
        self.assertEqual(digest.digest(),
                         hashlib.sha256(b"".join(pieces)).digest())
        done, _, _ = writer.last()
        self.assertEqual((done.outcome, done.accepted_bytes), (DONE, total))
        self.assertGreater(done.sleeps, 0)

    def test_a_reader_that_stops_stops_the_writer(self):
        # No window: gRPC's flow control alone holds the sender back.
        reader = self.reader()
        writer = self.writer()
        piece, pieces = b"x" * 65536, 128
        for _ in range(pieces):
            writer.send(data_of(piece))
        writer.half_close()
        support.await_that(
            lambda: any(task.condition.startswith("write")
                        for task in self.client.sleepers(self.name)),
            "a sleeping writer")
        time.sleep(0.3)
        self.assertLess(self.stat().pipe.write_offset, pieces * len(piece))
        last, data, _ = reader.last()
        self.assertEqual(last.outcome, END_OF_FILE)
        self.assertEqual(len(data), pieces * len(piece))
        writer.last()


class Poll(Case):

    def test_in_and_out(self):
        self.create_pipe(capacity_bytes=4)
        answer = self.poll(**{"in": True, "out": True})
        self.assertEqual((getattr(answer, "in"), answer.out, answer.slept),
                         (False, True, False))
        self.write(b"full")
        answer = self.poll(**{"in": True, "out": True})
        self.assertEqual((getattr(answer, "in"), answer.out), (True, False))
        self.assertEqual(self.poll(out=True, nonblock=True).outcome,
                         WOULD_BLOCK)
        self.assertEqual(self.poll(out=True, timeout=duration(0)).outcome,
                         TIMED_OUT)

    def test_a_poll_sleeps_and_takes_nothing(self):
        sleeper = self.client.pipes.Poll.future(
            pipes_pb2.PollRequest(name=self.name, **{"in": True}))
        self.client.await_sleepers(self.name, 1)
        self.write(b"x")
        answer = sleeper.result()
        self.assertEqual((getattr(answer, "in"), answer.slept), (True, True))
        self.assertEqual(self.read().data, b"x")

    def test_hup_and_err(self):
        writer = self.writer()
        reader = self.reader(max_bytes=1)
        sleeper = self.client.pipes.Poll.future(
            pipes_pb2.PollRequest(name=self.name))
        self.client.await_sleepers(self.name, 2)
        self.finish_writing(writer, 0)
        self.assertTrue(sleeper.result().hup)
        reader.last()
        self.assertTrue(self.poll().err)


class PollStream(Case):

    def watching(self, *names):
        stream = Stream(self.client.pipes.PollStream,
                        pipes_pb2.PollStreamRequest(watch=[
                            pipes_pb2.PollStreamRequest.Watch(
                                id=i, name=name, **{"in": True})
                            for i, name in enumerate(names)]))
        self.addCleanup(stream.cancel)
        return stream

    def told(self, stream, id_):
        """What is told next of that name."""
        while True:
            for change in stream.read().changes:
                if change.id == id_:
                    return change

    def test_what_is_there_and_what_has_changed(self):
        stream = self.watching(self.name)
        self.assertFalse(getattr(self.told(stream, 0).ready, "in"))
        for _ in range(3):
            self.write(b"x")
            self.assertTrue(getattr(self.told(stream, 0).ready, "in"))
            self.assertEqual(self.read().data, b"x")
            self.assertFalse(getattr(self.told(stream, 0).ready, "in"))

    def test_one_of_many_names(self):
        names = [f"{self.name}/{i}" for i in range(500)]
        stream = self.watching(*names)
        told = set()
        while len(told) < len(names):
            told |= {change.id for change in stream.read().changes}
        self.client.pipes.Write(write_request(names[321], b"x"))
        change = self.told(stream, 321)
        self.assertTrue(getattr(change.ready, "in"))
        self.client.objects.Remove(
            objects_pb2.RemoveRequest(name=names[321], force=True))
        self.assertEqual(self.told(stream, 321).error, "EIDRM")

    def test_a_poll_that_knows_what_is_there(self):
        self.write(b"x")
        known = pipes_pb2.Readiness(**{"in": True})
        sleeper = self.client.pipes.Poll.future(pipes_pb2.PollRequest(
            name=self.name, known=known, **{"in": True}))
        self.client.await_sleepers(self.name, 1)
        self.read()
        self.assertFalse(getattr(sleeper.result(), "in"))


# --- objects and tasks -------------------------------------------------------


class Objects(Case):

    def test_create_of_every_kind(self):
        for i, (kind, options) in enumerate((
                ("wait_queue", objects_pb2.WaitQueueOptions()),
                ("completion", objects_pb2.CompletionOptions()),
                ("pipe", pipes_pb2.PipeOptions(capacity_bytes=100)))):
            request = objects_pb2.CreateRequest(
                name=f"{self.name}/{kind}", **{kind: options})
            first = self.client.objects.Create(request)
            again = self.client.objects.Create(request)
            self.assertEqual((first.created, again.created), (True, False))
            found = self.client.objects.Stat(
                objects_pb2.StatRequest(name=request.name)).object
            self.assertEqual(found, again.object)
            self.assertEqual((found.name, found.kind), (request.name, i + 1))
            self.assertTrue(found.created)
            self.assertEqual(found.WhichOneof("state"), kind)

    def test_another_of_the_same_name_is_another(self):
        first = self.create_pipe().object.incarnation
        self.remove()
        self.assertGreater(self.create_pipe().object.incarnation, first)

    def test_stat_of_a_pipe(self):
        self.create_pipe(capacity_bytes=100, atomic_max_bytes=10)
        self.write(b"abcde")
        self.read(max_bytes=2)
        reader = self.reader(window_bytes=1)
        reader.read()
        pipe = self.stat().pipe
        self.assertEqual(
            (pipe.capacity_bytes, pipe.atomic_max_bytes, pipe.unread_bytes,
             pipe.read_offset, pipe.write_offset, pipe.readers, pipe.writers),
            (100, 10, 2, 3, 5, 1, 0))
        reader.cancel()

    def test_list_in_pages(self):
        names = [f"{self.name}/{i:03}" for i in range(25)]
        for name in reversed(names):
            self.store(1, name)
        found, token, pages = [], "", 0
        while pages == 0 or token:
            answer = self.client.objects.List(objects_pb2.ListObjectsRequest(
                prefix=self.name + "/", page_size=10, page_token=token))
            found += [item.name for item in answer.objects]
            token, pages = answer.next_page_token, pages + 1
        self.assertEqual((found, pages), (names, 3))


class AnyOf(Case):
    """Of a word, a completion and a pipe."""

    def names(self):
        return [f"{self.name}/{kind}" for kind in ("word", "done", "pipe")]

    def request(self, **fields):
        word, done, pipe = self.names()
        return objects_pb2.WaitAnyRequest(alternatives=[
            objects_pb2.Alternative(wait=wait_request(
                word, condition=Condition(greater=0), then=Action(add=-1))),
            objects_pb2.Alternative(
                completion_wait=completions_pb2.CompletionWaitRequest(
                    name=done)),
            objects_pb2.Alternative(read=read_request(pipe)),
        ], **fields)

    def asleep_on_all(self, **fields):
        sleeper = self.client.objects.WaitAny.future(self.request(**fields))
        for name in self.names():
            self.client.await_sleepers(name, 1)
        return sleeper

    def assert_chosen(self, sleeper, index, kind):
        answer = sleeper.result()
        self.assertEqual(
            (answer.outcome, answer.alternative, answer.WhichOneof("response")),
            (common_pb2.OUTCOME_DONE, index, kind))
        for name in self.names():
            self.client.await_sleepers(name, 0)
        return answer

    def test_each_ends_it(self):
        word, done, pipe = self.names()
        sleeper = self.asleep_on_all()
        self.wake(word, update=Action(add=1))
        answer = self.assert_chosen(sleeper, 0, "wait")
        self.assertEqual(answer.wait.value_after, 0)
        sleeper = self.asleep_on_all()
        self.client.completions.Complete(
            completions_pb2.CompleteRequest(name=done))
        self.assert_chosen(sleeper, 1, "completion_wait")
        sleeper = self.asleep_on_all()
        self.client.pipes.Write(write_request(pipe, b"abc"))
        answer = self.assert_chosen(sleeper, 2, "read")
        self.assertEqual(answer.read.data, b"abc")

    def test_the_first_that_holds_at_once(self):
        word, _, pipe = self.names()
        self.store(1, word)
        self.client.pipes.Write(write_request(pipe, b"abc"))
        answer = self.client.objects.WaitAny(self.request())
        self.assertEqual((answer.alternative, answer.slept), (0, False))
        answer = self.client.objects.WaitAny(self.request(nonblock=True))
        self.assertEqual(answer.read.data, b"abc")

    def test_without_any(self):
        answer = self.client.objects.WaitAny(self.request(nonblock=True))
        self.assertEqual(answer.outcome, common_pb2.OUTCOME_WOULD_BLOCK)
        self.assertFalse(answer.HasField("alternative"))
        answer = self.client.objects.WaitAny(
            self.request(timeout=duration(0.001)))
        self.assertEqual(answer.outcome, common_pb2.OUTCOME_TIMED_OUT)

    def test_ps_shows_each_with_one_id(self):
        sleeper = self.asleep_on_all()
        tasks = [self.client.sleepers(name)[0] for name in self.names()]
        self.assertEqual([task.alternative for task in tasks], [0, 1, 2])
        self.assertEqual(len({task.id for task in tasks}), 1)
        self.assertFalse(sleeper.done())

    def test_none_and_too_many(self):
        none = objects_pb2.WaitAnyRequest()
        many = objects_pb2.WaitAnyRequest(
            alternatives=[self.request().alternatives[0]] * 65)
        for request in (none, many):
            error = self.assert_error(
                lambda r=request: self.client.objects.WaitAny(r),
                Code.INVALID_ARGUMENT, "EINVAL")
            self.assertEqual(error.metadata["limit"], "alternatives")


class Tasks(Case):

    def test_a_sleeper_as_ps_shows_it(self):
        sleeper = self.asleep(
            condition=Condition(equal=1), then=Action(set=0),
            timeout=duration(100), caller="foreign",
            sleep=common_pb2.SLEEP_KILLABLE)
        [task] = self.client.sleepers(self.name)
        self.assertGreater(task.id, 0)
        self.assertTrue(task.peer)
        self.assertEqual((task.caller, task.state, task.object, task.kind),
                         ("foreign", common_pb2.SLEEP_KILLABLE, self.name,
                          common_pb2.OBJECT_KIND_WAIT_QUEUE))
        self.assertEqual(task.condition, "value == 1")
        self.assertEqual((task.place, task.exclusive), (0, True))
        self.assertGreaterEqual(seconds(task.age), 0)
        self.assertLessEqual(seconds(task.remaining), 100)
        self.wake(update=Action(set=1))
        self.assertEqual(sleeper.result().outcome, DONE)

    def test_list_in_pages_and_by_caller(self):
        sleepers = [self.asleep(i + 1, caller=f"{self.name}/{i % 2}")
                    for i in range(12)]
        found, token, pages = [], "", 0
        while pages == 0 or token:
            answer = self.client.tasks.List(tasks_pb2.ListTasksRequest(
                name=self.name, page_size=5, page_token=token))
            found += [task.id for task in answer.tasks]
            token, pages = answer.next_page_token, pages + 1
        self.assertEqual((len(found), pages), (12, 3))
        self.assertEqual(found, sorted(set(found)))
        odd = self.client.tasks.List(
            tasks_pb2.ListTasksRequest(caller=f"{self.name}/1"))
        self.assertEqual(len(odd.tasks), 6)
        self.wake(all=True)
        for sleeper in sleepers:
            sleeper.result()


# --- sessions ----------------------------------------------------------------


class Sessions(Case):

    def session(self, client=None, **fields):
        stream = Session(client or self.client, **fields)
        self.addCleanup(stream.cancel)
        return stream

    def await_detached(self, count=1):
        support.await_that(
            lambda: sum(task.detached
                        for task in self.client.sleepers(self.name)) == count,
            f"{count} whose session has no stream")

    def assert_failure(self, result, code, reason):
        failure = result.failure
        self.assertEqual((failure.code, failure.reason),
                         (code.value[0], reason), result)
        self.assertTrue(failure.message)

    def test_the_first_response_names_it(self):
        hello = self.session(grace=duration(5), caller="foreign").hello
        self.assertEqual(len(hello.token), 16)
        self.assertGreater(hello.server_epoch, 0)
        self.assertEqual((hello.operations_received, seconds(hello.grace)),
                         (0, 5))
        self.assertGreater(hello.operations_max, 0)
        self.assertGreater(hello.message_bytes_max, 0)

    def test_without_hello(self):
        stream = Stream(self.client.sessions.Attach,
                        sessions_pb2.SessionRequest(heartbeat=1))
        self.assert_error(stream.read, Code.INVALID_ARGUMENT, "EINVAL")
        stream.half_close()

    def test_wait_and_wake_through_it(self):
        session = self.session(caller="foreign")
        sleeper = session.do(wait=wait_request(
            self.name, condition=Condition(equal=1), then=Action(set=0)))
        self.client.await_sleepers(self.name, 1)
        self.assertEqual(self.client.sleepers(self.name)[0].caller, "foreign")
        waker = session.do(wake_up=wake_request(
            self.name, update=Action(set=1)))
        results = {result.operation: result
                   for _, result in (session.result(), session.result())}
        self.assertEqual(results[waker].wake_up.woken, 1)
        answer = results[sleeper].wait
        self.assertEqual((answer.outcome, answer.value_before,
                          answer.value_after, answer.slept), (DONE, 1, 0, True))

    def test_results_come_as_operations_end(self):
        session = self.session()
        session.say(first_operation=1, operations=[
            sessions_pb2.Operation(wait=wait_request(
                self.name, condition=Condition(equal=value)))
            for value in (1, 2, 3)])
        session.operations = 3
        self.client.await_sleepers(self.name, 3)
        for number, value in enumerate((3, 1, 2), 1):
            self.wake(update=Action(set=value))
            got, result = session.result()
            self.assertEqual((got, result.operation), (number, value))

    def test_what_a_read_takes_is_held_until_it_is_taken(self):
        self.write(b"abcdef")
        session = self.session()
        for piece in (b"ab", b"cd", b"ef"):
            result = session.ask(read=read_request(self.name, max_bytes=2))
            self.assertEqual(result.read.data, piece)
        self.assertEqual(self.stat().pipe.held_bytes, 6)
        session.say(returned=[2], taken=[3])
        support.await_that(lambda: self.stat().pipe.held_bytes == 2, "taken")
        session.say(taken_up_to=1)
        support.await_that(lambda: self.stat().pipe.held_bytes == 0, "taken")
        answer = self.read()
        self.assertEqual((answer.data, answer.redelivered), (b"cd", True))
        self.assertEqual(self.read(nonblock=True).outcome, WOULD_BLOCK)

    def test_it_goes_on_after_its_stream_was_cancelled(self):
        self.write(b"abc")
        session = self.session()
        queue = self.name + "/queue"
        session.ask(read=read_request(self.name, max_bytes=1))
        session.ask(read=read_request(self.name, max_bytes=1))
        session.do(wait=wait_request(queue, exclusive=True))
        self.client.await_sleepers(queue, 1)
        behind = self.asleep(2, name=queue, exclusive=True)
        session.say(taken=[1])
        support.await_that(lambda: self.stat().pipe.held_bytes == 1, "taken")
        session.cancel()
        support.await_that(lambda: self.client.sleepers(queue)[0].detached,
                           "a session without a stream")
        again = self.session(client=self.new_client(), after=session)
        self.assertEqual(again.hello.operations_received, 3)
        self.assertEqual(again.hello.token, session.hello.token)
        # What was not taken comes again; who slept has kept its place.
        number, result = again.result()
        self.assertEqual((number, result.operation, result.read.data),
                         (2, 2, b"b"))
        self.assertEqual(self.wake(queue).woken_exclusive, 1)
        number, result = again.result()
        self.assertEqual((number, result.operation, result.wait.outcome),
                         (3, 3, DONE))
        self.assertEqual(self.wake(queue).woken_exclusive, 1)
        self.assertEqual(behind.result().outcome, DONE)

    def test_nothing_is_handed_to_it_without_a_stream(self):
        session = self.session()
        session.do(wait=wait_request(self.name, exclusive=True))
        self.client.await_sleepers(self.name, 1)
        session.half_close()  # without `end`
        self.assertIsNone(session.read())
        self.assertEqual(session.call.code(), Code.OK)
        self.await_detached()
        self.assertEqual(self.wake().woken, 0)
        again = self.session(after=session)
        self.await_detached(0)
        self.assertEqual(self.wake().woken, 1)
        self.assertEqual(again.result()[1].wait.outcome, DONE)

    def test_another_stream_takes_it_over(self):
        first = self.session()
        first.do(wait=wait_request(self.name))
        self.client.await_sleepers(self.name, 1)
        second = self.session(client=self.new_client(), after=first)
        self.assert_error(first.read, Code.CANCELLED, "ECANCELED")
        self.wake()
        self.assertEqual(second.result()[1].wait.outcome, DONE)

    def test_end(self):
        session = self.session()
        session.do(wait=wait_request(self.name))
        self.client.await_sleepers(self.name, 1)
        session.say(end=True)
        self.assertIsNone(session.read())
        self.assertEqual(session.call.code(), Code.OK)
        session.half_close()
        self.client.await_sleepers(self.name, 0)
        hello = sessions_pb2.SessionRequest.Hello(
            token=session.hello.token,
            server_epoch=session.hello.server_epoch)
        for epoch, code, reason in (
                (0, Code.FAILED_PRECONDITION, "ESTALE"),
                (1, Code.ABORTED, "EOWNERDEAD")):
            hello.server_epoch += epoch
            stream = Stream(self.client.sessions.Attach,
                            sessions_pb2.SessionRequest(hello=hello))
            self.assert_error(stream.read, code, reason)
            stream.half_close()

    def test_heartbeats(self):
        session = self.session()
        times = []
        for number in (1, 2**64 - 1, 5):
            session.say(heartbeat=number)
            response = session.read()
            self.assertEqual(response.heartbeat, number)
            times.append(seconds(response.server_time))
        self.assertEqual(times, sorted(times))

    def test_operations_that_fail_fail_alone(self):
        session = self.session()
        missing = session.ask(get=wait_queues_pb2.GetRequest(name=self.name))
        self.assert_failure(missing, Code.NOT_FOUND, "ENOENT")
        for operation in (
                {"wait": wait_request(self.name, caller="me")},
                {"wait": wait_request(self.name, request_id=f"{uuid.uuid4()}")},
                {"wait": wait_request("a b")}, {}):
            self.assert_failure(session.ask(**operation),
                                Code.INVALID_ARGUMENT, "EINVAL")
        sleeper = session.do(wait=wait_request(self.name))
        self.client.await_sleepers(self.name, 1)
        session.say(signals=[sessions_pb2.OperationSignal(
            operation=sleeper, signal=tasks_pb2.SignalRequest.SIGNAL_INT)])
        _, result = session.result()
        self.assert_failure(result, Code.ABORTED, "EINTR")
        self.assertEqual(dict(result.failure.metadata),
                         {"object": self.name, "signal": "2"})

    def test_a_gap_is_its_end(self):
        session = self.session()
        session.operations = 1
        session.do(wait=wait_request(self.name))
        self.assert_error(session.read, Code.INVALID_ARGUMENT, "EINVAL")

    def test_handles(self):
        session = self.session()
        opened = session.ask(open=sessions_pb2.OpenRequest(
            name=self.name, write=True))
        writer = opened.operation
        self.assertEqual((opened.open.offset, opened.open.mode),
                         (0, pipes_pb2.PIPE_MODE_STREAM))
        reader = session.ask(
            open=sessions_pb2.OpenRequest(name=self.name)).operation
        written = session.ask(handle=writer, write=write_request("", b"abc"))
        self.assertEqual(written.write.accepted_bytes, 3)
        answer = session.ask(handle=reader, read=read_request(""))
        self.assertEqual(answer.read.data, b"abc")
        session.say(taken_up_to=4)
        closed = session.ask(close=sessions_pb2.CloseRequest(handle=writer))
        self.assertTrue(closed.HasField("close"))
        answer = session.ask(handle=reader, read=read_request(""))
        self.assertEqual((answer.read.outcome, answer.read.broken),
                         (END_OF_FILE, False))
        self.assert_failure(
            session.ask(handle=writer, write=write_request("", b"abc")),
            Code.FAILED_PRECONDITION, "EBADF")
        # A second result of the open.
        self.remove(force=True)
        _, result = session.result()
        self.assertEqual(result.operation, reader)
        self.assert_failure(result, Code.ABORTED, "EIDRM")


# --- the end of a server -----------------------------------------------------


class Drain(Case):

    def setUp(self):
        super().setUp()
        self.server = Server("--grace", "60s", listen=self.listen)
        self.addCleanup(self.server.close)
        self.client = self.new_client()

    def assert_draining(self, call):
        error = self.assert_error(call, Code.UNAVAILABLE, "ESHUTDOWN")
        self.assertGreater(error.retry_s, 0)

    def test_sleepers_end_and_reads_go_on(self):
        self.write(b"what is there")
        sleeper = self.asleep(name="q")
        waiting = self.client.completions.Wait.future(
            completions_pb2.CompletionWaitRequest(name="c"))
        self.client.await_sleepers("c", 1)
        health = health_pb2_grpc.HealthStub(self.client.channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())
        response = health_pb2.HealthCheckResponse
        self.assertEqual(next(watch).status, response.SERVING)
        self.server.drain()
        self.assert_draining(sleeper)
        self.assert_draining(waiting)
        self.assertEqual(next(watch).status, response.NOT_SERVING)
        self.assert_draining(lambda: self.write(b"more"))
        self.assert_draining(lambda: self.wait("q"))
        self.assertEqual(self.read(max_bytes=4).data, b"what")
        self.assertEqual(self.read().data, b" is there")
        self.assertEqual(self.server.exit_code(), 0)

    def test_streams(self):
        # What nobody reads yet keeps the server there.
        rest = self.name + "/rest"
        self.client.pipes.Write(write_request(rest, b"x"))
        reader, writer = self.reader(), self.writer()
        writer.send(data_of(b"abc"))
        self.assertEqual(reader.read().data, b"abc")
        self.client.await_sleepers(self.name, 1)
        self.server.drain()
        self.assert_draining(reader.last)
        self.assert_draining(writer.last)
        self.assertEqual(self.client.pipes.Read(read_request(rest)).data, b"x")
        self.assertEqual(self.server.exit_code(), 0)


# --- all of it ---------------------------------------------------------------


def published_services():
    return [service for module in (completions_pb2, objects_pb2, pipes_pb2,
                                   sessions_pb2, tasks_pb2, wait_queues_pb2)
            for service in module.DESCRIPTOR.services_by_name.values()]


class EveryMethod(unittest.TestCase):

    def test_every_method_has_been_called(self):
        methods = {f"{service.name}/{method.name}"
                   for service in published_services()
                   for method in service.methods}
        self.assertEqual(methods, support.CALLED)


def main():
    shared = [WaitQueues, Time, Cancel, Connection, Errors, Limits, Completions,
              Pipes, Streams, Poll, PollStream, Objects, AnyOf, Tasks, Sessions,
              Drain]
    load = unittest.defaultTestLoader.loadTestsFromTestCase
    suite = unittest.TestSuite()
    for case in shared:
        suite.addTests(load(case))
    for case in shared:
        suite.addTests(load(type(
            case.__name__ + "OverASocketFile", (case,), {"listen": "unix"})))
    suite.addTests(load(EveryMethod))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    print(f"CASES {result.testsRun}", flush=True)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    raise SystemExit(main())
