"""Seconds a window of inference takes on this machine's CPU, by windows at a time.

    python benchmarks/windows.py [--rounds 5]

The first row is `make table1`'s network and window, the second the paper's. Processor time, of as
many threads as OMP_NUM_THREADS allows; the sizes take turns.
"""

from __future__ import annotations

import argparse
import time

import torch

from lnq.networks import DualBranchVNet

NETWORKS = {
    (16, 40, 40): DualBranchVNet(widths=(8, 16, 32, 64), dropouts=(0.05, 0.1, 0.2)),
    (64, 128, 224): DualBranchVNet(),
}
BATCH_SIZES = (1, 2, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    for window, network in NETWORKS.items():
        network.eval()
        best = dict.fromkeys(BATCH_SIZES, float("inf"))
        for _ in range(rounds):
            for batch_size in BATCH_SIZES:
                best[batch_size] = min(best[batch_size], _seconds(network, window, batch_size))
        told = ", ".join(f"{size} at a time {best[size]:.4f} s" for size in BATCH_SIZES)
        print(f"{'x'.join(map(str, window))}: {told}")


@torch.inference_mode()
def _seconds(network: DualBranchVNet, window: tuple[int, ...], batch_size: int) -> float:
    batch = torch.randn(batch_size, 1, *window)
    start = time.process_time()
    network.main_logits(batch)
    return (time.process_time() - start) / batch_size


if __name__ == "__main__":
    main()
