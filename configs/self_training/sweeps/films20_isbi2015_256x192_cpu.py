# Self-training on cephalograms at a size for a few CPU cores: 20 annotated films, and 100 whose annotation
# is hidden from all but a report. One network is trained on the 20; from it all arms go on, with equal
# numbers of iterations in self-training and in fine-tuning.
_base_ = ["../../_base_/models/unet6.py"]

config = "../efficientnet-lite0_isbi2015_256x192_cpu.py"
seeds = [0, 1, 2]
baseline = "supervised"

hidden = [index for index in range(150) if index % 3]
mixed = dict(
    sampler=dict(_delete_=True, type="LabelledShareSampler", labelled=0.5),
    unlabelled=dict(indices=hidden),
    dataset=dict(times=1),
)
ema = dict(type="EMAHook", ema_type="MomentumAnnealingEMA", momentum=0.005, gamma=10, update_buffers=True)
cycle = dict(type="OneCycleLR", pct_start=0.2, by_epoch=True, convert_to_iter_based=True)
first = dict(
    name="self_train",
    train_cfg=dict(max_epochs=10, val_interval=10),
    optim_wrapper=dict(optimizer=dict(lr=1e-3)),
    param_scheduler=[dict(cycle, eta_max=1e-3)],
)
second = dict(
    name="fine_tune",
    load_from="run:self_train:last",
    train_cfg=dict(max_epochs=4, val_interval=4),
    optim_wrapper=dict(optimizer=dict(lr=4e-4)),
    param_scheduler=[dict(cycle, eta_max=4e-4)],
)
everything = dict(type="KeepAll")
consistent = dict(by_epoch=False, clean_view=True, ramp_up=2, selector=everything)
rivals = {
    "naive": dict(selector=everything),
    "uda": consistent,
    "mean-teacher": dict(consistent, averaged=True),
}
ral = dict(model=dict(head=dict(loss=dict(_delete_=True, type="RegionAttentionLoss", beta=2.0))))
ways = {"ours": "agreement", "ours-adjusted": "adjustment"}

start = {"inputs": {"load_from": "pre-trained"}}
arms = {
    "pre-trained": {},
    "supervised": {**start, "stages": [first, second]},
}
for name, options in rivals.items():
    labels = dict(type="PseudoLabelHook", **options)
    stage = dict(first, train_dataloader=mixed, custom_hooks=[ema, labels])
    arms[name] = {**start, "stages": [stage, second]}
for name, way in ways.items():
    labels = dict(type="PseudoLabelHook", selector=dict(type="ShapeRegulator", way=way))
    stage = dict(first, **ral, train_dataloader=mixed, custom_hooks=[ema, labels])
    arms[name] = {**start, "stages": [stage, dict(second, **ral)]}
# Another network, which begins at random.
backbone = dict(_base_.model["backbone"], widths=(24, 48, 96, 192, 256, 256), stem_stride=2)
unet = {"model": dict(_base_.model, _delete_=True, backbone=backbone), "optim_wrapper.dtype": "auto"}
arms["unet_pre-trained"] = unet
for name in ("supervised", "ours"):
    arms[f"unet_{name}"] = {**arms[name], **unet, "inputs": {"load_from": "unet_pre-trained"}}
