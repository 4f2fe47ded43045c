# CC2D-SLA-ATD-Adapter, as published: one model for all landmarks, of which each has a part of its own.
_base_ = ["./cc2d_vgg19_isbi2015_384x384.py"]

model = dict(
    backbone=dict(frozen_stages=4),
    neck=dict(type="AdapterDecoder", adapter_channels=16),
    # A step is of one landmark: of its adapter, and of what all share.
    patches=dict(around="landmarks", one_landmark=True),
    template_view="patch",
)
# As for CC2D-SLA-ATD: all copies of the template, then all other images, with pseudo labels.
copies = [
    dict(type="LoadImage", size=(960, 774), channels=1),
    dict(type="RandomAffine", rotation=5, scale=0.01, shift=(0.02, 0.0248)),
    dict(type="Resize", size=(384, 384)),
]
template = dict(_base_.dataset, split="train", ids=["125"], pipeline=[*copies, *_base_.plain])
others = [f"{number:03}" for number in range(1, 151) if number != 125]
train_dataloader = dict(
    drop_last=False,
    sampler=dict(_delete_=True, type="PartsInTurnSampler"),
    dataset=dict(_delete_=True, type="RepeatDataset", times=500, fixed=True, dataset=template),
    unlabelled=dict(ids=others, pipeline=_base_.pipeline),
)
# An epoch of the publication takes every image for every landmark; pseudo labels hold as long.
passes = 19
custom_hooks = [
    *_base_.custom_hooks,
    dict(type="PseudoLabelHook", first="random", interval=passes, selector=dict(type="KeepAll")),
]
train_cfg = dict(max_epochs=300 * passes, val_interval=300 * passes)
default_hooks = dict(checkpoint=dict(interval=passes))
optim_wrapper = dict(optimizer=dict(lr=1e-4, weight_decay=0))
param_scheduler = None
