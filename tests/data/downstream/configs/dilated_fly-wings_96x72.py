_base_ = [
    "mmlandmark::_base_/default_runtime.py",
    "mmlandmark::_base_/models/unet6.py",
    "mmlandmark::_base_/schedules/adamw_onecycle.py",
]

model = dict(
    backbone=dict(_delete_=True, type="DilatedStack", width=8),
    head=dict(
        num_landmarks=3,
        codec=dict(_delete_=True, type="CentroidCodec", sigma=2),
        loss=dict(_delete_=True, type="HuberHeatmapLoss", reduction="sum"),
    ),
)

load = [dict(type="LoadImage", channels=1), dict(type="Resize", size=(96, 72)), dict(type="Resample")]
pipeline = [*load, dict(type="PackInputs")]
dataset = dict(type="FlyWings", data_root="{{$FLY_WINGS_ROOT:data/fly_wings}}", pipeline=pipeline)
train_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(dataset, split="train"),
)
val_dataloader = dict(
    batch_size=2,
    num_workers=0,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(dataset, split="test", test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = [dict(type="LandmarkMetric", unit="px"), dict(type="WingLengthMetric", ends=(0, 2))]
test_evaluator = val_evaluator
train_cfg = dict(max_epochs=1, val_interval=1)
custom_hooks = [dict(type="FreezeBackboneHook", iterations=1)]
