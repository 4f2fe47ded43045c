# CC2D-SLA-ATD-Adapter: one model for all landmarks, of which each has a part of its own; for weights of CC2D.
_base_ = ["cc2d_efficientnet-lite0_isbi2015_320x256_cpu.py"]

model = dict(
    backbone=dict(frozen_stages=7),
    neck=dict(type="AdapterDecoder", adapter_channels=8, independent=True),
    patches=dict(around="landmarks", points=1, one_landmark=True),
)
own = dict(_base_.template, pipeline=_base_.turned)
# An epoch: all augmented copies of the template, then all other films, with pseudo labels.
others = [f"{number:03}" for number in range(1, 151) if number != 125]
train_dataloader = dict(
    drop_last=False,
    sampler=dict(_delete_=True, type="PartsInTurnSampler"),
    dataset=dict(_delete_=True, type="RepeatDataset", times=100, fixed=True, dataset=own),
    unlabelled=dict(ids=others, pipeline=_base_.plain),
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type="PseudoLabelHook", interval=3, selector=dict(type="KeepAll")),
]
train_cfg = dict(max_epochs=18, val_interval=3)
optim_wrapper = dict(optimizer=dict(lr=3e-4))
param_scheduler = [dict(_base_.one_cycle, eta_max=3e-4)]
