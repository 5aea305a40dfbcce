"""TinyDB: documents in a JSON file."""

from __future__ import annotations

from exploring import Series
from tinydb import Query, TinyDB

TINYDB = Series(
    package="tinydb",
    open=TinyDB,
    steps=[
        lambda db: db.insert({"name": "lamp"}),
        lambda db: db.insert({"name": "chair"}),
        lambda db: db.remove(Query().name == "lamp"),
    ],
    states=[[], ["lamp"], ["lamp", "chair"], ["chair"]],
    read=lambda db: [each["name"] for each in db],
    again=lambda db: db.table("again").insert({"name": "desk"}),
    close=lambda db: db.close(),
)
