"""The session's machine and a server, with a connection that is cut anywhere:
what comes of it, for random runs."""

import random
import unittest

import support
from machine_test import GRACE, Bench, wake, woken
from waitq import errors
from waitq._acknowledgements import Acknowledgements
from waitq._machine import State
from waitq._wire import to_duration
from waitq.v1 import sessions_pb2


class AcknowledgementsTest(unittest.TestCase):

    def test_a_server_that_loses_messages_hears_the_same(self):
        dice = random.Random(support.seed())
        for _ in range(300):
            acknowledgements, settled, results = Acknowledgements(), {}, 0
            server, lost, marked = {}, False, None

            def hear(message):
                for number in message.returned:
                    server.setdefault(number, False)
                for number in range(1, message.taken_up_to + 1):
                    server.setdefault(number, True)
                for number in message.taken:
                    server.setdefault(number, True)

            for _ in range(dice.randrange(60)):
                move = dice.randrange(5)
                open_ = [n for n in range(1, results + 1) if n not in settled]
                if move == 0:
                    results += dice.randrange(4)
                elif move == 1 and open_:
                    number = dice.choice(open_)
                    settled[number] = dice.random() < .6
                    (acknowledgements.take if settled[number]
                     else acknowledgements.give_back)(number)
                elif move == 2:
                    message = sessions_pb2.SessionRequest()
                    acknowledgements.say(message, dice.choice((1, 3, 8192)))
                    if dice.random() < .3:
                        acknowledgements.mark()
                        marked = not lost
                    if not lost:
                        hear(message)
                elif move == 3:  # this connection carries nothing any more
                    lost = True
                    if dice.random() < .7:
                        acknowledgements.unsay()
                        lost, marked = False, None
                elif marked and not lost:
                    acknowledgements.arrived()
                    marked = None
            acknowledgements.unsay()
            while acknowledgements.unsaid:
                message = sessions_pb2.SessionRequest()
                acknowledgements.say(message, dice.choice((1, 3, 8192)))
                hear(message)
            self.assertEqual(server, settled)


class SimulatedSession:

    def __init__(self, token):
        self.token = token
        self.received = 0
        self.results = []  # all
        self.settled = {}  # number: taken
        self.asleep = []


class SimulatedServer:
    """What a server does with the sessions of docs/session.md, as far as the
    client's promises are concerned."""

    def __init__(self, dice):
        self._dice = dice
        self._sessions = {}  # by token
        self._programs = {}  # the session that each has, by the hello without
        self.done = []  # names, as often as they were done
        self.session = None  # the last one

    def hear(self, message):
        response = sessions_pb2.SessionResponse()
        if message.HasField("hello"):
            self.session = session = self._attach(message.hello)
            known = message.hello.results_received
            response.hello.token = session.token
            response.hello.server_epoch = 1
            response.hello.operations_received = session.received
            response.hello.operations_max = 20
            response.hello.grace.CopyFrom(to_duration(GRACE))
        else:
            session = self.session
            known = len(session.results)
        for number in message.returned:
            session.settled.setdefault(number, False)
        for number in [*range(1, message.taken_up_to + 1), *message.taken]:
            assert number <= len(session.results), "taken before it was sent"
            session.settled.setdefault(number, True)
        for number, operation in enumerate(message.operations,
                                           message.first_operation):
            assert number <= session.received + 1, "a gap"
            if number > session.received:
                session.received = number
                session.asleep.append((number, operation))
        response.heartbeat = message.heartbeat
        return self._wake(known, response)

    def _attach(self, hello):
        if hello.token:
            return self._sessions[hello.token]
        if hello.again and hello.program in self._programs:
            return self._programs[hello.program]
        session = SimulatedSession(self._dice.randbytes(16))
        self._sessions[session.token] = session
        self._programs[hello.program] = session
        return session

    def act(self):
        """What it says without being asked."""
        return self._wake(len(self.session.results),
                          sessions_pb2.SessionResponse())

    def _wake(self, known, response):
        session = self.session
        self._dice.shuffle(session.asleep)
        while session.asleep and self._dice.random() < .7:
            number, operation = session.asleep.pop()
            kind = operation.WhichOneof("request")
            if kind is not None:  # or it asks for nothing
                self.done.append(getattr(operation, kind).name)
            session.results.append(woken(number))
        response.results.extend(session.results[known:])
        response.first_result = known + 1
        return response


class SimulationTest(Bench):
    """The machine and such a server, and a connection that is cut anywhere: all
    is done once, told once and taken once. What comes with the first hello, and
    does not arrive, is not done; and what could not be done twice is."""

    OPERATIONS = 60

    def run_one(self, seed):
        dice = random.Random(seed)
        self.setUp()
        server, ends, taken = SimulatedServer(dice), {}, {}
        restartable = set()
        heard = 0
        for _ in range(10_000):
            if len(ends) < self.OPERATIONS and dice.random() < .4:
                name = f"op{len(ends)}"
                if dice.random() < .5:
                    restartable.add(name)
                ends[name] = self.submit(wake(name),
                                         restartable=name in restartable)
            session = server.session
            if (len(ends) == self.OPERATIONS and all(ends.values())
                    and self.machine.operations() == 0
                    and len(taken) == self.OPERATIONS
                    and len(session.settled) == len(session.results)):
                break
            self.go_on(dice.choice((0, 0.001, 0.011, 0.1)))
            self.machine.pump()
            for name, ended in ends.items():
                if ended and name not in taken and dice.random() < .3:
                    taken[name] = dice.random() < .8
                    if ended.receipt is not None:
                        self.settle(ended, taken=taken[name])
            if len(self.link.sent) == heard:
                if self.machine.state is State.ATTACHED and dice.random() < .2:
                    self.machine.on_message(self.link.connections[-1],
                                            server.act())
                continue
            connection, message = self.link.sent[-1]
            heard = len(self.link.sent)
            # The first hello is lost more often than others.
            fate = dice.random() * (1 if self.machine.token else .4)
            if fate < .10:  # it does not arrive
                self.machine.on_closed(connection, errors.Failure(
                    errors.code_of(14), "cut"), True)
                continue
            response = server.hear(message)
            if fate < .20:  # its answer does not
                self.machine.on_closed(connection, errors.Failure(
                    errors.code_of(14), "cut"), True)
                continue
            self.machine.on_written(connection)
            self.machine.on_message(connection, response)
        else:
            self.fail(f"it does not come to an end, seed {seed}")
        failed = set()
        for name, ended in ends.items():
            ((failure, _, receipt),) = ended
            if failure is None:
                self.assertEqual(server.session.settled[receipt.number],
                                 taken[name], name)
            else:
                self.assertTrue(failure.outcome_unknown)
                failed.add(name)
        self.assertEqual(sorted(server.done), sorted(set(ends) - failed))
        self.assertFalse(failed & restartable)
        return len(failed)

    def test_all_is_done_told_and_taken_once(self):
        first = support.seed()
        failed = 0
        for seed in range(first, first + 200):
            with self.subTest(seed=seed):
                failed += self.run_one(seed)
        self.assertGreater(failed, 0, "no first hello was lost")
