# Digital Hand Atlas in three folds. Set HAND_ATLAS_ROOT to the folder with the images and setup/all.csv, and
# HAND_ATLAS_FOLD to the fold to test. For another input size, a leaf defines `load` and puts it before
# `augmented` or `plain`.
data_root = "{{$HAND_ATLAS_ROOT:data/hand_atlas}}"
load = [
    dict(type="LoadImage", size=(1024, 1024), keep_aspect=True, channels=1),
    dict(type="Resize", size=(512, 512), keep_aspect=True),
]
augmented = [
    dict(type="RandomAffine", rotation=15, scale=0.15, shift=25 / 512),
    dict(type="RandomElastic", amplitude=8 / 512, prob=0.5),
    dict(type="Resample"),
    dict(type="RandomBrightnessContrast", brightness=0.2, contrast=0.2),
    dict(type="PackInputs"),
]
plain = [dict(type="Resample"), dict(type="PackInputs")]

fold = int("{{$HAND_ATLAS_FOLD:1}}")
dataset = dict(type="DigitalHandAtlas", data_root=data_root, image_cache=dict(mode="ram"))
train_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(dataset, fold=fold, split="train", pipeline=[*load, *augmented]),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(dataset, fold=fold, split="test", pipeline=[*load, *plain], test_mode=True),
)
test_dataloader = val_dataloader
# Publications measure the wrist from landmark 0 to 4 or from 1 to 5; both are reported.
val_evaluator = [
    dict(type="LandmarkMetric", reference=dict(pair=(0, 4), mm=50.0), radii=(2, 4, 10)),
    dict(type="LandmarkMetric", reference=dict(pair=(1, 5), mm=50.0), radii=(2, 4, 10), prefix="pair15"),
]
test_evaluator = val_evaluator
