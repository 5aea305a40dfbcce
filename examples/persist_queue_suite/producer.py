"""A program that puts its arguments into a queue, and says which of them were accepted."""

import sys

import points  # noqa: F401 - it declares the failpoints
from persistqueue import Queue

folder, *items = sys.argv[1:]
queue = Queue(folder)
for item in items:
    queue.put(item)
    print(item, flush=True)
