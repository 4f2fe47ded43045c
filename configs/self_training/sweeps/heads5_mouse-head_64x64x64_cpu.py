# Self-training on mouse heads: 5 annotated ones of the 14 that are not tested, and 9 whose annotation is
# hidden from all but a report. One network is trained on the 5; from it all arms go on, with equal numbers of
# iterations. No head is left for a validation: the last epoch is tested.
_base_ = ["../../_base_/datasets/mouse_heads.py"]

config = "../../volumes/unet_mouse-head_64x64x64_cpu.py"
seeds = [0, 1, 2]
baseline = "supervised"

heads = [*_base_.train_ids, *_base_.val_ids]
labelled = heads[::3]
own = dict(_base_.train_dataloader["dataset"], ids=labelled)
# 45 batches of 2; five epochs of the 9 heads, and as many annotated ones, have as many.
repeated = dict(_delete_=True, type="RepeatDataset", times=18, dataset=own)
mixed = dict(
    sampler=dict(_delete_=True, type="LabelledShareSampler", labelled=0.5),
    unlabelled=dict(ids=[head for head in heads if head not in labelled]),
    dataset=dict(times=1),
)
# From the first weights on, which are good ones.
ema = dict(type="EMAHook", momentum=0.01, update_buffers=True)
cycle = dict(type="OneCycleLR", pct_start=0.2, by_epoch=True, convert_to_iter_based=True)
first = dict(
    name="self_train",
    custom_hooks=[ema],
    train_cfg=dict(max_epochs=16, val_interval=16),
    optim_wrapper=dict(optimizer=dict(lr=1e-3)),
    param_scheduler=[dict(cycle, eta_max=1e-3)],
)
second = dict(
    name="fine_tune",
    custom_hooks=[ema],
    load_from="run:self_train:last",
    train_cfg=dict(max_epochs=4, val_interval=4),
    optim_wrapper=dict(optimizer=dict(lr=4e-4)),
    param_scheduler=[dict(cycle, eta_max=4e-4)],
)
ral = dict(model=dict(head=dict(loss=dict(_delete_=True, type="RegionAttentionLoss", beta=2.0))))
selectors = {
    "naive": (dict(type="KeepAll"), {}),
    "regulated": (dict(type="ShapeRegulator"), {}),
    "ours": (dict(type="ShapeRegulator"), ral),
}

few = {
    "train_dataloader.dataset": repeated,
    "val_dataloader.dataset.ids": _base_.test_ids,
    "default_hooks.checkpoint.interval": 8,
    "train_cfg": dict(max_epochs=16, val_interval=16),
}
start = {**few, "inputs": {"load_from": "pre-trained"}}
arms = {"pre-trained": few, "supervised": {**start, "stages": [first, second]}}
for name, (selector, loss) in selectors.items():
    labels = dict(type="PseudoLabelHook", interval=5, averaged=True, selector=selector)
    stage = dict(first, **loss, train_dataloader=mixed, custom_hooks=[ema, labels])
    stage["train_cfg"] = dict(max_epochs=80, val_interval=80)
    arms[name] = {**start, "stages": [stage, second]}
