# CC2D-SLA-ATD: three landmarks, a model each, on a frozen encoder; for weights of CC2D, which label first.
_base_ = ["cc2d_efficientnet-lite0_isbi2015_320x256_cpu.py"]

per_landmark = True
landmarks = ["sella", "porion", "gonion"]
model = dict(
    backbone=dict(frozen_stages=7),
    head=dict(num_landmarks=3),
    patches=dict(around="landmarks", points=1),
)
template = dict(_base_.template, landmarks=landmarks, pipeline=_base_.turned)
others = [f"{number:03}" for number in range(1, 151) if number != 125]
# An epoch: augmented copies of the template, in which the place is known, then all other films, with labels.
train_dataloader = dict(
    drop_last=False,
    sampler=dict(_delete_=True, type="PartsInTurnSampler"),
    dataset=dict(_delete_=True, type="RepeatDataset", times=100, fixed=True, dataset=template),
    unlabelled=dict(ids=others, pipeline=_base_.plain),
)
val_dataloader = dict(dataset=dict(landmarks=landmarks))
test_dataloader = dict(dataset=dict(landmarks=landmarks))
custom_hooks = [
    dict(type="TemplateHook", template=dict(_base_.copies, dataset=template)),
    dict(type="PseudoLabelHook", selector=dict(type="KeepAll")),
]
train_cfg = dict(max_epochs=6, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=3e-4))
param_scheduler = [dict(_base_.one_cycle, eta_max=3e-4)]
