#!/usr/bin/python3
"""Counts the test targets in what `bazel test --build_event_json_file=F` wrote.

Prints "passed failed skipped", then a line for each target that failed. A test
that passes and prints a line starting with SKIPPED counts as skipped; one that
was asked for and has no result (its build failed) counts as failed.
"""

import json
import sys
import urllib.parse


def says_skipped(uri):
    path = urllib.parse.unquote(urllib.parse.urlparse(uri).path)
    try:
        with open(path, errors="replace") as log:
            return any(line.startswith("SKIPPED") for line in log)
    except OSError:
        return False


def main(events_file):
    results = {}  # label -> status, as Bazel names them
    skipped = set()
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
                for output in event["testResult"].get("testActionOutput", []):
                    if output.get("name") == "test.log" and says_skipped(output["uri"]):
                        skipped.add(ident["testResult"]["label"])
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


main(sys.argv[1])
