"""Non-local attention over a feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmlandmark.registry import MODELS


@MODELS.register_module()
class NonLocalBlock(nn.Module):
    r"""Non-local block, the variant with concatenation (Wang et al. 2018, eq. 9), as in SEG-UNet5 of FSF-LD.

    :math:`z = x + \mathrm{BN}(W y)` with
    :math:`y_i = \frac{1}{M} \sum_j \mathrm{ReLU}(w^T [\theta_i, \phi_j]) g_j` over the M places j of a map of
    half the size. The norm starts at zero, so that the block starts as identity.

    The projection of a concatenation is a sum, :math:`w^T [\theta_i, \phi_j] = w_\theta^T \theta_i + w_\phi^T
    \phi_j`: the N x M x C tensor of all pairs is never built.

    Args:
        in_channels: C.
        inner_channels: Of :math:`\theta`, :math:`\phi` and g; C / 2 by default.
        dims: 2 or 3.
    """

    def __init__(self, in_channels: int, inner_channels: int | None = None, dims: int = 2) -> None:
        super().__init__()
        inner = in_channels // 2 if inner_channels is None else inner_channels
        conv, norm, pool = {
            2: (nn.Conv2d, nn.BatchNorm2d, nn.MaxPool2d),
            3: (nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d),
        }[dims]
        self.g, self.theta, self.phi = (conv(in_channels, inner, 1) for _ in range(3))
        self.pair = nn.Linear(2 * inner, 1, bias=False)
        self.output, self.norm = conv(inner, in_channels, 1), norm(in_channels)
        self.pool = pool(2)
        nn.init.zeros_(self.norm.weight)
        nn.init.zeros_(self.norm.bias)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape (B, C, *S).

        Raises:
            ValueError: A side is shorter than two pixels.
        """
        if min(features.shape[2:]) < 2:
            raise ValueError(
                f"NonLocalBlock halves the map and got {tuple(features.shape[2:])}: use larger images or "
                "fewer levels before it"
            )
        g, phi = (self.pool(layer(features)).flatten(2) for layer in (self.g, self.phi))  # (B, C', M)
        theta = self.theta(features).flatten(2)  # (B, C', N)
        of_theta, of_phi = self.pair.weight[0].chunk(2)
        pairs = torch.relu((of_theta @ theta)[..., None] + (of_phi @ phi)[:, None])  # (B, N, M)
        attended = g @ pairs.mT / g.shape[-1]
        return features + self.norm(self.output(attended.unflatten(2, features.shape[2:])))

    def uncounted_macs(self, features: Tensor) -> int:
        """Return the multiply-adds of the projection of all pairs, as the publication counts them.

        The implementation needs only (N + M) times C'.
        """
        places = features[0, 0].numel()
        kept = self.pool(features[:1, :1]).numel()
        return self.pair.weight.numel() * places * kept
