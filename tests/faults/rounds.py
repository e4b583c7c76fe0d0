"""Barriers and latches whose parties are killed, and whose objects are removed
in the middle of a round: nobody passes early, and nobody hangs.

    rounds.py                   a share of it, as in CI
    rounds.py --rounds 1000     of each kind, by hand

The parties are `waitq barrier` (or, of a latch, `waitq wake --add 1` and `waitq
wait`) as processes of their own. A round is over when all of them that live have
ended, or wait for the next one: one who was killed may have counted, unless the
last one came when the server knew of the death.
"""

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import time

from victims import BOUND_S, Stuck, Waitqd, await_that, built

PARTIES = 4
KNOWN = 0.12  # of all rounds: whose last party waits for the deaths of others
GRACE_S = 1  # of parties
PATIENT_S = 30  # of who must not be taken for dead
# What a party says that had no processor for its grace: it counts as killed.
TAKEN_FOR_DEAD = "for the session's grace"
BROKEN = (1 << 63) - 1


class Party:
    """One process; it has come, or is about to."""

    def __init__(self, *command):
        self._child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True)

    def kill(self):
        self._child.kill()
        self._child.communicate()

    def has_ended(self):
        return self._child.poll() is not None

    def end(self):
        """Exit code, output, errors."""
        out, err = self._child.communicate()
        return self._child.returncode, out, err


class Rounds:
    def __init__(self, server, name, dice):
        self.server = server
        self.name = name
        self.random = dice
        self.parties = []
        self.wrong = []
        self.killed = self.removed = self.broken = self.counted = 0
        self.known = 0  # deaths, before the last one came
        self.has_begun = False
        self.is_new = False  # it was removed in this round
        self.is_known = False  # a death, in this round, before the last came

    def close(self):
        for party in self.parties:
            party.kill()

    def waitq(self, *arguments, check=True):
        done = subprocess.run(self.command(*arguments, grace_s=PATIENT_S),
                              capture_output=True, text=True, stdin=subprocess.DEVNULL,
                              timeout=BOUND_S, check=False)
        if check and done.returncode != 0:
            self.wrong.append(f"{arguments}: {done.stderr.strip()}")
        return done

    def command(self, *arguments, grace_s=GRACE_S):
        return (built("client/cli/waitq"), *arguments,
                f"--server={self.server.address()}", f"--grace={grace_s}s")

    def word(self):
        done = self.waitq("get", self.name, check=False)
        match = re.search(r"^(-?\d+)", done.stdout)
        return int(match[1]) if match else 0

    def happen(self):
        """What may happen to a round: a death or two, or a removal."""
        dice = self.random.random() * (1 if self.has_begun else KNOWN)
        self.has_begun = True
        is_known = dice < KNOWN
        if is_known:
            self.await_all_here()
        if dice < 0.4:
            for _ in range(self.random.choice((1, 1, 2))):
                time.sleep(self.random.uniform(0, 0.15))
                victim = self.random.choice(self.parties)
                if victim.has_ended():
                    continue
                victim.kill()
                self.parties.remove(victim)
                self.killed += 1
                self.known += is_known
            if is_known:
                self.await_deaths_known()
        elif dice < 0.5:
            time.sleep(self.random.uniform(0, 0.06))
            self.waitq("rm", self.name, "--force", check=False)
            self.removed += 1
            self.is_new = True

    def await_all_here(self):
        """Until all parties that there are have come."""

    def await_deaths_known(self):
        """Until the server knows of the deaths, and what becomes of them."""

    def sort_out(self):
        """Those who have ended, and how."""
        ended = [party for party in self.parties if party.has_ended()]
        self.parties = [p for p in self.parties if p not in ended]
        return [party.end() for party in ended]


