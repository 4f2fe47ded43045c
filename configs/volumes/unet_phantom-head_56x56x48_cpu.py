_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/phantom_head.py",
    "../_base_/models/unet_volumes.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# Voxels of 5 mm, decoded between the voxels; with head.codec.decoder="argmax", to integer voxels.
model = dict(
    data_preprocessor=dict(mean=0.1, std=0.15),
    backbone=dict(widths=(8, 16, 32, 64)),
    head=dict(num_landmarks=26, codec=dict(sigma=1.2, decoder="dark"), presence=dict()),
    test_cfg=dict(spread=True),
)
train_cfg = dict(max_epochs=10, val_interval=5)
optim_wrapper = dict(optimizer=dict(lr=6e-3))
param_scheduler = [dict(_base_.one_cycle, eta_max=6e-3)]
custom_hooks = [dict(_base_.ema, momentum=0.02)]
