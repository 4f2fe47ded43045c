# AASCE 2019 spines. Set SPINE_ROOT to the folder with data and labels. A tenth of the 481 films is the test
# part, with all films of a patient in one part: about 431 and 50 films, as in publications. For another input
# size, a leaf defines `load` and puts it before `augmented` or `plain`.
data_root = "{{$SPINE_ROOT:data/spine_aasce2019}}"
load = [dict(type="LoadImage", size=(1024, 512), channels=1), dict(type="Resize", size=(1024, 512))]
augmented = [
    dict(type="RandomAffine", rotation=5, scale=0.1, shift=25 / 512),
    dict(type="Resample"),
    dict(type="RandomBrightnessContrast", brightness=0.2, contrast=0.2),
    dict(type="PackInputs"),
]
plain = [dict(type="Resample"), dict(type="PackInputs")]

dataset = dict(
    type="SpineAasce2019",
    data_root=data_root,
    sort_vertebra_points=True,
    num_folds=10,
    fold=0,
    image_cache=dict(mode="ram"),
)
train_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(dataset, split="train", pipeline=[*load, *augmented]),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(dataset, pipeline=[*load, *plain], test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type="CoordinateMetric"),
    dict(type="LandmarkMetric", unit="px", radii=(10, 20, 40)),
]
test_evaluator = val_evaluator
