#!/usr/bin/python3
"""The writer: sets the flag `sleepy` to 1 and wakes who sleeps on it.

In Linux: flag = 1; wake_up_interruptible(queue).
"""

import sys

import stubs  # pylint: disable=unused-import # finds the modules below

import grpc
from waitq.v1 import wait_queues_pb2, wait_queues_pb2_grpc


def main():
    with grpc.insecure_channel(stubs.SERVER) as channel:
        queues = wait_queues_pb2_grpc.WaitQueuesStub(channel)
        try:
            answer = queues.WakeUp(wait_queues_pb2.WakeUpRequest(
                name="sleepy",
                update=wait_queues_pb2.Action(set=1),
                mode=wait_queues_pb2.WakeUpRequest.MODE_INTERRUPTIBLE))
        except grpc.RpcError as error:
            sys.exit(f"writer: {error.code().name}: {error.details()}")
        print(f"writer: woke {answer.woken}, the flag is {answer.value}")


if __name__ == "__main__":
    main()
