_base_ = [
    "../_base_/default_runtime.py",
    "../_base_/datasets/isbi2015.py",
    "../_base_/models/unet6.py",
    "../_base_/schedules/adamw_onecycle.py",
]

# Three small U-Nets; each learns the two annotators separately, see configs/unet/README.md.
model = dict(
    type="EnsembleDetector",
    members=3,
    backbone=dict(widths=(24, 48, 96, 192, 256, 256)),
    head=dict(num_annotators=2, codec=dict(window=5)),
)
train_cfg = dict(max_epochs=16, val_interval=8)
optim_wrapper = dict(optimizer=dict(lr=4e-3, weight_decay=0.05))
# Ends at a fifth of the peak (the first rate is a 25th of it): annealing to zero overfits on 150 films.
param_scheduler = [dict(_base_.one_cycle, eta_max=4e-3, final_div_factor=0.2)]
custom_hooks = [_base_.ema]
