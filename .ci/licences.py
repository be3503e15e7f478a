"""Holds the licences and sources of all dependencies to deny.toml, without a network.

cargo-deny reads the same file; its advisory database is a git repository that builds cannot always
reach, so advisories are NOT CHECKED here.
"""

import json
import re
import subprocess
import sys
import tomllib

allowed = set(tomllib.load(open("deny.toml", "rb"))["licenses"]["allow"])
metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--format-version", "1", "--locked"]))


def is_allowed(expression):
    """True where the expression can be met with allowed licences (OR: one of them; AND: all)."""
    expression = expression.replace("/", " OR ").strip()
    while expression.startswith("(") and expression.endswith(")"):
        expression = expression[1:-1]
    if " AND " in expression:
        return all(is_allowed(part) for part in re.split(r" AND (?![^(]*\))", expression))
    return any(part.strip(" ()") in allowed for part in re.split(r" OR ", expression))


bad = []
for package in metadata["packages"]:
    name = f"{package['name']} {package['version']}"
    if not is_allowed(package.get("license") or ""):
        bad.append(f"{name}: licence {package.get('license')!r} is not in deny.toml")
    source = package.get("source")
    if source and not source.startswith("registry+"):
        bad.append(f"{name}: comes from {source}, not from a registry")
print(*bad, sep="\n", end="\n" if bad else "")
print(f"{len(metadata['packages'])} packages, {len(bad)} refused; advisories NOT CHECKED")
sys.exit(bool(bad))
