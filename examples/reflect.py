#!/usr/bin/python3
"""Asks a server by reflection which services it has, and prints their names."""

import sys

import stubs  # pylint: disable=unused-import # finds the modules below

import grpc
import reflection_pb2
import reflection_pb2_grpc


def main():
    with grpc.insecure_channel(stubs.SERVER) as channel:
        reflection = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        try:
            answer = next(reflection.ServerReflectionInfo(iter([request])))
        except grpc.RpcError as error:
            sys.exit(f"reflect: {error.code().name}: {error.details()}")
        for service in answer.list_services_response.service:
            print(service.name)


if __name__ == "__main__":
    main()
