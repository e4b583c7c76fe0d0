"""main.py ROOM: runs its cases, and says how many have passed."""

import importlib
import signal
import sys
import unittest

ROOMS = {
    "all": [("machine_test", None), ("simulation_test", None),
            ("scenario_test", "CALM"), ("client_test", "CASES"),
            ("aio_test", "CASES"), ("kit_failures_test", "CASES")],
    "cuts": [("scenario_test", "CUT")],
    "install": [("install_test", "CASES")],
}


def main(room):
    # Who is started in the background by a script is told to ignore it, and so
    # would be the programs that are started here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    loader, suite = unittest.defaultTestLoader, unittest.TestSuite()
    for name, cases in ROOMS[room]:
        module = importlib.import_module(name)
        if cases is None:
            suite.addTests(loader.loadTestsFromModule(module))
        else:
            for case in getattr(module, cases):
                suite.addTests(loader.loadTestsFromTestCase(case))
    result = unittest.TextTestRunner(verbosity=2).run(suite)
    print(f"CASES {result.testsRun}", flush=True)
    return 0 if result.wasSuccessful() else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
