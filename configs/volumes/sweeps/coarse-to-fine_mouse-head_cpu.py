# Mouse heads: the whole head at a low resolution, and from there to patches as the head lies, or to patches
# aligned to the typical shape; "aligned-voxel" decodes to whole voxels as its only difference.
_base_ = ["../coarse-to-fine_mouse-head_32x32x32_cpu.py"]

config = "../unet_mouse-head_64x64x64_cpu.py"
seeds = [0, 1, 2]
baseline = "coarse"

low = {
    "train_cfg.max_epochs": 400,
    "train_cfg.val_interval": 100,
    "train_dataloader.dataset.pipeline": [*_base_.small, *_base_.augmented],
    "val_dataloader.dataset.pipeline": [*_base_.small, *_base_.plain],
    "test_dataloader.dataset.pipeline": [*_base_.small, *_base_.plain],
}
aligned = {
    "model": dict(_base_.model, _delete_=True),
    "custom_hooks": _base_.custom_hooks,
    "train_cfg.max_epochs": 800,
    "train_cfg.val_interval": 200,
    "train_dataloader.batch_size": 6,
    "train_dataloader.dataset.pipeline": _base_.patches,
    "val_dataloader.dataset.pipeline": _base_.whole,
    "test_dataloader.dataset.pipeline": _base_.whole,
}
as_it_lies = {
    **aligned,
    "model": dict(_base_.model, _delete_=True, align=None),
    "custom_hooks": _base_.custom_hooks[1:],
    "train_dataloader.dataset.pipeline": [
        *_base_.whole[:2],
        dict(type="RandomAffine", rotation=(20, 20, 180), scale=0.15),
        *_base_.patches[3:],
    ],
}
arms = {
    "coarse": low,
    "coarse-to-fine": {**as_it_lies, "inputs": {"coarse": "coarse"}},
    "aligned": {**aligned, "inputs": {"coarse": "coarse"}},
    "aligned-voxel": {"trained_as": "aligned", "model.fine.head.codec.decoder": "argmax"},
}
