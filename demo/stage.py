"""What the demo's scenes are played on: a server, command lines, a log of checks.

Only Python's standard library, so that it runs on a bare Debian machine.
"""

import ctypes
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time

# How long to wait for something that is sure to come. Only a failure uses it up.
BOUND = 30.0


class Failed(Exception):
    """A scene cannot go on: what it waited for did not come."""


def find_program(path):
    """The program that Bazel built as //PACKAGE:NAME, given as 'PACKAGE/NAME'."""
    here = os.path.dirname(os.path.realpath(__file__))
    folders = [
        os.getcwd(),  # under `bazel run`: the runfiles
        sys.argv[0] + ".runfiles/waitq",  # started by hand from bazel-bin
        os.path.join(os.path.dirname(here), "bazel-bin"),  # a plain checkout
    ]
    for folder in folders:
        program = os.path.join(folder, path)
        if os.access(program, os.X_OK):
            return os.path.abspath(program)
    raise SystemExit(f"{path} is not built: looked in {', '.join(folders)}")


def _die_with_parent():
    """In the child: should we be killed, the kernel kills it too."""
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    # Bazel may start us with Ctrl-C ignored; the child must notice its own.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Program:
    """A running command, whose standard error (and output) is kept in memory."""

    def __init__(self, command, env=None, stdin=None, stdout=None):
        self._out = None
        if stdout is None:
            self._out = stdout = tempfile.TemporaryFile()
        self._err = tempfile.TemporaryFile()
        self.started = time.monotonic()
        self._process = subprocess.Popen(
            command,
            env=env,
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=stdout,
            stderr=self._err,
            preexec_fn=_die_with_parent,
        )
        self.pid = self._process.pid

    def finish(self, bound=BOUND):
        """Waits for the end; the exit code as a shell gives it."""
        try:
            code = self._process.wait(bound)
        except subprocess.TimeoutExpired:
            raise Failed(f"still running after {bound:.0f} s") from None
        return code if code >= 0 else 128 - code

    def is_running(self):
        return self._process.poll() is None

    def signal(self, number):
        self._process.send_signal(number)

    def kill(self):
        if self.is_running():
            self._process.kill()  # also one that is stopped
        self._process.wait()

    def out(self):
        return self._contents(self._out)

    def err(self):
        return self._contents(self._err)

    @staticmethod
    def _contents(file):
        # pread: the child's place in the file is ours too, and must stay.
        return os.pread(file.fileno(), 1 << 20, 0).decode(errors="replace")


class Stage:
    """A server, the programs that were started, and the checks so far.

    A context: whatever happens inside, nothing is left running or lying about.
    """

    def __init__(self, say=print):
        self._say = say
        self._programs = []
        self._waitq = find_program("client/cli/waitq")
        self.passed = 0
        self.failures = []
        self.server = None
        self.address = None
        self.folder = tempfile.mkdtemp(prefix="waitq-demo.")

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        for program in reversed(self._programs):
            program.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # --- the log ---------------------------------------------------------------

    def title(self, text):
        self._say(f"\n== {text}")

    def note(self, text):
        self._say(f"   {text}")

    def check(self, what, good, saw=None):
        """One check; `saw` says what was really there."""
        self._say(f"   {'ok  ' if good else 'FAIL'} {what}"
                  + (f" ({saw})" if saw is not None else ""))
        if good:
            self.passed += 1
        else:
            self.failures.append(what)

    # --- programs --------------------------------------------------------------

    def start_server(self, *flags):
        """Starts `waitqd` and waits until it says where it listens."""
        command = [find_program("server/waitqd"), "--listen", "127.0.0.1:0", *flags]
        self._say("   $ waitqd " + " ".join(command[1:]))
        self.server = self.run_program(command)
        greeting = "waitqd listening on "
        self.wait_until("waitqd says where it listens",
                        lambda: "\n" in self.server.out() or not self.server.is_running())
        line = self.server.out().split("\n")[0]
        if not line.startswith(greeting):
            raise Failed(f"waitqd did not start: {line!r} {self.server.err()!r}")
        self.note("  " + line)
        self.address = line[len(greeting):]

    def run_program(self, command, **options):
        program = Program(command, **options)
        self._programs.append(program)
        return program

    def start(self, *arguments, **options):
        """Starts `waitq ARGUMENTS` as a process of its own."""
        self._say("   $ waitq " + shlex.join(arguments) + " &")
        return self._start(arguments, **options)

    def run(self, *arguments, quiet=False, **options):
        """Runs `waitq ARGUMENTS` to its end; gives exit code and output."""
        if not quiet:
            self._say("   $ waitq " + shlex.join(arguments))
        program = self._start(arguments, **options)
        code = program.finish()
        if not quiet:
            for line in (program.out() + program.err()).splitlines():
                self.note("  " + line)
        return code, program.out()

    def _start(self, arguments, **options):
        env = dict(os.environ, WAITQ_SERVER=self.address)
        return self.run_program([self._waitq, *arguments], env=env, **options)

    # --- states ----------------------------------------------------------------

    def wait_until(self, what, state, bound=BOUND):
        """Asks until `state` gives something true, and gives that."""
        end = time.monotonic() + bound
        while True:
            seen = state()
            if seen:
                return seen
            if time.monotonic() > end:
                raise Failed(f"waited {bound:.0f} s in vain: {what}")
            time.sleep(0.01)

    def sleepers(self, *name):
        """The lines of `waitq ps [NAME]`, one for each call asleep."""
        code, out = self.run("ps", *name, quiet=True)
        if code != 0:
            raise Failed(f"waitq ps: exit {code}")
        # The first line is the heading. The columns are as wide as needed.
        return [" ".join(line.split()) for line in out.splitlines()[1:]]

    def await_sleepers(self, name, count, doing=""):
        """Waits until so many calls sleep on NAME; gives their lines of `ps`.

        Only those count that have `doing` as a word in their line.
        """
        def asleep():
            lines = [line for line in self.sleepers(name)
                     if not doing or doing in line.split()]
            return lines or [""] if len(lines) == count else None
        return self.wait_until(f"{count} asleep on {name} {doing}".strip(), asleep)

    def figures(self):
        return figures_of(self.server.pid)


def figures_of(pid):
    """Threads and memory of a process, as its /proc/PID/status has them."""
    with open(f"/proc/{pid}/status", encoding="utf-8") as status:
        fields = dict(line.split(":", 1) for line in status)
    return {
        "threads": int(fields["Threads"]),
        "resident_kib": int(fields["VmRSS"].split()[0]),
        "peak_kib": int(fields["VmHWM"].split()[0]),
    }
