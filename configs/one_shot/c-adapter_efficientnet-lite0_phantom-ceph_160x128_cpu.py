# One model for all landmarks, of which each has a part of its own. No annotation of the training images is
# used but that of the last. Shared convolutions do not see the adapters, so that labels are cheap.
_base_ = ["./cc2d_efficientnet-lite0_phantom-ceph_160x128_cpu.py"]

model = dict(
    backbone=dict(frozen_stages=5),
    neck=dict(type="AdapterDecoder", adapter_channels=8, independent=True),
    patches=dict(around="landmarks", one_landmark=True),
)
copies = [*_base_.load, dict(type="RandomAffine", rotation=5, scale=0.01, shift=0.02)]
template = dict(_base_.dataset, split="train", indices=[99])
own = dict(template, pipeline=[*copies, *_base_.plain])
# An epoch: all augmented copies of the template, then all other images, with pseudo labels.
train_dataloader = dict(
    sampler=dict(_delete_=True, type="PartsInTurnSampler"),
    dataset=dict(_delete_=True, type="RepeatDataset", times=100, fixed=True, dataset=own),
    unlabelled=dict(indices=99, pipeline=[*_base_.load, *_base_.plain]),
)
custom_hooks = [
    dict(type="TemplateHook", template=template),
    dict(type="PseudoLabelHook", first="random", interval=2, selector=dict(type="KeepAll")),
]
train_cfg = dict(max_epochs=12, val_interval=12)
