"""Descriptors on their way to other processes: the standard library's, under procession's name."""

import sys

import multiprocessing.resource_sharer

sys.modules[__name__] = multiprocessing.resource_sharer
