"""Connections, listeners and `wait`: the standard library's, under procession's name."""

import sys

import multiprocessing.connection

sys.modules[__name__] = multiprocessing.connection
