"""Small things to test models, hooks and configs with, here and in packages built on this one."""

from mmlandmark.testing.tiny import phantom_dataloader, tiny_config, tiny_model

__all__ = ["phantom_dataloader", "tiny_config", "tiny_model"]
