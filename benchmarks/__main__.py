"""Entry point of `python -m benchmarks`: one module a command."""

import sys

from benchmarks import compare, complexity, coverage, cv, network, out_of_core, profile, resume, schedules, watched

COMMANDS = {
    "cv": cv.main, "network": network.main, "coverage": coverage.main, "complexity": complexity.main,
    "out-of-core": out_of_core.main, "profile": profile.main, "schedules": schedules.main,
    "watched": watched.main, "resume": resume.main,
}  # fmt: skip

if __name__ == "__main__":
    command = COMMANDS.get(sys.argv[1] if len(sys.argv) > 1 else "")
    sys.exit(command(sys.argv[2:]) if command else compare.main())
