"""popen_forkserver: the standard library's, under procession's name."""

import sys

import multiprocessing.popen_forkserver

sys.modules[__name__] = multiprocessing.popen_forkserver
