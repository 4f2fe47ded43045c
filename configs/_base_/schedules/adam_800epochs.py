# The schedule of Ham and Oh (2023): Adam, both betas 0.9, a tenth of the rate after 500 and after 700 of 800
# epochs. In float32, as the paper; --amp trains in bfloat16.
train_cfg = dict(by_epoch=True, max_epochs=800, val_interval=20)
val_cfg = dict()
test_cfg = dict()

optim_wrapper = dict(
    type="AutocastOptimWrapper", dtype="float32", optimizer=dict(type="Adam", lr=1e-3, betas=(0.9, 0.9))
)
param_scheduler = [dict(type="MultiStepLR", milestones=[500, 700], gamma=0.1, by_epoch=True)]
# The paper's augmentation. What it changes in hue and saturation has no effect on a grey image.
paper_augmented = [
    dict(type="RandomAffine", rotation=15, scale=0.2),
    dict(type="Resample"),
    dict(type="RandomBrightnessContrast", brightness=0.2, contrast=0.5, prob=0.9),
    dict(type="PackInputs"),
]
