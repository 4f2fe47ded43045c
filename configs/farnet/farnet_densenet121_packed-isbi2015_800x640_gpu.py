_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015.py",
    "../_base_/models/farnet.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# For a GPU that is available for minutes at a time: mmlandmark pack-data makes the data small enough to copy
# there, and training stops in time and resumes in the next call. Random weights, since there may be no
# network; see `make gpu-day`.
data_root = "{{$PACKED_ROOT:data/packed}}"
load = [dict(type="LoadImage", channels=1), dict(type="Resize", size=(800, 640))]
dataset = dict(
    _delete_=True,
    type="LandmarkDataset",
    data_root=data_root,
    ann_file="annotations.json",
    image_cache=dict(mode="ram"),
)
train_dataloader = dict(
    batch_size=2,
    num_workers=8,
    persistent_workers=True,
    dataset=dict(dataset, split="train", pipeline=[*load, *_base_.augmented]),
)
val_dataloader = dict(
    batch_size=2,
    num_workers=4,
    dataset=dict(dataset, split="test", pipeline=[*load, *_base_.plain], test_mode=True),
)
test_dataloader = val_dataloader

model = dict(backbone=dict(init_cfg=None), head=dict(codec=dict(decoder="local_centroid")))
train_cfg = dict(max_epochs=100, val_interval=100)
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.05))
param_scheduler = [dict(_base_.one_cycle, eta_max=1e-3)]
default_hooks = dict(checkpoint=dict(type="TimedCheckpointHook", every_minutes=1, budget_minutes=8))
custom_hooks = [dict(_base_.ema, momentum=0.002, gamma=100)]
