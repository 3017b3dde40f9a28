# Set before torch is imported: its OpenMP threads otherwise wait in a busy loop, and on a machine where another process
# wants a core the waiting takes the time that the working thread needs. Measured with two threads on two cores beside
# one busy process: more than five times slower without it; on an idle machine there is no difference.
"""PyTorch training of promptable recommenders: data sets, model, three stages, evaluation."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
