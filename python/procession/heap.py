"""Allocation of shared memory for `sharedctypes`: the standard library's, under procession's name."""

import sys

import multiprocessing.heap

sys.modules[__name__] = multiprocessing.heap
