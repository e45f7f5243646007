"""forkserver: the standard library's, under procession's name."""

import sys

import multiprocessing.forkserver

sys.modules[__name__] = multiprocessing.forkserver
