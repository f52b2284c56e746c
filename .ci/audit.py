"""Known vulnerabilities of the pinned dependencies, by pip-audit; skipped with a word where its data is out of reach.

python .ci/audit.py constraints.txt
"""

import json
import subprocess
import sys


def main() -> int:
    """Exit code 1 where a pinned version has a known vulnerability."""
    command = [sys.executable, "-m", "pip_audit", "-r", sys.argv[1], "--no-deps", "--disable-pip", "-f", "json"]
    try:
        done = subprocess.run(
            [*command, "--progress-spinner", "off", "--timeout", "5"], capture_output=True, text=True, timeout=120
        )
        found = json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        print("audit: skipped, the advisories could not be reached")
        return 0
    looked_up = [one for one in found if "skip_reason" not in one]
    for one in looked_up:
        for known in one["vulns"]:
            fixed = ", ".join(known["fix_versions"]) or "no version yet"
            print(f"audit: {one['name']} {one['version']}: {known['id']}, fixed in {fixed}")
    if not looked_up:
        print(f"audit: skipped, none of {len(found)} pinned packages could be looked up")
    else:
        print(f"audit: {len(looked_up)} of {len(found)} pinned packages looked up")
    return int(any(one["vulns"] for one in looked_up))


if __name__ == "__main__":
    sys.exit(main())
