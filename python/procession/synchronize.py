"""synchronize: the standard library's, under procession's name."""

import sys

import multiprocessing.synchronize

sys.modules[__name__] = multiprocessing.synchronize