class Barrier(Rounds):
    def __init__(self, server, on_death, dice):
        super().__init__(server, f"barrier-{on_death}", dice)
        self.on_death = on_death

    def fill(self, count=PARTIES):
        while len(self.parties) < count:
            self.parties.append(Party(*self.command(
                "barrier", self.name, str(PARTIES),
                f"--on-death={self.on_death}")))

    def await_all_here(self):
        await_that(lambda: self.asleep() == len(self.parties), "all parties")

    def await_deaths_known(self):
        self.is_known = True
        if self.on_death == "break":
            await_that(lambda: self.word() == BROKEN, "a broken barrier")
            return
        # All were asleep before.
        await_that(lambda: self.asleep() == len(self.parties),
                   "the end of the dead's sleep")
        if self.on_death == "withdraw":
            await_that(lambda: self.word() % PARTIES == len(self.parties),
                       "the dead's withdrawal")
        elif self.word() % PARTIES != PARTIES - 1:
            self.wrong.append(f"{PARTIES - 1} have come, and "
                              f"{self.word() % PARTIES} count")

    def asleep(self):
        return self.waitq("ps", self.name).stdout.count(self.name)

    def run_one(self):
        self.is_new = self.is_known = False
        # While one is missing all others wait.
        self.fill(PARTIES - 1)
        self.happen()
        self.fill()
        places = []
        end = time.monotonic() + BOUND_S
        while True:
            for code, out, err in self.sort_out():
                match = re.fullmatch(r"round=(\d+) place=(\d+)\n", out)
                if code == 0 and match:
                    # Whoever has passed is one of so many.
                    places.append((int(match[1]), int(match[2])))
                elif "was removed" in err or "broken" in err:
                    pass  # comes again
                elif TAKEN_FOR_DEAD in err:
                    self.killed += 1
                    self.is_known = True
                else:
                    self.wrong.append(f"exit {code}: {out!r} {err!r}")
            if self.word() == BROKEN:
                # All who wait are told. (Nobody's death may be on its way to
                # the one that comes after it.)
                self.broken += 1
                time.sleep(GRACE_S * 1.5)
                await_that(lambda: all(p.has_ended() for p in self.parties),
                           "the end of all at a broken barrier")
                self.sort_out()
                self.waitq("wake", self.name, "--set", "0", "--all")
                return
            if not self.parties:
                break
            if places and self._wait_for_the_next():
                break
            # Some were told of a removal: others in their place.
            if len(self.parties) < PARTIES and not places:
                self.fill()
            if time.monotonic() > end:
                raise Stuck(f"{len(self.parties)} at {self.name}, "
                            f"word {self.word()}")
            time.sleep(0.005)
        self.check(places)

    def _wait_for_the_next(self):
        """Whether those who are left have come to the round after it: as many
        who were killed have counted."""
        time.sleep(0.02)
        if any(party.has_ended() for party in self.parties):
            return False
        left = len(self.parties)
        if self.asleep() == left and self.word() % PARTIES == left:
            self.counted += left
            return True
        return False

    def check(self, places):
        # The last of each round is one; of those before, one who was dead may
        # have made room.
        unique = places if not self.is_known else [
            (number, place) for number, place in places if place == PARTIES - 1]
        if len(set(unique)) != len(unique):
            self.wrong.append(f"a place was given twice: {places}")
        if any(place >= PARTIES for _, place in places):
            self.wrong.append(f"no such place: {places}")
        word = self.word()
        for number, _ in places:
            # (One that has been removed begins at 0 again, and somebody may have
            # passed before.)
            if not self.is_new and word < (number + 1) * PARTIES:
                self.wrong.append(f"round {number} was passed at {word}")


class Latch(Rounds):
    def __init__(self, server, dice):
        super().__init__(server, "latch", dice)

    def run_one(self):
        self.waitq("rm", self.name, "--force", check=False)
        self.parties = [Party(*self.command(
            "wait", self.name, "--until", f">={PARTIES}")) for _ in range(3)]
        arrived = 0
        while arrived < PARTIES:
            if self.random.random() < 0.3:
                victim = self.random.choice(self.parties)
                victim.kill()
                self.killed += 1
                self.parties.remove(victim)
                self.parties.append(Party(*self.command(
                    "wait", self.name, "--until", f">={PARTIES}")))
            if self.random.random() < 0.1:
                self.waitq("rm", self.name, "--force", check=False)
                self.removed += 1
                arrived = 0
            if any(p.has_ended() for p in self.parties):
                for code, _, err in self.sort_out():
                    if "was removed" not in err:
                        self.wrong.append(f"early: exit {code} {err!r}")
                    self.parties.append(Party(*self.command(
                        "wait", self.name, "--until", f">={PARTIES}")))
            self.waitq("wake", self.name, "--add", "1", "--all")
            arrived += 1
        # One who was told of the removal just now begins again.
        end = time.monotonic() + BOUND_S
        while self.parties:
            for code, _, err in self.sort_out():
                if code != 0 and "was removed" not in err:
                    self.wrong.append(f"exit {code}: {err!r}")
            if time.monotonic() > end:
                raise Stuck(f"{len(self.parties)} at an open latch")
            time.sleep(0.005)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=8, help="of each kind")
    arguments = parser.parse_args()
    seed = int(os.environ.get("WAITQ_SEED") or random.randrange(1 << 31))
    print(f"seed {seed}", flush=True)
    failed = False
    with tempfile.TemporaryDirectory(prefix="waitq-rounds-") as folder:
        server = Waitqd(folder)
        kinds = [Barrier(server, how, random.Random(f"{seed}/{how}"))
                 for how in ("withdraw", "break", "count")]
        kinds.append(Latch(server, random.Random(f"{seed}/latch")))
        for kind in kinds:
            began = time.monotonic()
            done = 0
            try:
                while done < arguments.rounds and not kind.wrong:
                    kind.run_one()
                    done += 1
            except Stuck as stuck:
                kind.wrong.append(f"stuck: {stuck}")
            finally:
                kind.close()
            print(f"{kind.name}: {done} rounds, {kind.killed} killed, "
                  f"{kind.known} known in time, "
                  f"{kind.removed} removals, broken {kind.broken}, "
                  f"{kind.counted} counted though killed, "
                  f"{time.monotonic() - began:.0f} s "
                  f"{'; '.join(kind.wrong[:3]) or 'as promised'}", flush=True)
            failed |= bool(kind.wrong)
        server.close()
    print(f"CASES {len(kinds)}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
