# Self-training on mouse heads by a U-Net that sees them at 0.45 mm, in a step of several seconds
# without bfloat16. A smaller one, for any processor, is in heads5_mouse-head_48x48x48_cpu.py.
_base_ = ["../../_base_/self_training_heads.py"]

config = "../../volumes/unet_mouse-head_64x64x64_cpu.py"
seeds = [0, 1, 2]
baseline = "supervised"

own = dict(_base_.train_dataloader["dataset"], ids=_base_.few_ids)
few = {
    "train_dataloader.dataset": dict(_delete_=True, type="RepeatDataset", times=18, dataset=own),
    "val_dataloader.dataset.ids": _base_.test_ids,
    "default_hooks.checkpoint.interval": 8,
    "train_cfg": dict(max_epochs=16, val_interval=16),
}
arms = {"pre-trained": few}
for name, stages in _base_.stages_of.items():
    arms[name] = {**few, "inputs": {"load_from": "pre-trained"}, "stages": stages}
