"""The base of every module that takes an ``init_cfg``."""

from __future__ import annotations

from mmengine import model

from mmlandmark.utils.safe_loading import safe_loading


class BaseModule(model.BaseModule):
    """MMEngine's base module, which loads the weights that ``init_cfg`` names safely, in any program.

    Args:
        init_cfg: How to initialize the weights, see MMEngine.
    """

    def init_weights(self) -> None:
        """Initialize the weights of this module and of those inside.

        Raises:
            ValueError: The checkpoint of a ``Pretrained`` entry lacks weights or cannot be loaded safely.
        """
        with safe_loading:
            super().init_weights()
