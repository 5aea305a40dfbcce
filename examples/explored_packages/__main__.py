"""Explore packages from PyPI that keep something on disk, and say what becomes of it.

    python examples/explored_packages [--depth N] [--tear] [--json FOLDER] [STORE ...]

The stores are named below; all of them unless given. What comes out is about the versions that are installed.
"""

from __future__ import annotations

import argparse
import logging
from importlib.metadata import version
from pathlib import Path

from cachelib_cache import CACHE, TIDY_CACHE
from exploring import crashes, full_disk
from persist_queues import FILE_QUEUE, SQLITE_QUEUE
from tinydb_store import TINYDB
from zict_files import FILES

STORES = {
    "tinydb": TINYDB,
    "zict": FILES,
    "cachelib": CACHE,
    "cachelib-tidy": TIDY_CACHE,
    "file-queue": FILE_QUEUE,
    "sqlite-queue": SQLITE_QUEUE,
}

parser = argparse.ArgumentParser()
parser.add_argument("stores", nargs="*", metavar="STORE", help=f"one of {', '.join(STORES)}")
parser.add_argument("--depth", type=int, default=1, help="how often a case is killed at the most")
parser.add_argument("--tear", action="store_true", help="try power cuts, and no full disk")
parser.add_argument("--json", type=Path, help="a folder for the reports as JSON")
options = parser.parse_args()
if unknown := set(options.stores) - set(STORES):
    parser.error(f"no store is named {', '.join(sorted(unknown))}: {', '.join(STORES)}")

logging.disable()  # cachelib tells of each error that it survives
for name in options.stores or STORES:
    series = STORES[name]
    if options.tear:
        explored = {"power cut": crashes(series, depth=options.depth, tear=True)}
    else:
        explored = {"killed": crashes(series, depth=options.depth), "full": full_disk(series)}
    for what, report in explored.items():
        print(f"== {name}, {series.package} {version(series.package)}: {what}")
        print(f"{report}\n")
        if options.json:
            (options.json / f"{name}-{what}.json").write_text(report.json())
