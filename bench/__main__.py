"""`python -m bench NAME ...`: run benchmarks. Most measure two sides together, as a ratio."""

import importlib
import sys

NAMES = ("claims", "dryrun", "memory", "packing", "validate")


def main() -> int:
    names = sys.argv[1:] or list(NAMES)
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        known = ", ".join(NAMES)
        print(f"Unknown benchmark {unknown[0]!r}. Choose from: {known}.", file=sys.stderr)
        return 2
    for name in names:
        importlib.import_module(f"bench.{name}").main()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
