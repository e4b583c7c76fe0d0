#!/usr/bin/python3
"""The reader: sleeps until the flag `sleepy` is not 0, and takes it.

Linux device drivers do it so: wait_event_interruptible(queue, flag != 0);
flag = 0. Here the flag is on a server, and test and change are one step: of many
readers each write lets exactly one through.
"""

import sys

import stubs  # pylint: disable=unused-import # finds the modules below

import grpc
from waitq.v1 import common_pb2, wait_queues_pb2, wait_queues_pb2_grpc


def main():
    with grpc.insecure_channel(stubs.SERVER) as channel:
        queues = wait_queues_pb2_grpc.WaitQueuesStub(channel)
        print("reader: going to sleep", flush=True)
        try:
            answer = queues.Wait(wait_queues_pb2.WaitRequest(
                name="sleepy",
                condition=wait_queues_pb2.Condition(not_equal=0),
                then=wait_queues_pb2.Action(set=0),
                caller="reader.py"))
        except grpc.RpcError as error:
            sys.exit(f"reader: {error.code().name}: {error.details()}")
        if answer.outcome != common_pb2.OUTCOME_DONE:
            sys.exit(f"reader: {common_pb2.Outcome.Name(answer.outcome)}")
        print(f"reader: awake, the flag was {answer.value_before}")


if __name__ == "__main__":
    main()
