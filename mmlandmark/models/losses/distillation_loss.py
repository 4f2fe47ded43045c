"""Losses between features of a student and of its teacher."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmlandmark.codecs import resized
from mmlandmark.registry import MODELS


class FeatureLoss(nn.Module, ABC):
    """A loss of one feature map of the student against one of the teacher.

    A teacher's map of another size is resized to the student's, see :func:`mmlandmark.codecs.resized`.
    """

    @abstractmethod
    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the scalar loss of maps of one size (*S), as :meth:`reduced` returns them."""

    def reduced(self, features: Tensor) -> Tensor:
        """Return the part of features (B, C, *S) to compare, before sizes are matched; all by default."""
        return features

    def adapted(self, student: Tensor) -> Tensor:
        """Return the student's features (B, C, *S) as they are compared; unchanged by default."""
        return student

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the scalar loss.

        Args:
            student: (B, C, *S) features.
            teacher: (B, C', *S') features.
        """
        with torch.autocast(student.device.type, enabled=False):
            kind = torch.promote_types(student.dtype, torch.float32)
            wanted = resized(self.reduced(teacher.detach().to(kind)), student.shape[2:])
            return self.compare(self.reduced(self.adapted(student.to(kind))), wanted)


class _SpatialAttention(FeatureLoss):
    """Compares where features are strong: the numbers of channels may differ."""

    def reduced(self, features: Tensor) -> Tensor:
        """Return the mean square over channels, (B, 1, *S)."""
        return features.square().mean(1, keepdim=True)


@MODELS.register_module()
class AttentionMapLoss(_SpatialAttention):
    r"""Distance of attention maps, :math:`\| F(t) - F(s) \|_2` with :math:`F(A) = \frac{1}{C} \sum_c A_c^2`.

    FSF-LD (Huang et al. 2022, eq. 11 and 12): the norm over the pixels of a map is not squared, the maps are
    not normalised, and the batch is averaged over.
    """

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean norm of the differences."""
        return torch.linalg.vector_norm((student - teacher).flatten(1), dim=1).mean()


@MODELS.register_module()
class AttentionTransferLoss(_SpatialAttention):
    r"""Distance of normalised attention maps, :math:`\| F(t) / |F(t)|_2 - F(s) / |F(s)|_2 \|_2`.

    Zagoruyko and Komodakis (2017), eq. 2: only the shape of the maps counts, not their height.
    """

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean norm of the differences."""
        student, teacher = (F.normalize(maps.flatten(1), dim=1) for maps in (student, teacher))
        return torch.linalg.vector_norm(student - teacher, dim=1).mean()


@MODELS.register_module()
class FeatureMSELoss(FeatureLoss):
    """Mean squared difference of features; a 1x1 convolution brings the student to the teacher's channels.

    Args:
        student_channels: C of the student's features; None compares them as they are.
        teacher_channels: C' of the teacher's; where both are equal there is no convolution either.
        dims: 2 or 3.

    Raises:
        ValueError: Only one of the channels is given; or features have other channels.
    """

    def __init__(
        self, student_channels: int | None = None, teacher_channels: int | None = None, dims: int = 2
    ) -> None:
        super().__init__()
        self.connector = None
        if student_channels is None or teacher_channels is None:
            if student_channels is not teacher_channels:
                raise ValueError(
                    "FeatureMSELoss needs both student_channels and teacher_channels, or neither"
                )
        elif student_channels != teacher_channels:
            conv = nn.Conv2d if dims == 2 else nn.Conv3d
            self.connector = conv(student_channels, teacher_channels, 1)

    def adapted(self, student: Tensor) -> Tensor:
        """Return the student's features with the teacher's channels."""
        if self.connector is None:
            return student
        if student.shape[1] != self.connector.in_channels:
            raise ValueError(
                f"the student's features have {student.shape[1]} channels, FeatureMSELoss has "
                f"student_channels={self.connector.in_channels}"
            )
        return self.connector(student)

    def compare(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Return the mean squared difference."""
        if student.shape[1] != teacher.shape[1]:
            if self.connector is not None:
                raise ValueError(
                    f"the teacher's features have {teacher.shape[1]} channels, FeatureMSELoss has "
                    f"teacher_channels={student.shape[1]}"
                )
            raise ValueError(
                f"features of {student.shape[1]} and {teacher.shape[1]} channels cannot be compared: give "
                f"FeatureMSELoss student_channels={student.shape[1]}, teacher_channels={teacher.shape[1]}"
            )
        return F.mse_loss(student, teacher)
