#!/usr/bin/python3
"""waitq-load on several hosts: each a network namespace with a link of its own.

          bridge (its own namespace, too)
        /    |     |     |     \\
    server  host0 host1 host2 host3     veth pairs; delay, loss, rate by tc

waitqd runs on one and a waitq-load on each of four others. A link is cut for
some seconds and healed, the links are made slow, and every run must end with
exit 0 and nothing lost. Where the kernel has no netem (delay, loss), only the
rate is limited (tbf), and a line says so. Without the right to make namespaces
it passes with a line "SKIPPED: why".
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HOSTS = 4
PREFIX = f"wq{os.getpid()}"
SERVER_IP = "10.99.7.1"
os.environ["PATH"] += ":/usr/sbin:/sbin"


def ip(*arguments, check=True):
    return subprocess.run(["ip", *arguments], check=check, text=True,
                          capture_output=True)


def inside(space, *command):
    return ["ip", "netns", "exec", space, *command]


def skip(why):
    print("SKIPPED:", why)
    sys.exit(0)


def require_rights():
    """Skips the test where namespaces or their links cannot be made."""
    space = f"{PREFIX}t"
    try:
        ip("netns", "add", space)
        ip("-n", space, "link", "add", "name", "a", "type", "veth", "peer",
           "name", "b")
        ip("-n", space, "link", "add", "name", "c", "type", "bridge")
    except subprocess.CalledProcessError as error:
        skip(f"no network namespaces here: {error.stderr.strip()}")
    finally:
        ip("netns", "del", space, check=False)


class Network:
    """The namespaces and their links; gone with `close()`."""

    def __init__(self):
        self.bridge = f"{PREFIX}b"
        self.server = f"{PREFIX}s"
        self.hosts = [f"{PREFIX}h{i}" for i in range(HOSTS)]

    def build(self):
        ip("netns", "add", self.bridge)
        ip("-n", self.bridge, "link", "add", "name", "br0", "type",
           "bridge")
        ip("-n", self.bridge, "link", "set", "br0", "up")
        for n, space in enumerate([self.server, *self.hosts]):
            ip("netns", "add", space)
            port = f"p{n}"
            ip("-n", self.bridge, "link", "add", "name", port, "type", "veth", "peer",
               "name", "eth", "netns", space)
            ip("-n", self.bridge, "link", "set", port, "master", "br0", "up")
            ip("-n", space, "addr", "add", f"10.99.7.{n + 1}/24", "dev", "eth")
            ip("-n", space, "link", "set", "eth", "up")
            ip("-n", space, "link", "set", "lo", "up")

    def port(self, host):
        return f"p{host + 1}"

    def cut(self, host):
        ip("-n", self.bridge, "link", "set", self.port(host), "down")

    def heal(self, host):
        ip("-n", self.bridge, "link", "set", self.port(host), "up")

    def shape(self, host, *discipline):
        """False: the kernel has no such discipline."""
        for where in [(self.bridge, self.port(host)), (self.hosts[host], "eth")]:
            done = subprocess.run(
                inside(where[0], "tc", "qdisc", "replace", "dev", where[1],
                       "root", *discipline), capture_output=True, text=True)
            if done.returncode != 0:
                return False
        return True

    def unshape(self):
        for host in range(HOSTS):
            for where in [(self.bridge, self.port(host)),
                          (self.hosts[host], "eth")]:
                subprocess.run(inside(where[0], "tc", "qdisc", "del", "dev",
                                      where[1], "root"), capture_output=True)

    def close(self):
        for space in [*self.hosts, self.server, self.bridge]:
            ip("netns", "del", space, check=False)


class Run:
    """One run of a scenario on all hosts."""

    def __init__(self, network, folder, name, text, seconds):
        self.name = name
        self.result = os.path.join(folder, name + ".json")
        scenario = os.path.join(folder, name + ".load")
        with open(scenario, "w") as file:
            file.write(text)
        self.processes = [
            subprocess.Popen(
                inside(space, os.path.abspath("load/waitq-load"), "run",
                       scenario, "--hosts", str(HOSTS), "--host", str(i),
                       "--server", f"{SERVER_IP}:7411", "--seconds",
                       str(seconds), "--json", self.result),
                stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for i, space in enumerate(network.hosts)
        ]

    def finish(self):
        """Fails the test unless all hosts are content and nothing is lost."""
        for i, process in enumerate(self.processes):
            out, err = process.communicate(timeout=120)
            if process.returncode != 0:
                sys.exit(f"{self.name}: host {i} ended with "
                         f"{process.returncode}\n{out}{err}")
        with open(self.result) as file:
            result = json.load(file)
        deliveries = result.get("deliveries", {})
        if not result["good"] or deliveries.get("lost", 0):
            sys.exit(f"{self.name}: {result}")
        sent = deliveries.get("sent")
        print(f"ok   {self.name}: {HOSTS} hosts, "
              f"{[(s['name'], s['operations']) for s in result['series']]}"
              + (f", {sent} sent and received" if sent is not None else "")
              + (f", noted {result['notes']}" if result["notes"] else ""),
              flush=True)

    def kill(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()
                process.wait()


QUEUE = """
kind = queue
rate = 1000
producers = 8
consumers = 8
size = 256
depth = 4
"""

MIXED = """
kind = mixed
rate = 500
lock_rate = 200
visit_rate = 8
producers = 8
consumers = 8
lockers = 16
locks = 4
visitors = 1
"""


def check_runs(network, folder, running):
    def start(*arguments):
        running.append(Run(network, folder, *arguments))
        return running[-1]

    start("plain", QUEUE, 2).finish()

    run = start("cut", QUEUE, 9)
    time.sleep(3)
    network.cut(1)
    time.sleep(3)
    network.heal(1)
    run.finish()

    run = start("cut_twice_mixed", MIXED, 14)
    time.sleep(3)
    for host in (2, 3):
        network.cut(host)
        time.sleep(2)
        network.heal(host)
        time.sleep(2)
    run.finish()

    if all(network.shape(i, "tbf", "rate", "20mbit", "burst", "32kbit",
                         "latency", "50ms") for i in range(HOSTS)):
        start("slow_links", QUEUE, 3).finish()
    else:
        print("NOTE: this kernel has no tbf: no rate limits", flush=True)
    network.unshape()

    if all(network.shape(i, "netem", "delay", "10ms", "3ms", "loss", "1%")
           for i in range(HOSTS)):
        start("delay_and_loss", QUEUE, 5).finish()
        start("delay_and_loss_mixed", MIXED, 5).finish()
    else:
        print("NOTE: this kernel has no netem: no delay, no loss; "
              "cuts and rate limits only", flush=True)


def main():
    if os.geteuid() != 0:
        skip("not root, so no right to make network namespaces")
    if shutil.which("ip") is None or shutil.which("tc") is None:
        skip("no iproute2")
    require_rights()
    network = Network()
    running = []
    server = None
    # A test that takes too long is ended with this.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    try:
        network.build()
        server = subprocess.Popen(
            inside(network.server, os.path.abspath("server/waitqd"), "--listen",
                   f"{SERVER_IP}:7411", "--insecure"),
            stdout=subprocess.PIPE, text=True)
        if "listening" not in server.stdout.readline():
            sys.exit("waitqd did not start")
        with tempfile.TemporaryDirectory() as folder:
            check_runs(network, folder, running)
    finally:
        for run in running:
            run.kill()
        if server is not None:
            server.kill()
            server.wait()
        network.close()


main()
