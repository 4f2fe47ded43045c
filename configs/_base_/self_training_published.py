# The three stages with the settings of Chen et al., section 3.3, on top of schedules/adam_200epochs.py: Adam
# at its default rate, 200 epochs each. The second sees unlabelled images alone, which a leaf names, and the
# network labels every batch just before it learns from it. Augmentation as that of UDA in section 4.2.
paper_augmented = [
    dict(type="RandomAffine", rotation=10, shift=0.05),
    dict(type="Resample"),
    dict(type="RandomNoise", std=(0.0, 0.05)),
    dict(type="PackInputs"),
]
# For a network without a head of its own. A sigmoid that begins at 0.5 would keep all points at the centre.
integral_head = dict(
    type="HeatmapHead",
    bias_init=-8,
    codec=dict(type="GaussianHeatmapCodec", sigma=4, activation="sigmoid", decoder="integral"),
    loss=dict(type="IntegralL1Loss", reduction="sum"),
)
adam = dict(optim_wrapper=dict(optimizer=dict(lr=1e-3)))
attention = dict(_delete_=True, type="RegionAttentionLoss", reduction="sum")
attended = dict(adam, model=dict(head=dict(loss=attention)))
alone = dict(_delete_=True, type="LabelledShareSampler", labelled=0)
hook = dict(type="PseudoLabelHook", by_epoch=False)
regulator = dict(type="ShapeRegulator", way="adjustment")
pre_train = dict(adam, name="pre_train")
self_train = dict(
    attended,
    name="self_train",
    load_from="run:pre_train:last",
    train_dataloader=dict(sampler=alone),
    custom_hooks=[dict(hook, selector=regulator)],
)
fine_tune = dict(attended, name="fine_tune", load_from="run:self_train:last")

# For sweeps, whose arms go on from another arm: the second stage, and both of the rivals, which learn by the
# losses of pre_train.
second = {key: value for key, value in self_train.items() if key != "load_from"}
both = dict(sampler=dict(alone, labelled=0.5))
consistent = dict(hook, clean_view=True, ramp_up=40, selector=dict(type="KeepAll"))
average = dict(type="EMAHook", momentum=0.01, update_buffers=True)
taught = dict(consistent, averaged=True)
scored = dict(type="PseudoLabelHook", interval=10, selector=dict(type="TeacherScore"))
