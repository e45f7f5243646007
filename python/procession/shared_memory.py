"""Named shared memory: the standard library's, under procession's name."""

import sys

import multiprocessing.shared_memory

sys.modules[__name__] = multiprocessing.shared_memory
