"""From two branches to one pseudo label: soft (paper, Eqs. 6 and 7), hard, or truncated."""

from __future__ import annotations

import torch
from torch import Tensor

from lnq.losses.cross_entropy import one_hot
from lnq.losses.log_probabilities import Logits, log_softmax


def mix_branches(main_logits: Logits, aux_logits: Logits, theta: float | Tensor) -> Tensor:
    """Eq. 6: θ p_main + (1 - θ) p_aux, without gradient.

    Args:
        main_logits: (b, 2, z, y, x) of the main decoder.
        aux_logits: (b, 2, z, y, x) of the auxiliary decoder.
        theta: θ in [0, 1], a number or a scalar, drawn anew for each iteration.

    Returns:
        Probabilities (b, 2, z, y, x).

    Examples:
        >>> main = torch.tensor([1.0, 3.0]).log().view(1, 2, 1, 1, 1)  # (1/4, 3/4)
        >>> aux = torch.tensor([1.0, 1.0]).log().view(1, 2, 1, 1, 1)  # (1/2, 1/2)
        >>> mix_branches(main, aux, theta=0.2).flatten()  # foreground: 0.2 * 0.75 + 0.8 * 0.5
        tensor([0.4500, 0.5500])
    """
    with torch.no_grad():
        main, aux = log_softmax(main_logits).exp(), log_softmax(aux_logits).exp()
        return theta * main + (1 - theta) * aux


def sharpen(mixed: Tensor, tau: float = 0.3) -> Tensor:
    """Eq. 7: softmax over the classes of mixed / τ.

    It acts on probabilities, so its values stay within 1/(1+e^(±1/τ)): [0.0345, 0.9655] for 0.3.

    Args:
        mixed: Probabilities (b, 2, z, y, x).
        tau: Temperature τ > 0.

    Examples:
        >>> mixed = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1, 1)
        >>> sharpen(mixed, tau=0.25).flatten()  # foreground: 1 / (1 + e^-2)
        tensor([0.1192, 0.8808])
    """
    return torch.softmax(mixed / tau, dim=1)


def soft_pseudo_label(
    y: Tensor, sharpened: Tensor, known_background: Tensor | None = None
) -> Tensor:
    """ŷ: 1 where annotated, the sharpened foreground elsewhere; background is the rest.

    Args:
        y: (b, 1, z, y, x) partial annotation in {0, 1}.
        sharpened: Probabilities (b, 2, z, y, x).
        known_background: (b, 1, z, y, x) in {0, 1}, 0 where annotated: ŷ is 0 there.

    Returns:
        (b, 2, z, y, x), summing to 1 over the classes.

    Examples:
        >>> y = torch.tensor([1.0, 0.0]).view(1, 1, 1, 1, 2)
        >>> sharpened = torch.tensor([[0.7, 0.7], [0.3, 0.3]]).view(1, 2, 1, 1, 2)
        >>> soft_pseudo_label(y, sharpened)[0, 1].flatten()  # foreground
        tensor([1.0000, 0.3000])
        >>> soft_pseudo_label(y, sharpened, known_background=1 - y)[0, 1].flatten()
        tensor([1., 0.])
    """
    unknown = 1 - y if known_background is None else 1 - y - known_background
    return one_hot(y + unknown * sharpened[:, 1:])


def hard_pseudo_label(pseudo_label: Tensor) -> Tensor:
    """The more probable class of ŷ, as the Dice of rows a and b of the paper's Table 1 needs it.

    Args:
        pseudo_label: ŷ (b, 2, z, y, x).

    Returns:
        (b, 1, z, y, x) in {0, 1}: 1 where annotated, and where ŷ's foreground is above one half.

    Examples:
        >>> pseudo_label = torch.tensor([[0.0, 0.7, 0.4], [1.0, 0.3, 0.6]]).view(1, 2, 1, 1, 3)
        >>> hard_pseudo_label(pseudo_label).flatten()
        tensor([1., 0., 1.])
    """
    return pseudo_label.argmax(dim=1, keepdim=True).to(pseudo_label.dtype)


def truncated_pseudo_label(pseudo_label: Tensor) -> Tensor:
    """What the original takes for the class of a voxel: ŷ's background probability, truncated.

    A probability below 1 becomes 0, so the "class" is background wherever the sharpening leaves the
    foreground anything, annotated nodes included: their background probability is exactly 0. Only
    a background probability of exactly 1, which takes a very low τ, would give class 1.

    Args:
        pseudo_label: ŷ (b, 2, z, y, x).

    Returns:
        (b, 2, z, y, x), one class with all the probability.

    Examples:
        >>> pseudo_label = torch.tensor([[0.0, 0.7, 1.0], [1.0, 0.3, 0.0]]).view(1, 2, 1, 1, 3)
        >>> truncated_pseudo_label(pseudo_label)[0, 1].flatten()  # "foreground"
        tensor([0., 0., 1.])
    """
    return one_hot(pseudo_label[:, :1].trunc())
