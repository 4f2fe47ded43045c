_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/models/farnet.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# For a GPU that is lent by the minute: tools/pack_dataset.py makes the data small enough to be carried there,
# and training ends in time and goes on in the next call. Without a network, so from random weights; see `make
# gpu-train`.
data_root = "{{$PACKED_ROOT:data/packed}}"
load = [dict(type="LoadImage", channels=1), dict(type="Resize", size=(800, 640))]
train_pipeline = [
    *load,
    dict(type="RandomAffine", rotation=10, scale=0.1, shift=50),
    dict(type="Resample"),
    dict(type="RandomGamma", gamma=(0.74, 1.35)),
    dict(type="RandomBrightnessContrast", brightness=0.1, contrast=0.15),
    dict(type="PackInputs"),
]
dataset = dict(
    type="LandmarkDataset", data_root=data_root, ann_file="annotations.json", image_cache=dict(mode="ram")
)
train_dataloader = dict(
    batch_size=2,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(dataset, split="train", pipeline=train_pipeline),
)
test_dataloader = dict(
    batch_size=2,
    num_workers=4,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(
        dataset,
        split="test",
        pipeline=[*load, dict(type="Resample"), dict(type="PackInputs")],
        test_mode=True,
    ),
)
test_evaluator = dict(type="LandmarkMetric", unit="mm", radii=(2, 2.5, 3, 4))
val_dataloader, val_evaluator = test_dataloader, test_evaluator

model = dict(backbone=dict(init_cfg=None), head=dict(codec=dict(decoder="local_centroid")))
train_cfg = dict(max_epochs=100, val_interval=100)
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.05))
default_hooks = dict(checkpoint=dict(type="TimedCheckpointHook", every_minutes=1, budget_minutes=8))
param_scheduler = [
    dict(type="OneCycleLR", eta_max=1e-3, pct_start=0.2, by_epoch=True, convert_to_iter_based=True)
]
custom_hooks = [
    dict(type="EMAHook", ema_type="MomentumAnnealingEMA", momentum=0.002, gamma=100, update_buffers=True),
]
allow_leaks = True  # the challenge shows films of training in its first test, too
