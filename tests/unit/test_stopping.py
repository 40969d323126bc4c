"""How a wish to stop reaches a job, and not the processes that it forks."""

import signal
import subprocess
import sys

PROGRAM = """
import os, signal, sys, time
from heliograph.backends.errors import Cancelled
from heliograph_worker.child.stopping import Stopping

stopping = Stopping()
stopping.install()
stopping.arm()
is_there, tell = os.pipe()
forked = os.fork()
if not forked:
    os.write(tell, b".")
    time.sleep(60)
    os._exit(0)
os.read(is_there, 1)  # Python forgets signals that come as it forks
os.kill(forked, signal.SIGTERM)
_, status = os.waitpid(forked, 0)
print(os.waitstatus_to_exitcode(status))
try:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(60)
except Cancelled:
    print("cancelled")
"""


def test_a_forked_process_ends_by_the_signal_that_is_a_wish_to_its_parent() -> None:
    said = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=30)
    assert said.stdout.split() == [str(-signal.SIGTERM), "cancelled"]
