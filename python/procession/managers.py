"""Managers: the standard library's, under procession's name."""

import sys

import multiprocessing.managers

sys.modules[__name__] = multiprocessing.managers
