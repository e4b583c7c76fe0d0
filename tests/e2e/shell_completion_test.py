#!/usr/bin/python3
"""Tab in bash, zsh and fish: commands, options, words, and the server's names."""

import os
import pty
import select
import subprocess
import sys
import tempfile
import time
import unittest

WAITQ = os.path.abspath("client/cli/waitq")
WAITQD = os.path.abspath("server/waitqd")
BOUND_SECONDS = 60


class Terminal:
    """A shell at a terminal, to be typed to."""

    def __init__(self, command, environment):
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            os.execvpe(command[0], command, environment)
        self.seen = ""

    def type(self, keys):
        os.write(self._fd, keys.encode())

    def await_text(self, text):
        """Until `text` is on the screen; gives what is there since the last call."""
        give_up = time.monotonic() + BOUND_SECONDS
        while text not in self.seen:
            left = give_up - time.monotonic()
            if left <= 0 or not select.select([self._fd], [], [], left)[0]:
                raise AssertionError(f"no {text!r} in {self.seen!r}")
            self.seen += os.read(self._fd, 4096).decode(errors="replace")
        seen, self.seen = self.seen, ""
        return seen

    def close(self):
        os.close(self._fd)
        os.waitpid(self._pid, 0)


class ShellCompletionTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        os.symlink(WAITQ, f"{self.folder.name}/waitq")
        self.server = subprocess.Popen(
            [WAITQD, "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        self.addCleanup(self.server.stdout.close)
        self.addCleanup(self.server.wait)
        self.addCleanup(self.server.kill)
        address = self.server.stdout.readline().split()[-1]
        self.environment = {
            "PATH": f"{self.folder.name}:/usr/bin:/bin",
            "HOME": self.folder.name,
            "TERM": "dumb",
            "LC_ALL": "C.UTF-8",
            "WAITQ_SERVER": address,
        }
        for name, kind in (("flags/red", "queue"), ("flags/pipe", "pipe"),
                           ("done", "completion")):
            self.waitq("create", name, "--kind", kind)
        with open(f"{self.folder.name}/a-file", "w", encoding="ascii"):
            pass

    def waitq(self, *arguments):
        return subprocess.run(
            ["waitq", *arguments], env=self.environment, cwd=self.folder.name,
            check=True, capture_output=True, text=True).stdout

    def shell(self, command, setup):
        terminal = Terminal(command, self.environment)
        self.addCleanup(terminal.close)
        terminal.type(f"cd {self.folder.name}; {setup}; echo ready-$((1 + 1))\n")
        terminal.await_text("ready-2")
        return terminal

    def check_tab(self, terminal):
        """What the shell makes of a line with a Tab at its end."""
        for typed, meant in (
            ("waitq reini\t", "waitq reinit"),
            ("waitq stat don\t", "waitq stat done"),
            # Of flags/red and flags/pipe one is a wait queue.
            ("waitq get fl\t", "waitq get flags/red"),
            ("waitq --json read --max 1 fl\t", "waitq --json read --max 1 flags/pipe"),
            ("waitq create x --kind comp\t", "waitq create x --kind completion"),
            ("waitq wait done --unin\t", "waitq wait done --uninterruptible"),
            ("waitq write p a-f\t", "waitq write p a-file"),
            ("waitq run --lock flags/r\t", "waitq run --lock flags/red"),
        ):
            with self.subTest(typed=typed):
                terminal.type(typed)
                # It is not run, but echoed: an echo at its beginning.
                terminal.type("\x01echo '<' \x05 '>'\n")
                terminal.await_text(f"< {meant} >")

    def test_bash(self):
        terminal = self.shell(
            ["bash", "--norc", "-i"], "source <(waitq shell-completion bash)")
        self.check_tab(terminal)

    def test_zsh(self):
        terminal = self.shell(
            ["zsh", "-f", "-i"],
            "bindkey -e; autoload -U compinit; compinit -u -D; "
            "source <(waitq shell-completion zsh)")
        self.check_tab(terminal)

    def fish(self, line):
        command = f"waitq shell-completion fish | source; complete -C '{line}'"
        output = subprocess.run(
            ["fish", "--no-config", "-c", command], env=self.environment,
            cwd=self.folder.name, check=True, capture_output=True, text=True).stdout
        return [answer.split("\t")[0] for answer in output.splitlines()]

    def test_fish(self):
        self.assertEqual(self.fish("waitq reini"), ["reinit"])
        self.assertEqual(self.fish("waitq get fl"), ["flags/red"])
        self.assertEqual(self.fish("waitq create x --kind comp"), ["completion"])
        self.assertEqual(self.fish("waitq wait done --unin"), ["--uninterruptible"])
        self.assertEqual(self.fish("waitq write p a-f"), ["a-file"])

    def test_a_server_that_is_away_does_not_keep_anybody(self):
        begun = time.monotonic()
        self.environment["WAITQ_SERVER"] = "127.0.0.1:1"
        self.assertEqual(self.waitq("__complete", "stat", ""), "")
        self.assertIn("wait\t", self.waitq("__complete", "wa"))
        self.assertLess(time.monotonic() - begun, BOUND_SECONDS)

    def test_the_server_of_the_line_is_asked(self):
        address = self.environment["WAITQ_SERVER"]
        self.environment["WAITQ_SERVER"] = "127.0.0.1:1"
        names = self.waitq("__complete", "--server", address, "stat", "d")
        self.assertEqual(names.split(), ["done"])


if __name__ == "__main__":
    program = unittest.main(exit=False, verbosity=2)
    result = program.result
    print(f"CASES {result.testsRun - len(result.skipped)}")
    sys.exit(not result.wasSuccessful())
