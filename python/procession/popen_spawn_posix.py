"""popen_spawn_posix: the standard library's, under procession's name."""

import sys

import multiprocessing.popen_spawn_posix

sys.modules[__name__] = multiprocessing.popen_spawn_posix
