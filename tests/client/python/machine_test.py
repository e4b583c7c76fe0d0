"""The session's machine, without a network and with a clock that is set by
hand."""

import math
import unittest

from waitq import errors
from waitq._machine import Machine, Options, State
from waitq._operation import Operation
from waitq._wire import to_duration, to_float
from waitq.v1 import sessions_pb2

GRACE = 30.0


class FakeLink:

    def __init__(self):
        self.time = 1000.0
        self.connections = []
        self.disconnected = []
        self.connected = True
        self.sent = []  # (connection, SessionRequest)

    def connect(self, connection):
        self.connections.append(connection)

    def write(self, connection, message):
        self.sent.append(
            (connection, sessions_pb2.SessionRequest.FromString(message)))

    def disconnect(self, connection):
        self.disconnected.append(connection)

    def may_have_arrived(self, connection):
        return self.connected

    def now(self):
        return self.time


class Ended(list):
    """How an operation was told its end: (failure, result, receipt)."""

    def __call__(self, failure, result, receipt):
        self.append((failure, result, receipt))

    @property
    def reason(self):
        ((failure, _, _),) = self
        return failure.reason

    @property
    def unknown(self):
        return self[0][0].outcome_unknown

    @property
    def receipt(self):
        return self[0][2]


def wake(name="w"):
    operation = sessions_pb2.Operation()
    operation.wake_up.name = name
    return operation


def wait(name="s", timeout=None):
    operation = sessions_pb2.Operation()
    operation.wait.name = name
    if timeout is not None:
        operation.wait.timeout.CopyFrom(to_duration(timeout))
    return operation


def woken(number, count=1):
    result = sessions_pb2.Result(operation=number)
    result.wake_up.woken = count
    return result


def data(number, bytes_=b"x"):
    result = sessions_pb2.Result(operation=number)
    result.read.data = bytes_
    return result


class Bench(unittest.TestCase):
    """A machine, and what happens to it."""

    def setUp(self):
        self.link = FakeLink()
        self.machine = Machine(self.link, Options("me", GRACE, "there"))

    def submit(self, operation=None, **options):
        ended = Ended()
        self.operation = Operation(operation or wake(), ended, **options)
        self.machine.submit(self.operation)
        return ended

    def pump(self):
        """What goes out with that; None: nothing. It is written at once."""
        before = len(self.link.sent)
        self.machine.pump()
        if len(self.link.sent) == before:
            return None
        (connection, message), = self.link.sent[before:]
        self.machine.on_written(connection)
        return message

    def settle(self, *ended, taken=True):
        for end in ended:
            self.machine.settle(end.receipt, taken)

    def receive(self, *results, first=None, **fields):
        message = sessions_pb2.SessionResponse(results=results, **fields)
        if results:
            message.first_result = first
        self.machine.on_message(self.link.connections[-1], message)

    def hello(self, received=0, token=b"t" * 16, epoch=7, operations_max=1000,
              message_bytes_max=0, grace=GRACE):
        message = sessions_pb2.SessionResponse()
        message.hello.token = token
        message.hello.server_epoch = epoch
        message.hello.operations_received = received
        message.hello.operations_max = operations_max
        message.hello.message_bytes_max = message_bytes_max
        message.hello.grace.CopyFrom(to_duration(grace))
        self.machine.on_message(self.link.connections[-1], message)

    def cut(self, reason="", code=14, sent=True):
        failure = errors.Failure(errors.code_of(code), "cut", reason)
        self.machine.on_closed(self.link.connections[-1], failure, sent)

    def go_on(self, seconds):
        """Time passes; whatever is due is done."""
        self.link.time += seconds
        if self.machine.next_work() <= self.link.time:
            self.machine.on_timer()

    def attach(self, **hello):
        """A session with nothing under way."""
        ended = self.submit()
        self.pump()
        self.hello(**hello)
        self.receive(woken(1), first=1)
        self.pump()
        self.settle(ended)
        self.go_on(0.010)
        self.pump()

    def reattach(self, received, **hello):
        """After a cut: the hello and what follows its answer."""
        self.go_on(0)
        first = self.pump()
        self.assertTrue(first.HasField("hello"))
        self.hello(received, **hello)
        return first, self.pump()


