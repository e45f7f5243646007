"""The same names on threads: the standard library's, under procession's name."""

import sys

import multiprocessing.dummy
import multiprocessing.dummy.connection

sys.modules[__name__ + ".connection"] = multiprocessing.dummy.connection
sys.modules[__name__] = multiprocessing.dummy
