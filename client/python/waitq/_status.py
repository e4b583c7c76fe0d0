"""What the status of a gRPC call says to a program.

The server's own errors carry a google.rpc.Status with an ErrorInfo (domain
"waitq") and perhaps a RetryInfo. They are decoded by hand: their Python modules
would clash with those of googleapis-common-protos, where that is installed.
"""

from __future__ import annotations

from typing import Any, Iterator

import grpc

from waitq import errors
from waitq.errors import Failure

_DETAILS_KEY = "grpc-status-details-bin"
_INFO = "google.rpc.ErrorInfo"
_RETRY = "google.rpc.RetryInfo"


def failure_of(call: Any, server: str, name: str, sent: bool) -> Failure:
    """Of a call that has ended with another status than OK. `sent`: whether the
    server may have been reached."""
    code, details = call.code(), call.details() or ""
    for key, value in call.trailing_metadata() or ():
        if key == _DETAILS_KEY:
            failure = _from_details(code, details, value)
            if failure is not None:
                return failure if failure.object else failure.but(object=name)
    if not sent and code is grpc.StatusCode.UNAVAILABLE:
        # gRPC's texts name all causes, outermost first; people want the
        # innermost: "Connection refused".
        cause = details.rpartition(": ")[2]
        return Failure(code, f"no server at {server}: {cause}", object=name)
    text = f"{code.name} from {server}: {details}"
    if not sent or code is grpc.StatusCode.UNIMPLEMENTED:
        return Failure(code, text, object=name)
    return Failure(code, f"outcome unknown: {text}", object=name,
                   outcome_unknown=True)


def _from_details(code: grpc.StatusCode, message: str,
                  status: bytes) -> Failure | None:
    failure, found = Failure(code, message), False
    try:
        for number, detail in _fields(status):
            if number != 3:
                continue
            any_message = dict(_fields(detail))
            kind = any_message.get(1, b"").decode().rpartition("/")[2]
            fields = list(_fields(any_message.get(2, b"")))
            if kind == _INFO and (2, b"waitq") in fields:
                found = True
                reason = dict(fields).get(1, b"").decode()
                failure = errors.with_metadata(failure.but(reason=reason), {
                    entry[1].decode(): entry.get(2, b"").decode()
                    for entry in (dict(_fields(value))
                                  for key, value in fields if key == 3)})
            elif kind == _RETRY:
                delay = dict(_fields(dict(fields).get(1, b"")))
                failure = failure.but(retry_after=int(delay.get(1, 0))
                                      + int(delay.get(2, 0)) / 1e9)
    except (IndexError, KeyError, UnicodeDecodeError):
        return None  # that is no status of ours
    return failure if found else None


def _fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of an encoded message: bytes, or an int."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 0x7f) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(message):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
        elif tag & 7 == 2:
            size = varint()
            if at + size > len(message):
                raise IndexError("cut short")
            yield tag >> 3, message[at:at + size]
            at += size
        else:
            raise KeyError("a field that none of these has")
