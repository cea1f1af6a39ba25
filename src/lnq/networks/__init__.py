"""The dual-branch network, its single-branch sibling, and weights that come from elsewhere."""

from lnq.networks.dual_branch_vnet import DualBranchVNet, VNet

__all__ = ["DualBranchVNet", "VNet"]