class MachineTest(Bench):

    # --- Messages -------------------------------------------------------------

    def test_the_first_message_brings_the_first_operations(self):
        self.submit()
        self.submit()
        message = self.pump()
        self.assertEqual((message.hello.caller, to_float(message.hello.grace)),
                         ("me", GRACE))
        self.assertEqual((message.hello.token, message.hello.attempt), (b"", 1))
        self.assertNotEqual(message.hello.program, 0)
        self.assertEqual((message.first_operation, len(message.operations)),
                         (1, 2))
        self.submit()
        self.assertEqual(self.pump().first_operation, 3)

    def test_the_next_message_waits_until_one_is_written(self):
        self.submit()
        self.machine.pump()
        self.submit()
        self.machine.pump()
        self.submit()
        self.machine.pump()
        self.assertEqual(len(self.link.sent), 1)
        self.machine.on_written(1)
        message = self.pump()
        self.assertEqual((message.first_operation, len(message.operations)),
                         (2, 2))

    def test_long_messages_are_cut_between_operations(self):
        self.attach()
        for _ in range(3):
            operation = sessions_pb2.Operation()
            operation.write.data = bytes(100_000)
            self.submit(operation)
        self.assertEqual([len(self.pump().operations) for _ in range(3)],
                         [1, 1, 1])
        operation = sessions_pb2.Operation()
        operation.write.data = bytes((4 << 20) - 1024)
        self.submit(operation)
        message = self.pump()
        self.assertEqual(len(message.operations), 1)
        self.assertLess(message.ByteSize(), 4 << 20)

    def test_results_are_told_once_in_whatever_order_they_end(self):
        one, two = self.submit(), self.submit()
        self.pump()
        self.hello()
        self.receive(woken(2, 20), first=1)
        self.receive(woken(2, 30), first=1)  # again, of another stream
        self.receive(woken(1, 10), first=2)
        self.pump()
        self.assertEqual([ended[0][1].wake_up.woken for ended in (one, two)],
                         [10, 20])
        self.assertEqual((len(one), len(two)), (1, 1))
        # Nor does it count as taken.
        self.go_on(1)
        self.assertIsNone(self.pump())
        self.assertEqual(self.machine.operations(), 0)

    def test_what_an_old_connection_says_counts_no_more(self):
        ended = self.submit()
        self.pump()
        self.hello()
        self.cut()
        self.go_on(0)
        message = sessions_pb2.SessionResponse(first_result=1,
                                               results=[woken(1)])
        self.machine.on_message(1, message)
        self.machine.on_closed(1, None, True)
        self.pump()
        self.assertEqual(ended, [])
        self.assertEqual(self.link.connections, [1, 2])

    # --- Acknowledgements -----------------------------------------------------

    def test_taken_results_are_said_after_a_moment(self):
        ended = self.submit()
        self.pump()
        self.hello()
        self.receive(woken(1), first=1)
        self.assertIsNone(self.pump())
        self.settle(ended)
        self.assertIsNone(self.pump())
        self.assertAlmostEqual(self.machine.next_work(), self.link.time + 0.010)
        self.go_on(0.010)
        self.assertEqual(self.pump().taken_up_to, 1)

    def test_taken_results_are_said_with_the_next_operation(self):
        ended = self.submit()
        self.pump()
        self.hello()
        self.receive(woken(1), first=1)
        self.pump()
        self.settle(ended)
        self.submit()
        self.assertEqual(self.pump().taken_up_to, 1)
        self.assertEqual(self.pump(), None)

    def test_taken_reads_are_said_at_once(self):
        self.submit(wait())
        ended = self.submit()
        self.pump()
        self.hello()
        self.receive(data(2), first=1)
        self.pump()
        self.settle(ended)
        self.assertEqual(self.pump().taken_up_to, 1)

    def test_what_nobody_wants_is_returned(self):
        one, two, three = self.submit(), self.submit(), self.submit()
        self.pump()
        self.hello()
        self.receive(woken(1), woken(2), woken(3), first=1)
        self.pump()
        self.settle(two, taken=False)
        self.settle(three)
        message = self.pump()
        self.assertEqual(
            (message.taken_up_to, list(message.taken), list(message.returned)),
            (0, [3], [2]))
        self.settle(one)
        self.go_on(0.010)
        message = self.pump()
        self.assertEqual(
            (message.taken_up_to, list(message.taken), list(message.returned)),
            (3, [], []))

    def test_what_may_not_have_arrived_is_said_again(self):
        one, two = self.submit(), self.submit()
        self.pump()
        self.hello()
        self.receive(woken(1), woken(2), first=1)
        self.pump()
        self.settle(one, taken=False)
        self.settle(two)
        self.pump()
        self.cut()
        self.go_on(0)
        first = self.pump()
        self.assertEqual((first.hello.results_received, first.taken_up_to,
                          list(first.returned)), (2, 2, [1]))
        self.hello(2)
        # A heartbeat's answer says that it has.
        self.go_on(GRACE / 4)
        self.assertEqual(self.pump().heartbeat, 1)
        self.receive(heartbeat=1)
        self.cut()
        self.go_on(0)
        first = self.pump()
        self.assertEqual((first.taken_up_to, list(first.returned)), (2, []))

    # --- Cuts -----------------------------------------------------------------

    def test_after_a_cut_only_what_the_server_has_not_had_is_sent_again(self):
        for _ in range(3):
            self.submit()
        self.pump()
        self.hello()
        self.cut()
        self.submit()  # meanwhile
        self.assertIsNone(self.pump())
        first, then = self.reattach(received=2)
        self.assertEqual(
            (first.hello.token, first.hello.server_epoch, first.hello.attempt),
            (b"t" * 16, 7, 2))
        self.assertEqual(list(first.operations), [], "another may be there")
        self.assertEqual((then.first_operation, len(then.operations)), (3, 2))

    def test_attempts_follow_after_pauses(self):
        self.attach()
        pauses = []
        for _ in range(8):
            self.cut()
            pauses.append(self.machine.next_work() - self.link.time)
            self.go_on(pauses[-1])
            self.pump()
        for pause, expected in zip(pauses, (0, .1, .2, .4, .8, 1.6, 2, 2)):
            self.assertAlmostEqual(pause, expected)
        self.hello(1)
        self.cut()
        self.assertEqual(self.machine.next_work(), self.link.time)

    def test_a_server_that_is_not_there_is_said_at_once(self):
        ended = self.submit(restartable=True)
        self.pump()
        self.cut(sent=False)
        self.pump()
        self.assertEqual((ended[0][0].code.name, ended.unknown),
                         ("UNAVAILABLE", False))
        self.assertIs(self.machine.state, State.NONE)
        self.submit()  # and the next call tries anew
        self.assertEqual(self.pump().hello.attempt, 2)

    def test_a_server_that_says_nothing_is_given_up(self):
        ended = self.submit()
        self.pump()
        self.go_on(14.9)
        self.assertEqual(self.link.disconnected, [])
        self.go_on(0.1)
        self.pump()
        self.assertEqual(self.link.disconnected, [1])
        self.assertEqual((ended[0][0].code.name, ended.unknown),
                         ("UNAVAILABLE", True))

    # --- A first hello whose answer is lost -----------------------------------

    def lose_the_first_hello(self):
        """What may have been done; and, for that it cannot happen twice, may
        begin anew."""
        once, looks = self.submit(), self.submit(wait(), restartable=True)
        self.first = self.pump()
        self.cut(sent=True)
        self.assertEqual((once, looks), ([], []))
        return once, looks

    def ask_again(self):
        """The hello that does so, which brings nothing with it."""
        self.go_on(self.machine.next_work() - self.link.time)
        message = self.pump()
        self.assertEqual((message.hello.token, list(message.operations)),
                         (b"", []))
        self.assertIsNone(self.pump())
        return message.hello

    # Guards `_asked_before`: the server may have made a session, and done what
    # came with the hello.
    def test_a_session_whose_hello_had_no_answer_is_asked_for_again(self):
        once, looks = self.lose_the_first_hello()
        self.assertFalse(self.first.hello.again)
        hello = self.ask_again()
        self.assertTrue(hello.again)
        self.assertEqual((hello.program, hello.attempt),
                         (self.first.hello.program, 2))
        # It had, but for the last, and this is its result.
        self.hello(received=1)
        self.receive(woken(1), first=1)
        message = self.pump()
        self.assertIsNone(once[0][0])
        self.assertEqual(looks, [])
        self.assertEqual((message.first_operation, len(message.operations)),
                         (2, 1))
        # A later cut is one as ever.
        self.cut()
        first, _ = self.reattach(received=2)
        self.assertEqual((first.hello.token, first.hello.again),
                         (b"t" * 16, False))

    def test_what_a_server_that_is_asked_again_has_not_had_is_unknown(self):
        once, looks = self.lose_the_first_hello()
        program = self.ask_again().program
        self.hello(received=0)
        # Another server may have had it, which is gone.
        message = self.pump()
        self.assertTrue(once.unknown)
        self.assertEqual(looks, [])
        self.assertEqual((message.first_operation, len(message.operations)),
                         (1, 1))
        self.assertEqual(message.operations[0].wait.name, "s")
        # It is this session's program.
        self.cut()
        first, _ = self.reattach(received=1)
        self.assertEqual(first.hello.program, program)

    def test_what_was_sent_is_unknown_if_the_server_is_gone_then(self):
        once, _ = self.lose_the_first_hello()
        unsent = self.submit(wake("later"))
        self.ask_again()
        self.cut(sent=False)
        self.pump()
        self.assertEqual((once.unknown, unsent.unknown), (True, False))
        self.assertIs(self.machine.state, State.NONE)
        # The next session is another one, and does not ask for that.
        self.submit()
        hello = self.pump().hello
        self.assertFalse(hello.again)
        self.assertNotEqual(hello.program, self.first.hello.program)

    def test_it_is_not_asked_for_longer_than_such_a_session_lives(self):
        once, looks = self.lose_the_first_hello()
        lost = self.link.time
        while not once:
            self.assertLess(self.link.time, lost + GRACE)
            self.ask_again()
            self.cut(sent=True)
            self.pump()
        self.assertGreaterEqual(self.link.time, lost + 0.9 * GRACE)
        self.assertTrue(once.unknown)
        # What cannot happen twice goes into another one.
        self.go_on(self.machine.next_work() - self.link.time)
        message = self.pump()
        self.assertFalse(message.hello.again)
        self.assertNotEqual(message.hello.program, self.first.hello.program)
        self.assertEqual((looks, len(message.operations)), ([], 1))

    def test_the_next_session_is_asked_for_as_long_as_that_one_lives(self):
        self.attach(grace=1.0)
        self.cut("ESTALE", 9)
        self.submit()
        self.pump()
        self.cut(sent=True)
        lost = self.link.time
        self.go_on(0)
        while self.machine.next_work() < lost + 0.8 * GRACE:
            self.assertTrue(self.pump().hello.again)
            self.cut(sent=True)
            self.go_on(self.machine.next_work() - self.link.time)

    def test_a_server_that_closes_each_new_stream_is_not_asked_without_a_pause(
            self):
        looks = self.submit(restartable=True)
        begin, asked = self.link.time, 0
        while self.link.time < begin + 20:
            self.pump()
            self.cut(sent=True)
            self.go_on(self.machine.next_work() - self.link.time)
            asked += 1
        self.assertTrue(8 < asked < 20, asked)
        self.assertEqual(looks, [])

    def test_what_is_cancelled_while_it_is_asked_for_is_cancelled_there(self):
        once = self.submit(wait())
        self.pump()
        self.cut(sent=True)
        self.machine.cancel(self.operation)
        self.pump()
        self.assertEqual((once.reason, once.unknown), ("ECANCELED", True))
        self.ask_again()
        self.hello(received=1)
        self.assertEqual(list(self.pump().cancels), [1])

    def test_a_server_that_ends_the_stream_without_an_answer_is_asked_again(
            self):
        once = self.submit()
        self.pump()
        self.machine.on_closed(1, None, True)
        self.assertTrue(self.ask_again().again)
        self.hello(received=0)
        self.pump()
        self.assertTrue(once.unknown)

    # --- The lease ------------------------------------------------------------

    def test_heartbeats_prolong_the_session_from_when_they_were_sent(self):
        self.attach()
        begin = self.link.time - 0.010
        self.assertAlmostEqual(self.machine._lease.end(), begin + 0.9 * GRACE)
        self.link.time = begin + GRACE / 4
        self.machine.on_timer()
        self.assertEqual(self.pump().heartbeat, 1)
        sent = self.link.time
        self.go_on(2)
        self.receive(heartbeat=1)
        self.assertAlmostEqual(self.machine._lease.end(), sent + 0.9 * GRACE)
        self.receive(heartbeat=1)  # of long ago
        self.go_on(GRACE / 4 - 2)
        self.assertEqual(self.pump().heartbeat, 2)

    def test_without_an_answer_the_connection_is_dead(self):
        self.attach()
        self.go_on(GRACE / 4)
        self.assertEqual(self.pump().heartbeat, 1)
        self.go_on(GRACE / 4)
        self.assertEqual(self.link.disconnected, [1])
        self.go_on(0)
        self.assertEqual(self.link.connections, [1, 2])

    def test_a_session_without_a_word_is_given_up(self):
        self.attach()
        changes = self.submit()
        sleeps = self.submit(wait(timeout=100), restartable=True)
        handle = self.submit(restartable=True, session=1)
        self.pump()
        self.cut()
        unsent = self.submit(wake("later"))
        while self.machine.token:  # no attempt comes through
            self.go_on(self.machine.next_work() - self.link.time)
            if self.machine.state is State.CONNECTING and self.machine.token:
                self.cut()
        self.assertAlmostEqual(self.link.time, 1000 + 0.9 * GRACE, places=3)
        message = self.pump()
        for ended in (changes, handle):
            self.assertEqual((ended.reason, ended.unknown), ("ESTALE", True))
        self.assertEqual((sleeps, unsent), ([], []))
        # Another server may be there: that is seen first.
        self.assertEqual((message.hello.token, list(message.operations)),
                         (b"", []))
        self.hello()
        again, later = self.pump().operations
        self.assertEqual(later.wake_up.name, "later")
        self.assertAlmostEqual(to_float(again.wait.timeout),
                               100 - (self.link.time - 1000) + 0.010, places=3)

    def test_a_program_that_stood_still_does_not_believe_late_results(self):
        self.attach()
        ended = self.submit(wait(), restartable=True)
        self.pump()
        self.link.time += 0.9 * GRACE
        self.receive(woken(2), first=2)
        self.pump()
        self.assertEqual(ended, [])
        self.assertEqual(self.link.connections, [1, 2])

    # --- The end of a session, as the server says it --------------------------

    def test_a_restarted_server_has_forgotten(self):
        self.attach()
        sent = self.submit(wait(), restartable=True)
        self.pump()
        self.cut()
        unsent = self.submit(wake("later"))
        self.go_on(0)
        self.pump()
        self.cut("EOWNERDEAD", 10)
        message = self.pump()
        self.assertEqual((sent.reason, sent.unknown), ("EOWNERDEAD", True))
        self.assertEqual(unsent, [])
        self.assertEqual((message.hello.token, message.first_operation,
                          message.operations[0].wake_up.name),
                         (b"", 1, "later"))

    def test_what_begins_anew_does_so_at_the_same_server_only(self):
        self.attach()
        ended = self.submit(wait(), restartable=True)
        self.pump()
        self.cut("ESTALE", 9)
        self.assertEqual(list(self.pump().operations), [])
        self.hello(epoch=8, token=b"u" * 16)
        message = self.pump()
        self.assertEqual((ended.reason, ended.unknown), ("EOWNERDEAD", True))
        # Its number is sent, and asks for nothing.
        (operation,) = message.operations
        self.assertIsNone(operation.WhichOneof("request"))

    def test_a_session_that_was_taken_over_is_left_alone(self):
        self.attach()
        ended = self.submit(wait(), restartable=True)
        self.pump()
        self.cut("ECANCELED", 1)
        self.pump()
        self.assertEqual((ended.reason, ended.unknown), ("ECANCELED", True))
        self.assertEqual(self.link.connections, [1])

    def test_a_handle_lives_in_its_session_only(self):
        self.attach()
        self.cut("ESTALE", 9)
        ended = self.submit(session=1)
        self.pump()
        self.assertEqual((ended.reason, ended.unknown), ("ESTALE", False))

    def test_who_tells_no_reason_but_takes_no_such_message_ends_it(self):
        # gRPC's own: "Received message larger than max". It would not take it
        # again.
        for attached in (True, False):
            self.setUp()
            if attached:
                self.attach()
            ended = self.submit(wait(), restartable=True)
            self.pump()
            self.cut(code=8)
            self.pump()
            self.assertEqual((ended[0][0].code.name, ended.unknown),
                             ("RESOURCE_EXHAUSTED", True))
            self.assertEqual((self.link.connections, self.machine.token),
                             ([1], b""))

    # --- Who watches a session ------------------------------------------------

    def watch(self, session=1):
        told = []
        self.machine.watch(session, told.append)
        return told

    def test_who_watches_is_told_before_all_else_that_the_session_is_over(self):
        self.attach()
        order = []
        ended = self.submit()
        self.operation.tell = lambda *_: order.append("ended")
        self.machine.watch(1, lambda _: order.append("lost"))
        self.pump()
        self.cut("ESTALE", 9)
        self.pump()
        self.assertEqual((order, ended), (["lost", "ended"], []))

    def test_who_watches_is_told_once_and_why(self):
        for reason, code in (("ESTALE", 9), ("EOWNERDEAD", 10),
                             ("ECANCELED", 1)):
            self.setUp()
            self.attach()
            told, gone = self.watch(), []
            self.machine.watch(1, gone.append)
            self.machine.unwatch(gone.append)
            self.cut()
            self.pump()
            self.assertEqual(told, [])
            self.reattach(received=1)
            self.cut(reason, code)
            self.pump()
            self.machine.close()
            self.pump()
            self.assertEqual([failure.reason for failure in told], [reason])
            self.assertEqual(gone, [])

    def test_who_watches_is_told_by_the_clients_clock(self):
        self.attach()
        told = self.watch()
        self.cut()
        while not told:
            self.assertLess(self.link.time, 1000 + GRACE)
            self.go_on(self.machine.next_work() - self.link.time)
            self.pump()
            if self.machine.state is State.CONNECTING and self.machine.token:
                self.cut(sent=False)
        self.assertAlmostEqual(self.link.time, 1000 + 0.9 * GRACE, places=3)
        self.assertEqual(told[0].reason, "ESTALE")

    def test_who_watches_what_is_over_is_told_at_once(self):
        self.attach()
        self.cut("ESTALE", 9)
        told = self.watch()
        self.pump()
        self.assertEqual([failure.reason for failure in told], ["ESTALE"])
        last = self.watch(session=2)
        self.machine.close()
        late = self.watch(session=2)
        self.pump()
        self.assertEqual([failure.reason for failure in last + late],
                         ["ECANCELED"] * 2)

    # --- Cancel and give up ---------------------------------------------------

    def test_a_cancel_is_sent_and_waited_for(self):
        self.attach()
        ended = self.submit(wait())
        self.pump()
        self.machine.cancel(self.operation)
        self.machine.cancel(self.operation)
        self.assertEqual(list(self.pump().cancels), [2])
        result = sessions_pb2.Result(operation=2)
        result.failure.code, result.failure.reason = 1, "ECANCELED"
        self.receive(result, first=2)
        self.pump()
        self.assertEqual((ended.reason, ended.unknown), ("ECANCELED", False))

    def test_a_cancel_takes_a_second_at_most(self):
        self.attach()
        ended = self.submit(wait())
        self.pump()
        self.machine.cancel(self.operation)
        self.pump()
        self.go_on(0.999)
        self.pump()
        self.assertEqual(ended, [])
        self.go_on(0.002)
        self.pump()
        self.assertEqual((ended.reason, ended.unknown), ("ECANCELED", True))
        # Its result comes all the same, and is given back.
        self.receive(data(2), first=2)
        self.assertEqual(list(self.pump().returned), [2])

    def test_a_handle_that_comes_too_late_is_closed(self):
        self.attach()
        operation = sessions_pb2.Operation()
        operation.open.name = "p"
        self.submit(operation)
        self.pump()
        self.cut()
        self.machine.cancel(self.operation)
        self.reattach(received=2)
        result = sessions_pb2.Result(operation=2)
        result.open.offset = 0
        self.receive(result, first=2)
        message = self.pump()
        self.assertEqual(
            (list(message.returned), message.operations[0].close.handle),
            ([2], 2))

    def test_without_a_connection_a_cancel_takes_no_time(self):
        self.attach()
        sent = self.submit(wait())
        operation = self.operation
        self.pump()
        self.cut()
        self.machine.cancel(operation)
        unsent = self.submit(wait())
        self.machine.cancel(self.operation)
        self.pump()
        self.assertEqual((sent.unknown, unsent.unknown), (True, False))
        _, then = self.reattach(received=2)
        self.assertEqual((list(then.cancels), then.first_operation), ([2], 3))
        self.assertIsNone(then.operations[0].WhichOneof("request"))

    def test_a_cancel_that_never_came_there_ends_nothing_there(self):
        self.attach()
        self.submit(wait())
        self.pump()
        self.cut()
        self.machine.cancel(self.operation)
        _, then = self.reattach(received=1)
        self.assertEqual((list(then.cancels), then.first_operation), ([], 2))
        self.assertIsNone(then.operations[0].WhichOneof("request"))

    def test_what_has_no_answer_in_time_is_unknown(self):
        self.attach()
        ended = self.submit(wait(timeout=1), give_up_after=6)
        self.pump()
        self.go_on(5.9)
        self.assertEqual(ended, [])
        self.go_on(0.2)
        message = self.pump()
        self.assertEqual((ended.reason, ended.unknown), ("ETIME", True))
        self.assertEqual(list(message.cancels), [2])
        self.receive(data(2), first=2)
        self.assertEqual(list(self.pump().returned), [2])

    # --- Limits ---------------------------------------------------------------

    def test_where_the_server_takes_no_more_wakers_go_first(self):
        self.attach(operations_max=32)
        sleepers = [self.submit(wait(), sleeper=True) for _ in range(40)]
        message = self.pump()
        self.assertEqual(len(message.operations), 30, "two are for wakers")
        wakers = [self.submit() for _ in range(4)]
        self.assertEqual(len(self.pump().operations), 2)
        self.receive(woken(2), woken(3), first=2)
        self.pump()
        self.settle(*sleepers[:2])  # what is not taken counts, too
        operations = self.pump().operations
        self.assertEqual([op.WhichOneof("request") for op in operations],
                         ["wake_up"] * 2)
        self.assertEqual(self.machine.operations(), 40 - 2 + 4)
        self.assertEqual(wakers, [[]] * 4)

    def test_one_that_waits_for_room_can_be_cancelled_and_given_up(self):
        self.attach(operations_max=16)
        for _ in range(15):
            self.submit(wait(), sleeper=True)
        self.pump()
        cancelled = self.submit(wait(), sleeper=True)
        self.machine.cancel(self.operation)
        late = self.submit(wait(), sleeper=True, give_up_after=5)
        self.go_on(5)
        self.pump()
        self.assertEqual((cancelled.reason, cancelled.unknown),
                         ("ECANCELED", False))
        self.assertEqual((late.reason, late.unknown), ("ETIME", False))

    def what_follows(self, *messages):
        """Behind these; of all of them, that they are not too large."""
        messages = list(messages)
        while (message := self.pump()) is not None:
            messages.append(message)
        for message in messages:
            if not message.operations:
                self.assertLess(message.ByteSize(), 64 << 10)
        return messages

    # All results but the first are taken: whoever says them again after a cut
    # says no message that a server would not take.
    def test_what_is_said_again_is_said_in_parts_that_a_server_takes(self):
        count = 20_000
        limits = {"operations_max": 2 * count, "message_bytes_max": 64 << 10}
        self.attach(**limits)
        ends = [self.submit() for _ in range(count)]
        self.what_follows()
        self.receive(*(woken(2 + i) for i in range(count)), first=2)
        self.pump()
        self.settle(*ends[1:])
        self.cut()
        self.go_on(0)
        first = self.pump()
        self.hello(count + 1, **limits)
        messages = self.what_follows(first)
        self.assertEqual([number for message in messages
                          for number in message.taken],
                         list(range(3, count + 2)))
        # The goodbye waits for what was taken.
        self.cut()
        self.go_on(0)
        first = self.pump()
        self.machine.close()
        self.hello(count + 1, **limits)
        messages = self.what_follows(first)
        self.assertEqual(sum(len(message.taken) for message in messages),
                         count - 1)
        self.assertEqual([message.end for message in messages],
                         [False] * (len(messages) - 1) + [True])

    def test_returns_go_before_what_would_say_that_they_are_taken(self):
        self.attach(operations_max=30_000, message_bytes_max=32 * 10)
        ends = [self.submit() for _ in range(25)]
        self.what_follows()
        self.receive(*(woken(2 + i) for i in range(25)), first=2)
        self.pump()
        self.settle(*ends, taken=False)
        self.assertEqual(
            [(list(m.returned), m.taken_up_to)
             for m in self.what_follows()],
            [(list(range(2, 12)), 0), (list(range(12, 22)), 0),
             (list(range(22, 27)), 26)])

    def test_cancels_are_said_once_and_in_parts_that_a_server_takes(self):
        count = 5_000
        limits = {"operations_max": 2 * count, "message_bytes_max": 64 << 10}
        self.attach(**limits)
        operations = []
        for _ in range(count):
            self.submit(wait())
            operations.append(self.operation)
        self.what_follows()
        self.cut()
        for operation in operations:
            self.machine.cancel(operation)
        self.go_on(0)
        self.pump()
        self.hello(count + 1, **limits)
        messages = self.what_follows()
        self.assertEqual([number for message in messages
                          for number in message.cancels],
                         list(range(2, count + 2)))
        self.assertGreater(len(messages), 1)

    # --- The end --------------------------------------------------------------

    def test_a_close_is_said_with_all_else(self):
        self.attach()
        ended, read = self.submit(wait()), self.submit()
        self.pump()
        self.receive(data(3), first=2)
        self.pump()
        self.settle(read)
        self.machine.close()
        message = self.pump()
        self.assertEqual((message.end, message.taken_up_to), (True, 2))
        self.assertEqual((ended.reason, ended.unknown), ("ECANCELED", True))
        self.machine.on_closed(1, None, True)
        self.assertIs(self.machine.state, State.CLOSED)
        self.assertEqual(self.machine.next_work(), math.inf)
        after = self.submit()
        self.pump()
        self.assertEqual((after.reason, after.unknown), ("ECANCELED", False))

    def test_without_a_session_a_close_is_at_once(self):
        self.machine.close()
        self.pump()
        self.assertIs(self.machine.state, State.CLOSED)

    # Guards _may_have_session(): what was sent with the hello slept on for the
    # grace.
    def test_a_close_before_the_hello_is_answered_is_said_behind_it(self):
        ended = self.submit()
        self.assertTrue(self.pump().HasField("hello"))
        self.machine.close()
        self.assertTrue(self.pump().end)
        self.assertEqual((ended.reason, ended.unknown), ("ECANCELED", True))
        # The answer is lost: it is said again, with a hello that asks for the
        # same session.
        self.cut()
        self.assertIs(self.machine.state, State.WAITING)
        self.go_on(self.machine.next_work() - self.link.time)
        again = self.pump()
        self.assertEqual((again.hello.again, again.end, len(again.operations)),
                         (True, True, 0))
        self.machine.on_closed(2, None, True)
        self.assertIs(self.machine.state, State.CLOSED)

    def test_a_close_that_reaches_no_server_is_at_once(self):
        self.submit()
        self.pump()
        self.link.connected = False
        self.machine.close()
        self.assertIs(self.machine.state, State.CLOSED)

    def test_a_close_that_has_reached_no_server_is_over_then(self):
        self.submit()
        self.pump()
        self.machine.close()
        self.cut(sent=False)
        self.assertIs(self.machine.state, State.CLOSED)

    def test_what_was_taken_and_the_end_are_said_on_another_connection(self):
        self.attach()
        read = self.submit()
        self.pump()
        self.receive(data(2), first=2)
        self.pump()
        self.settle(read)
        self.cut()
        unsent = self.submit(wake("later"))
        self.machine.close()
        self.assertIs(self.machine.state, State.WAITING)
        first, then = self.reattach(received=2)
        self.assertEqual((first.hello.token, first.end), (b"t" * 16, False))
        self.assertEqual((first.taken_up_to, then.end), (2, True))
        # What was not sent never is.
        self.assertEqual((unsent.reason, len(then.operations)),
                         ("ECANCELED", 0))
        # Should that be lost, too, it is said again.
        self.cut()
        self.assertTrue(self.reattach(received=2)[1].end)
        self.assertIsNone(self.pump())
        self.cut("ESTALE", 9)  # it had arrived
        self.assertIs(self.machine.state, State.CLOSED)

    def test_a_goodbye_that_nobody_hears_ends_with_the_session(self):
        self.attach()
        self.cut()
        self.machine.close()
        while self.machine.state is not State.CLOSED:
            self.assertLess(self.link.time, 1000 + GRACE)
            self.go_on(self.machine.next_work() - self.link.time)
            self.pump()
            if self.machine.state is State.CONNECTING:
                self.cut(sent=False)
        self.assertAlmostEqual(self.link.time, 1000 + 0.9 * GRACE, places=3)


