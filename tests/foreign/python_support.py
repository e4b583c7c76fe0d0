"""What the cases of python_client.py stand on: servers, calls, errors, streams.

Made from the published protos alone (run.sh generates the code), with Debian's
grpcio and its default channel.
"""

import os
import queue
import shutil
import signal
import subprocess
import tempfile
import time

import grpc
from google.protobuf import duration_pb2
from waitq.v1 import common_pb2, sessions_pb2, tasks_pb2
from waitq.v1 import completions_pb2_grpc, objects_pb2_grpc, pipes_pb2_grpc
from waitq.v1 import sessions_pb2_grpc, tasks_pb2_grpc, wait_queues_pb2_grpc
import error_details_pb2
import status_pb2

# How long something that is sure to come may take: used up only by a failure.
BOUND_S = 60

_STUBS = {
    "WaitQueues": wait_queues_pb2_grpc.WaitQueuesStub,
    "Completions": completions_pb2_grpc.CompletionsStub,
    "Pipes": pipes_pb2_grpc.PipesStub,
    "Objects": objects_pb2_grpc.ObjectsStub,
    "Tasks": tasks_pb2_grpc.TasksStub,
    "Sessions": sessions_pb2_grpc.SessionsStub,
}

# "WaitQueues/Wait" of every method that some case has called.
CALLED = set()


class _Recorded:
    """A stub that notes which of its methods are used."""

    def __init__(self, service, stub):
        self._service = service
        self._stub = stub

    def __getattr__(self, name):
        method = getattr(self._stub, name)
        CALLED.add(f"{self._service}/{name}")
        return method


class Client:
    """One connection, with a stub for each service."""

    def __init__(self, address, options=()):
        # Channels to one address would share one connection otherwise.
        own = (("grpc.use_local_subchannel_pool", 1),)
        self.channel = grpc.insecure_channel(address, own + tuple(options))
        stubs = {name: _Recorded(name, stub(self.channel))
                 for name, stub in _STUBS.items()}
        self.queues = stubs["WaitQueues"]
        self.completions = stubs["Completions"]
        self.pipes = stubs["Pipes"]
        self.objects = stubs["Objects"]
        self.tasks = stubs["Tasks"]
        self.sessions = stubs["Sessions"]

    def close(self):
        self.channel.close()

    def sleepers(self, name):
        answer = self.tasks.List(tasks_pb2.ListTasksRequest(name=name))
        return list(answer.tasks)

    def await_sleepers(self, name, count):
        await_that(lambda: len(self.sleepers(name)) == count,
                   f"{count} sleepers on {name}")


class Server:
    """A waitqd of its own, killed by close()."""

    def __init__(self, *flags, listen="127.0.0.1:0"):
        self._folder = tempfile.mkdtemp(prefix="waitq", dir="/tmp")
        if listen == "unix":
            listen = f"unix:{self._folder}/s"
        self._process = subprocess.Popen(
            [os.environ["WAITQD"], "--listen", listen, *flags],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        greeting = "waitqd listening on "
        line = self._process.stdout.readline()
        if not line.startswith(greeting):
            raise RuntimeError(f"waitqd did not come up: {line!r}")
        self.address = line[len(greeting):].strip()

    def drain(self):
        self._process.send_signal(signal.SIGTERM)

    def exit_code(self):
        return self._process.wait(timeout=BOUND_S)

    def close(self):
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class Error:
    """A failed call, as its status, trailers and google.rpc details tell."""

    def __init__(self, call):
        self.code = call.code()
        self.message = call.details()
        self.trailers = dict(call.trailing_metadata() or ())
        self.reason = None
        self.domain = None
        self.metadata = {}
        self.retry_s = None
        raw = self.trailers.get("grpc-status-details-bin")
        if raw is None:
            return
        status = status_pb2.Status.FromString(raw)
        if (status.code, status.message) != (self.code.value[0], self.message):
            raise AssertionError(f"the details are of another status: {status}")
        for any_message in status.details:
            info = error_details_pb2.ErrorInfo()
            retry = error_details_pb2.RetryInfo()
            if any_message.Unpack(info):
                self.reason, self.domain = info.reason, info.domain
                self.metadata = dict(info.metadata)
            elif any_message.Unpack(retry):
                self.retry_s = retry.retry_delay.ToTimedelta().total_seconds()

    def __str__(self):
        return f"{self.code} {self.reason} {self.message!r}"


class Stream:
    """A bidirectional call: send() and read() in any order."""

    _END = object()

    def __init__(self, method, open_request=None):
        self._requests = queue.Queue()
        self.call = method(iter(self._requests.get, self._END))
        if open_request is not None:
            self.send(open_request)

    def send(self, request):
        self._requests.put(request)

    def half_close(self):
        self._requests.put(self._END)

    def read(self):
        """The next response; None at the end of the stream."""
        return next(self.call, None)

    def last(self):
        """Reads to the end; the last response, all data, all responses."""
        responses = list(self.call)
        data = b"".join(getattr(r, "data", b"") for r in responses)
        return responses[-1], data, responses

    def cancel(self):
        self.call.cancel()
        # Or its iterator would wait for a request for ever.
        self.half_close()


class Session(Stream):
    """A stream that carries a session: numbers its operations.

    With `after` it goes on with the session of that stream, which has had so
    many of its results.
    """

    def __init__(self, client, after=None, received=0, **hello):
        self.operations = 0
        if after is not None:
            self.operations = after.operations
            hello.update(token=after.hello.token, results_received=received,
                         server_epoch=after.hello.server_epoch)
        super().__init__(client.sessions.Attach, sessions_pb2.SessionRequest(
            hello=sessions_pb2.SessionRequest.Hello(**hello)))
        self.results = []  # that have come and were not asked for
        self.hello = self.read().hello

    def say(self, **fields):
        self.send(sessions_pb2.SessionRequest(**fields))

    def do(self, **operation):
        """Sends an operation; its number."""
        self.operations += 1
        self.say(first_operation=self.operations,
                 operations=[sessions_pb2.Operation(**operation)])
        return self.operations

    def read(self):
        response = super().read()
        if response is not None:
            self.results += [(response.first_result + i, result)
                             for i, result in enumerate(response.results)]
        return response

    def result(self):
        """The next result, and its number."""
        while not self.results:
            if self.read() is None:
                raise AssertionError("the stream is over")
        return self.results.pop(0)

    def ask(self, **operation):
        """Does it; the result, which has to be the next."""
        number = self.do(**operation)
        _, result = self.result()
        if result.operation != number:
            raise AssertionError(f"another result than {number}: {result}")
        return result


def await_that(state, what):
    """Asks `state` until it is true."""
    end = time.monotonic() + BOUND_S
    while not state():
        if time.monotonic() > end:
            raise AssertionError(f"did not come: {what}")
        time.sleep(0.005)


def duration(seconds):
    whole = int(seconds)
    return duration_pb2.Duration(
        seconds=whole, nanos=round((seconds - whole) * 1e9))


def seconds(message):
    return message.seconds + message.nanos / 1e9


DONE = common_pb2.OUTCOME_DONE
TIMED_OUT = common_pb2.OUTCOME_TIMED_OUT
WOULD_BLOCK = common_pb2.OUTCOME_WOULD_BLOCK
END_OF_FILE = common_pb2.OUTCOME_END_OF_FILE
