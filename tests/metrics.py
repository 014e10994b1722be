#!/usr/bin/env python3
"""Reads metrics in Prometheus's text format from standard input with Prometheus's own parser for Python, and prints one
JSON object: {family: {"type": …, "samples": [[{label: value}, value]]}}. Exits with 1 if they are no such text."""

import json
import sys

from prometheus_client.parser import text_string_to_metric_families

families = {}
for family in text_string_to_metric_families(sys.stdin.read()):
    # The parser takes the ending off the names of counters.
    name = family.name + ("_total" if family.type == "counter" else "")
    if name in families:
        sys.exit(f"{name} is there twice")
    if not family.documentation:
        sys.exit(f"{name} does not say what it is")
    for sample in family.samples:
        if sample.name != name:
            sys.exit(f"{sample.name} is in {name}")
    samples = [[sample.labels, sample.value] for sample in family.samples]
    families[name] = {"type": family.type, "samples": samples}
json.dump(families, sys.stdout)
