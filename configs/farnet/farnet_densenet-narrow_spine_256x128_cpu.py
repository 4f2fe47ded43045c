_base_ = ["./farnet_densenet-narrow_isbi2015_320x256_cpu.py"]

# Set SPINE_ROOT to the folder that holds data and labels. As in the 1024x512 config, a tenth of the 481 films
# is the test part, all films of one person on one side.
data_root = "{{$SPINE_ROOT:data/spine_aasce2019}}"
load = [dict(type="LoadImage", size=(512, 256), channels=1), dict(type="Resize", size=(256, 128))]
train_pipeline = [
    *load,
    dict(type="RandomAffine", rotation=5, scale=0.1, shift=8),
    dict(type="Resample"),
    dict(type="RandomBrightnessContrast", brightness=0.2, contrast=0.2),
    dict(type="PackInputs"),
]
test_pipeline = [*load, dict(type="Resample"), dict(type="PackInputs")]
dataset = dict(
    _delete_=True,
    type="SpineAasce2019",
    data_root=data_root,
    sort_vertebra_points=True,
    num_folds=10,
    fold=0,
    image_cache=dict(mode="ram"),
)
train_dataloader = dict(dataset=dict(dataset, split="train", pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(dataset, pipeline=test_pipeline, test_mode=True))
test_dataloader = val_dataloader
val_evaluator = [
    dict(type="CoordinateMetric"),
    dict(type="LandmarkMetric", unit="px", radii=(10, 20, 40)),
]
test_evaluator = val_evaluator

model = dict(head=dict(num_landmarks=68, codec=dict(sigma=2.5)))
