"""A server, doors to it that can be faulty, and the faults that are the same
whatever is done there."""

import time

from proxy import DOWN, UP, Proxy, Trigger

# HTTP/2: DATA and HEADERS.
_SPEAKING = (0, 1)


class Stage:
    """`roles`: each has a door, a proxy of its own to the server. Those who come
    through the first one are meant more often than others."""

    def __init__(self, setup, server, roles):
        self.setup = setup
        self.random = setup.random
        self.server = server
        self.roles = roles
        address = (server.host, server.port)
        self.doors = {role: Proxy(address, server.framed) for role in roles}
        self.faults = 0

    def close(self):
        for door in self.doors.values():
            door.close()
        self.server.close()

    def await_progress(self):
        """Until something has been done that began after this."""
        raise NotImplementedError

    def some_door(self):
        return self.random.choice(self.roles)

    def half_open_door(self):
        return self.random.choice(self.roles[:1] + self.roles)

    # --- moments ---

    def at_a_frame(self, door, action, part=None):
        """Does it at some frame of the next few; False: none came."""
        dice = self.random
        trigger = Trigger(
            action,
            direction=dice.choice((UP, DOWN, DOWN)),
            part=part or dice.choice(("before", "middle", "after")),
            skip=dice.choice((0, dice.randrange(6), dice.randrange(15))),
            kinds=_SPEAKING if self.server.framed and dice.random() < 0.8
            else None,
            fraction=dice.random())
        self.doors[door].arm(trigger)
        if not trigger.fired.wait(1.0):
            self.doors[door].arm(None)
            if not trigger.fired.is_set():
                return False
        return True

    def bad_weather(self):
        """Sometimes everything is late, or comes in small pieces."""
        dice = self.random.random()
        door = self.doors[self.some_door()]
        if dice < 0.15:
            door.weather(0.3, delay_s=self.random.uniform(0.001, 0.02))
        elif dice < 0.3:
            door.weather(0.3, trickle=self.random.randrange(1, 40))

    # --- faults ---

    def killed_server(self):
        self.at_a_frame(self.some_door(),
                        lambda _: self.server.process.kill())
        self.server.process.kill()
        self.server.process.wait()
        self.server.start()

    def half_open(self):
        door = self.half_open_door()
        side = self.random.choice(("server", "server", "client"))
        seconds = self.setup.ghost_s
        if self.random.random() < 0.7:
            def action(link):
                link.ghost(side, seconds)
        else:
            def action(link):
                link.half_close(side, seconds)
        if not self.at_a_frame(door, action):
            self.doors[door].on_each(action)

    def blackholed(self):
        seconds = self.random.uniform(*self.setup.blackhole_s)
        chosen = self.random.choice(
            [(role,) for role in self.roles] + [self.roles])
        door = chosen[0]
        self.at_a_frame(door, lambda link: link.mute(seconds))
        for name in chosen:
            self.doors[name].blackhole(seconds)
        time.sleep(seconds)

    def reset(self):
        door = self.some_door()
        if not self.at_a_frame(door, lambda link: link.reset(), part="middle"):
            self.doors[door].on_each(lambda link: link.reset())

    def cut_link(self):
        if not self.at_a_frame(self.some_door(),
                               lambda _: self.server.cut_link(True)):
            self.server.cut_link(True)
        time.sleep(self.random.uniform(*self.setup.cut_s))
        self.server.cut_link(False)

    def drained_server(self):
        time.sleep(self.random.uniform(0, 0.05))
        self.server.drain()
        self.server.start()

    def inject(self, fault):
        self.bad_weather()
        getattr(self, fault)()
        self.faults += 1
        self.await_progress()
