"""queues: the standard library's, under procession's name."""

import sys

import multiprocessing.queues

sys.modules[__name__] = multiprocessing.queues
