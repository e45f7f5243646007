"""pool: the standard library's, under procession's name."""

import sys

import multiprocessing.pool

sys.modules[__name__] = multiprocessing.pool
