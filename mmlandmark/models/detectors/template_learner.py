"""What detectors by templates have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmlandmark.models.detectors.base_detector import BaseDetector
from mmlandmark.models.heads import TemplateHead
from mmlandmark.structures import LandmarkDataSample, is_inside


class TemplateLearner(BaseDetector):
    """Base of detectors whose head keeps features of annotated images with the weights.

    ``TemplateHook`` calls :meth:`learn_templates` whenever the weights have changed.

    Attributes:
        head_path: Where the :class:`~mmlandmark.models.heads.TemplateHead` is in the detector.
    """

    head_path = "head"

    @property
    def template_head(self) -> TemplateHead:
        """The head that knows the templates."""
        return self.get_submodule(self.head_path)  # type: ignore[return-value]

    @property
    def remade_buffers(self) -> list[str]:
        """Names of the buffers that hold what it knows of its templates.

        A run whose config has another number of templates makes them anew.
        """
        return [f"{self.head_path}.{name}" for name in self.template_head.template_buffers]

    @property
    def learns_from_templates(self) -> bool:
        """Whether a step of the training looks at the features of the templates."""
        return False

    @property
    def shown_landmarks(self) -> Tensor:
        """(K,) bool: at least one template shows the landmark."""
        return (self.template_head.shown > 0).any(0)

    def check_run(self, run: Any) -> None:
        """Raise ValueError unless a hook gives it its templates, see :mod:`mmlandmark.engine.run_checks`."""
        if not run.provides("template"):
            raise ValueError(
                f"{type(self).__name__} needs an annotated image: add dict(type='TemplateHook', "
                "template=dict(ids=...)) to custom_hooks"
            )

    def learn_templates(self, batches: Sequence[Mapping[str, Any]]) -> None:
        """Encode annotated images by the weights as they are, and keep the features of their landmarks.

        A landmark that is not annotated, or lies outside of the input, is not shown. Call it in test mode.

        Args:
            batches: T batches of one sample, as they come from a loader.

        Raises:
            ValueError: There are more or fewer than ``head.num_templates``.
        """
        count = self.template_head.num_templates
        if len(batches) != count:
            raise ValueError(
                f"{len(batches)} templates for model.{self.head_path}.num_templates={count}: the two must "
                "agree"
            )
        with torch.no_grad():
            for index, batch in enumerate(batches):
                data = self.data_preprocessor(dict(batch), False)
                (sample,) = data["data_samples"]
                points, shown = shown_points(sample, data["inputs"].device)
                self.learn_template(index, data["inputs"], points, shown, sample)

    @abstractmethod
    def learn_template(
        self, index: int, inputs: Tensor, points: Tensor, shown: Tensor, sample: LandmarkDataSample
    ) -> None:
        """Keep the features of one template.

        Args:
            index: Of the template.
            inputs: (1, C, *S) preprocessed image.
            points: (K, D) finite pixels of it.
            shown: (K,) bool: it shows the landmark.
            sample: Of the image.
        """

    def predict(
        self, inputs: Tensor, data_samples: Sequence[LandmarkDataSample] | None = None
    ) -> list[LandmarkDataSample]:
        """Fill the predictions into every sample, see :meth:`BaseDetector.predict`.

        Raises:
            ValueError: Cases are to be predicted, and it has learnt no template.
        """
        if data_samples is not None and not self.shown_landmarks.any():
            raise ValueError(
                "the detector has learnt no template, or one that shows no landmark: train or test it with "
                "TemplateHook in custom_hooks"
            )
        return super().predict(inputs, data_samples)


def shown_landmarks(sample: LandmarkDataSample) -> Tensor:
    """Return (K,) bool: the landmark is annotated, and lies inside of the network's input."""
    return sample.mask & is_inside(sample.to_input(sample.gt_landmarks), sample.input_shape)


def shown_points(sample: LandmarkDataSample, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the landmarks (K, D) of a sample in input pixels, 0 where it shows none, and which it shows."""
    points, shown = sample.to_input(sample.gt_landmarks).double(), shown_landmarks(sample)
    return torch.where(shown[:, None], points, 0).to(device), shown.to(device)
