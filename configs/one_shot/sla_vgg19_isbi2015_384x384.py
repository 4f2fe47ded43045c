# CC2D-SLA, as published: one model per landmark, whose patches lie about its own pseudo labels.
_base_ = ["cc2d_vgg19_isbi2015_384x384.py"]

per_landmark = True
model = dict(
    backbone=dict(frozen_stages=4),
    patches=dict(around="landmarks"),
    template_view="patch",
)
train_dataloader = dict(drop_last=False)
# At random places first, then, before every epoch, where the template's patch is found; all of them count.
custom_hooks = [
    *_base_.custom_hooks,
    dict(type="PseudoLabelHook", first="random", selector=dict(type="KeepAll")),
]
train_cfg = dict(max_epochs=300, val_interval=300)
default_hooks = dict(checkpoint=dict(interval=10))
optim_wrapper = dict(optimizer=dict(lr=1e-4, weight_decay=0))
param_scheduler = None
