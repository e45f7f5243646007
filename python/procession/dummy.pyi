from multiprocessing.dummy import *
