# Self-training on mouse heads: 5 annotated ones of the 14 that are not tested, and 9 whose annotation is
# hidden from all but a report. One network is trained on the 5; from it all go on, with equal numbers of
# iterations. `stages_of` has the two stages of each. No head is left for a validation: the last epoch counts.
_base_ = ["./datasets/mouse_heads.py"]

heads = [*_base_.train_ids, *_base_.val_ids]
mixed = dict(
    sampler=dict(_delete_=True, type="LabelledShareSampler", labelled=0.5),
    unlabelled=dict(ids=[head for head in heads if head not in _base_.few_ids]),
    dataset=dict(times=1),
)
# From the first weights on, which are good ones.
average = dict(type="EMAHook", momentum=0.01, update_buffers=True)
cycle = dict(type="OneCycleLR", pct_start=0.2, by_epoch=True, convert_to_iter_based=True)
first = dict(
    name="self_train",
    custom_hooks=[average],
    train_cfg=dict(max_epochs=16, val_interval=16),
    optim_wrapper=dict(optimizer=dict(lr=1e-3)),
    param_scheduler=[dict(cycle, eta_max=1e-3)],
)
second = dict(
    name="fine_tune",
    custom_hooks=[average],
    load_from="run:self_train:last",
    train_cfg=dict(max_epochs=4, val_interval=4),
    optim_wrapper=dict(optimizer=dict(lr=4e-4)),
    param_scheduler=[dict(cycle, eta_max=4e-4)],
)
attention = dict(_delete_=True, type="RegionAttentionLoss", beta=2.0)
# The published distances are 1.0 to 1.3 voxels of the publication's volumes, but 0.24 of one in maps of 24.
losses = {"ours": attention, "ours-scaled": dict(attention, mean=0.05, std=0.025)}
everything = dict(type="KeepAll")
rounds = dict(interval=5, averaged=True, selector=dict(type="ShapeRegulator"))
consistent = dict(by_epoch=False, clean_view=True, ramp_up=20, selector=everything)
judged = dict(type="TeacherScore", keep=0.5, widths=(16, 32, 64), lr=1e-3)
labels = {
    "naive": dict(rounds, selector=everything),
    "uda": consistent,
    "ts": dict(rounds, selector=judged),
    "mean-teacher": dict(consistent, averaged=True),
    "regulated": rounds,
    "ours": rounds,
    "ours-scaled": rounds,
}
stages_of = {"supervised": [first, second]}
for name, options in labels.items():
    hooks = [average, dict(type="PseudoLabelHook", **options)]
    # 80 epochs of the 9 heads, and as many annotated ones, have as many iterations as 16 of 45 batches.
    pseudo = dict(
        first, train_dataloader=mixed, train_cfg=dict(max_epochs=80, val_interval=80), custom_hooks=hooks
    )
    if name in losses:
        pseudo["model"] = dict(head=dict(loss=losses[name]))
    stages_of[name] = [pseudo, second]
