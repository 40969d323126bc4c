"""Run a backend in this process, without any service: in a test, or in a notebook.

``run`` does with a backend what a worker does with a job of it, and returns all that came of it. What a job may expect
to end with is an outcome: wrong parameters, a ``BackendError``, a time limit, a cancellation; it is in ``Run.failure``.
Any other exception is a defect of the backend and comes out of ``run`` as it is, with its traceback; with
``catch=True`` it is an outcome too, described as a worker describes it.

    outcome = run(fold, {"table": Path("measurements.csv"), "period_days": 2.5})
    assert outcome.result["points"] == 120
    assert outcome.artifacts["folded.csv"].text.startswith("phase,magnitude")

What only a process of its own can show is left to the worker: crashes, memory, and killing what ignores a wish to stop.
"""

from heliograph.backends.telling import Progress
from heliograph.testing.children import Submitted
from heliograph.testing.job import FakeJob
from heliograph.testing.outcome import Artifact, Run, UnexpectedOutcomeError
from heliograph.testing.running import reconcile, run

__all__ = ["Artifact", "FakeJob", "Progress", "Run", "Submitted", "UnexpectedOutcomeError", "reconcile", "run"]
