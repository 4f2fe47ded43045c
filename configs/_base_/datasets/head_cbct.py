# Cone-beam CT of heads with 33 landmarks, as Chen et al. have them: 576 x 768 x 768 voxels of 0.3 mm, not
# published. Set HEAD_CBCT_ROOT to the folder with yours and annotations.json (docs/datasets.md), in which
# "split" is train, unlabelled or test.
data_root = "{{$HEAD_CBCT_ROOT:data/head_cbct}}"
load = [
    dict(type="LoadImage", channels=1, value_range=(-1000, 2000)),  # Hounsfield units
    dict(type="ResampleSpacing", spacing=1.8),  # mm
    dict(type="CenterCrop", size=(96, 128, 128)),
]
plain = [dict(type="Resample"), dict(type="PackInputs")]

dataset = dict(
    type="LandmarkDataset",
    data_root=data_root,
    ann_file="annotations.json",
    image_cache=dict(mode="ram"),
)
train_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=True),
    dataset=dict(dataset, split="train"),
)
val_dataloader = dict(
    batch_size=1,
    num_workers=2,
    persistent_workers=True,
    sampler=dict(type="DefaultSampler", shuffle=False),
    dataset=dict(dataset, split="test", pipeline=[*load, *plain], test_mode=True),
)
test_dataloader = val_dataloader
val_evaluator = dict(type="LandmarkMetric", unit="mm", radii=(2, 4, 8))
test_evaluator = val_evaluator
