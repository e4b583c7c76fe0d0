"""Server addresses, as users write them and as gRPC has them."""

from __future__ import annotations

import os
import re
from urllib.parse import quote

_PATH_BYTES_MAX = 107  # the kernel's limit, without the terminating zero


def target_of(address: str) -> str:
    """HOST:PORT, [IPV6]:PORT or unix:PATH. ValueError: it is none of these."""

    def bad(what: str) -> ValueError:
        return ValueError(f"bad server address {address!r}: {what} "
                          "(HOST:PORT, [IPV6]:PORT or unix:PATH)")

    if address.startswith("unix:"):
        path = address[len("unix:"):]
        if not path:
            raise bad("no path")
        absolute = os.path.abspath(path)
        if len(os.fsencode(absolute)) > _PATH_BYTES_MAX and path[0] != "/":
            absolute = "/proc/self/cwd/" + path
        if len(os.fsencode(absolute)) > _PATH_BYTES_MAX:
            raise bad(f"the path is longer than {_PATH_BYTES_MAX} bytes")
        return "unix://" + quote(os.fsencode(absolute), safe="-._~/:")
    host, colon, port = address.rpartition(":")
    if not colon:
        raise bad("no port")
    if not host:
        raise bad("no host")
    bracketed = re.fullmatch(r"\[[0-9A-Za-z:%._-]+\]", host)
    if not bracketed and ":" in host:
        raise bad("an IPv6 address is written in brackets")
    if not bracketed and not re.fullmatch(r"[0-9A-Za-z._-]+", host):
        raise bad("not a host")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
        raise bad("the port is not a number from 1 to 65535")
    return "dns:///" + quote(host, safe="-._~/:") + ":" + str(int(port))
