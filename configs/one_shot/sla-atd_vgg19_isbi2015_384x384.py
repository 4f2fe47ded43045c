# CC2D-SLA-ATD, as published: every epoch also learns from 500 augmented copies of the template.
_base_ = ["cc2d_vgg19_isbi2015_384x384.py"]

per_landmark = True
model = dict(
    backbone=dict(frozen_stages=4),
    patches=dict(around="landmarks"),
    template_view="patch",
)
# The ranges of FM-OSD, relative to either side; turned as the film is, before it becomes a square.
copies = [
    dict(type="LoadImage", size=(960, 774), channels=1),
    dict(type="RandomAffine", rotation=5, scale=0.01, shift=(0.02, 0.0248)),
    dict(type="Resize", size=(384, 384)),
]
others = [f"{number:03}" for number in range(1, 151) if number != 125]
# An epoch: all copies, then all other images, with pseudo labels.
train_dataloader = dict(
    drop_last=False,
    sampler=dict(_delete_=True, type="PartsInTurnSampler"),
    dataset=dict(
        _delete_=True,
        type="RepeatDataset",
        times=500,
        fixed=True,
        dataset=dict(_base_.dataset, split="train", ids=["125"], pipeline=[*copies, *_base_.plain]),
    ),
    unlabelled=dict(ids=others, pipeline=_base_.pipeline),
)
custom_hooks = [
    *_base_.custom_hooks,
    dict(type="PseudoLabelHook", first="random", selector=dict(type="KeepAll")),
]
train_cfg = dict(max_epochs=300, val_interval=300)
default_hooks = dict(checkpoint=dict(interval=10))
optim_wrapper = dict(optimizer=dict(lr=1e-4, weight_decay=0))
param_scheduler = None
