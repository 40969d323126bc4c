"""A no-op task on Celery, set as carefully as Celery lets one, to compare our worker with.

The same RabbitMQ, the same MongoDB with the same write concern. Publishing waits for the broker's confirm; a message is
acknowledged after its task; that a task began, and its result, are each written to MongoDB. It keeps no history and
sends no events.

    celery --app bench.baselines.celery_app worker   with BUS_URL, MONGODB_URL
"""

import os
import time

from celery import Celery  # type: ignore[import-not-found]  # it lives in an environment of its own

app = Celery("bench", broker=os.environ["BUS_URL"], backend=os.environ["MONGODB_URL"])
app.conf.update(
    broker_transport_options={"confirm_publish": True},
    mongodb_backend_settings={"database": "celery", "options": {"w": "majority", "journal": True}},
    task_acks_late=True,
    task_track_started=True,
)


@app.task(name="noop")  # type: ignore[untyped-decorator]  # as Celery is not seen
def noop(number: int) -> dict[str, int]:
    return {"number": number}


@app.task(name="sleep1")  # type: ignore[untyped-decorator]  # as above
def sleep1(number: int) -> dict[str, int]:
    time.sleep(1.0)
    return {"number": number}
