"""The scenarios, in every way in which clients and servers are connected."""

import random
import unittest

import any_scenarios
import kit_scenarios
import object_scenarios
import pipe_scenarios
import poller_scenarios
import restart_scenarios
import support
import wait_scenarios

ALL = (wait_scenarios.SCENARIOS + pipe_scenarios.SCENARIOS
       + object_scenarios.SCENARIOS + kit_scenarios.SCENARIOS
       + any_scenarios.SCENARIOS + poller_scenarios.SCENARIOS)


def with_cases(scenarios):
    """A decorator: a test method for each of them."""

    def add(kind):
        for scenario in scenarios:
            def test(self, scenario=scenario):
                self.check(scenario)
            setattr(kind, f"test_{scenario.__name__}", test)
        return kind
    return add


class InAWorld(unittest.TestCase):

    listen, cutting = "127.0.0.1:0", False

    @classmethod
    def setUpClass(cls):
        cls.world = support.World(cls.listen, cls.cutting)

    @classmethod
    def tearDownClass(cls):
        cls.world.close()


@with_cases(ALL)
class OverTcp(InAWorld):

    def check(self, scenario):
        self.world.run(scenario, "over TCP")


@with_cases(ALL)
class OverASocketFile(InAWorld):

    listen = "unix"

    def check(self, scenario):
        self.world.run(scenario, "over a socket file")


@with_cases(restart_scenarios.SCENARIOS)
class WithAServerThatIsRestarted(InAWorld):

    def check(self, scenario):
        self.world.run(scenario, "with a server that is restarted")


class WithAServerThatIsRestartedOnASocketFile(WithAServerThatIsRestarted):

    listen = "unix"


@with_cases(ALL)
class CutAtEachMessage(InAWorld):
    """Once in each run, at each place, in any way."""

    cutting = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.random = random.Random(support.seed())

    def check(self, scenario):
        proxy, message, has_cut = self.world.proxy, 1, True
        while has_cut:  # until a run had not so many messages
            lost, told = self.random.random() < .5, self.random.random() < .5
            proxy.set_cut(message, lost=lost, told=told)
            self.world.run(scenario, f"cut at message {message}, "
                           f"{'lost' if lost else 'arrived'}, "
                           f"{'told' if told else 'not told'}")
            has_cut = proxy.cuts > 0
            message += 1 + message // (4 if is_long(scenario) else 12)


@with_cases(ALL)
class CutEveryFewMessages(InAWorld):

    cutting = True

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.random = random.Random(support.seed())

    def check(self, scenario):
        for _ in range(4):
            # A call needs four, and two of them are for the connection.
            every = self.random.randrange(7, 15)
            if is_long(scenario):  # one of its messages has 130 frames
                every = self.random.randrange(300, 600)
            first = self.random.randrange(3, 3 + every)
            lost, told = self.random.random() < .5, self.random.random() < .5
            self.world.proxy.set_cut(first, every=every, lost=lost, told=told)
            self.world.run(scenario, f"cut at {first} and every {every}, "
                           f"{'lost' if lost else 'arrived'}, "
                           f"{'told' if told else 'not told'}")


def is_long(scenario):
    return getattr(scenario, "is_long", False)


CALM = [OverTcp, OverASocketFile, WithAServerThatIsRestarted,
        WithAServerThatIsRestartedOnASocketFile]
CUT = [CutAtEachMessage, CutEveryFewMessages]
