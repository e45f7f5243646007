"""popen_fork: the standard library's, under procession's name."""

import sys

import multiprocessing.popen_fork

sys.modules[__name__] = multiprocessing.popen_fork
