# Set HAND_ATLAS_ROOT to the folder that holds the images and setup/all.csv, HAND_ATLAS_FOLD to one of the
# three folds. Augmentation, size and batch as Ham and Oh (2023): sides are scaled apart, which their numbers
# rest on. What they do to hue and saturation changes nothing of a grey image.
data_root = "{{$HAND_ATLAS_ROOT:data/hand_atlas}}"
load = [dict(type="LoadImage", size=(800, 640), channels=1), dict(type="Resize", size=(800, 640))]
train_pipeline = [
    *load,
    dict(type="RandomAffine", rotation=15, scale=0.2),
    dict(type="Resample"),
    dict(type="RandomBrightnessContrast", brightness=0.2, contrast=0.5, prob=0.9),
    dict(type="PackInputs"),
]
test_pipeline = [*load, dict(type="Resample"), dict(type="PackInputs")]

fold = int("{{$HAND_ATLAS_FOLD:1}}")
dataset = dict(type="DigitalHandAtlas", data_root=data_root, fold=fold, image_cache=dict(mode="ram"))
train_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(dataset, split="train", pipeline=train_pipeline),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(dataset, split="test", pipeline=test_pipeline, test_mode=True),
)
test_dataloader = val_dataloader
# Publications take the wrist from landmarks 0 and 4 or from 1 and 5; both are reported.
val_evaluator = [
    dict(type="LandmarkMetric", reference=dict(pair=(0, 4), mm=50.0), radii=(2, 4, 10)),
    dict(type="LandmarkMetric", reference=dict(pair=(1, 5), mm=50.0), radii=(2, 4, 10), prefix="pair15"),
]
test_evaluator = val_evaluator
