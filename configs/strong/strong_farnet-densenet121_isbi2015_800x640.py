_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015.py",
    "../_base_/models/farnet.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# FARNet's network with every ingredient of README.md. Needs a GPU.
load = [dict(type="LoadImage", size=(1600, 1280), channels=1), dict(type="Resize", size=(800, 640))]
loader = dict(batch_size=4, persistent_workers=True)
train_dataloader = dict(loader, num_workers=8, dataset=dict(pipeline=[*load, *_base_.augmented]))
val_dataloader = dict(loader, num_workers=4, dataset=dict(pipeline=[*load, *_base_.plain]))
test_dataloader = val_dataloader

model = dict(
    head=dict(
        num_annotators=2,
        codec=dict(sigma=5, activation="softmax", decoder="local_centroid", window=12),
        loss=dict(_delete_=True, type="SpatialCrossEntropyLoss"),
    ),
    test_cfg=dict(views=[{}, dict(rotation=4), dict(rotation=-4), dict(scale=1.05), dict(scale=0.95)]),
)
train_cfg = dict(max_epochs=40, val_interval=10)
optim_wrapper = dict(optimizer=dict(lr=1e-3, weight_decay=0.05))
param_scheduler = [dict(_base_.one_cycle, eta_max=1e-3, final_div_factor=0.2)]
custom_hooks = [_base_.ema]
