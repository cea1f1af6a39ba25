"""Seconds a training step on two CPU cores: free threads, bound threads, one thread.

    python benchmarks/cpu_threads.py [--steps 30]

Each setting runs in a process of its own, because OpenMP reads its environment once; the settings
take turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

SETTINGS = {
    "two threads": {},
    "two threads, bound": {"OMP_PROC_BIND": "spread"},
    "two threads, passive": {"OMP_WAIT_POLICY": "passive"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        _train(options.steps)
        return
    for _ in range(options.rounds):
        for name, variables in SETTINGS.items():
            result = subprocess.run(
                [sys.executable, __file__, "--child", "--steps", str(options.steps)],
                env=os.environ | variables, capture_output=True, text=True, check=True,
            )  # fmt: skip
            print(f"{name:<20} median, slowest step: {result.stdout.strip()} s")


def _train(steps: int) -> None:
    import torch

    from lnq.losses import consensus_loss, mix_branches, sharpen, soft_pseudo_label, tversky_loss
    from lnq.networks import DualBranchVNet

    torch.manual_seed(0)
    network = DualBranchVNet(widths=(8, 16, 32, 64), dropouts=(0.05, 0.1, 0.2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, nesterov=True)
    image = torch.randn(2, 1, 24, 48, 48)
    y = (torch.rand(image.shape) < 0.001).float()
    seconds = []
    for _ in range(steps):
        start = time.perf_counter()
        main, aux = network(image)
        target = soft_pseudo_label(y, sharpen(mix_branches(main, aux, 0.5)))
        loss = tversky_loss(main, y) + tversky_loss(aux, y)
        loss = loss + consensus_loss(main, aux, target) + consensus_loss(aux, main, target)
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    seconds.sort()
    print(f"{seconds[steps // 2]:.2f}, {seconds[-1]:.2f}")


if __name__ == "__main__":
    main()
