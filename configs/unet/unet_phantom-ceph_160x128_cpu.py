_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/phantom_ceph.py",
    "../_base_/models/unet6.py",
    "../_base_/schedules/adamw_onecycle.py",
]

train_cfg = dict(max_epochs=20)
default_hooks = dict(checkpoint=dict(save_best="mre", rule="less"))
custom_hooks = [dict(_base_.ema, momentum=0.02)]
