# CC2D-SLA: three landmarks, one model for each, on a frozen encoder; for weights of CC2D, which label first.
_base_ = ["cc2d_efficientnet-lite0_isbi2015_320x256_cpu.py"]

per_landmark = True
landmarks = ["sella", "porion", "gonion"]
model = dict(
    backbone=dict(frozen_stages=7),
    head=dict(num_landmarks=3),
    patches=dict(around="landmarks", points=1),
)
template = dict(_base_.template, landmarks=landmarks, pipeline=_base_.turned)
train_dataloader = dict(drop_last=False, dataset=dict(landmarks=landmarks))
val_dataloader = dict(dataset=dict(landmarks=landmarks))
test_dataloader = dict(dataset=dict(landmarks=landmarks))
custom_hooks = [
    dict(type="TemplateHook", template=dict(_base_.copies, dataset=template)),
    dict(type="PseudoLabelHook", selector=dict(type="KeepAll")),
]
train_cfg = dict(max_epochs=10, val_interval=1)
optim_wrapper = dict(optimizer=dict(lr=3e-4))
param_scheduler = [dict(_base_.one_cycle, eta_max=3e-4)]
