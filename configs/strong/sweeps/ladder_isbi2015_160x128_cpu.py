# The effect of each ingredient, added one at a time to the published recipe of FARNet, with equal budgets.
config = "../../farnet/farnet_densenet-narrow_isbi2015_160x128_cpu.py"
seeds = [0, 1, 2]

load = [dict(type="LoadImage", size=(320, 256), channels=1), dict(type="Resize", size=(160, 128))]
published = {
    "train_dataloader.dataset.pipeline": [*load, dict(type="Resample"), dict(type="PackInputs")],
    # The published rate of 1e-4 is for 45000 steps of one image; here there are 912 of four.
    "optim_wrapper.optimizer": dict(_delete_=True, type="Adam", lr=1e-3),
    "param_scheduler": [dict(type="MultiStepLR", milestones=[16], gamma=0.1, by_epoch=True)],
    "custom_hooks": [],
}
augmented = {key: value for key, value in published.items() if key != "train_dataloader.dataset.pipeline"}
entropy = {
    "model.head.loss": dict(_delete_=True, type="SpatialCrossEntropyLoss"),
    "model.head.codec.activation": "softmax",
}
annotators = {**entropy, "model.head.num_annotators": 2}
unet = {
    "model.backbone": dict(
        _delete_=True,
        type="UNet",
        in_channels=1,
        widths=(24, 48, 96, 192, 256),
        conv_bias="auto",
        norm_cfg=dict(type="BN"),
        align_corners=False,
    ),
    "model.neck": None,
    "model.head": dict(
        _delete_=True,
        type="HeatmapHead",
        num_landmarks=19,
        num_annotators=2,
        codec=dict(type="GaussianHeatmapCodec", sigma=2, activation="softmax"),
        loss=dict(type="SpatialCrossEntropyLoss"),
    ),
}
hrnet = {
    **unet,
    "model.backbone": dict(_delete_=True, type="HRNet", in_channels=1, width=18, modules=(1, 2, 1)),
    "model.neck": dict(_delete_=True, type="FPN", channels=48, upsample_to=4),
}

arms = {
    "published": {**published, "model.head.codec.decoder": "argmax"},
    "sub-pixel": {"trained_as": "published", "model.head.codec.decoder": "local_centroid"},
    "augmentation": augmented,
    "one-cycle": {"custom_hooks": []},
    "ema": {},
    "cross-entropy": entropy,
    "two-readers": annotators,
    "hrnet": hrnet,
    "unet": unet,
    "views": {
        "trained_as": "unet",
        "model.test_cfg.views": [{}, dict(rotation=4), dict(rotation=-4), dict(scale=1.05), dict(scale=0.95)],
    },
}
ensembles = {"ensemble": "views"}
