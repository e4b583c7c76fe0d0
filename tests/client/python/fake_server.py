"""A server that does what a test says, in the place of a client's network."""

import threading
import time
from unittest import mock

from google.protobuf import text_format

import support
import waitq
from waitq import errors
from waitq._wire import to_duration
from waitq.v1 import sessions_pb2

GRACE = 30.0


class FakeServer:
    """Of one client. It answers hellos and heartbeats by itself; and so it
    begins a new session for each hello that has no token."""

    def __init__(self):
        self._mu = threading.Condition()
        self._core_post = self._machine = None
        self._connection = 0
        self.connections = 0
        # Of the session.
        self._operations = {}
        self._cancels = set()
        self._results = 0

    def new_client(self, kind=waitq.Client):
        with mock.patch("waitq._core.GrpcLink", self._link):
            return kind("fake:1")

    # --- The client's link ----------------------------------------------------

    def _link(self, target, server, post):
        self._core_post = post
        return self

    def start(self, machine):
        self._machine = machine

    def stop(self):
        pass

    def may_have_arrived(self, connection):
        return True

    def now(self):
        return time.monotonic()

    def connect(self, connection):
        with self._mu:
            self._connection = connection
            self.connections += 1
            self._mu.notify_all()

    def disconnect(self, connection):
        pass

    def write(self, connection, message):
        request = sessions_pb2.SessionRequest.FromString(message)
        response = sessions_pb2.SessionResponse(heartbeat=request.heartbeat)
        with self._mu:
            if request.HasField("hello"):
                if not request.hello.token:
                    self._operations, self._cancels = {}, set()
                    self._results = 0
                response.hello.token = b"t" * 16
                response.hello.server_epoch = 1
                response.hello.operations_received = len(self._operations)
                response.hello.operations_max = 1000
                response.hello.grace.CopyFrom(to_duration(GRACE))
            for number, operation in enumerate(request.operations,
                                               request.first_operation):
                self._operations[number] = operation
            self._cancels.update(request.cancels)
            self._mu.notify_all()
        self._core_post(self._machine.on_written, connection)
        self._core_post(self._machine.on_message, connection, response)
        if request.end:
            self._core_post(self._machine.on_closed, connection, None, True)

    # --- What the client has said ---------------------------------------------

    def _await(self, state, what):
        with self._mu:
            if not self._mu.wait_for(state, support.BOUND_S):
                raise AssertionError(f"did not come: {what}")

    def await_operation(self, number):
        self._await(lambda: number in self._operations, f"operation {number}")
        return self._operations[number]

    def await_cancel(self, number):
        self._await(lambda: number in self._cancels, f"cancel of {number}")

    def await_connections(self, number):
        self._await(lambda: self.connections >= number, f"{number} connections")

    # --- What the server says -------------------------------------------------

    def answer(self, operation, result):
        """`result`: as text."""
        with self._mu:
            self._results += 1
            message = sessions_pb2.SessionResponse(first_result=self._results)
        text_format.Parse(result, message.results.add(operation=operation))
        self._core_post(self._machine.on_message, self._connection, message)

    def close(self, reason, code):
        """The stream ends so, once all that was said has been heard."""
        self.settle()
        self._core_post(self._machine.on_closed, self._connection,
                        errors.Failure(errors.code_of(code), "over", reason),
                        True)

    def lose_session(self):
        self.close("ESTALE", 9)

    def settle(self):
        """Until all that was said to the client has been heard, and all that
        it does of that is done."""
        for _ in range(3):  # what one does may bring the next
            heard = threading.Event()
            self._core_post(self._machine.pump)
            self._core_post(heard.set)
            heard.wait(support.BOUND_S)
