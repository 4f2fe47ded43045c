_base_ = ["./cc2d_vgg19_isbi2015_384x384.py"]

# Film 125 is annotated, the template: shifted, turned and scaled a little. Of the others only their pseudo
# labels are known, which are random at first.
shifted = [*_base_.square, dict(type="RandomAffine", rotation=5, scale=0.01, shift=0.02), *_base_.plain]
train_dataloader = dict(
    # 500 templates to 150 films.
    sampler=dict(_delete_=True, type="LabelledShareSampler", labelled=0.75),
    dataset=dict(unlabelled=False, ids=["125"], pipeline=shifted),
    unlabelled=dict(ids=None, indices=[n for n in range(150) if n != 124], pipeline=_base_.pipeline),
)
# A pass takes every film once. An epoch of the publication takes it for every landmark.
passes = 19
labels = dict(type="PseudoLabelHook", first="random", interval=passes, selector=dict(type="KeepAll"))
custom_hooks = [*_base_.custom_hooks, labels]
model = dict(
    backbone=dict(frozen_stages=4),
    neck=dict(type="AdapterDecoder", adapter_channels=16),
    # A step is of one landmark: of its adapter, and of what all share.
    patches=dict(around="landmarks", one_landmark=True),
    template_view="patch",
)
find_unused_parameters = True
train_cfg = dict(max_epochs=300 * passes, val_interval=10 * passes)
default_hooks = dict(checkpoint=dict(interval=passes))
optim_wrapper = dict(optimizer=dict(lr=1e-4, weight_decay=0))
param_scheduler = []
