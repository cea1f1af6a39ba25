"""`lnq STAGE ...`: the stages behind one entry point."""

from __future__ import annotations

import difflib
import os
import sys

STAGES = {
    "doctor": "what is wrong with a dataset, before training",
    "preprocess": "scans to a store that training reads fast",
    "export": "a dataset in nnU-Net's folders",
    "train": "pre-training and fine-tuning",
    "calibrate": "the threshold of a run, chosen on unseen cases",
    "predict": "masks on the scans' own grids",
    "evaluate": "predictions against references",
    "report": "a self-contained HTML page of a run",
    "compare": "two runs case by case: intervals and a paired test",
    "rank": "our place among published results",
    "collect": "one table of all runs below a folder, and the paper's Table 1",
    "dashboard": "a W&B dashboard for a project's runs",
    "figures": "pictures of the method, of a store's cases or of a phantom",
}


def main() -> None:
    """Runs the stage named first with the remaining arguments."""
    stage = sys.argv[1] if len(sys.argv) > 1 else ""
    if stage not in STAGES:
        listed = "\n".join(f"  lnq {name:<11} {purpose}" for name, purpose in STAGES.items())
        known = stage in ("", "-h", "--help")
        stream = sys.stdout if known else sys.stderr
        meant = difflib.get_close_matches(stage, STAGES, n=1)
        hint = f"; did you mean {meant[0]}?" if meant else ""
        problem = "" if known else f"error: no stage {stage!r}{hint}\n"
        print(f"{problem}stages:\n{listed}\nlnq STAGE --help tells more", file=stream)
        sys.exit(0 if known else 2)
    # Becomes `python -m lnq.STAGE`: training on several devices starts its command line again.
    os.execv(sys.executable, [sys.executable, "-m", f"lnq.{stage}", *sys.argv[2:]])


if __name__ == "__main__":
    main()
