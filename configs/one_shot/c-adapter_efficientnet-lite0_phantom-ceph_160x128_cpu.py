_base_ = ["./cc2d_efficientnet-lite0_phantom-ceph_160x128_cpu.py"]

# The last image is annotated, the template: shifted, turned and scaled a little. Of the others only their
# pseudo labels are known, which are random at first.
shifted = [*_base_.load, dict(type="RandomAffine", rotation=5, scale=0.01, shift=0.02), *_base_.plain]
train_dataloader = dict(
    sampler=dict(_delete_=True, type="LabelledShareSampler", labelled=0.5),
    dataset=dict(unlabelled=False, indices=[99], pipeline=shifted),
    unlabelled=dict(indices=99, pipeline=[*_base_.load, *_base_.plain]),
)
custom_hooks = [
    dict(type="TemplateHook", template=dict(split="train", indices=[99])),
    dict(type="PseudoLabelHook", first="random", interval=2, selector=dict(type="KeepAll")),
]
# As published, but that shared convolutions do not see the adapters: labels are cheaper.
model = dict(
    backbone=dict(frozen_stages=5, norm_eval=True),
    neck=dict(type="AdapterDecoder", adapter_channels=8, independent=True),
    patches=dict(around="landmarks", one_landmark=True),
    template_view="patch",
)
find_unused_parameters = True
train_cfg = dict(max_epochs=12, val_interval=12)
