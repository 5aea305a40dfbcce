"""Two of persist-queue's queues: one that keeps its items in files, and one that keeps them in SQLite."""

from __future__ import annotations

import sqlite3

from exploring import Series
from persistqueue import Queue, SQLiteQueue

FILE_QUEUE = Series(
    package="persist-queue",
    open=lambda path: Queue(str(path), chunksize=2, autosave=True),
    steps=[
        lambda queue: queue.put("lamp"),
        lambda queue: queue.put("chair"),
        lambda queue: queue.put("desk"),
        lambda queue: queue.get(),
    ],
    states=[[], ["lamp"], ["lamp", "chair"], ["lamp", "chair", "desk"], ["chair", "desk"]],
    read=lambda queue: [queue.get() for _ in range(queue.qsize())],
    again=lambda queue: queue.put("bed"),
    close=lambda queue: None,
)

SQLITE_QUEUE = Series(
    package="persist-queue",
    open=lambda path: SQLiteQueue(str(path), auto_commit=True),
    steps=[lambda queue: queue.put("lamp"), lambda queue: queue.put("chair"), lambda queue: queue.get()],
    states=[[], ["lamp"], ["lamp", "chair"], ["chair"]],
    read=lambda queue: [row["data"] for row in queue.queue() if row["data"] != "bed"],
    again=lambda queue: queue.put("bed"),
    close=lambda queue: queue.close(),
    errors=(OSError, sqlite3.Error),
)
