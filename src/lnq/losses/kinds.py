"""The three kinds of voxels, on their way from the batch to the losses.

    kind               L_PCE          L_CE, L_SCE, L_Tversky, L_Dice   pseudo label ŷ
    annotated          -log p_1       a node                           1
    known background   -log p_0       background                       0
    unknown            stays out      background where it is counted   soft

What is counted is the method's choice: the paper counts every voxel, and so takes unknown ones, of
which a few are nodes, for background; L_SCE is robust to that, L_CE, L_Tversky and L_Dice are not.
Counted lopsidedly, an unknown voxel counts the less the more it looks like a node.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Kinds(NamedTuple):
    """What is known of each voxel of a batch; a voxel that is neither of the first two is unknown.

    Attributes:
        annotated: y, (b, 1, z, y, x) in {0, 1}.
        background: Known background, of the same shape, 0 where annotated; None = only the
            annotation is known.
        counted: How much each voxel counts in L_CE, L_SCE, L_Tversky and L_Dice, in [0, 1], of the
            same shape; None = all, wholly.
    """

    annotated: Tensor
    background: Tensor | None = None
    counted: Tensor | None = None


def counted_voxels(
    annotated: Tensor, background: Tensor, supervised: Tensor, *, unknown: bool
) -> Tensor:
    """`Kinds.counted`: what is known, and of cases that somebody annotated the rest, too.

    Args:
        annotated: (b, 1, z, y, x) in {0, 1}.
        background: Known background, of the same shape, 0 where annotated.
        supervised: (b, 1, 1, 1, 1), 0 for a patch of a case that nobody annotated: what is unknown
            there is never counted, for no reader passed over it.
        unknown: Whether unknown voxels of the others are.

    Returns:
        Of the shape and type of `annotated`.

    Examples:
        >>> import torch
        >>> y = torch.tensor([1.0, 0.0, 0.0]).view(1, 1, 1, 1, 3)
        >>> known = torch.tensor([0.0, 1.0, 0.0]).view(1, 1, 1, 1, 3)
        >>> one = torch.ones(1, 1, 1, 1, 1)
        >>> counted_voxels(y, known, one, unknown=True).flatten()
        tensor([1., 1., 1.])
        >>> counted_voxels(y, known, 0 * one, unknown=True).flatten()  # nobody annotated this case
        tensor([1., 1., 0.])
        >>> counted_voxels(y, known, one, unknown=False).flatten()
        tensor([1., 1., 0.])
    """
    known = annotated + background
    return known + (1 - known) * supervised if unknown else known


def lopsided(kinds: Kinds, mixed: Tensor, exponent: float = 1.0) -> Kinds:
    """Unknown voxels count by how little they look like nodes: times (1 - p_1)^κ.

    A node that nobody outlined pulls the network down the less, the surer the network is of it;
    where it sees none, unmarked voxels teach that there is none. Nothing is ever learnt as a node
    that way: the bootstrapping of Reed et al. (2015), of one side.

    Args:
        kinds: Counted voxels by what is known; all where that is None.
        mixed: Probabilities (b, 2, z, y, x) of both branches' mixture, without gradient (Eq. 6).
        exponent: κ >= 0; 0 leaves everything as it was.

    Returns:
        The same kinds; what is annotated or known background counts as before.

    Examples:
        >>> import torch
        >>> y = torch.tensor([1.0, 0.0, 0.0]).view(1, 1, 1, 1, 3)
        >>> known = torch.tensor([0.0, 1.0, 0.0]).view(1, 1, 1, 1, 3)
        >>> mixed = torch.tensor([[0.25] * 3, [0.75] * 3]).view(1, 2, 1, 1, 3)
        >>> lopsided(Kinds(y, known), mixed).counted.flatten()
        tensor([1.0000, 1.0000, 0.2500])
    """
    certain = kinds.annotated if kinds.background is None else kinds.annotated + kinds.background
    weight = certain + (1 - certain) * mixed[:, :1] ** exponent
    return kinds._replace(counted=weight if kinds.counted is None else kinds.counted * weight)
