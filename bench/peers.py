"""The servers that compare.py measures beside waitqd, as Debian has them.

Each is alone on a free port of the loopback, keeps everything in memory, and is
otherwise as it comes; but Redis takes more connections than its usual 10,000.
"""

import os
import shutil
import socket
import subprocess
import time

import ratios

PACKAGES = ("redis-server", "beanstalkd", "nats-server", "socat")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def program(name):
    # A user's PATH may be without the last two.
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    found = shutil.which(name, path=path)
    if found is None:
        raise SystemExit(f"{name} is missing: apt-get install {' '.join(PACKAGES)}")
    return found


def versions():
    """Of the packages, as "name version"."""
    form = "${Package} ${Version}\n"
    listed = subprocess.run(["dpkg-query", "-W", "-f", form, *PACKAGES], stdout=subprocess.PIPE,
                            stderr=subprocess.DEVNULL, text=True, check=False)
    return listed.stdout.splitlines()


class Peer(ratios.Process):
    """One of them; ready when made."""

    COMMANDS = {
        "redis": lambda port: [program("redis-server"), "--bind", "127.0.0.1", "--port", port,
                               "--save", "", "--appendonly", "no", "--maxclients", "20000"],
        "beanstalkd": lambda port: [program("beanstalkd"), "-l", "127.0.0.1", "-p", port],
        "nats": lambda port: [program("nats-server"), "-a", "127.0.0.1", "-p", port],
    }

    def __init__(self, target):
        self.target = target
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        command = self.COMMANDS[target](str(port))
        super().__init__(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL)
        try:
            self._await(port)
        except OSError as error:
            self.__exit__()
            raise SystemExit(f"{' '.join(command)} did not start: {error}") from error

    @staticmethod
    def _await(port):
        for attempts_left in range(500, -1, -1):
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                return
            except ConnectionRefusedError:
                if attempts_left == 0:
                    raise
                time.sleep(0.01)


class Relay(ratios.Process):
    """socat, from one connection to another; ends with them."""

    target = "socat"

    def __init__(self, block_bytes):
        ports = free_port(), free_port()
        self.address, self.out = (f"127.0.0.1:{port}" for port in ports)
        # compare_load tries to connect until it can.
        super().__init__(
            [program("socat"), "-u", "-b", str(block_bytes),
             *(f"TCP-LISTEN:{port},bind=127.0.0.1,nodelay" for port in ports)],
            stdin=subprocess.DEVNULL)
