"""PyTorch's DataLoader starts its workers by a context, and gets tensors from them by a queue."""

import sys

import procession
import torch
from torch.utils.data import DataLoader, Dataset


class Squares(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        return torch.full((1000,), float(index * index))


if __name__ == "__main__":
    ctx = procession.get_context(sys.argv[1])
    loader = DataLoader(Squares(), batch_size=8, num_workers=2, multiprocessing_context=ctx)
    for _ in range(2):
        print(int(sum(batch[:, 0].sum() for batch in loader)))
