"""Failpoints in persist-queue, a package that knows nothing of failpy.

`failpoint(name)(function)` patches the function in place: whoever calls it, by whatever name, reaches
the failpoint. The faults are what the operating system answers there when something is wrong.
"""

from persistqueue import queue
from persistqueue.serializers import pickle

from failpy import failpoint

failpoint("queue.dump", faults=("raise(ENOSPC)",))(pickle.dump)
failpoint("queue.load", faults=("raise(EIO)",))(pickle.load)
failpoint("queue.tempfile", faults=("raise(ENOSPC)", "raise(EMFILE)"))(queue.Queue._gettempfile)
failpoint("queue.rename", faults=("raise(EIO)", "kill"))(queue.atomic_rename)
failpoint("queue.next_chunk", faults=("raise(ENOSPC)",))(queue.Queue._openchunk)
failpoint("queue.remove_chunks", faults=("raise(EACCES)",))(queue.Queue._clear_tail_file)
