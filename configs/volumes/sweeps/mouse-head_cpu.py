# Mouse heads: a U-Net and SpatialConfiguration-Net that see the whole head, against coarse to fine; the arms
# "-voxel" decode to whole voxels as their only difference.
_base_ = ["../coarse-to-fine_mouse-head_32x32x32_cpu.py"]

config = "../unet_mouse-head_80x96x96_cpu.py"
seeds = [0, 1, 2]
baseline = "unet"

voxel = {"model.head.codec.decoder": "argmax"}
fine = {
    "model": dict(_base_.model, _delete_=True),
    "train_cfg.max_epochs": _base_.train_cfg["max_epochs"],
    "train_cfg.val_interval": _base_.train_cfg["val_interval"],
    "train_dataloader.batch_size": _base_.train_dataloader["batch_size"],
    "train_dataloader.dataset.pipeline": _base_.patches,
    "val_dataloader.dataset.pipeline": _base_.whole,
    "test_dataloader.dataset.pipeline": _base_.whole,
}
coarse = {
    "train_cfg.max_epochs": 280,
    "train_cfg.val_interval": 70,
    "train_dataloader.dataset.pipeline": [*_base_.small, *_base_.augmented],
    "val_dataloader.dataset.pipeline": [*_base_.small, *_base_.plain],
    "test_dataloader.dataset.pipeline": [*_base_.small, *_base_.plain],
}
scn = {
    "model.backbone": dict(
        _delete_=True,
        type="AdditiveUNet",
        in_channels=1,
        width=24,
        levels=4,
        dropout=0.1,
        padding_mode="reflect",
    ),
    "model.head": dict(
        _delete_=True,
        type="SpatialConfigurationHead",
        num_landmarks=45,
        channels=24,
        spatial_kernel=7,
        downsample=8,
        padding_mode="reflect",
        init_std=1e-3,
        codec=dict(type="LearnedSigmaCodec", sigma=2, scale=100, regularizer=1),
        loss=dict(type="HeatmapMSELoss", reduction="sum", loss_weight=0.5),
    ),
}

arms = {
    "unet": {},
    "unet-voxel": {"trained_as": "unet", **voxel},
    "scn": scn,
    "scn-voxel": {"trained_as": "scn", **voxel},
    "coarse": coarse,
    "coarse-to-fine": {**fine, "inputs": {"coarse": "coarse"}},
    "coarse-to-fine-voxel": {"trained_as": "coarse-to-fine", "model.fine.head.codec.decoder": "argmax"},
}