def refused(number):
    result = sessions_pb2.Result(operation=number)
    result.failure.code = 14
    result.failure.reason = "ESHUTDOWN"
    result.failure.retry_after.seconds = 1
    return result


class DrainTest(Bench):
    """A server drains, and another comes in its place."""

    def refuse(self, *operations, first=2, **options):
        """They are sent, and refused: the numbers from 2, as the results."""
        ended = [self.submit(operation, **options) for operation in operations]
        self.pump()
        self.receive(*(refused(first + i) for i in range(len(operations))),
                     first=first)
        self.pump()
        return ended

    def stop(self):
        """The server ends its stream."""
        failure = errors.Failure(errors.code_of(14), "stops", "ESHUTDOWN",
                                 retry_after=1.0)
        self.machine.on_closed(self.link.connections[-1], failure, True)
        self.pump()

    def next_server(self, after=1.0):
        """What is sent there with the answered hello."""
        self.go_on(after)
        first = self.pump()
        self.assertFalse(first.hello.token)
        self.assertEqual(len(first.operations), 0)
        self.hello(token=b"u" * 16, epoch=8)
        return self.pump()

    def names(self, message):
        return [operation.wait.name or operation.wake_up.name
                for operation in message.operations]

    def test_who_is_refused_is_begun_anew_on_the_next_server(self):
        self.attach()
        (ended,) = self.refuse(wait("w"))
        self.assertEqual(ended, [])
        self.assertIsNone(self.pump(), "it asks the draining one no more")
        self.cut()
        self.reattach(received=2)
        self.assertEqual(ended, [])
        self.stop()
        self.assertEqual(self.names(self.next_server()), ["w"])
        self.receive(woken(1), first=1)
        self.pump()
        self.assertEqual(ended[0][0], None)

    def test_with_what_is_left_of_its_time(self):
        self.attach()
        self.refuse(wait("w", timeout=10))
        self.go_on(3)
        self.stop()
        message = self.next_server(after=2)
        self.assertAlmostEqual(
            to_float(message.operations[0].wait.timeout), 5.0)

    def test_when_its_time_is_over_it_is_told(self):
        self.attach()
        ended, = self.refuse(wait("w", timeout=5), give_up_after=10)
        self.stop()
        end = self.link.time + 5
        while not ended:
            self.assertLess(self.link.time, end)
            self.go_on(max(0, self.machine.next_work() - self.link.time))
            if self.machine.state is State.CONNECTING:
                self.cut(sent=False)
            self.pump()
        self.assertAlmostEqual(self.link.time, end)
        self.assertEqual((ended.reason, ended.unknown), ("ESHUTDOWN", False))

    def test_what_is_not_to_sleep_is_told_at_once(self):
        self.attach()
        operation = wait("w")
        operation.wait.nonblock = True
        ended = self.refuse(operation, wait("w", timeout=0))
        self.go_on(0)
        self.pump()
        for end in ended:
            self.assertEqual((end.reason, end.unknown), ("ESHUTDOWN", False))

    def test_what_is_of_a_handle_ends(self):
        self.attach()
        ended, = self.refuse(wait(), session=1)
        self.assertEqual((ended.reason, ended.unknown), ("ESHUTDOWN", False))
        self.stop()
        late = self.submit(wait(), session=1)
        self.pump()
        self.assertEqual((late.reason, late.unknown), ("ESHUTDOWN", False))

    def test_what_it_did_not_answer_is_unknown(self):
        self.attach()
        ended = self.submit(wait(), restartable=True)
        self.pump()
        self.stop()
        self.assertEqual((ended.reason, ended.unknown), ("EOWNERDEAD", True))

    def test_the_order_stays(self):
        self.attach()
        self.refuse(wake("1"), wake("2"))
        self.stop()
        self.submit(wake("3"))
        self.pump()
        self.assertEqual(self.names(self.next_server()), ["1", "2", "3"])

    def test_a_new_call_waits_for_the_grace(self):
        self.attach()
        old, = self.refuse(wait())
        self.stop()
        new = self.submit()
        end = self.link.time + 0.9 * GRACE
        tries = 0
        while not new and tries < 100:
            self.go_on(self.machine.next_work() - self.link.time)
            self.pump()
            if self.machine.state is State.CONNECTING:
                tries += 1
                self.cut(sent=False)
                self.pump()
        self.assertGreaterEqual(self.link.time, end)
        self.assertLess(self.link.time, end + 2.1)
        self.assertLess(tries, 25)
        self.assertFalse(new.unknown)
        self.assertEqual(old, [])
        self.assertEqual(self.names(self.next_server(2)), ["s"])

    def test_who_has_nothing_under_way_does_not_look_for_a_server(self):
        self.attach()
        self.stop()
        self.assertEqual(self.machine.next_work(), math.inf)
        ended = self.submit()
        self.pump()
        self.cut(sent=False)
        self.assertEqual(ended, [])
        self.machine.cancel(self.operation)
        self.pump()
        self.assertEqual((ended.reason, ended.unknown), ("ECANCELED", False))
        self.go_on(0)
        self.pump()
        self.cut(sent=False)
        self.assertIs(self.machine.state, State.NONE)

    def test_who_waits_for_a_server_may_be_cancelled(self):
        self.attach()
        ended, other = self.refuse(wait("1"), wait("2"))
        self.stop()
        self.machine.cancel(self.operation)
        self.pump()
        self.assertEqual((other.reason, other.unknown), ("ECANCELED", False))
        self.assertEqual(self.names(self.next_server()), ["1"])
        self.assertEqual(ended, [])

    def test_a_close_ends_who_waits_for_a_server(self):
        self.attach()
        ended, = self.refuse(wait())
        self.stop()
        self.machine.close()
        self.pump()
        self.assertEqual((ended.reason, ended.unknown), ("ECANCELED", False))
        self.assertEqual(self.machine.operations(), 0)

    def test_it_may_be_killed_after_it_has_refused(self):
        self.attach()
        ended, = self.refuse(wait("w"))
        self.cut()
        self.go_on(0)
        self.pump()
        self.cut(reason="EOWNERDEAD", code=10)
        self.assertEqual(self.names(self.next_server(0)), ["w"])
        self.assertEqual(ended, [])
