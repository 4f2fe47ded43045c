# CC2D-SLA-ATD: three landmarks, one model for each, on a frozen encoder. No annotation of the training images
# is used but that of the first.
_base_ = ["cc2d_efficientnet-lite0_phantom-ceph_160x128_cpu.py"]

per_landmark = True
landmarks = ["sella", "nasion", "menton"]
model = dict(
    backbone=dict(frozen_stages=5),
    head=dict(num_landmarks=3),
    patches=dict(around="landmarks"),
)
copies = [*_base_.load, dict(type="RandomAffine", rotation=5, scale=0.01, shift=0.02)]
template = dict(_base_.dataset, landmarks=landmarks, split="train")
# An epoch: all augmented copies of the template, then all other images, with pseudo labels.
train_dataloader = dict(
    sampler=dict(_delete_=True, type="PartsInTurnSampler"),
    dataset=dict(
        _delete_=True,
        type="RepeatDataset",
        times=100,
        fixed=True,
        dataset=dict(template, indices=1, pipeline=[*copies, *_base_.plain]),
    ),
    unlabelled=dict(indices=list(range(1, 100)), pipeline=[*_base_.load, *_base_.plain]),
)
val_dataloader = dict(dataset=dict(landmarks=landmarks))
test_dataloader = dict(dataset=dict(landmarks=landmarks))
custom_hooks = [
    *_base_.custom_hooks,
    dict(type="PseudoLabelHook", first="random", selector=dict(type="KeepAll")),
]
train_cfg = dict(max_epochs=8, val_interval=8)
