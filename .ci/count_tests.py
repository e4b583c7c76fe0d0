#!/usr/bin/python3
"""count_tests.py EVENTS LOGS: counts the test targets in what `bazel test
--build_event_json_file=EVENTS` wrote.

Prints "passed failed skipped", then a line for each target that failed, and
appends to LOGS how the log of each of these ends. A test that passes and prints
a line starting with SKIPPED counts as skipped; one that was asked for and has no
result (its build failed) counts as failed.
"""

import json
import sys
import urllib.parse


TAIL = 40  # lines


def lines_of(uri):
    path = urllib.parse.unquote(urllib.parse.urlparse(uri).path)
    try:
        with open(path, errors="replace") as log:
            return log.readlines()
    except OSError:
        return []


def main(events_file, logs_file):
    results = {}  # label -> status, as Bazel names them
    skipped = set()
    tails = {}  # label -> how the log of what failed of it ends
    with open(events_file) as events:
        for line in events:
            try:
                event = json.loads(line)
            except ValueError:
                continue  # Bazel died while it wrote the line
            ident = event.get("id", {})
            if "testSize" in event.get("configured", {}):
                results.setdefault(ident["targetConfigured"]["label"], "NOT BUILT")
            elif "testResult" in event:
                label = ident["testResult"]["label"]
                for output in event["testResult"].get("testActionOutput", []):
                    if output.get("name") != "test.log":
                        continue
                    log = lines_of(output["uri"])
                    if any(line.startswith("SKIPPED") for line in log):
                        skipped.add(label)
                    if event["testResult"].get("status") != "PASSED":
                        tails[label] = log[-TAIL:]
            elif "testSummary" in event:
                status = event["testSummary"].get("overallStatus", "NO_STATUS")
                if status == "NO_STATUS":
                    status = "NOT BUILT"
                results[ident["testSummary"]["label"]] = status

    good = {label for label, status in results.items() if status in ("PASSED", "FLAKY")}
    bad = sorted(set(results) - good)
    print(len(good - skipped), len(bad), len(good & skipped))
    for label in bad:
        print("  ", label, results[label])
    with open(logs_file, "a") as logs:
        for label in bad:
            logs.write(f"--- {label} ends with:\n")
            logs.writelines(tails.get(label, ["(it has no log)\n"]))


main(sys.argv[1], sys.argv[2])
