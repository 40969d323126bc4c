"""``python -m heliograph_worker.child CONTROL MEMORY [ACCOUNT]``, started by ``heliograph_worker.process``.

CONTROL is the number of the inherited socket to the worker, MEMORY the limit in bytes, 0 for none. ACCOUNT, as JSON,
is another user for the jobs.
"""

import sys

from heliograph_worker.child.warden import guard

if __name__ == "__main__":
    guard(int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:])
