"""Print what the package needs, with the given extras, as a requirements file: for a layer that the package isn't part of."""

from __future__ import annotations

import configparser
import sys


def main() -> None:
    """Read ``setup.cfg`` in the current folder."""
    settings = configparser.ConfigParser()
    settings.read("setup.cfg", encoding="utf-8")
    wanted = settings["options"]["install_requires"].splitlines()
    for extra in filter(None, (sys.argv[1] if len(sys.argv) > 1 else "").split(",")):
        wanted += settings["options.extras_require"][extra].splitlines()
    print("\n".join(dict.fromkeys(line.strip() for line in wanted if line.strip())))


if __name__ == "__main__":
    main()
