"""How many jobs of a backend, or of a pull queue, are held at a time."""

from dataclasses import dataclass, fields


@dataclass(frozen=True, slots=True)
class Limits:
    """Upper bounds on what is held at a time; None where there is none.

    Parameters
    ----------
    total
        Over all workers and owners.
    per_owner
        Of one owner, over all workers.
    per_worker
        On one worker, which has its own number of slots besides.
    """

    total: int | None = None
    per_owner: int | None = None
    per_worker: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is not None and value < 1:
                raise ValueError(f"{field.name}: a limit is 1 at least; to stop all work, pause the queue")
